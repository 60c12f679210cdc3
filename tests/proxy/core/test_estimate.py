import math

import pytest

from scalesim.proxy.core.estimate import Estimate, Source, distance, distance_s
from scalesim.proxy.core.model import AgentName, Clock, Mode, Moment
from scalesim.proxy.core.simulation import Simulation

from .conversation import TOWN


def _town(*ticks: float) -> Simulation:
    town = Simulation(TOWN, Mode.ON, 0.0)
    for at in ticks:
        town.steps.tick(at, None)
    return town


def _due(
    value: float, clock: Clock = Clock.STEPS, spread: float = 0.0, source: Source = Source.GAP
) -> Estimate:
    return Estimate(Moment(clock, value), spread, source)


def test_the_distance_shrinks_as_its_own_clock_moves() -> None:
    assert distance(_due(5.0), _town(), 100.0) == 5.0
    assert distance(_due(5.0), _town(1.0, 2.0), 100.0) == 3.0
    assert distance(_due(120.0, Clock.SECONDS), _town(1.0, 2.0), 100.0) == 20.0


@pytest.mark.parametrize(("overdue", "expected"), [(0, 0.0), (1, 0.0), (2, 1.0), (5, 4.0)])
def test_learned_agents_are_near_for_one_step_too_long_and_then_decay(overdue: int, expected: float) -> None:
    assert distance(_due(0.0), _town(*range(1, overdue + 1)), 100.0) == expected


@pytest.mark.parametrize(("overdue", "expected"), [(0, 0.0), (2, 0.0), (3, 1.0), (5, 3.0)])
@pytest.mark.parametrize("source", [Source.HINTED, Source.PLAN])
def test_told_agents_are_near_for_two_steps_too_long(source: Source, overdue: int, expected: float) -> None:
    assert distance(_due(0.0, source=source), _town(*range(1, overdue + 1)), 100.0) == expected


def test_the_grace_is_the_spread_where_that_is_larger_and_twice_that_for_what_was_told() -> None:
    town = _town(*range(1, 8))
    assert distance(_due(0.0, spread=4.0), town, 0.0) == 3.0
    assert distance(_due(0.0, spread=3.0, source=Source.HINTED), town, 0.0) == 1.0


def test_the_grace_in_seconds_is_a_step_at_the_measured_pace() -> None:
    assert distance(_due(0.0, Clock.SECONDS), _town(1.0, 6.0), 12.0) == 7.0
    assert distance(_due(0.0, Clock.SECONDS), _town(), 12.0) == 11.0


def test_steps_are_seconds_by_the_measured_pace_and_one_until_it_is_known() -> None:
    assert distance_s(_due(6.0), _town(1.0, 6.0), 6.0) == 20.0
    assert distance_s(_due(6.0), _town(), 6.0) == 6.0
    assert distance_s(_due(26.0, Clock.SECONDS), _town(1.0, 6.0), 6.0) == 20.0


def test_never_stays_never() -> None:
    assert distance_s(_due(math.inf), _town(1.0, 6.0), 6.0) == math.inf


def test_turns_are_counted_by_activations_and_become_seconds_by_the_measured_pace() -> None:
    town = _town()
    for number in range(8):
        town.turns.began(AgentName("ab"[number % 2]), number * 2.0)
    due = _due(11.0, Clock.TURNS, source=Source.TURNS)
    assert distance(due, town, 14.0) == 3.0
    assert distance_s(due, town, 14.0) == pytest.approx(8.0, abs=0.001)
    assert distance_s(due, town, 16.0) == pytest.approx(6.0, abs=0.001), "the next turn is due"
    assert distance_s(due, town, 3600.0) == pytest.approx(6.0, abs=0.001), "and then time changes nothing"
    assert distance(_due(7.0, Clock.TURNS), town, 14.0) == 0.0, "a turn is missed"
    assert distance(_due(5.0, Clock.TURNS), town, 14.0) == 2.0


def test_turns_keep_their_order_in_seconds_though_all_began_at_the_same_time() -> None:
    town = _town()
    for number in range(8):
        town.turns.began(AgentName("ab"[number % 2]), 5.0)
    away = [distance_s(_due(8.0 + turn, Clock.TURNS), town, 9.0) for turn in range(5)]
    assert away == sorted(set(away))
