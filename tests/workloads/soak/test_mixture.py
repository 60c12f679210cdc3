from __future__ import annotations

from collections import Counter
from itertools import islice

from scalesim.workloads.checked_calls import RIGHT, Ending, Kind
from scalesim.workloads.soak.mixture import SHARES, Sort, is_as_it_should_be, turns


def test_the_same_seed_asks_for_the_same_and_another_client_for_something_else() -> None:
    first, again, other = (list(islice(turns("proxy", 1, client, 40), 20)) for client in (0, 0, 1))
    assert first == again
    assert first != other


def test_all_sorts_come_about_as_often_as_they_should() -> None:
    counts = Counter(turn.sort for turn in islice(turns("proxy", 1, 0, 40), 2000))
    assert sum(SHARES.values()) == 100
    for sort, share in SHARES.items():
        assert share / 2 < counts[sort] / 20 < share * 2


def test_long_prompts_are_long() -> None:
    long = next(turn for turn in turns("proxy", 1, 0, 40) if turn.sort is Sort.LONG)
    assert 60_000 < len(long.call.request) < 70_000


def test_an_agent_is_of_one_simulation_whoever_speaks_for_it() -> None:
    said: dict[int, set[bytes]] = {}
    for client in range(3):
        for turn in islice(turns("proxy", 1, client, 10), 100):
            if turn.agent is not None:
                head = turn.call.request.partition(b"\r\n\r\n")[0]
                lines = [line for line in head.split(b"\r\n") if line.startswith(b"x-simulation-id")]
                said.setdefault(turn.agent, set()).add(b"".join(lines))
    assert sorted(said) == list(range(10))
    assert all(len(ones) == 1 for ones in said.values())
    assert {b"x-simulation-id: soak-1"} in said.values()
    assert {b""} in said.values()


def test_each_sort_has_an_ending_of_its_own() -> None:
    by_sort = {turn.sort: turn for turn in islice(turns("proxy", 1, 0, 40), 300)}
    assert by_sort.keys() == set(Sort)
    for sort, turn in by_sort.items():
        assert is_as_it_should_be(turn, RIGHT) == (
            sort not in (Sort.WRONG, Sort.LEAVES_BEFORE, Sort.LEAVES_AMID)
        )
        assert is_as_it_should_be(turn, Ending(Kind.REFUSED, status=400)) == (sort is Sort.WRONG)
        for status in (502, 503):
            assert not is_as_it_should_be(turn, Ending(Kind.REFUSED, status=status))
        for kind in (Kind.WRONG, Kind.BROKEN, Kind.LATE, Kind.UNREACHED):
            assert not is_as_it_should_be(turn, Ending(kind))
