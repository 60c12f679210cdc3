from __future__ import annotations

import pytest

from scalesim.workloads.builds import EngineBuild, Flavour
from scalesim.workloads.configurations import (
    ALL_PARTS,
    CONFIGURATIONS,
    NAMES,
    NO_CONDITIONS,
    USUAL,
    configurations_for,
    passes,
)
from scalesim.workloads.noise import Noise
from scalesim.workloads.program import Impossible, Told, Wishes
from scalesim.workloads.scenarios import scenario


def names_of(groups: object) -> list[list[str]]:
    return [[lane.name for lane in group] for group in groups]  # type: ignore[attr-defined]


def test_the_reference_plays_in_every_pass() -> None:
    groups = passes(["stock", "off", "on", "on-nohints"], 3)
    assert names_of(groups) == [["stock", "off", "on"], ["stock", "on-nohints"]]


def test_with_room_for_all_there_is_one_pass() -> None:
    assert names_of(passes(["stock", "off", "on", "on-nohints"], 4)) == [["stock", "off", "on", "on-nohints"]]


def test_two_engines_make_pairs() -> None:
    assert names_of(passes(["stock", "off", "on"], 2)) == [["stock", "off"], ["stock", "on"]]


def test_lanes_of_a_pass_have_an_engine_each_and_passes_share_them() -> None:
    first, second = passes(["stock", "off", "on", "on-nohints"], 3)
    assert [lane.engine for lane in first] == [
        (EngineBuild(Flavour.STOCK), 0),
        (EngineBuild(Flavour.EXTENDED), 0),
        (EngineBuild(Flavour.EXTENDED), 1),
    ]
    assert [lane.engine for lane in second] == [
        (EngineBuild(Flavour.STOCK), 0),
        (EngineBuild(Flavour.EXTENDED), 0),
    ]


def test_one_running_engine_of_a_flavour_is_used_by_one_lane_at_a_time() -> None:
    groups = passes(["stock", "off", "on"], 3, {Flavour.EXTENDED: 1})
    assert names_of(groups) == [["stock", "off"], ["stock", "on"]]


def test_a_configuration_alone_needs_one_engine() -> None:
    assert names_of(passes(["on"], 1)) == [["on"]]


def test_what_cannot_be_up_side_by_side_is_refused() -> None:
    with pytest.raises(Impossible, match="stock and another configuration need an engine each"):
        passes(["stock", "on"], 1)
    with pytest.raises(Impossible):
        passes(["off", "on"], 3, {Flavour.EXTENDED: 1})


@pytest.mark.parametrize("names", [["stock", "fast"], [], ["on", "on"]])
def test_unknown_no_and_repeated_names_are_refused(names: list[str]) -> None:
    with pytest.raises(Impossible):
        passes(names, 3)


def test_only_stock_goes_without_the_proxy_and_only_those_that_say_so_are_told_something() -> None:
    assert [name for name, one in CONFIGURATIONS.items() if one.mode is None] == ["stock"]
    assert CONFIGURATIONS["stock"].flavour is Flavour.STOCK
    told = {name: one.told for name, one in CONFIGURATIONS.items() if one.told is not None}
    assert told == {
        "on": Told.EXACT,
        **{told.value: told for told in (Told.TICKS, Told.PLAN, Told.SPATIAL, Told.PATH, Told.ANSWERS)},
    }


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("independent", Told.PLAN),
        ("interaction", Told.SPATIAL),
        ("diffusion", Told.PATH),
        ("rhythm", Told.TICKS),
    ],
)
def test_own_is_what_the_scenario_itself_has_to_tell(name: str, own: Told) -> None:
    program = scenario(name).generate(Wishes(agents=1, steps=1))
    known = configurations_for(program)
    assert known["own"].told is own
    assert own.value in known["own"].about
    assert known["own"].build(NO_CONDITIONS) == known["on"].build(NO_CONDITIONS)


def test_there_is_a_noisy_one_only_with_errors_to_tell() -> None:
    program = scenario("independent").generate(Wishes(agents=1, steps=1))
    assert "noisy" not in configurations_for(program)
    noisy = configurations_for(program, Noise(sigma=1))["noisy"]
    assert (noisy.told, noisy.noise) == (Told.EXACT, Noise(sigma=1))


def test_every_name_on_offer_is_one_that_can_be_played() -> None:
    program = scenario("independent").generate(Wishes(agents=1, steps=1))
    assert set(NAMES) == set(configurations_for(program, Noise()))
    assert set(USUAL) < set(NAMES)


def test_nothing_is_computed_ahead_while_other_lanes_have_their_turn() -> None:
    with_parts = {name: set(one.parts) for name, one in CONFIGURATIONS.items() if one.parts is not None}
    assert with_parts.keys() == {name for name, one in CONFIGURATIONS.items() if one.mode == "on"}
    assert all(parts == set(ALL_PARTS) - {"warm_up"} for parts in with_parts.values())
