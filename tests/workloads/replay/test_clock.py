from __future__ import annotations

import pytest

from scalesim.workloads.replay.clock import Clock, Stuck


def test_what_is_sooner_happens_sooner_and_what_was_asked_for_first_happens_first() -> None:
    clock, happened = Clock(), list[tuple[float, str]]()
    for moment, what in ((2.0, "later"), (1.0, "first"), (1.0, "second")):
        clock.at(moment, lambda what=what: happened.append((clock.now, what)))  # type: ignore[misc]
    clock.run_until(lambda: len(happened) == 3)
    assert happened == [(1.0, "first"), (1.0, "second"), (2.0, "later")]


def test_time_never_goes_back() -> None:
    clock, happened = Clock(), list[float]()
    clock.after(1.0, lambda: clock.at(0.5, lambda: happened.append(clock.now)))
    clock.run_until(lambda: bool(happened))
    assert happened == [1.0]
    with pytest.raises(ValueError, match="delay"):
        clock.after(-1.0, lambda: None)


def test_who_waits_for_what_never_comes_is_told() -> None:
    with pytest.raises(Stuck):
        Clock().run_until(lambda: False)
