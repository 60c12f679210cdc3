from __future__ import annotations

import math

import pytest

from scalesim.proxy.core.accuracy import Accuracy, Score
from scalesim.proxy.core.authority import JUDGED, Authority
from scalesim.proxy.core.model import Clock, Source


class _Measured(Accuracy):
    """Scores that are set, not measured."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[Source, Score] = {}

    @property
    def scores(self) -> dict[Source, Score]:
        return self.known


def _weighed(authority: Authority, count: int = JUDGED, **orders: float) -> Authority:
    measured = _Measured()
    measured.known = {
        Source(name): Score(order, 1.0 - order, count, 0.0, Clock.STEPS) for name, order in orders.items()
    }
    authority.weigh(measured)
    return authority


def test_in_the_beginning_nobody_goes_before_another() -> None:
    authority = Authority()
    assert (authority.before, authority.in_charge, authority.errors) == ({}, None, {})


@pytest.mark.parametrize(
    ("hinted", "gap", "in_charge"),
    [(0.90, 0.94, None), (0.90, 0.96, Source.GAP), (0.96, 0.90, None), (0.0, 1.0, Source.GAP)],
)
def test_a_source_takes_charge_by_an_order_that_is_clearly_better(
    hinted: float, gap: float, in_charge: Source | None
) -> None:
    assert _weighed(Authority(), hinted=hinted, gap=gap).in_charge is in_charge


def test_nobody_is_believed_before_both_were_measured_often_enough() -> None:
    assert _weighed(Authority(), JUDGED - 1, hinted=0.0, gap=1.0).in_charge is None


def test_who_is_in_charge_stays_so_by_a_smaller_lead() -> None:
    authority = Authority()
    for hinted, expected in (
        (0.96, None),
        (0.94, Source.GAP),
        (0.97, Source.GAP),
        (0.99, None),
        (0.96, None),
    ):
        assert _weighed(authority, hinted=hinted, gap=1.0).in_charge is expected


def test_nobody_goes_before_a_source_that_never_told_the_wrong_order() -> None:
    authority, measured = Authority(), _Measured()
    measured.known = {
        Source.HINTED: Score(0.5, 0.0, JUDGED, 0.0, Clock.STEPS),
        Source.TURNS: Score(1.0, 0.0, JUDGED, 0.0, Clock.TURNS),
    }
    authority.weigh(measured)
    assert authority.in_charge is None


def test_the_best_of_those_that_lead_goes_first_and_the_highest_that_lost_says_who_is_in_charge() -> None:
    authority = _weighed(Authority(), hinted=0.5, turns=0.7, gap=0.9)
    assert authority.before == {Source.HINTED: (Source.GAP, Source.TURNS), Source.TURNS: (Source.GAP,)}
    assert authority.in_charge is Source.GAP
    assert _weighed(Authority(), hinted=1.0, turns=0.5, gap=0.9).before == {Source.TURNS: (Source.GAP,)}


def test_of_what_may_happen_none_goes_before_another_for_the_first_counts() -> None:
    authority = _weighed(Authority(), plan=0.5, answers=0.9, spatial=0.95, path=1.0)
    assert (authority.before, authority.in_charge) == ({}, None)
    assert _weighed(authority, plan=0.5, path=1.0, turns=0.9).before == {Source.PLAN: (Source.TURNS,)}


def test_what_was_off_in_time_has_an_error_and_what_was_exact_or_never_came_has_none() -> None:
    authority, measured = Authority(), _Measured()
    measured.known = {
        Source.HINTED: Score(1.0, 0.0, 20, 2.5, Clock.SECONDS),
        Source.PLAN: Score(1.0, 0.0, 20, 0.0, Clock.STEPS),
        Source.PATH: Score(1.0, 0.0, 20, math.inf, Clock.STEPS),
        Source.ANSWERS: Score(1.0, 0.0, 3, 4.0, Clock.STEPS),
    }
    authority.weigh(measured)
    assert authority.errors == {Source.HINTED: (Clock.SECONDS, 2.5)}
