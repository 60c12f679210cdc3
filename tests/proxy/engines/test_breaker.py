"""When an engine is asked, and when it is left alone: passes out, verdicts in, in time that is given."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.engines.breaker import (
    Breaker,
    BreakerRules,
    Breakers,
    Pass,
    State,
    Verdict,
    verdict_of,
    verdict_of_error,
)
from scalesim.proxy.errors import (
    UpstreamBroke,
    UpstreamBusy,
    UpstreamSilent,
    UpstreamTimedOut,
    UpstreamUnreachable,
)

RULES = BreakerRules(
    failures_in_a_row=3,
    share=0.5,
    window_s=10.0,
    least_calls=8,
    rest_s=2.0,
    longest_rest_s=8.0,
    trials=1,
    trials_to_close=3,
    trial_s=5.0,
)
A, B = EngineId("a"), EngineId("b")


def call(breaker: Breaker, at: float, verdict: Verdict) -> bool:
    given_pass = breaker.begin(at)
    assert given_pass is not None
    return breaker.end(given_pass, at, verdict)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(RULES)
    for _ in range(RULES.failures_in_a_row):
        call(breaker, at, Verdict.FAILED)
    assert breaker.state(at) is State.OPEN
    return breaker


def test_failures_in_a_row_open_it_and_nobody_is_sent_there() -> None:
    breaker = Breaker(RULES)
    assert not call(breaker, 0, Verdict.FAILED)
    assert not call(breaker, 0, Verdict.FAILED)
    assert call(breaker, 0, Verdict.FAILED)
    assert breaker.state(1.9) is State.OPEN
    assert not breaker.admits(1.9)
    assert breaker.begin(1.9) is None
    assert breaker.retry_after_s(0.5) == 1.5


def test_a_good_call_ends_the_row() -> None:
    breaker = Breaker(RULES)
    for _ in range(2):
        call(breaker, 0, Verdict.FAILED)
        call(breaker, 0, Verdict.FAILED)
        call(breaker, 0, Verdict.GOOD)
    assert breaker.state(0) is State.CLOSED


def test_clients_that_leave_and_engines_that_are_busy_say_nothing() -> None:
    breaker = Breaker(RULES)
    for _ in range(100):
        call(breaker, 0, Verdict.NOTHING)
    assert breaker.state(0) is State.CLOSED
    call(breaker, 0, Verdict.FAILED)
    call(breaker, 0, Verdict.NOTHING)
    call(breaker, 0, Verdict.FAILED)
    call(breaker, 0, Verdict.NOTHING)
    assert call(breaker, 0, Verdict.FAILED)


def test_a_share_of_failures_opens_it_without_a_row() -> None:
    breaker = Breaker(RULES)
    for at in range(3):
        call(breaker, at, Verdict.FAILED)
        call(breaker, at, Verdict.GOOD)
    call(breaker, 3, Verdict.GOOD)
    assert call(breaker, 3, Verdict.FAILED)
    assert breaker.state(3) is State.OPEN


def test_few_calls_have_no_share() -> None:
    breaker = Breaker(RULES)
    for at in range(3):
        call(breaker, at, Verdict.FAILED)
        call(breaker, at, Verdict.GOOD)
    assert breaker.state(3) is State.CLOSED


def test_what_lies_before_the_window_is_forgotten() -> None:
    breaker = Breaker(RULES)
    for _ in range(3):
        call(breaker, 0, Verdict.FAILED)
        call(breaker, 0, Verdict.GOOD)
    call(breaker, 11, Verdict.GOOD)
    call(breaker, 11, Verdict.FAILED)
    assert breaker.state(11) is State.CLOSED


def test_one_clients_poisoned_requests_open_nothing_while_others_are_served() -> None:
    breaker = Breaker(RULES)
    for at in range(40):
        call(breaker, at / 10, Verdict.WRONG)
        call(breaker, at / 10, Verdict.GOOD)
        call(breaker, at / 10, Verdict.GOOD)
    assert breaker.state(4) is State.CLOSED


def test_an_engine_that_answers_nothing_but_500_is_opened() -> None:
    breaker = Breaker(RULES)
    for _ in range(7):
        assert not call(breaker, 0, Verdict.WRONG)
    assert call(breaker, 0, Verdict.WRONG)


def test_after_its_rest_one_call_tries_it() -> None:
    breaker = opened()
    assert breaker.state(2) is State.HALF_OPEN
    assert breaker.begin(2) is not None
    assert not breaker.admits(2)
    assert breaker.begin(2) is None


def test_each_success_lets_one_more_try_until_it_is_closed() -> None:
    breaker = opened()
    first = breaker.begin(2)
    assert first is not None
    assert not breaker.end(first, 2, Verdict.GOOD)
    second, third = breaker.begin(2), breaker.begin(2)
    assert second is not None
    assert third is not None
    assert breaker.begin(2) is None
    assert not breaker.end(second, 3, Verdict.GOOD)
    assert breaker.end(third, 3, Verdict.GOOD)
    assert breaker.state(3) is State.CLOSED
    assert all(breaker.begin(3) for _ in range(100))


def test_a_failed_trial_opens_it_for_twice_as_long_and_no_longer_than_allowed() -> None:
    breaker, at = opened(), 0.0
    for rest_s in (2.0, 4.0, 8.0, 8.0):
        assert breaker.begin(at + rest_s - 0.1) is None
        at += rest_s
        assert call(breaker, at, Verdict.FAILED)
    for _ in range(RULES.trials_to_close):
        call(breaker, at + 8, Verdict.GOOD)
    assert breaker.state(at + 8) is State.CLOSED
    for _ in range(3):
        call(breaker, at + 8, Verdict.FAILED)
    assert breaker.retry_after_s(at + 8) == RULES.rest_s


def test_a_trial_whose_client_leaves_makes_room_for_another() -> None:
    breaker = opened()
    assert not call(breaker, 2, Verdict.NOTHING)
    assert breaker.state(2) is State.HALF_OPEN
    assert breaker.begin(2) is not None


def test_a_trial_that_takes_long_does_not_keep_others_from_trying_and_still_counts() -> None:
    breaker = opened()
    slow = breaker.begin(2)
    assert slow is not None
    assert not breaker.admits(6.9)
    assert breaker.admits(7)
    for _ in range(2):
        call(breaker, 7, Verdict.GOOD)
    assert breaker.end(slow, 8, Verdict.GOOD)
    assert breaker.state(8) is State.CLOSED


def test_what_began_before_it_opened_says_nothing_of_what_came_after() -> None:
    breaker = Breaker(RULES)
    old = [breaker.begin(0) for _ in range(6)]
    for one in old[:3]:
        assert one is not None
        breaker.end(one, 0, Verdict.FAILED)
    trial = breaker.begin(2)
    assert trial is not None
    for one, verdict in zip(old[3:], (Verdict.FAILED, Verdict.GOOD, Verdict.GOOD), strict=True):
        assert one is not None
        assert not breaker.end(one, 2, verdict)
    assert breaker.state(2) is State.HALF_OPEN
    assert not breaker.admits(2)


def test_an_answer_that_breaks_off_after_its_head_is_a_failure() -> None:
    breaker = Breaker(RULES)
    passes = [breaker.begin(0) for _ in range(3)]
    for one in passes:
        assert one is not None
        breaker.end(one, 0, Verdict.GOOD)
    changed = [breaker.broke(one, 1) for one in passes if one is not None]
    assert changed == [False, False, True]


def test_a_trial_whose_answer_breaks_off_opens_it_again() -> None:
    breaker = opened()
    trial = breaker.begin(2)
    assert trial is not None
    breaker.end(trial, 2, Verdict.GOOD)
    assert breaker.broke(trial, 3)
    assert breaker.state(3) is State.OPEN


def test_an_engine_that_is_known_to_be_back_is_tried_at_once_but_not_by_all() -> None:
    breaker = opened()
    breaker.returned(1)
    assert breaker.begin(1) is not None
    assert breaker.begin(1) is None
    closed = Breaker(RULES)
    closed.returned(1)
    assert closed.state(1) is State.CLOSED


def test_a_status_says_what_the_engine_is() -> None:
    assert [verdict_of(status) for status in (200, 404, 429, 500, 502, 503, 504)] == [
        Verdict.GOOD,
        Verdict.GOOD,
        Verdict.NOTHING,
        Verdict.WRONG,
        Verdict.FAILED,
        Verdict.FAILED,
        Verdict.FAILED,
    ]


def test_an_error_says_what_the_engine_is() -> None:
    assert [
        verdict_of_error(kind("")) for kind in (UpstreamUnreachable, UpstreamTimedOut, UpstreamBroke)
    ] == [Verdict.FAILED] * 3
    assert verdict_of_error(UpstreamSilent("")) is Verdict.WRONG
    assert verdict_of_error(UpstreamBusy("")) is Verdict.NOTHING


def test_engines_are_judged_apart_and_forgotten_when_they_are_removed() -> None:
    breakers = Breakers(RULES)
    for _ in range(3):
        call(breakers.of(A), 0, Verdict.FAILED)
    assert breakers.admitted([A, B], 1) == [B]
    assert breakers.admitted([A, B], 2) == [A, B]
    assert breakers.states(1) == {A: State.OPEN, B: State.CLOSED}
    assert breakers.retry_after_s([A], 1) == 1
    assert breakers.retry_after_s([A, B], 1) == 0
    assert breakers.retry_after_s([], 1) == 0
    breakers.forget(A)
    assert breakers.sizes() == {"breakers": 1}
    assert breakers.admitted([A], 1) == [A]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 3),
            st.sampled_from(["begin", "end", "broke"]),
            st.sampled_from(Verdict),
            st.integers(0, 30),
        ),
        max_size=120,
    )
)
def test_whatever_happens_trials_are_bounded_and_every_engine_is_tried_again(
    steps: list[tuple[float, str, Verdict, int]],
) -> None:
    breaker, at = Breaker(RULES), 0.0
    running: list[Pass] = []
    for passed_s, what, verdict, which in steps:
        at += passed_s
        if what == "begin":
            admitted = breaker.admits(at)
            begun = breaker.begin(at)
            assert (begun is not None) == admitted
            if begun is not None:
                running.append(begun)
        elif running:
            one = running.pop(which % len(running))
            _ = breaker.end(one, at, verdict) if what == "end" else breaker.broke(one, at)
        latest = max((one.period for one in running), default=0)
        young = [
            one for one in running if one.is_trial and one.period == latest and one.at > at - RULES.trial_s
        ]
        assert len(young) < RULES.trials + RULES.trials_to_close
        assert breaker.retry_after_s(at) <= RULES.longest_rest_s
    assert breaker.admits(at + RULES.longest_rest_s + RULES.trial_s)


def test_other_rules_hold_for_breakers_that_are_there_and_a_rest_that_began_is_as_long_as_it_was() -> None:
    breakers = Breakers(RULES)
    closed, open_ = breakers.of(A), breakers.of(B)
    for _ in range(3):
        call(open_, 0, Verdict.FAILED)
    breakers.configure(BreakerRules(failures_in_a_row=1, rest_s=5.0, longest_rest_s=8.0))
    assert open_.state(2.0) is State.HALF_OPEN
    call(closed, 0, Verdict.FAILED)
    assert (closed.state(4.9), closed.state(5.0)) == (State.OPEN, State.HALF_OPEN)
