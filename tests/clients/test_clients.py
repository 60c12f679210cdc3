"""Packages from PyPI as they are, of which nothing but the base URL is set, through the proxy to an emulated engine."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.workloads.servers import Servers
from tests.support.serve import serve

from . import answers
from .answering import Answer, AnsweringEngine, Seen
from .playing import MESA_LLM, OASIS, Client, Played, is_with_one_more_piece, play, sha256
from .scored import Scored, scored

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.anyio]

CAPACITY_TOKENS = 60_000
ADDED = {"rid", "session_id", "return_cached_tokens_details"}
"""What the proxy may put into a body."""
ID = re.compile(rb',"rid":"[0-9a-f]{32}"(?=}$)')
"""By which the engine can stop a call whose client has left. It is added in every mode, as the last field."""


@dataclass(frozen=True)
class Town:
    client: Client
    answer: Answer
    agents: int
    interviews: int
    calls_per_step: int
    steps: int
    short: int
    """Steps that are enough without recipes where half a guess counts."""
    long: int
    """Steps that are enough without recipes at the usual threshold: the first calls of an agent are lessons."""

    def calls(self, steps: int) -> int:
        return self.agents * self.calls_per_step * steps + self.interviews


TOWNS = [
    pytest.param(Town(OASIS, answers.oasis, 50, 5, 1, steps=3, short=3, long=8), id="oasis"),
    pytest.param(Town(MESA_LLM, answers.mesa_llm, 20, 0, 2, steps=3, short=8, long=24), id="mesa-llm"),
]


@dataclass(frozen=True)
class Setup:
    name: str
    settings: Mapping[str, str]
    least_f1: float
    sources: frozenset[str]
    """From which names may come."""
    length: Literal["steps", "short", "long"]


UNTAUGHT = {"recognise": "answers,learned"}
GUESSED = frozenset({"answer", "learned"})
SETUPS = [
    pytest.param(Setup("with recipes", {}, 0.99, frozenset({"recipe", "answer"}), "steps"), id="recipes"),
    pytest.param(Setup("without recipes", UNTAUGHT, 0.95, GUESSED, "long"), id="learned"),
    pytest.param(
        Setup("without, threshold .5", {**UNTAUGHT, "threshold": "0.5"}, 0.95, GUESSED, "short"),
        id="learned-at-a-low-threshold",
    ),
]


@asynccontextmanager
async def engine_for(town: Town) -> AsyncIterator[tuple[str, list[Seen]]]:
    """Fast, and not so fast that calls of a burst would come one by one."""
    emulated = EmulatedEngine(
        capacity_tokens=CAPACITY_TOKENS,
        max_running=64,
        extended=True,
        output_tokens=24,
        prefill_s_per_token=5e-6,
        decode_s_per_token=4e-3,
    )
    engine = AnsweringEngine(emulated, town.answer, seed=1)
    async with serve(engine) as url:
        yield url, engine.seen


def assert_nothing_is_lost(played: Played, seen: list[Seen], calls: int) -> None:
    assert {truth.status for truth in played.truths} == {200}
    assert len(played.truths) == len(seen) == len(played.calls) == calls
    assert len({one.answer_sha256 for one in seen}) == calls
    assert {truth.answer_sha256 for truth in played.truths} == {one.answer_sha256 for one in seen}


def pairs_of(played: Played, seen: list[Seen]) -> list[tuple[bytes, bytes]]:
    """What was sent and what came, of the same request: no two answers are alike."""
    came = {one.answer_sha256: one.raw for one in seen}
    return [(truth.body.encode(), came[truth.answer_sha256 or ""]) for truth in played.truths]


@pytest.mark.parametrize("town", TOWNS)
async def test_a_proxy_that_is_off_adds_an_id_to_each_request_and_no_other_byte(
    town: Town, servers: Servers, tmp_path: Path
) -> None:
    async with engine_for(town) as (url, seen):
        played = await play(
            town.client, url, servers, tmp_path, agents=town.agents, steps=town.steps, proxy={"mode": "off"}
        )
    assert_nothing_is_lost(played, seen, town.calls(town.steps))
    of_bodies = {truth.sha256 for truth in played.truths}
    for sent, came in pairs_of(played, seen):
        assert ID.sub(b"", came) == sent
        assert sha256(ID.sub(b"", came)) in of_bodies


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("town", TOWNS)
async def test_agents_are_told_apart_and_nothing_is_lost(
    town: Town, setup: Setup, servers: Servers, tmp_path: Path, rows: list[Scored]
) -> None:
    steps: int = getattr(town, setup.length)
    async with engine_for(town) as (url, seen):
        played = await play(
            town.client, url, servers, tmp_path, agents=town.agents, steps=steps, proxy=setup.settings
        )
    result = scored(town.client.name, setup.name, played)
    rows.append(result)
    assert_nothing_is_lost(played, seen, town.calls(steps))
    for sent, came in pairs_of(played, seen):
        assert is_with_one_more_piece(came, sent)
        assert orjson.loads(came).keys() - orjson.loads(sent).keys() <= ADDED
    # The client says nothing of its agents: no field, no header.
    for truth in played.truths:
        assert not {"user", "metadata", "agent_id", "session_id"} & orjson.loads(truth.body).keys()
        assert not [name for name in truth.headers if "agent" in name and name != "user-agent"]
    assert result.agents == town.agents
    assert {source.partition(":")[0] for source in result.sources if source} <= setup.sources
    assert result.f1 >= setup.least_f1
    assert result.right >= 0.99
    assert result.right_of_sure >= 0.99
