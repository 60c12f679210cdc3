from __future__ import annotations

import pytest

from scalesim.workloads.links import PAPER, Link, Sizes, h100, link
from scalesim.workloads.program import Impossible

SIZES = Sizes(bytes_per_token=4096, adapter_bytes=426_000)


def test_off_is_no_link_and_profiles_go_by_their_names() -> None:
    assert link("off", SIZES) is None
    assert link("paper", SIZES) == PAPER
    assert link("h100", SIZES) == h100(SIZES)


def test_a_link_is_read_as_it_is_written() -> None:
    one = Link("mine", 1.5e9, 0.01, 0.0005)
    assert one.setting() == "mine:1.5e+09:0.01:0.0005"
    assert link(one.setting(), SIZES) == one


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fast", "no link 'fast'"),
        ("a:1:2", "no link 'a:1:2'"),
        ("a:1:2:x", "not a number"),
        ("a:0:1:1", "bandwidth is 0"),
        ("a:nan:1:1", "bandwidth is nan"),
        ("a:inf:1:1", "bandwidth is inf"),
        ("a:1:-1:1", "overhead for each adapter is -1"),
        ("a:1:1:nan", "overhead for each prefix is nan"),
        (":1:1:1", "name is ''"),
    ],
)
def test_what_is_no_link_is_refused_by_its_value(setting: str, words: str) -> None:
    with pytest.raises(Impossible, match=words):
        link(setting, SIZES)


def test_the_wire_of_an_h100_takes_its_own_time_for_a_token_and_for_an_adapter() -> None:
    physical = h100(SIZES)
    assert SIZES.bytes_per_token / physical.bandwidth_bytes_per_s == pytest.approx(57_344 / 64e9)
    assert (
        physical.adapter_overhead_s + SIZES.adapter_bytes / physical.bandwidth_bytes_per_s
        == pytest.approx(0.005)
    )
    # An adapter so large that the wire alone takes longer has no overhead.
    assert h100(Sizes(4096, 10**9)).adapter_overhead_s == 0


def test_a_link_says_its_numbers() -> None:
    assert str(Link("mine", 20e6, 0.1, 0.001)) == (
        "emulated, mine: 20 MB/s, and 100 ms for each adapter, 1 ms for each move of a prefix"
    )
