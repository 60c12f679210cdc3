"""What is sent again: failures in, decisions out."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.data_plane.retrying import (
    Answered,
    Failure,
    MaybeSent,
    Retrying,
    RetryRules,
    Tried,
    Unsent,
    failure_of,
    is_worth_a_look,
    retry_after_s,
)
from scalesim.proxy.errors import (
    UpstreamBroke,
    UpstreamBusy,
    UpstreamError,
    UpstreamSilent,
    UpstreamTimedOut,
    UpstreamUnreachable,
)

A, B = EngineId("a"), EngineId("b")
POST, GET = Tried("POST"), Tried("GET")


def retrying(**rules: Any) -> Retrying:
    return Retrying(RetryRules(**rules), Random(1))


@pytest.mark.parametrize(
    "failure", [Unsent(), Answered(429), Answered(502), Answered(503), Answered(504, retry_after_s=1)]
)
def test_a_post_that_was_not_received_or_was_refused_is_sent_again(failure: Failure) -> None:
    assert retrying().again(A, 0, POST, failure) is not None


@pytest.mark.parametrize(
    "failure", [MaybeSent(), Answered(504), Answered(500), Answered(400), Answered(404), Answered(501)]
)
def test_a_post_that_may_have_been_received_or_was_judged_is_not(failure: Failure) -> None:
    assert retrying().again(A, 0, POST, failure) is None


@pytest.mark.parametrize("failure", [MaybeSent(), Answered(504)])
def test_what_changes_nothing_is_sent_again_even_if_it_was_received(failure: Failure) -> None:
    assert retrying().again(A, 0, GET, failure) is not None
    assert retrying().again(A, 0, Tried("DELETE"), failure) is None


def test_attempts_are_bounded() -> None:
    rules, tried, count = retrying(attempts=3), POST, 1
    while (again := rules.again(A, 0, tried, Unsent())) is not None:
        tried, count = again.tried, count + 1
    assert count == 3


def test_what_an_engine_says_of_another_try_is_kept() -> None:
    again = retrying().again(A, 0, POST, Answered(503, retry_after_s=3.0))
    assert again is not None
    assert 3.0 <= again.after_s <= 3.1


def test_who_is_to_wait_for_long_is_told_instead() -> None:
    assert retrying(longest_retry_after_s=5).again(A, 0, POST, Answered(429, retry_after_s=5.1)) is None
    assert (
        retrying(longest_retry_after_s=5).again(A, 0, POST, Answered(429, retry_after_s=float("inf"))) is None
    )


def test_all_waits_of_a_call_are_bounded_together() -> None:
    waited = Tried("POST", 2, 8.0)
    assert retrying(longest_wait_s=10).again(A, 0, waited, Answered(503, retry_after_s=3.0)) is None
    assert retrying(longest_wait_s=10).again(A, 0, waited, Answered(503, retry_after_s=1.0)) is not None


def test_another_engine_is_asked_at_once_whatever_the_first_one_said() -> None:
    again = retrying().again(A, 0, POST, Answered(503, retry_after_s=60), others=[B])
    assert again is not None
    assert (again.after_s, again.elsewhere) == (0.0, True)


def test_waits_differ_and_grow_up_to_a_bound() -> None:
    rules = retrying(attempts=20, backoff_s=0.1, longest_backoff_s=0.4, most_saved=1000, longest_wait_s=1000)
    for attempts, bound_s in ((1, 0.1), (2, 0.2), (3, 0.4), (9, 0.4)):
        found = [rules.again(A, 0, Tried("POST", attempts), Unsent()) for _ in range(50)]
        waits = [again.after_s for again in found if again is not None]
        assert len(set(waits)) == 50
        assert 0.8 * bound_s < max(waits) <= bound_s


def test_retries_do_not_storm() -> None:
    rules = retrying(share=0.2, least_per_s=1, most_saved=10)
    sent = 0
    for _ in range(1000):  # all at once, of an engine that refuses everything
        rules.first(A)
        sent += rules.again(A, 0, POST, Unsent()) is not None
    assert 200 <= sent <= 210
    assert rules.again(A, 0, POST, Unsent()) is None
    assert rules.again(B, 0, POST, Unsent()) is not None  # another engine has a budget of its own
    assert rules.again(A, 5, POST, Unsent()) is not None  # and time brings some back


def test_what_goes_elsewhere_is_taken_from_the_budget_of_who_is_asked() -> None:
    rules = retrying(share=0, least_per_s=0, most_saved=1)
    assert rules.again(A, 0, POST, Unsent(), others=[B]) is not None
    assert rules.again(A, 0, POST, Unsent(), others=[B]) is None
    assert rules.again(A, 0, POST, Unsent()) is not None


def test_what_is_refused_by_the_rules_costs_no_budget() -> None:
    rules = retrying(share=0, least_per_s=0, most_saved=1)
    assert rules.again(A, 0, POST, MaybeSent()) is None
    assert rules.again(A, 0, POST, Answered(429, retry_after_s=99)) is None
    assert rules.again(A, 0, POST, Unsent()) is not None


def test_budgets_of_removed_engines_are_forgotten() -> None:
    rules = retrying()
    rules.first(A)
    assert rules.sizes() == {"retry_budgets": 1}
    rules.forget(A)
    assert rules.sizes() == {"retry_budgets": 0}


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (UpstreamUnreachable("refused"), Unsent()),
        (UpstreamTimedOut("no connection"), Unsent()),
        (UpstreamBusy("no connection is free"), Unsent()),
        (UpstreamBroke("half"), MaybeSent()),
        (UpstreamSilent("nothing"), MaybeSent()),
        (UpstreamError("whatever comes to be added"), MaybeSent()),
    ],
)
def test_only_what_certainly_was_not_sent_counts_as_unsent(error: UpstreamError, failure: Failure) -> None:
    assert failure_of(error) == failure


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"3", 3.0),
        (b"0.5", 0.5),
        (b"0", 0.0),
        (b"Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (b"1e999", float("inf")),
        (b"-1", None),
        (b"nan", None),
        (b"soon", None),
        (b"", None),
        (b"\xff", None),
        (b"Thu, 99 Jan 1970 00:16:50 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes, seconds: float | None) -> None:
    assert retry_after_s([(b"Server", b"x"), (b"Retry-After", value)], wall_s=1000.0) == seconds


def test_milliseconds_go_before_seconds() -> None:
    assert retry_after_s([(b"retry-after", b"3"), (b"retry-after-ms", b"250")], 0) == 0.25
    assert retry_after_s([(b"retry-after", b"3"), (b"retry-after-ms", b"x")], 0) == 3
    assert retry_after_s([], 0) is None


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_no_value_of_an_engine_breaks_it(value: bytes) -> None:
    said = retry_after_s([(b"retry-after", value)], 1000.0)
    assert said is None or said >= 0


def test_only_answers_that_may_be_retried_are_looked_at() -> None:
    assert [status for status in range(100, 600) if is_worth_a_look(status)] == [429, 502, 503, 504]
