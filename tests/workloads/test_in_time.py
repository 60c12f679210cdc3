from __future__ import annotations

import math
from dataclasses import replace

import pytest

from scalesim.workloads.in_time import InTime, Wire, brought_in_time, found_resident, kept_by_mru
from scalesim.workloads.program import Activation, Program, Step
from scalesim.workloads.records import CallRecord
from scalesim.workloads.results import Sequel, sequel

TOKENS = 100


def turns(order: str, *, known: bool = True) -> tuple[Program, Sequel]:
    """Of each step one agent, for a second; ten seconds lie between."""
    steps, calls = [], []
    for index, agent in enumerate(order):
        due = {
            other: float(order.find(other, index) - index) if order.find(other, index) >= 0 else math.inf
            for other in set(order)
        }
        back = order.find(agent, index + 1)
        acts_for = float(back - index) if back > 0 and known else math.inf
        told = due if known else {other: 0.0 if other == agent else math.inf for other in due}
        steps.append(Step(index, (Activation(agent, (), acts_for),), told))
        at = 10.0 * index
        calls.append(CallRecord(agent, index, 0, "plan", at, at + 1, at + 0.1, cached_tokens=TOKENS))
    prompts = {call.key: [ord(call.agent)] * TOKENS + [call.step] for call in calls}
    return Program("turns", tuple(sorted(set(order))), tuple(steps)), sequel(calls, prompts)


def test_what_was_given_up_is_back_in_time_if_the_link_is_fast_enough() -> None:
    program, played = turns("abcabc")
    room = 2 * TOKENS + 10
    assert brought_in_time(program, played, room, None).resident < 3
    assert brought_in_time(program, played, room, Wire(1000.0)) == InTime(3, 3)
    # A load takes longer than all the turns together.
    assert brought_in_time(program, played, room, Wire(1.0)) == brought_in_time(program, played, room, None)
    assert brought_in_time(program, played, room, Wire(1e9, overhead_s=60.0)).resident < 3


def test_whom_nobody_knows_of_is_not_loaded() -> None:
    program, played = turns("abcabc", known=False)
    assert brought_in_time(program, played, TOKENS + 10, Wire(1e9)).resident == 0


def test_without_room_beside_the_running_call_nothing_comes_while_it_runs() -> None:
    program, played = turns("abcabc")
    # Between turns, nine seconds are enough for one memory.
    assert brought_in_time(program, played, TOKENS + 10, Wire(1000.0)) == InTime(3, 3)
    assert brought_in_time(program, played, TOKENS // 2, Wire(1000.0)).resident == 0


def test_with_room_for_all_nothing_has_to_be_loaded() -> None:
    program, played = turns("abcabc")
    assert brought_in_time(program, played, 10 * TOKENS, None) == InTime(3, 3)
    assert kept_by_mru(played, 10 * TOKENS) == InTime(3, 3)


def test_what_a_call_brought_itself_was_not_there() -> None:
    _, played = turns("abab")
    assert found_resident(played) == InTime(2, 2)
    from_host = [replace(call, host_tokens=TOKENS // 2) for call in played.calls]
    prompts = {call.key: [ord(call.agent)] * TOKENS + [call.step] for call in from_host}
    assert found_resident(sequel(from_host, prompts)) == InTime(2, 0)


def test_a_share_of_nothing_is_none() -> None:
    assert InTime(0, 0).share is None
    assert Wire(100.0, 0.5).seconds(50) == pytest.approx(1.0)
