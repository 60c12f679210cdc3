"""The emulated host link: its profile, and when what it moves is there."""

from __future__ import annotations

import pytest

from scalesim.engine_adapters.sglang_plugin.cpu.link import NO_LINK, Link, Profile, profile_of


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_transfers_follow_each_other() -> None:
    time = Time()
    link = Link(Profile("slow", 1_000.0, 0.5, 0.1), lambda: time.now, time.sleep)
    assert link.move(2_000, 0.5) == 102.5
    assert link.move(1_000, 0.0) == 103.5
    assert not link.is_past(102.5)
    link.wait(102.5)
    assert time.now == 102.5
    assert link.is_past(102.5)
    time.now = 110.0
    assert link.move(1_000, 0.0) == 111.0, "an idle link begins at once"


def test_without_the_setting_there_is_no_link() -> None:
    assert profile_of({}) is NO_LINK
    assert NO_LINK.free
    assert Link(NO_LINK, lambda: 5.0).move(10**12, 0.0) == 5.0


def test_a_profile_is_read_from_the_environment() -> None:
    profile = profile_of({"SCALESIM_LINK": "paper:2e7:0.3:0.05"})
    assert profile == Profile("paper", 2e7, 0.3, 0.05)
    assert not profile.free


@pytest.mark.parametrize(
    "told", ["fast", "x:1:2", "x:1:2:3:4", "x:a:0:0", "x:0:0:0", "x:1:-1:0", "x:nan:0:0"]
)
def test_what_is_no_profile_is_refused_by_name(told: str) -> None:
    with pytest.raises(ValueError, match="SCALESIM_LINK"):
        profile_of({"SCALESIM_LINK": told})
