from __future__ import annotations

import pytest

from scalesim.workloads.planning.case import Case, Town
from scalesim.workloads.planning.machine import HOST_RATIO, Machine
from scalesim.workloads.planning.plays import MOST_CASES, Plays, sweep, what_ifs
from scalesim.workloads.program import Impossible, Told

SMALL = Case(Town(agents=12, steps=2, lead_in=0, persona_tokens=200), Machine(policy="stock"))


def test_figures_are_changed_as_they_are_written() -> None:
    case = Case().told_to("agents", "50").told_to("host-gb", "1.5").told_to("gpu", "a100")
    assert (case.town.agents, case.machine.host_gb, case.machine.gpu) == (50, 1.5, "a100")
    assert Case().told_to("told", "plan").town.told is Told.PLAN
    assert Case().told_to("slots", "3").machine.slots == 3
    assert Case().told_to("active", "0.5").town.mean_gap_steps == 2


def test_what_is_no_figure_is_an_option_of_the_scenario() -> None:
    case = Case(Town("interaction", options={"radius": 5})).told_to("tiles", "280")
    assert case.town.options == {"radius": 5, "tiles": 280}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("tiles", "280", "no 'tiles' to change; there is active, adapter_rank, agents"),
        ("agents", "many", "agents is 'many', and has to be a number"),
        ("agents", "1.5", "agents is 1.5, and has to be a whole number"),
        ("agents", "inf", "agents is 'inf', and has to be a number"),
        ("told", "all", "told is 'all', and has to be one of exact, plan"),
        ("active", "0", "active is 0, and has to be above 0 and at most 1"),
        ("options", "1", "no 'options' to change"),
    ],
)
def test_what_cannot_be_changed_is_refused_with_what_can(name: str, value: str, says: str) -> None:
    with pytest.raises(Impossible, match=says):
        Case().told_to(name, value)


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (Machine(link=0), "link is 0"),
        (Machine(adapter_rank=-1), "adapter_rank is -1"),
        (Machine(slots=0), "slots is 0"),
        (Machine(host_gb=-1), "host_gb is -1"),
        (Machine(host_gb=float("nan")), "host_gb is nan"),
        (Machine(engines=0), "there are 0 engines"),
        (Machine(gpu="b200"), "no gpu 'b200'; there is a100"),
        (Machine(policy="best"), "no policy 'best'"),
        (Machine("a10g", "qwen2.5-32b"), "take all of"),
    ],
)
def test_a_machine_that_cannot_be_is_refused_by_name(machine: Machine, says: str) -> None:
    with pytest.raises(Impossible, match=says):
        machine.setting(100)


def test_host_memory_is_that_of_the_engine_if_nobody_says() -> None:
    usual, none = Machine().setting(1).sizes, Machine(host_gb=0).setting(1).sizes
    assert usual.host_tokens == HOST_RATIO * usual.capacity_tokens
    assert none.host_tokens == 0
    # Of 70.4 GB, 15.2 are weights; a token of this model has 57,344 bytes.
    assert usual.capacity_tokens == int((80e9 * 0.88 - 15.2e9) // 57_344)


def test_adapters_take_a_quarter_of_the_agents_in_slots_at_most_125() -> None:
    assert Machine(adapter_rank=8).setting(100).sizes.slots == 25
    assert Machine(adapter_rank=8).setting(10_000).sizes.slots == 125
    assert Machine(adapter_rank=8).setting(2).sizes.slots == 1
    assert Machine().setting(100).sizes.slots == 0


def test_a_link_is_times_as_fast_as_that_of_its_profile() -> None:
    one, twice = (Machine(link=link).setting(1).costs for link in (1, 2))
    assert twice.link_bytes_per_s == 2 * one.link_bytes_per_s


def test_a_sweep_plays_all_combinations_the_last_name_fastest() -> None:
    cases = sweep(Case(), ["agents=10,20", "policy=stock,lfu"])
    assert [tuple(values.values()) for values, _ in cases] == [
        ("10", "stock"),
        ("10", "lfu"),
        ("20", "stock"),
        ("20", "lfu"),
    ]
    assert [(case.town.agents, case.machine.policy) for _, case in cases][-1] == (20, "lfu")
    assert sweep(Case(), []) == [({}, Case())]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["agents"], "'agents' is not NAME=VALUE"),
        (["agents=,"], "is not NAME=VALUE"),
        (["agents=1", "agents=2"], "agents is given twice"),
        ([f"seed={','.join(map(str, range(MOST_CASES + 1)))}"], f"at most {MOST_CASES} cases"),
    ],
)
def test_a_sweep_that_is_not_understood_is_refused(told: list[str], says: str) -> None:
    with pytest.raises(Impossible, match=says):
        sweep(Case(), told)


@pytest.mark.parametrize(
    ("town", "says"),
    [
        (Town(agents=0), "agents is 0"),
        (Town(steps=0), "steps is 0"),
        (Town("interaction", options={"tiles": -1}), "tiles"),
        (Town(options={"rooms": 3}), "rooms"),
        (Town(noise={"early": 2}), "early"),
        (Town(noise={"early": 0.5}, told=Told.PLAN), "only exact distances"),
    ],
)
def test_a_town_that_cannot_be_is_refused_before_it_is_made(town: Town, says: str) -> None:
    with pytest.raises(Impossible, match=says):
        town.refuse_what_cannot_be()


def test_what_if_changes_one_thing_each() -> None:
    changes = dict(what_ifs(Case()))
    assert changes["one more GPU"].machine.engines == 2
    assert changes["twice the host link"].machine.link == 2
    assert changes["half the persona"].town.persona_tokens == 1000
    assert all(one.town.seed == 1 for one in changes.values())
    names = [name for name, _ in what_ifs(Case(machine=Machine(tensor_parallel=4)))]
    assert names[0] == "4 more GPUs"


def test_a_program_that_several_cases_have_is_made_once() -> None:
    plays = Plays()
    first = plays.play("", SMALL)
    made = plays._made
    assert plays.play("", SMALL.told_to("link", "2")).results.calls == first.results.calls
    assert plays._made is made
    plays.play("", SMALL.told_to("seed", "2"))
    assert plays._made is not made


def test_errors_are_those_of_exact_distances() -> None:
    noisy = SMALL.changed(noise={"sigma": 3.0}, told=Told.PLAN)
    with pytest.raises(Impossible, match="only exact distances can have errors"):
        Plays().play("", noisy)
    with pytest.raises(Impossible, match="noise has no option 'loud'"):
        Plays().play("", SMALL.changed(noise={"loud": 3.0}))
    assert Plays().play("", SMALL.changed(noise={"sigma": 3.0})).results.calls
