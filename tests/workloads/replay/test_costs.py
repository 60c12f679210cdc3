from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.workloads.program import Impossible
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.costs import Costs

from .toy import COSTS, HELD_S, STEP_S, costs

H100 = Costs(profiles.gpu("h100"), profiles.model("qwen2.5-7b"), profiles.server())


def test_many_steps_take_what_each_takes_after_the_other() -> None:
    each = sum(COSTS.decode_s(3, 100 + 3 * step, 1) for step in range(50))
    assert COSTS.decode_s(3, 100, 50) == pytest.approx(each)


def test_a_step_of_decoding_reads_the_weights_and_all_that_is_held() -> None:
    assert COSTS.decode_s(2, 1000, 1) == pytest.approx(STEP_S + 1000 * HELD_S)


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_a_step_that_is_under_way_counts_until_it_ends(steps: int) -> None:
    end = COSTS.decode_s(3, 100, steps)
    assert COSTS.decode_steps(3, 100, end * (1 - 1e-9), 50) == steps
    assert COSTS.decode_steps(3, 100, 0.0, 50) == 1
    assert COSTS.decode_steps(3, 100, 1e9, 50) == 50


def test_an_h100_takes_what_the_other_model_of_one_takes_within_a_fifth() -> None:
    # 31 us a token of prefill and 8 ms a step of decoding with 9 GB of prefixes: see workloads/emulated.py.
    assert H100.prefill_s(4096, 0) / 4096 == pytest.approx(31e-6, rel=0.2)
    assert H100.decode_s(64, int(9e9 / 57_344), 1) == pytest.approx(8e-3, rel=0.2)


def test_what_is_left_of_the_device_is_the_cache() -> None:
    assert H100.capacity_tokens() == pytest.approx((80e9 * 0.88 - 15.2e9) / 57_344, abs=1)
    assert H100.capacity_tokens(100, 323_000_000) < H100.capacity_tokens() - 500_000
    blocks = replace(H100, server=replace(H100.server, block_tokens=64))
    assert blocks.capacity_tokens() % 64 == 0


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(Impossible, match=r"Qwen2.5-32B and 0 adapter slots take all of 1 x A10G"):
        Costs(profiles.gpu("a10g"), profiles.model("qwen2.5-32b"), profiles.server()).capacity_tokens()


def test_more_devices_are_faster_though_not_as_many_times() -> None:
    four = replace(H100, devices=4)
    assert 1 < H100.prefill_s(8192, 0) / four.prefill_s(8192, 0) < 4
    assert 1 < H100.decode_s(64, 100_000, 10) / four.decode_s(64, 100_000, 10) < 4
    assert four.load_s(1e9, 0) == pytest.approx(H100.load_s(1e9, 0) / 4)
    assert four.capacity_tokens() > 4 * H100.capacity_tokens()


def test_devices_have_to_divide_the_heads() -> None:
    with pytest.raises(Impossible, match="tensor parallelism is 8, and has to divide the 28 heads"):
        replace(H100, devices=8)


def test_each_load_has_an_overhead() -> None:
    assert costs(load_overhead_s=0.1).load_s(4e6, 3) == pytest.approx(1.3)
