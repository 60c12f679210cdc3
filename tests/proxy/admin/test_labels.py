from __future__ import annotations

from scalesim.proxy.admin.labels import OTHER, SimulationLabels
from scalesim.proxy.core.model import SimulationId

A, B, C = (SimulationId(name) for name in "abc")


def test_the_first_simulations_have_their_own_name_and_the_rest_are_one() -> None:
    labels = SimulationLabels(most_named=1)
    others = labels.update({A: {"calls": 5}, B: {"calls": 2}, C: {"calls": 3}})
    assert [labels.label(one) for one in (A, B, C)] == ["a", OTHER, OTHER]
    assert others == {"calls": 5}


def test_what_was_counted_of_the_others_never_falls() -> None:
    labels = SimulationLabels(most_named=1)
    labels.update({A: {"calls": 5}, B: {"calls": 2}, C: {"calls": 3}})
    assert labels.update({A: {"calls": 5}, C: {"calls": 4}}) == {"calls": 6}
    assert labels.update({C: {"calls": 4}}) == {"calls": 6}
    assert labels.update({}) == {"calls": 6}


def test_who_was_among_the_others_gets_no_name_when_one_becomes_free() -> None:
    labels = SimulationLabels(most_named=1)
    labels.update({A: {}, B: {}})
    labels.update({B: {}, C: {}})
    assert [labels.label(one) for one in (B, C)] == [OTHER, "c"]


def test_one_that_was_forgotten_and_came_back_is_counted_on() -> None:
    labels = SimulationLabels(most_named=0)
    labels.update({A: {"calls": 5, "misses": 1}})
    assert labels.update({A: {"calls": 1}}) == {"calls": 6, "misses": 1}


def test_a_simulation_called_like_the_others_is_one_of_them() -> None:
    labels = SimulationLabels()
    assert labels.update({SimulationId(OTHER): {"calls": 1}}) == {"calls": 1}


def test_nothing_is_kept_of_named_ones_that_are_gone() -> None:
    labels = SimulationLabels(most_named=1)
    for number in range(10):
        labels.update({SimulationId(str(number)): {"calls": 1}})
    assert labels.sizes() == {"labelled_simulations": 1}
