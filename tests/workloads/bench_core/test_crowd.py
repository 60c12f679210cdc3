from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.workloads.bench_core.crowd import Crowd


@settings(max_examples=20)
@given(agents=st.integers(1, 60), active=st.integers(1, 60), seed=st.integers(0, 5))
def test_everybody_calls_when_it_was_said_and_nobody_else_does(agents: int, active: int, seed: int) -> None:
    crowd = Crowd(agents, active, seed)
    due = dict(crowd.left)
    for step in range(1, 8):
        assert crowd.distances() == {name: at - crowd.step for name, at in due.items()}
        calls = crowd.next_step()
        assert sorted(name for name, _ in calls) == sorted(name for name, at in due.items() if at == step)
        assert all(acts_for >= 1.0 for _, acts_for in calls)
        due |= {name: step + int(acts_for) for name, acts_for in calls}


def test_in_every_step_about_as_many_call_also_in_the_first() -> None:
    crowd = Crowd(5_000, 1_000, seed=1)
    assert [len(crowd.next_step()) for _ in range(12)] == [pytest.approx(1_000, rel=0.12)] * 12


def test_where_all_are_active_all_call_in_every_step() -> None:
    crowd = Crowd(30, 20_000, seed=1)
    assert [len(crowd.next_step()) for _ in range(3)] == [30] * 3


def test_the_same_seed_asks_for_the_same() -> None:
    one, same, other = (Crowd(200, 50, seed) for seed in (1, 1, 2))
    assert one.left == same.left != other.left
    calls = one.next_step()
    assert calls == same.next_step()
    assert calls != other.next_step()
