"""Which requests share an answer: names in, what becomes of them out, in time that is given."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.data_plane.headers import Headers
from scalesim.proxy.data_plane.joining import (
    First,
    Joined,
    JoinRules,
    Joins,
    Kept,
    KeyInUse,
    KeyReused,
    Name,
    Shared,
    name_of,
)
from scalesim.proxy.errors import CallRefused

BODY: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
HEADERS: Headers = [(b"content-type", b"application/json")]


def name(
    *headers: tuple[str, str],
    body: dict[str, object] = BODY,
    target: str = "/v1/x",
    method: str = "POST",
    client: str = "",
) -> Name | None:
    given_headers = [(key.lower().encode(), value.encode()) for key, value in headers]
    return name_of(client, method, target, HEADERS + given_headers, orjson.dumps(body), body)


def keyed(value: str = "k", key: str = "alice", **body: object) -> Name:
    found = name(("Idempotency-Key", value), ("Authorization", f"Bearer {key}"), body={**BODY, **body})
    assert found is not None
    return found


def begin(joins: Joins, of: Name, at: float = 0.0) -> Shared:
    came = joins.come(of, at)
    assert isinstance(came, First)
    return came.call


def finish(joins: Joins, call: Shared, body: bytes = b"answer", at: float = 0.0, status: int = 200) -> None:
    joins.see(call, body)
    joins.ended(call, at, status, [])


def test_what_has_no_key_or_is_streamed_is_nobodys_retry() -> None:
    key = ("Idempotency-Key", "k")
    assert name() is None
    assert name(("X-Stainless-Retry-Count", "1")) is None
    assert name(key, body={**BODY, "stream": True}) is None
    assert name(key, method="GET") is None
    assert name_of("", "POST", "/v1/x", [(b"idempotency-key", b"k")], b"no JSON", None) is None
    assert name(key, body={**BODY, "stream": False}) is not None


def test_a_request_id_counts_only_of_clients_that_tell_their_retries() -> None:
    for header in ("X-Request-ID", "X-Client-Request-Id"):
        assert name((header, "r")) is None
        first, retry = (name((header, "r"), ("X-Stainless-Retry-Count", count)) for count in "01")
        assert first is not None
        assert retry is not None
        assert (first.key, first.is_retry, retry.is_retry) == (retry.key, False, True)


def test_keys_that_are_absurd_are_refused() -> None:
    with pytest.raises(CallRefused, match="256 bytes"):
        name(("Idempotency-Key", "k" * 256))
    with pytest.raises(CallRefused, match="twice"):
        name(("Idempotency-Key", "k"), ("Idempotency-Key", "j"))
    assert name(("X-Request-ID", "k" * 256), ("X-Stainless-Retry-Count", "1")) is None


@pytest.mark.parametrize(
    "other",
    [
        keyed("j"),
        keyed(key="mallory"),
        name(("Idempotency-Key", "k")),
        name(("X-Request-ID", "k"), ("Authorization", "Bearer alice"), ("X-Stainless-Retry-Count", "1")),
        name(("Idempotency-Key", "k"), ("X-API-Key", "Bearer alice")),
        name(("Idempotency-Key", "k"), ("Authorization", "Bearer alice"), client="another"),
    ],
)
def test_another_key_or_another_api_key_is_another_request(other: Name | None) -> None:
    assert other is not None
    joins = Joins(JoinRules())
    finish(joins, begin(joins, keyed()))
    assert isinstance(joins.come(other, 0), First)


def test_the_same_key_and_request_joins_the_first_and_gets_its_answer() -> None:
    joins = Joins(JoinRules())
    call = begin(joins, keyed())
    assert joins.come(keyed(), 1) == Joined(call)
    joins.see(call, b"ans")
    joins.see(call, b"wer")
    joins.ended(call, 2, 200, [(b"x", b"y")])
    assert call.answer == Kept(200, [(b"x", b"y")], b"answer")
    assert joins.come(keyed(), 3) == call.answer
    assert joins.sizes() == {"joined_running": 0, "joined_alone": 0, "joined_answers": 1, "joined_bytes": 8}


def test_headers_that_differ_from_attempt_to_attempt_do_not_matter() -> None:
    key = ("Idempotency-Key", "k")
    assert name(key, ("traceparent", "1")) == name(key, ("traceparent", "2"))


@pytest.mark.parametrize(
    "changed",
    [
        name(("Idempotency-Key", "k"), body={**BODY, "seed": 1}),
        name(("Idempotency-Key", "k"), target="/v1/y"),
        name(("Idempotency-Key", "k"), ("X-Agent-ID", "bob")),
        name(("Idempotency-Key", "k"), ("X-Simulation-ID", "town")),
        name(("Idempotency-Key", "k"), ("Accept-Encoding", "gzip")),
    ],
)
def test_a_key_that_comes_again_with_another_request_is_refused(changed: Name | None) -> None:
    first = name(("Idempotency-Key", "k"))
    assert first is not None
    assert changed is not None
    joins = Joins(JoinRules())
    call = begin(joins, first)
    with pytest.raises(KeyReused):
        joins.come(changed, 0)
    finish(joins, call)
    with pytest.raises(KeyReused):
        joins.come(changed, 0)


def test_a_request_id_joins_only_retries_of_the_same_request_and_refuses_nothing() -> None:
    def tagged(count: str, **body: object) -> Name:
        found = name(("X-Request-ID", "r"), ("X-Stainless-Retry-Count", count), body={**BODY, **body})
        assert found is not None
        return found

    joins = Joins(JoinRules())
    call = begin(joins, tagged("0"))
    assert joins.come(tagged("0"), 0) is None  # a second sample of the same prompt is a call of its own
    assert joins.come(tagged("1", seed=1), 0) is None
    assert joins.come(tagged("1"), 0) == Joined(call)
    finish(joins, call)
    assert joins.come(tagged("0"), 0) is None
    assert joins.come(tagged("2"), 0) == call.answer


@pytest.mark.parametrize("status", [400, 401, 404, 408, 429, 500, 503, None])
def test_errors_are_not_kept(status: int | None) -> None:
    joins = Joins(JoinRules())
    call = begin(joins, keyed())
    joins.come(keyed(), 0)
    joins.see(call, b"half")
    joins.ended(call, 0, status, [])
    assert (call.runs, call.answer) == (False, None)
    assert joins.sizes()["joined_bytes"] == 0
    assert begin(joins, keyed()) is not call


def test_a_call_goes_on_for_a_while_when_all_its_clients_have_left() -> None:
    joins = Joins(JoinRules(grace_s=10))
    call = begin(joins, keyed())
    joins.come(keyed(), 0)
    joins.leave(call, 1)
    assert call.wanted_until is None
    joins.leave(call, 2)
    assert call.wanted_until == 12
    assert joins.sizes()["joined_alone"] == 1
    assert joins.come(keyed(), 5) == Joined(call)
    assert call.wanted_until is None
    assert joins.sizes()["joined_alone"] == 0
    joins.leave(call, 6)
    assert call.wanted_until == 16


def test_calls_that_run_for_nobody_are_bounded() -> None:
    joins = Joins(JoinRules(grace_s=10, most_alone=1))
    first, second = begin(joins, keyed("1")), begin(joins, keyed("2"))
    joins.leave(first, 0)
    joins.leave(second, 0)
    assert (first.wanted_until, second.wanted_until) == (10, 0)
    joins.ended(second, 0)
    joins.ended(first, 0)
    assert joins.sizes()["joined_alone"] == 0


def test_an_answer_is_kept_for_a_while() -> None:
    joins = Joins(JoinRules(kept_s=60))
    call = begin(joins, keyed())
    finish(joins, call, at=5)
    assert joins.come(keyed(), 64.9) == call.answer
    assert isinstance(joins.come(keyed(), 65), First)
    assert joins.sizes()["joined_answers"] == 0


def test_the_oldest_answers_make_room_for_newer_ones() -> None:
    joins = Joins(JoinRules(most_bytes=20))
    for number in range(3):
        finish(joins, begin(joins, keyed(str(number))), b"x" * 8)
    assert joins.sizes()["joined_bytes"] == 16
    assert isinstance(joins.come(keyed("2"), 0), Kept)
    assert isinstance(joins.come(keyed("0"), 0), First)


def test_an_answer_that_is_too_large_is_its_first_clients_alone() -> None:
    joins = Joins(JoinRules(most_answer_bytes=10))
    call = begin(joins, keyed())
    joins.come(keyed(), 0)
    joins.see(call, b"x" * 11)
    assert not call.is_shared
    with pytest.raises(KeyInUse):
        joins.come(keyed(), 0)
    joins.leave(call, 0)  # who had joined
    joins.leave(call, 1)  # nobody can come back for it, so there is nothing to wait for
    assert call.wanted_until == 1
    joins.see(call, b"x")
    joins.ended(call, 2, 200, [])
    assert set(joins.sizes().values()) == {0}


def test_a_call_whose_answer_becomes_too_large_when_all_have_left_is_wanted_no_longer() -> None:
    joins = Joins(JoinRules(most_answer_bytes=10))
    call = begin(joins, keyed())
    joins.leave(call, 5)
    joins.see(call, b"x" * 11)
    assert call.wanted_until is not None
    assert call.wanted_until <= 5


def test_calls_are_bounded_and_answers_make_room_for_them() -> None:
    joins = Joins(JoinRules(most_calls=2))
    finish(joins, begin(joins, keyed("1")))
    begin(joins, keyed("2"))
    begin(joins, keyed("3"))
    assert joins.come(keyed("4"), 0) is None
    assert joins.sizes()["joined_running"] == 2


def test_who_waits_for_one_answer_is_bounded() -> None:
    joins = Joins(JoinRules(most_clients=2))
    call = begin(joins, keyed())
    joins.come(keyed(), 0)
    with pytest.raises(KeyInUse):
        joins.come(keyed(), 0)
    joins.leave(call, 0)
    assert joins.come(keyed(), 0) == Joined(call)


steps = st.lists(
    st.tuples(
        st.sampled_from(("come", "come", "leave", "see", "end", "fail", "wait")),
        st.integers(0, 5),
        st.integers(0, 30),
    ),
    max_size=200,
)


@settings(deadline=None)
@given(steps)
def test_whatever_happens_tables_are_bounded_and_nobody_gets_anothers_answer(
    history: list[tuple[str, int, int]],
) -> None:
    rules = JoinRules(
        grace_s=2, most_alone=2, kept_s=5, most_bytes=60, most_answer_bytes=25, most_calls=4, most_clients=3
    )
    names = [keyed(str(number // 2), seed=number) for number in range(6)]
    joins, at = Joins(rules), 0.0
    running: dict[Shared, int] = {}
    for what, which, size in history:
        if what == "wait":
            at += size / 10
        elif what == "come":
            try:
                came = joins.come(names[which], at)
            except (KeyReused, KeyInUse):
                continue
            if isinstance(came, Kept):
                assert set(came.body) <= {which}
            elif isinstance(came, First):
                assert came.call not in running
                running[came.call] = 1
            elif isinstance(came, Joined):
                assert came.call.name == names[which]
                assert came.call.runs
                running[came.call] += 1
        elif running:
            call = list(running)[which % len(running)]
            if what == "leave" and running[call]:
                running[call] -= 1
                joins.leave(call, at)
                assert (call.wanted_until is None) == (running[call] > 0)
            elif what == "see":
                joins.see(call, bytes([names.index(call.name)]) * size)
            elif what in ("end", "fail"):
                del running[call]
                joins.ended(call, at, 200 if what == "end" else None, [])
        held = joins.sizes()
        assert held["joined_running"] == len(running)
        assert held["joined_alone"] == sum(not clients for clients in running.values())
        assert held["joined_running"] + held["joined_answers"] <= rules.most_calls
        assert held["joined_bytes"] <= rules.most_bytes
        assert all(clients <= rules.most_clients for clients in running.values())
    for call in running:
        joins.ended(call, at)
    finish(joins, begin(joins, keyed("last"), at + 99), b"", at + 99)
    assert joins.sizes() == {"joined_running": 0, "joined_alone": 0, "joined_answers": 1, "joined_bytes": 0}
