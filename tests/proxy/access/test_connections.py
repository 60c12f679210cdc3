from __future__ import annotations

from scalesim.proxy.access.connections import (
    BODY_BYTES_PER_S,
    BODY_S,
    HEAD_S,
    Connections,
    body_is_late,
    head_is_late,
)


def test_one_address_cannot_have_all_connections() -> None:
    connections = Connections(most=3, most_of_one=2)
    assert [connections.open("a") is None for _ in range(3)] == [True, True, False]
    assert connections.open("b") is None
    assert "takes no more" in (connections.open("c") or "")
    assert (len(connections), connections.origins) == (3, 2)


def test_what_was_closed_is_free_again_and_forgotten() -> None:
    connections = Connections(most=1, most_of_one=1)
    for origin in ("a", "b", "c"):
        assert connections.open(origin) is None
        connections.close(origin)
    assert (len(connections), connections.origins) == (0, 0)


def test_refusals_are_not_kept() -> None:
    connections = Connections(most=0, most_of_one=1)
    for number in range(100):
        assert connections.open(str(number)) is not None
    assert (len(connections), connections.origins) == (0, 0)


def test_a_head_has_its_time_and_a_body_more_as_long_as_it_comes() -> None:
    assert (head_is_late(HEAD_S), head_is_late(HEAD_S + 1)) == (False, True)
    assert (body_is_late(BODY_S, 0), body_is_late(BODY_S + 1, 0)) == (False, True)
    assert not body_is_late(BODY_S + 60, 60 * BODY_BYTES_PER_S)
    assert body_is_late(BODY_S + 61, 60 * BODY_BYTES_PER_S)


def test_other_limits_hold_for_connections_that_come() -> None:
    connections = Connections(most=1, most_of_one=1)
    assert connections.open("a") is None
    connections.limit(most=3, most_of_one=2)
    assert connections.open("a") is None
    connections.limit(most=1, most_of_one=1)
    assert "takes no more" in (connections.open("b") or "")
    assert len(connections) == 2
