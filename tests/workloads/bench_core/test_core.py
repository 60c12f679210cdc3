from __future__ import annotations

from scalesim.workloads.bench_core.core import (
    ROUNDS_A_STEP,
    WARM_UP_ROUNDS,
    bytes_per_idle_agent,
    rounds,
)


def test_all_rounds_of_the_steps_are_measured_but_the_first_few() -> None:
    found = rounds(8, 4, seed=1, steps=2)
    assert len(found.ticks_ms) == 2 * ROUNDS_A_STEP - WARM_UP_ROUNDS
    assert len(found.pieces_ms) >= len(found.ticks_ms)
    assert sum(found.pieces_ms) >= sum(found.ticks_ms) * 0.999
    assert found.first_ms > 0.0


def test_where_rounds_take_too_long_less_are_measured() -> None:
    found = rounds(8, 4, seed=1, within_s=0.0, steps=3)
    assert ROUNDS_A_STEP <= len(found.ticks_ms) <= ROUNDS_A_STEP + 1, "but a step begins in them"


def test_an_idle_agent_takes_some_memory_and_not_more_for_being_one_of_many() -> None:
    few, many = bytes_per_idle_agent(30, seed=1), bytes_per_idle_agent(120, seed=1)
    assert 300.0 < many < 2 * few < 20_000.0
