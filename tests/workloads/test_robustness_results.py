from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.workloads.program import Activation, Call, Program, Step
from scalesim.workloads.results import TokenCounts
from scalesim.workloads.robustness_play import CallPlayed, Played, Prompts
from scalesim.workloads.robustness_results import (
    OtherCalls,
    Slack,
    Yardstick,
    as_json,
    slack_of,
    thinned,
)


def program() -> Program:
    """Ann calls twice, Bob between, each with a word of their own at the beginning."""
    steps = [
        Step(index, (Activation(agent, (Call(({"role": agent, "content": "a b c"},), 1, "plan"),), 1),), {})
        for index, agent in enumerate(("Ann", "Bob", "Ann"))
    ]
    return Program("three", ("Ann", "Bob"), tuple(steps))


def played(*cached: int) -> Played:
    agents = ("Ann", "Bob", "Ann")
    calls = (
        CallPlayed((step, agent, 0), float(step), step + 1.0, found)
        for step, (agent, found) in enumerate(zip(agents, cached, strict=True))
    )
    return Played(tuple(calls))


@pytest.fixture
def yardstick() -> Yardstick:
    prompts = Prompts()
    # A prompt has eleven tokens: five of its frame, three of its text, three that ask for an answer.
    assert len(prompts.of(({"role": "Ann", "content": "a b c"},))) == 11
    return Yardstick(program(), prompts, 30, 1, played(0, 1, 1))


def test_what_there_is_to_hit_is_the_same_for_all_plays(yardstick: Yardstick) -> None:
    measured = yardstick.measure(played(0, 1, 6))
    assert measured.all_calls == TokenCounts(prompt=33, cached=7, belady=11, unlimited=11)
    assert measured.first_calls == TokenCounts(prompt=11, cached=6, belady=10, unlimited=10)
    assert yardstick.recency.first_calls == TokenCounts(prompt=11, cached=1, belady=10, unlimited=10)


def test_a_hit_is_the_share_of_what_could_be_found(yardstick: Yardstick) -> None:
    assert yardstick.measure(played(0, 1, 6)).lead == pytest.approx((0, 0, 0.5))
    assert yardstick.measure(played(0, 0, 1)).lead == pytest.approx((0, -1, -1))
    assert yardstick.recency.lead == (0, 0, 0)


def test_plays_of_other_calls_are_not_compared(yardstick: Yardstick) -> None:
    for other in (Played(played(0, 1, 1).calls[:2]), Played(tuple(reversed(played(0, 1, 1).calls)))):
        with pytest.raises(OtherCalls):
            yardstick.measure(other)


def test_slack_is_what_the_promise_was_kept_by_where_it_was_tightest() -> None:
    assert slack_of((), 2) == Slack(2, 0)
    assert slack_of((3.0, 4.0), 2) == Slack(2, 0)
    assert slack_of((-1.0, -3.0, 2.0), 2) == Slack(pytest.approx(-0.98), 2)


@given(st.lists(st.floats(-5, 5), max_size=12), st.integers(0, 4))
def test_no_call_has_less_slack_than_the_least(lead: list[float], fits: int) -> None:
    slack = slack_of(lead, fits)
    all_of_them = [float(fits), *(more + fits + calls / 100 for calls, more in enumerate(lead, 1))]
    assert slack.hits == min(all_of_them) == all_of_them[slack.after_calls]


@pytest.mark.parametrize(("calls", "points", "apart"), [(0, 0, 1), (7, 7, 1), (100, 100, 1), (201, 67, 3)])
def test_a_long_line_is_thinned_evenly(calls: int, points: int, apart: int) -> None:
    every, line = thinned([float(number) for number in range(1, calls + 1)])
    assert every == apart
    assert len(line) == points
    assert line == [float(number) for number in range(apart, calls + 1, apart)]


def test_rates_are_told_beside_recency_and_belady(yardstick: Yardstick) -> None:
    told = as_json(yardstick.measure(played(0, 1, 6)), yardstick.recency)
    assert told["first_calls"] == {"hit_rate": 0.6, "over_lru": 6.0, "of_belady": 0.6}
    assert told["worst_slack"] == {"hits": 1.0, "after_calls": 0}
