from collections import Counter

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.core.placement import least_loaded, rendezvous, round_robin
from scalesim.proxy.core.placing import Asked, Bounds, Placed, Site, Why


def _sites(*running: int) -> list[Site]:
    return [Site(EngineId("abcd"[place]), running=count) for place, count in enumerate(running)]


def test_round_robin_takes_one_after_another() -> None:
    places = [
        round_robin.place(Asked("Ann", turn=turn), _sites(9, 0, 0), Bounds()).engine for turn in range(4)
    ]
    assert places == ["a", "b", "c", "a"]


def test_least_loaded_weighs_calls_by_size() -> None:
    sites = _sites(3, 2, 4)
    assert least_loaded.place(Asked("Ann"), sites, Bounds()) == Placed(EngineId("b"), Why.RULE)
    sites[2].part = 3.0
    assert least_loaded.place(Asked("Ann"), sites, Bounds()) == Placed(EngineId("c"), Why.RULE)


def test_rendezvous_looks_at_names_alone() -> None:
    def places(sites: list[Site]) -> list[EngineId]:
        return [rendezvous.place(Asked(f"a-{n}"), sites, Bounds()).engine for n in range(100)]

    assert places(_sites(0, 0, 0, 0)) == places(_sites(90, 0, 5, 0))
    assert len(Counter(places(_sites(0, 0, 0, 0)))) == 4
