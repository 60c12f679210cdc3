from __future__ import annotations

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.state.places import Engines, Places, home_by_rendezvous
from scalesim.proxy.state.tables import Table, Version

PARTS = {EngineId(f"gpu-{number}"): 1.0 for number in range(4)}
NAMES = list(PARTS)
ENGINES = Engines(PARTS)


def found(table: Table, key: str, engines: Engines) -> EngineId | None:
    told = table.get(key)
    return home_by_rendezvous(key, engines) if told is None else EngineId(told.decode())


def work(places: Places) -> None:
    while places.behind:
        places.work()


def test_only_who_is_not_where_rendezvous_says_is_an_exception() -> None:
    table = Table(1000)
    places = Places(table)
    places.engines_are(ENGINES)
    for number in range(200):
        key = f"town/a{number}"
        usual = home_by_rendezvous(key, ENGINES)
        assert usual is not None
        places.came(key, usual if number % 2 else NAMES[number % 4])
    assert len(table) < 100
    assert all(found(table, f"town/a{number}", ENGINES) for number in range(200))
    places.came("town/a1", home_by_rendezvous("town/a1", ENGINES) or NAMES[0])
    assert table.get("town/a1") is None


def test_agents_stay_found_when_engines_come_and_go() -> None:
    table = Table(1000)
    places = Places(table)
    homes = {f"town/a{number}": NAMES[number % 3] for number in range(900)}
    for parts in (PARTS, dict.fromkeys(NAMES[:3], 1.0), {**PARTS, NAMES[0]: 5.0}):
        places.engines_are(Engines(parts))
        for key, home in homes.items():
            places.came(key, home)
        work(places)
        assert all(found(table, key, Engines(parts)) == home for key, home in homes.items())
    places.engines_are(ENGINES)
    work(places)
    assert all(found(table, key, ENGINES) == home for key, home in homes.items())


def test_all_members_put_a_key_on_the_same_engine_in_whatever_order_they_know_them() -> None:
    back = Engines(dict(reversed(PARTS.items())))
    assert all(
        home_by_rendezvous(f"k{number}", ENGINES) == home_by_rendezvous(f"k{number}", back)
        for number in range(100)
    )
    assert home_by_rendezvous("k", Engines()) is None


def test_who_left_is_no_exception_any_more_and_homes_are_bounded() -> None:
    table = Table(1000)
    places = Places(table, limit=50)
    for number in range(200):
        places.came(f"town/a{number}", NAMES[0])
    assert len(places) == 50
    assert len(table) == 50
    places.left("town/a199")
    places.simulation_left("town/")
    assert (len(places), len(table)) == (0, 0)


def test_what_nobody_knows_of_is_taken_out_of_the_table() -> None:
    table = Table(10)
    table.put("old", b"gpu-1")
    places = Places(table)
    places.came("new", NAMES[1])
    places.keep_no_others()
    assert list(table.fields()) == ["new"]


def test_an_agent_that_calls_several_models_has_a_place_for_each_among_the_engines_that_serve_it() -> None:
    engines = Engines(PARTS, {name: frozenset({"big" if name == NAMES[3] else "small"}) for name in NAMES})
    table = Table(100)
    places = Places(table)
    places.engines_are(engines)
    for number in range(20):
        assert home_by_rendezvous(f"town/a{number}\nbig", engines) == NAMES[3]
        assert home_by_rendezvous(f"town/a{number}\nsmall", engines) in NAMES[:3]
        places.came(f"town/a{number}\nbig", NAMES[3])
    assert not table.fields()
    table.put("town/a1\nsmall", b"gpu-0")
    table.put("town/gone\nsmall", b"gpu-0")
    places.keep_no_others()
    assert list(table.fields()) == ["town/a1\nsmall"]


def test_what_another_leader_wrote_is_looked_at_in_pieces_and_put_right() -> None:
    table = Table(1000)
    places = Places(table)
    places.engines_are(ENGINES)
    table.put("town/a1", b"gpu-9")  # written before it moved
    for number in range(300):
        places.restored(f"town/a{number}", NAMES[0])
    places.keep_no_others()
    assert places.behind
    work(places)
    assert {found(table, f"town/a{number}", ENGINES) for number in range(300)} == {NAMES[0]}
    assert not places.behind


def test_what_has_grown_old_is_cleared_and_the_table_stays_as_another_wrote_it() -> None:
    table = Table(1000)
    places = Places(table)
    places.engines_are(ENGINES)
    usual = home_by_rendezvous("town/Ann", ENGINES)
    assert usual is not None
    elsewhere = next(name for name in NAMES if name != usual)
    places.came("town/Ann", usual, drawn=True)
    places.came("town/Zoe", NAMES[0], drawn=True)
    table.replace(Version(2, 1), {"town/Ann": elsewhere.encode()})  # she moved, and Zoe left
    places.engines_are(Engines(dict.fromkeys(NAMES[:3], 1.0)))
    places.clear()
    assert (len(places), places.behind) == (0, False)
    work(places)
    assert dict(table.fields()) == {"town/Ann": elsewhere.encode()}
    places.engines_are(ENGINES)
    places.restored("town/Ann", elsewhere)
    places.restored("town/Bob", home_by_rendezvous("town/Bob", ENGINES) or NAMES[0])
    places.keep_no_others()
    work(places)
    assert dict(table.fields()) == {"town/Ann": elsewhere.encode()}
    places.came("town/Ann", usual)
    assert not table.fields(), "nobody is said to draw her any more"


def test_where_those_are_that_others_draw_is_always_told() -> None:
    table = Table(1000)
    places = Places(table)
    places.engines_are(ENGINES)
    usual = home_by_rendezvous("town/Ann", ENGINES)
    assert usual is not None
    assert places.came("town/Ann", usual)
    assert table.get("town/Ann") is None
    assert places.came("town/Ann", usual, drawn=True), "what was no exception is one now"
    assert not places.came("town/Ann", usual, drawn=True)
    places.restored("town/Bob", NAMES[0], drawn=True)
    work(places)
    assert set(table.fields()) == {"town/Ann", "town/Bob"}
    places.simulation_left("town/")
    places.came("town/Ann", usual)
    assert not table.fields(), "of who left nothing is known"
