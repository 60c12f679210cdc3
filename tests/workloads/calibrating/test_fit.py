from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.workloads.calibrating.fit import attended_by, decoding, fitted, stall
from scalesim.workloads.calibrating.probes import Seen

BEAT_S = 0.01


def seen(asked_s: float, *gaps_s: float, first_s: float = 0.1, prompt: int = 100, cached: int = 0) -> Seen:
    """An answer whose tokens come after these gaps."""
    moments = [asked_s + first_s]
    for gap_s in gaps_s:
        moments.append(moments[-1] + gap_s)
    return Seen(asked_s, tuple(moments), moments[-1], prompt, cached, 0, len(moments))


@given(
    st.lists(st.floats(0.001, 5), min_size=3, max_size=3),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 2000)), min_size=6, max_size=12, unique=True),
)
@settings(max_examples=50, deadline=None)
def test_what_follows_the_law_gives_its_coefficients_back(
    truth: list[float], sizes: list[tuple[int, int]]
) -> None:
    rows = [[1.0, calls, tokens] for calls, tokens in sizes]
    seconds = [sum(part * value for part, value in zip(row, truth, strict=True)) for row in rows]
    found = fitted(rows, seconds, 3)
    assert found.error == pytest.approx(0, abs=1e-3)
    assert all(value >= 0 for value in found.values)


def test_nothing_gets_faster_by_more_work() -> None:
    found = fitted([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]], [3.0, 2.0, 1.0], 2)
    assert found.values[1] == 0
    assert found.values[0] > 0


def test_what_was_never_seen_costs_nothing() -> None:
    found = fitted([[1.0, 0.0], [2.0, 0.0]], [0.5, 1.0], 2)
    assert found.values == pytest.approx((0.5, 0.0))


def test_of_nothing_nothing_is_known() -> None:
    assert fitted([], [], 2).values == (0.0, 0.0)
    assert fitted([], [], 2).error is None


def test_what_a_prompt_takes_is_what_it_holds_another_answer_up_by() -> None:
    first = seen(0.0, *[BEAT_S] * 9, 0.25 + BEAT_S, *[BEAT_S] * 20)
    other = seen(0.185, first_s=0.27, prompt=120, cached=20)
    found = stall(first, [other])
    assert found is not None
    assert found.seconds == pytest.approx(0.25)
    assert (found.steps, found.calls, found.tokens) == (1, 1, 100)
    assert found.attended == attended_by(100, 20) == 100 * 20 + 5050


def test_several_that_come_at_once_may_be_computed_in_two_steps() -> None:
    first = seen(0.0, *[BEAT_S] * 9, 0.05 + BEAT_S, 0.15 + BEAT_S, *[BEAT_S] * 20)
    others = [seen(0.185, first_s=0.08), seen(0.186, first_s=0.22), seen(0.186, first_s=0.22)]
    found = stall(first, others)
    assert found is not None
    assert (found.steps, found.calls) == (2, 3)
    assert found.seconds == pytest.approx(0.2)


def test_an_answer_that_had_ended_by_then_shows_nothing() -> None:
    assert stall(seen(0.0, *[BEAT_S] * 9), [seen(0.185, first_s=0.3)]) is None


def test_a_step_of_decoding_is_seen_while_all_of_them_run() -> None:
    early, late = seen(0.0, *[0.02] * 40), seen(0.3, *[0.02] * 20, prompt=50)
    found = decoding([early, late])
    assert found is not None
    assert found.seconds == pytest.approx(0.02)
    assert found.running == 2
    assert found.context == 100 + 50 + 41 / 2 + 21 / 2


def test_those_that_never_run_at_the_same_time_show_nothing() -> None:
    assert decoding([seen(0.0, *[0.02] * 5), seen(5.0, *[0.02] * 5)]) is None
