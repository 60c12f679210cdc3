from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scalesim.workloads.planning.case import Case, Town
from scalesim.workloads.planning.machine import Machine
from scalesim.workloads.planning.plays import Plays, what_ifs
from scalesim.workloads.program import Impossible
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.measured import MeasuredCosts
from scalesim.workloads.replay.profiles import UNSEEN_S, Measured
from tests.workloads.replay.test_measured import PROFILE


def written(folder: Path, profile: Measured = PROFILE) -> str:
    path = folder / "mine.toml"
    path.write_text(profiles.written(profile))
    return str(path)


@pytest.fixture
def mine(tmp_path: Path) -> str:
    return written(tmp_path)


def test_a_measured_engine_is_as_large_and_as_fast_as_it_was(mine: str) -> None:
    setting = Machine(measured=mine, engines=3, policy="stock", placement="least_loaded").setting(1000)
    assert setting.costs == MeasuredCosts(PROFILE)
    assert setting.sizes == MeasuredCosts(PROFILE).sizes()
    assert (setting.front_s, setting.after_s) == (PROFILE.front_s, PROFILE.after_s)
    assert (setting.engines, setting.policy, setting.placement) == (3, "stock", "least_loaded")


def test_a_rank_says_that_agents_have_adapters_such_as_were_measured(mine: str) -> None:
    without, small, large = (Machine(measured=mine, adapter_rank=rank).setting(1000) for rank in (0, 8, 64))
    assert without.sizes.slots == 0
    assert small.sizes.slots == PROFILE.slots
    assert small == large


def test_a_faster_link_shortens_what_is_copied_and_not_what_begins_a_load(mine: str) -> None:
    one, twice = (Machine(measured=mine, link=link, adapter_rank=8).setting(1) for link in (1, 2))
    size = one.sizes.adapter_bytes
    assert twice.sizes.adapter_bytes == pytest.approx(size, abs=1)
    assert one.costs.load_s(size, 1) == pytest.approx(PROFILE.adapter_load_s, rel=1e-3)
    copying_s = PROFILE.adapter_load_s - PROFILE.load_overhead_s
    assert twice.costs.load_s(size, 1) == pytest.approx(PROFILE.load_overhead_s + copying_s / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (Machine(gpu="a100"), "gpu is a100, and .*mine.toml has that of the engine"),
        (Machine(model="llama-3.1-8b"), "model is llama-3.1-8b"),
        (Machine(server="sglang-paper"), "server is sglang-paper"),
        (Machine(tensor_parallel=2), "tensor_parallel is 2"),
        (Machine(host_gb=3), "host_gb is 3"),
        (Machine(host_gb=0), "host_gb is 0"),
        (Machine(slots=2), "slots is 2"),
        (Machine(link=0), "link is 0"),
        (Machine(engines=0), "there are 0 engines"),
    ],
)
def test_what_an_engine_would_be_with_another_figure_is_refused_by_name(
    mine: str, machine: Machine, says: str
) -> None:
    with pytest.raises(Impossible, match=says):
        replace(machine, measured=mine).setting(100)


@pytest.mark.parametrize(
    ("profile", "rank", "says"),
    [
        (replace(PROFILE, slots=0), 8, "slots is 0 in .*mine.toml"),
        (replace(PROFILE, adapter_load_s=0.0), 8, "adapter_load_s is 0 in .*mine.toml"),
        (replace(PROFILE, load_token_s=UNSEEN_S), 0, "has host_tokens, and load_token_s is 1e-07"),
    ],
)
def test_what_was_not_measured_and_is_needed_is_refused_by_name(
    tmp_path: Path, profile: Measured, rank: int, says: str
) -> None:
    with pytest.raises(Impossible, match=says):
        Machine(measured=written(tmp_path, profile), adapter_rank=rank).setting(100)


def test_what_was_not_measured_and_is_not_needed_is_no_reason_to_refuse(tmp_path: Path) -> None:
    profile = replace(PROFILE, slots=0, adapter_load_s=0.0, host_tokens=0, load_token_s=UNSEEN_S)
    assert Machine(measured=written(tmp_path, profile)).setting(100).sizes.host_tokens == 0


def test_a_profile_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Impossible, match=r"gone.toml cannot be read"):
        Machine(measured=str(tmp_path / "gone.toml")).setting(1)
    path = tmp_path / "part.toml"
    path.write_text("".join(profiles.written(PROFILE).splitlines(keepends=True)[:-1]))
    with pytest.raises(Impossible, match=r"part.toml lacks control_s"):
        Machine(measured=str(path)).setting(1)


def test_a_measured_machine_tells_no_figures_that_it_has_not(mine: str) -> None:
    assert Machine().as_json().keys() & {"gpu", "measured"} == {"gpu"}
    told = Machine(measured=mine).as_json()
    assert told["measured"] == mine
    assert told.keys() & {"gpu", "model", "server", "tensor_parallel", "host_gb", "slots"} == set()


def test_an_engine_that_computes_twice_as_fast_answers_earlier(tmp_path: Path, mine: str) -> None:
    town = Town(agents=6, steps=2, lead_in=0, persona_tokens=200)
    slow = Plays().play("", Case(town, Machine(measured=mine)))
    fast_folder = tmp_path / "fast"
    fast_folder.mkdir()
    quick = replace(PROFILE, prefill_token_s=PROFILE.prefill_token_s / 2, decode_step_s=0.005)
    fast = Plays().play("", Case(town, Machine(measured=written(fast_folder, quick))))
    assert fast.step_s < slow.step_s
    assert fast.results.hits == slow.results.hits


def test_one_more_of_a_measured_engine_is_an_engine(mine: str) -> None:
    names = [name for name, _ in what_ifs(Case(machine=Machine(measured=mine)))]
    assert names == ["one more engine", "twice the host link", "half the persona"]


def test_the_file_is_a_figure_that_can_be_swept(mine: str) -> None:
    assert Case().told_to("measured", mine).machine.measured == mine
