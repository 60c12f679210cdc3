from __future__ import annotations

import pytest

from scalesim.workloads.estimators import Estimators, Touches
from scalesim.workloads.gap_law import GapLaw
from scalesim.workloads.in_time import InTime
from scalesim.workloads.offline import offline
from scalesim.workloads.records import CallRecord, StepPlayed
from scalesim.workloads.results import Play, Summary, TokenCounts, sequel

AGENTS = "abc"


def called(agent: str, step: int) -> CallRecord:
    at = float(10 * step + AGENTS.index(agent))
    return CallRecord(agent, step, 0, "plan", at, at + 0.5, at + 0.1, prompt_tokens=5)


CALLS = [called(agent, step) for step in range(4) for agent in AGENTS]
PROMPTS = {call.key: [ord(call.agent)] * 4 + [call.step] for call in CALLS}


def test_nobody_finds_more_than_who_knows_the_future() -> None:
    found = offline(sequel(CALLS, PROMPTS), GapLaw([1]), capacity=11)
    assert found.belady.first_calls is not None
    for one in found.rows().values():
        assert one.first_calls is not None
        assert one.first_calls <= found.belady.first_calls
    # Everybody comes in turn: recency loses what whoever keeps anybody at all does not.
    assert found.lru.first_calls is not None
    assert found.mru.first_calls is not None
    assert found.lru.first_calls < found.mru.first_calls


def test_calls_of_the_lead_in_only_leave_what_they_leave() -> None:
    found = offline(sequel(CALLS[3:], PROMPTS, CALLS[:3]), GapLaw([1]), capacity=100)
    assert found.belady.first_calls == found.belady.all_calls == 1.0


def test_the_table_has_a_row_for_each_that_played_and_for_those_that_nobody_plays() -> None:
    found = offline(sequel(CALLS, PROMPTS), GapLaw([1]), capacity=11)
    counts = TokenCounts(prompt=100, cached=40, belady=40, unlimited=80, resident=30)
    summary = Summary((Play("on", 0, 0, (StepPlayed(1.0, ()),)),), counts, counts)
    touches = {"on": Touches(InTime(10, 6), InTime(10, 8), InTime(10, 1))}
    table = Estimators(found, touches)
    rows = table.rows({"on": summary})
    assert list(rows) == ["on", "(lru)", "(mru)", "(law)"]
    assert (rows["on"].first_calls, rows["on"].first_of_belady) == (0.375, 0.75)
    assert rows["(law)"].first_of_law == 1.0
    told = table.as_json({"on": summary})["touches"]
    assert told["on"]["share_of_bound"] == pytest.approx(0.75)  # type: ignore[index]  # JSON
    assert list(Estimators().rows({"on": summary})) == ["on"]
