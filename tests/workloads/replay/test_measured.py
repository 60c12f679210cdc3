from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scalesim.workloads.program import Impossible, Wishes
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.measured import MeasuredCosts
from scalesim.workloads.replay.player import play
from scalesim.workloads.replay.profiles import Measured
from scalesim.workloads.replay.world import Setting
from scalesim.workloads.scenarios import scenario

PROFILE = Measured(
    name="toy",
    source='a test, with a " and a \\',
    capacity_tokens=8000,
    host_tokens=24_000,
    slots=4,
    chunk_tokens=4096,
    max_running=64,
    block_tokens=1,
    front_s=0.03,
    after_s=0.001,
    prefill_step_s=0.002,
    prefill_call_s=0.001,
    prefill_token_s=1e-4,
    attended_token_s=1e-7,
    adapted_token_s=5e-5,
    decode_step_s=0.01,
    decode_call_s=0.001,
    context_token_s=1e-6,
    adapted_call_s=0.002,
    load_overhead_s=0.01,
    load_token_s=8e-5,
    load_parts=4,
    adapter_load_s=0.4,
    report_every_s=0.5,
    control_s=0.002,
)
COSTS = MeasuredCosts(PROFILE)


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "measured.toml"
    path.write_text(profiles.written(PROFILE))
    assert profiles.measured(str(path)) == PROFILE


def test_what_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "measured.toml"
    path.write_text(profiles.written(PROFILE).replace("prefill_token_s = 0.0001", "prefill_token_s = 100"))
    with pytest.raises(Impossible, match="prefill_token_s is 100"):
        profiles.measured(str(path))
    with pytest.raises(Impossible, match=r"gone.toml cannot be read"):
        profiles.measured(str(tmp_path / "gone.toml"))


def test_a_step_takes_what_was_measured() -> None:
    assert COSTS.prefill_s(100, 5000, 2) == pytest.approx(0.002 + 2 * 0.001 + 100 * 1e-4 + 5000 * 1e-7)
    # The second step holds three tokens more.
    assert COSTS.decode_s(3, 1000, 2) == pytest.approx(2 * (0.01 + 3 * 0.001) + (1000 + 1003) * 1e-6)


def test_adapters_cost_more() -> None:
    adapted = MeasuredCosts(PROFILE, adapted=True)
    assert adapted.prefill_s(100, 0) - COSTS.prefill_s(100, 0) == pytest.approx(100 * 5e-5)
    assert adapted.decode_s(3, 0, 1) - COSTS.decode_s(3, 0, 1) == pytest.approx(3 * 0.002)


def test_how_many_steps_a_time_is_agrees_with_how_long_they_take() -> None:
    for steps in range(1, 40):
        seconds = COSTS.decode_s(3, 1000, steps)
        assert COSTS.decode_steps(3, 1000, seconds - 1e-6, 100) == steps


def test_computing_hides_a_copy_but_for_its_first_part() -> None:
    assert COSTS.beside_s(0.0, 0.2) == pytest.approx(0.2)
    assert COSTS.beside_s(0.04, 0.2) == pytest.approx(0.01 + 0.2)
    assert COSTS.beside_s(1.0, 0.2) == pytest.approx(1.0 + 0.05)


def test_what_is_around_calls_makes_steps_longer() -> None:
    program = scenario("independent").generate(
        Wishes(agents=6, steps=3, persona_tokens=300, growth_tokens=16, sketched=True)
    )
    setting = Setting(COSTS, COSTS.sizes(), "stock")
    bare = play(program, setting)
    around = play(program, replace(setting, front_s=0.03, after_s=0.001))
    longest = [max((len(one.calls) for one in step.activations), default=0) for step in program.steps]
    for step, chain in enumerate(longest):
        # The longest chain of a step is what it waits for, unless another one's answers are longer.
        more = around.steps[step].seconds - bare.steps[step].seconds
        assert more >= 0
        assert more <= 0.031 * chain + 0.1
    assert around.ttft_s is not None
    assert bare.ttft_s is not None
    assert around.ttft_s.mean > bare.ttft_s.mean
    assert around.calls == bare.calls
