from __future__ import annotations

from scalesim.workloads.builds import AdapterRoom, Conditions, EngineBuild, Flavour, build_of
from scalesim.workloads.links import Link
from scalesim.workloads.memory_configurations import SEARCHED, WITH_HOST_TIER

ROOM = AdapterRoom(slots=6, loaded=24, rank=8)
LINK = Link("paper", 2e7, 0.1, 0.0)


def test_a_flavour_alone_is_an_engine_with_nothing_added() -> None:
    assert build_of(Flavour.STOCK) == EngineBuild(Flavour.STOCK)
    assert build_of(Flavour.STOCK).flags() == []
    assert build_of(Flavour.EXTENDED).flags() == ["--radix-cache-backend", "scalesim"]


def test_all_engines_of_a_measurement_have_the_same_link_and_the_same_room() -> None:
    conditions = Conditions(ROOM, LINK)
    builds = [one.build(conditions) for one in WITH_HOST_TIER.values()]
    assert {build.link for build in builds} == {LINK}
    room = {name: one.build(conditions).adapters for name, one in WITH_HOST_TIER.items()}
    assert {one and one.slots for one in room.values()} == {6}
    # SGLang loads beside computing only with at most two adapters in host memory for each slot.
    assert {name: one.loaded for name, one in room.items() if one and one.loaded != 24} == {"best": 12}


def test_overlap_is_nothing_without_adapters() -> None:
    assert WITH_HOST_TIER["best"].build(Conditions()) == EngineBuild(Flavour.STOCK, host_tier=True)


def test_files_of_different_engines_have_different_names() -> None:
    configurations = [*WITH_HOST_TIER.values(), *SEARCHED.values()]
    builds = {one.build(Conditions(ROOM)) for one in configurations}
    assert len({build.name for build in builds}) == len(builds) == 4 + len(SEARCHED)
    assert "stock-host-overlap-schedule-policy-lpm" in {build.name for build in builds}


def test_settings_of_stock_reach_the_engine_and_change_nothing_else() -> None:
    hicache = WITH_HOST_TIER["hicache"].build(Conditions(ROOM))
    lpm = SEARCHED["lpm"].build(Conditions(ROOM))
    assert lpm.flags() == [*hicache.flags(), "--schedule-policy", "lpm"]
