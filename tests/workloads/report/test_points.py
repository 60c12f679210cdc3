from __future__ import annotations

from pathlib import Path

import pytest

from scalesim.workloads.program import Impossible
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.results import StepTime
from scalesim.workloads.report import plays, points
from scalesim.workloads.report.points import Point, mean_of, played, program_of


def test_slots_are_a_quarter_of_the_agents_and_at_most_125() -> None:
    assert [Point("hicache", agents).places for agents in (25, 200, 500, 1000)] == [6, 50, 125, 125]
    assert Point("hicache", 250, slots=125).places == 125


def test_means_are_of_the_steps_that_count() -> None:
    steps = (StepTime(2, 4.0, 3, 2, 2.0, 1.0, 0.5, 2, 0.5), StepTime(3, 6.0, 1, 1, 2.0, 1.0, 1.5, 0, 1.5))
    one = mean_of(steps, 7)
    assert (one.step_s, one.decode_s, one.load_s, one.loads) == (5.0, 2.0, 1.0, 1.0)
    assert one.other_s == pytest.approx(1.0)
    assert one.ttft_s == pytest.approx((3 * 0.5 + 1.5) / 4)
    with pytest.raises(Impossible, match="no step is left"):
        mean_of((), 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["independent", "interaction", "diffusion"])
def test_about_a_fifth_of_the_agents_is_active(name: str) -> None:
    program = program_of(Point("hicache", 500, name), seed=1)
    shares = [len(step.activations) / 500 for step in program.steps[points.LEAD_IN :]]
    assert 0.1 < sum(shares) / len(shares) < 0.3


@pytest.mark.slow
def test_loading_ahead_pays_and_the_same_point_is_played_once(tmp_path: Path) -> None:
    server = profiles.server("sglang-paper")
    program = program_of(Point("hicache", 25), seed=1)
    hicache, ours = (played(Point(system, 25), server, program) for system in ("hicache", "scalesim"))
    assert ours.step_s < hicache.step_s
    assert ours.load_s < hicache.load_s / 2
    assert ours.loaded_ahead > 0
    told: list[int] = []
    for _ in range(2):
        found = plays.all_of([Point("hicache", 25)], server, 1, tmp_path, 1, told.append)
        assert found == {Point("hicache", 25): hicache}
    assert told == [0, 1, 1]
    assert len(list(tmp_path.iterdir())) == 1


def test_other_code_is_another_state(tmp_path: Path) -> None:
    for name in (*plays._FOLDERS, "workloads/report", "engine_adapters/sglang_plugin"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in plays._FILES:
        (tmp_path / name).write_text("")
    before = plays.fingerprint(tmp_path)
    assert plays.fingerprint(tmp_path) == before
    (tmp_path / "workloads/replay/engine.py").write_text("pass")
    assert plays.fingerprint(tmp_path) != before
