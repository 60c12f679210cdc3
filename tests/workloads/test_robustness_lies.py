from __future__ import annotations

from itertools import chain

from scalesim.workloads.noise import Noise
from scalesim.workloads.robustness_lies import CURVES, Curve, Lie, adversaries, all_lies


def test_a_curve_varies_one_kind_of_error() -> None:
    curve = Curve("early", "", "", (0, 0.5))
    assert curve.lies(7) == {0: Lie(Noise(seed=7)), 0.5: Lie(Noise(early=0.5, seed=7))}


def test_every_curve_begins_with_the_truth() -> None:
    assert {next(iter(curve.lies(1).values())) for curve in CURVES} == {Lie()}


def test_what_several_curves_tell_is_told_once() -> None:
    told = list(all_lies(CURVES, 1))
    points = chain.from_iterable(curve.lies(1).values() for curve in CURVES)
    assert set(told) == {*points, *adversaries(1).values()}
    assert len(told) == len(set(told)) == 24
