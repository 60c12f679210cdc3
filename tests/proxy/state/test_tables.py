from __future__ import annotations

from random import Random

from scalesim.proxy.state.tables import Changes, Table, Version


def test_only_what_changed_is_written() -> None:
    table = Table(10)
    table.put("a", b"1")
    table.put("b", b"2")
    assert table.take(10) == Changes(Version(0, 1), {"a": b"1", "b": b"2"})
    table.put("a", b"1")
    assert table.take(10) is None
    table.put("b", None)
    assert table.take(10) == Changes(Version(0, 2), {"b": None})


def test_who_follows_has_what_the_leader_has() -> None:
    random, leader, follower = Random(1), Table(50), Table(50)
    leader.write_anew(7)
    follower.version = Version(7)
    for _ in range(200):
        for _ in range(random.randrange(4)):
            value = random.choice([None, b"1", b"2"])
            name = f"f{random.randrange(60)}"
            if value is not None or leader.get(name) is not None:
                leader.put(name, value)
        while (changes := leader.take(2)) is not None:
            follower.apply(changes)
        assert follower.fields() == leader.fields()
        assert follower.version == leader.version
    assert len(leader) <= 50


def test_a_whole_table_takes_out_what_is_not_in_it() -> None:
    table = Table(10)
    table.put("a", b"1")
    table.put("b", b"2")
    assert table.replace(Version(9, 4), {"b": b"2", "c": b"3"}) == {"a": None, "c": b"3"}
    assert table.fields() == {"b": b"2", "c": b"3"}
    assert table.version == Version(9, 4)


def test_what_could_not_be_written_is_written_later_under_another_number() -> None:
    table = Table(10)
    table.put("z", b"0")
    table.take(10)
    table.put("a", b"1")
    lost = table.take(10)
    assert lost is not None
    table.put("b", b"2")
    table.put("a", b"3")
    table.put_back(lost)
    assert table.take(10) == Changes(Version(0, 3), {"a": b"3", "b": b"2"})


def test_it_is_bounded() -> None:
    table = Table(2)
    for name in "abcd":
        table.put(name, b"1")
    assert len(table) == 2
    assert table.refused == 2
    table.put("a", b"2")
    assert table.get("a") == b"2"


def test_written_anew_all_of_it_is_in_the_first_version() -> None:
    table = Table(10)
    table.put("a", b"1")
    table.take(10)
    table.write_anew(99)
    assert table.take(10) == Changes(Version(99, 1), {"a": b"1"})


def test_a_life_begins_with_what_is_surely_written() -> None:
    table = Table(10)
    table.put("a", b"1")
    table.write_anew(7)
    first = table.take(10)
    assert first is not None
    table.put_back(first)
    table.put("b", b"2")
    assert table.take(10) == Changes(Version(7, 1), {"a": b"1", "b": b"2"})


def test_what_may_not_have_been_written_makes_a_table_unsure_until_the_whole_of_it_is_read() -> None:
    table = Table(10)
    table.write_anew(7)
    for name in ("a", "b"):
        table.put(name, b"1")
        piece = table.take(1)
        assert piece is not None
    table.put_back(piece)
    assert table.is_unsure
    table.replace(Version(7, 2), {"a": b"1", "c": b"3"})
    assert not table.is_unsure
    assert dict(table.fields()) == {"a": b"1", "c": b"3"}
    assert table.take(10) is None
