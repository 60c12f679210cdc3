from __future__ import annotations

from scalesim.workloads.builds import AdapterRoom, Conditions, Flavour
from scalesim.workloads.configurations import ALL_PARTS, passes
from scalesim.workloads.memory_configurations import (
    SEARCHED,
    WITH_HOST_TIER,
    WITHOUT_HOST_TIER,
    configurations,
    reference_first,
    usual,
)
from scalesim.workloads.program import Told
from scalesim.workloads.servers import Installation

CONDITIONS = Conditions(AdapterRoom(6, 24, 8))


def test_the_reference_is_hicache_and_plays_in_every_pass_of_three_engines() -> None:
    names = reference_first(tuple(WITH_HOST_TIER))
    groups = passes(names, 3, None, WITH_HOST_TIER, CONDITIONS)
    assert [group[0].name for group in groups] == ["hicache"] * len(groups)
    assert all(len({lane.engine for lane in group}) == len(group) <= 3 for group in groups)
    assert {lane.name for group in groups for lane in group} == set(WITH_HOST_TIER)


def test_without_hicache_the_first_is_the_reference() -> None:
    assert reference_first(("stock", "order")) == ("stock", "order")
    assert reference_first(("stock", "hicache", "all")) == ("hicache", "stock", "all")


def test_only_stock_has_no_host_tier_where_there_is_one_and_nobody_has_where_there_is_none() -> None:
    assert [name for name, one in WITH_HOST_TIER.items() if not one.host_tier] == ["stock"]
    assert not [name for name, one in WITHOUT_HOST_TIER.items() if one.host_tier]
    assert all(one.host_tier and one.flavour is Flavour.STOCK for one in SEARCHED.values())


def test_settings_of_stock_are_played_only_when_named() -> None:
    assert configurations(True) == {**WITH_HOST_TIER, **SEARCHED}
    assert usual(True, "independent") == tuple(WITH_HOST_TIER)
    for scenario in ("independent", "diffusion"):
        assert usual(False, scenario) == tuple(configurations(False)) == tuple(WITHOUT_HOST_TIER)


def test_on_other_scenarios_all_parts_are_compared_together() -> None:
    assert usual(True, "interaction") == usual(True, "diffusion") == ("stock", "hicache", "best", "all")


def test_a_simulation_tells_what_it_has_to_tell_wherever_it_tells_anything() -> None:
    for host_tier in (True, False):
        for name, one in configurations(host_tier, Told.PATH).items():
            assert one.told is (None if name in {"stock", "hicache", "best", *SEARCHED} else Told.PATH)


def test_engines_without_the_proxy_are_stock_and_all_others_are_told_something() -> None:
    for one in (*WITH_HOST_TIER.values(), *WITHOUT_HOST_TIER.values()):
        assert (one.mode is None) == (one.flavour is Flavour.STOCK) == (one.parts is None)
        assert one.told is (None if one.mode is None else Told.EXACT)


def test_every_part_is_one_the_proxy_knows() -> None:
    command = Installation().proxy_command("http://e", 1, 2, "on", ALL_PARTS)
    assert command[-1] == "order,pin,prefixes,adapters,preempt,ready_first,warm_up"
    for one in (*WITH_HOST_TIER.values(), *WITHOUT_HOST_TIER.values()):
        assert set(one.parts or ()) <= set(ALL_PARTS)
