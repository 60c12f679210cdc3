"""Whoever orders a cache wrongly on purpose, the guarded one is not much worse than recency."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core import guard as guards
from scalesim.proxy.core import shadow_cache
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    Event,
    Idled,
    Settled,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.guard import Guard, GuardState, InCharge
from scalesim.proxy.core.model import AgentName, CallId, Capabilities, Clock, Outcome, Owner, Usage

from .conversation import BOTH, GPU, TOWN

Order = Sequence[tuple[Owner, float]]


def _owners(number: int) -> list[Owner]:
    return [Owner(f"agent-{index:03}") for index in range(number)]


def _in_order(owners: Sequence[Owner]) -> Order:
    return tuple((owner, float(place)) for place, owner in enumerate(owners))


class _Watched:
    """A guard whose promise is checked after each call."""

    def __init__(self, capacity: int, fits: int) -> None:
        self.guard = Guard(capacity)
        self.fits = fits
        self.switches: list[GuardState] = []
        self._best = 0.0
        """The least that the guarded cache was behind, less what it may lose by calls alone."""

    @property
    def behind(self) -> int:
        state = self.guard.state()
        return state.hits_lru - state.hits_guarded

    def call(self, owner: Owner, size: int = 1) -> None:
        before = self.guard.in_charge
        self.guard.called(owner, size)
        self.note(before)

    def use(self, owner: Owner, size: int = 1) -> None:
        self.call(owner, size)
        before = self.guard.in_charge
        self.guard.ended(owner)
        self.note(before)

    def note(self, before: InCharge) -> None:
        state = self.guard.state()
        if self.guard.in_charge is not before:
            self.switches.append(state)
        paid = self.behind - state.calls / 100
        assert paid <= self.fits + 1e-6, "from the beginning"
        assert paid - self._best <= 2 * self.fits + 1e-6, "from any call on"
        self._best = min(self._best, paid)


class _Foretold:
    """A history of calls, and for each moment of it who calls next."""

    def __init__(self, calls: Sequence[Owner]) -> None:
        self.calls = calls
        self._places: dict[Owner, list[int]] = {}
        for place, owner in enumerate(calls):
            self._places.setdefault(owner, []).append(place)

    def order(self, now: int) -> Order:
        """Who calls after call number `now`, the next one first, each with how many calls away that is."""
        away = []
        for owner, places in self._places.items():
            following = bisect_right(places, now)
            if following < len(places):
                away.append((owner, float(places[following] - now)))
        return sorted(away, key=lambda pair: pair[1])


def _reversed(order: Order) -> Order:
    return tuple((owner, away) for (owner, _), (_, away) in zip(reversed(order), order, strict=True))


def _crowd(owners: int, calls: int, seed: int) -> list[Owner]:
    """Most calls are by a few, who they are changes: recency does well, and foresight better."""
    rng, everybody = random.Random(seed), _owners(owners)
    history: list[Owner] = []
    while len(history) < calls:
        few = rng.sample(everybody, max(2, owners // 3))
        for _ in range(rng.randrange(50, 400)):
            history.append(rng.choice(few) if rng.random() < 0.8 else rng.choice(everybody))
    return history[:calls]


def _rounds(owners: int, calls: int) -> list[Owner]:
    """Everybody in turn: recency never hits."""
    everybody = _owners(owners)
    return [everybody[place % owners] for place in range(calls)]


Telling = Callable[[Order, GuardState], Order]


def _honest(order: Order, state: GuardState) -> Order:
    return order


def _lying(order: Order, state: GuardState) -> Order:
    return _reversed(order)


def _flipping(order: Order, state: GuardState) -> Order:
    """Right as long as nobody listens."""
    return order if state.in_charge is InCharge.LRU else _reversed(order)


def _play(history: Sequence[Owner], fits: int, tell: Telling, told_every: int = 4) -> _Watched:
    watched, foretold = _Watched(fits, fits), _Foretold(history)
    for now, owner in enumerate(history):
        watched.use(owner)
        if now % told_every == 0:
            watched.guard.ordered(tell(foretold.order(now), watched.guard.state()))
    return watched


# What it promises

LONG = 20_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tell", [_lying, _flipping])
def test_a_long_history_of_lies_costs_no_more_than_promised(tell: Telling, seed: int) -> None:
    watched = _play(_crowd(48, LONG, seed), 12, tell)
    state = watched.guard.state()
    assert state.calls == LONG
    if tell is _lying:
        assert state.hits_distance < state.hits_lru - 12 - LONG / 100, "distance alone would have broken it"


@pytest.mark.parametrize("fits", [1, 2, 5, 12, 40])
@pytest.mark.parametrize("tell", [_lying, _flipping])
def test_lies_cost_no_more_than_promised_whatever_fits(tell: Telling, fits: int) -> None:
    _play(_crowd(4 * fits + 2, 1500, fits), fits, tell)


@settings(max_examples=20)
@given(
    st.lists(st.sampled_from(_owners(12)), min_size=1, max_size=20).flatmap(
        lambda part: st.lists(st.sampled_from([part, part[::-1], part[: len(part) // 2]]), max_size=20)
    ),
    st.integers(1, 6),
    st.sampled_from([_lying, _flipping]),
    st.integers(1, 5),
)
def test_lies_cost_no_more_than_promised_in_any_history(
    parts: list[list[Owner]], fits: int, tell: Telling, told_every: int
) -> None:
    """Checked after each call; without the account 12 owners of which 2 fit break it."""
    _play([owner for part in parts for owner in part], fits, tell, told_every)


def _fresh(number: int) -> Iterator[Owner]:
    return (Owner(f"new-{index}") for index in range(number))


def _sweep(watched: _Watched, fits: int, strangers: Iterator[Owner]) -> None:
    """The worst there is: distance clings to what never calls again, and then everything is called that recency kept."""
    seen: OrderedDict[Owner, None] = OrderedDict()
    for _ in range(2 * fits):
        seen[next(strangers)] = None
        newest = next(reversed(seen))
        watched.guard.ordered(_in_order(list(seen)))
        watched.use(newest)
    for owner in list(reversed(seen))[:fits]:
        watched.guard.ordered(_in_order([*(one for one in seen if one != owner), owner]))
        watched.use(owner)


def test_the_promise_is_as_tight_as_can_be() -> None:
    watched, strangers = _Watched(50, 50), _fresh(200)
    _sweep(watched, 50, strangers)
    assert 48 <= watched.behind <= 50
    assert watched.guard.state().in_charge is InCharge.LRU


def test_whoever_sweeps_again_and_again_gains_nothing_but_one_in_a_hundred() -> None:
    watched, strangers = _Watched(20, 20), _fresh(10_000)
    for _ in range(40):
        _sweep(watched, 20, strangers)
    assert watched.guard.state().calls == 2_400


@pytest.mark.slow
def test_earning_trust_to_abuse_it_costs_no_more_than_promised() -> None:
    """Rounds, in which distance wins everything, until it is in charge; then a sweep."""
    watched, strangers = _Watched(20, 20), _fresh(100_000)
    foretold = _Foretold(_rounds(30, LONG))
    now, sweeps = 0, 0
    while watched.guard.state().calls < LONG:
        _sweep(watched, 20, strangers)
        sweeps += 1
        for _ in range(400):
            watched.use(foretold.calls[now])
            watched.guard.ordered(foretold.order(now))
            now += 1
    assert sweeps > 40


def _story(events: int, seed: int) -> Iterator[tuple[str, int, int]]:
    """Calls side by side, that grow, of whom those who called last are ordered to leave first."""
    rng = random.Random(seed)
    running: list[int] = []
    for _ in range(events):
        if running and (len(running) > 6 or rng.random() < 0.5):
            yield "grow", running.pop(rng.randrange(len(running))), rng.randrange(1, 9)
        else:
            running.append(min(int(rng.expovariate(0.08)), 39))
            yield "call", running[-1], rng.randrange(1, 9)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_memories_of_all_sizes_and_calls_side_by_side_change_nothing_about_it(seed: int) -> None:
    owners = _owners(40)
    recency, watched = _Recency(60), _Watched(60, 0)
    guard, latest = watched.guard, dict.fromkeys(owners)
    for number, (kind, who, size) in enumerate(_story(LONG, seed)):
        owner, before = owners[who], guard.in_charge
        if kind == "call":
            recency.call(owner, size)
            guard.called(owner, size)
            latest.pop(owner)
            latest[owner] = None
        else:
            recency.end(owner, size)
            guard.ended(owner, size)
        if number % 5 == 0:
            recency.go_on()
            guard.go_on()
            guard.ordered(
                _in_order(list(latest) if guard.in_charge is InCharge.DISTANCE else [*latest][::-1])
            )
        watched.fits = recency.fits
        watched.note(before)
    state = guard.state()
    assert state.hits_lru == recency.hits
    assert len(watched.switches) > 2


@st.composite
def _events(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    kinds = (
        *("call", "call", "call", "guess", "end", "end", "grow", "fail"),
        *("go on", "order", "order", "resize", "forget", "pardon"),
    )
    return draw(
        st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 9), st.integers(0, 40)), max_size=120)
    )


class _Recency:
    """The same cache of recency, written down once more."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.hits, self.fits = capacity, 0, 0
        self.sizes: dict[Owner, int] = {}
        """What was released last stands last."""
        self.running: dict[Owner, int] = {}
        self.beginning = False

    def call(self, owner: Owner, size: int) -> None:
        self.hits += owner in self.sizes
        self.sizes[owner] = size
        self.running[owner] = self.running.get(owner, 0) + 1
        self.beginning = True

    def go_on(self) -> None:
        if self.beginning:
            self.fit()
        self.beginning = False

    def end(self, owner: Owner, size: int | None, failed: bool = False) -> None:
        if owner not in self.running:
            return
        self.go_on()
        self.sizes[owner] = self.sizes[owner] if size is None else size
        self.running[owner] -= 1
        if not self.running[owner]:
            del self.running[owner]
            left = self.sizes.pop(owner)
            if not failed:
                self.sizes[owner] = left
        self.fit()

    def fit(self) -> None:
        idle = [owner for owner in self.sizes if owner not in self.running]
        while idle and sum(self.sizes.values()) > self.capacity:
            del self.sizes[idle.pop(0)]
        self.fits = max(self.fits, len(self.sizes))


@settings(max_examples=40)
@given(_events())
def test_whatever_happens_recency_is_played_rightly_and_the_promise_kept(
    events: list[tuple[str, int, int]],
) -> None:
    """Sizes that change or that nobody tells, calls side by side or failing, memory larger than the cache, orders out of
    the air, charges that are pardoned."""
    owners = _owners(10)
    recency, watched = _Recency(60), _Watched(60, 0)
    guard = watched.guard
    for kind, who, number in events:
        owner, before = owners[who], guard.in_charge
        match kind:
            case "call":
                recency.call(owner, max(1, number))
                guard.called(owner, number)
            case "guess":
                recency.call(owner, max(1, round(guard._usual_size.value)))
                guard.called(owner, None)
            case "end" | "grow" | "fail":
                size = number + 1 if kind == "grow" else None
                recency.end(owner, size, kind == "fail")
                guard.ended(owner, size, failed=kind == "fail")
            case "pardon":
                guard.pardon()
            case "go on":
                recency.go_on()
                guard.go_on()
            case "order":
                chosen = owners[who:] + owners[: who // 2]
                random.Random(number).shuffle(chosen)
                if any(guard._ranks.get(one) != rank for rank, one in enumerate(chosen)):
                    recency.go_on()
                guard.ordered(_in_order(chosen))
            case "resize":
                recency.capacity = number * 4
                recency.fit()
                guard.resize(number * 4)
            case _:
                recency.sizes.clear()
                recency.running.clear()
                recency.beginning = False
                guard.forget()
        watched.fits = recency.fits
        watched.note(before)
        assert guard.state().hits_lru == recency.hits
        _check_account(guard)


def _check_account(guard: Guard) -> None:
    guard.check(guard._running)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from(_owners(12)), min_size=1, max_size=6), max_size=40),
    st.integers(1, 6),
    st.sampled_from([_lying, _flipping]),
)
def test_lies_cost_no_more_than_promised_where_calls_begin_together(
    bursts: list[list[Owner]], fits: int, tell: Telling
) -> None:
    recency, watched = _Recency(fits), _Watched(fits, 0)
    foretold, now = _Foretold([owner for burst in bursts for owner in burst]), 0
    for burst in bursts:
        watched.guard.ordered(tell(foretold.order(now - 1), watched.guard.state()))
        for owner in burst:
            recency.call(owner, 1)
            watched.call(owner)
        for owner in burst:
            recency.end(owner, None)
            watched.fits, before = recency.fits, watched.guard.in_charge
            watched.guard.ended(owner)
            watched.note(before)
        now += len(burst)
        _check_account(watched.guard)
    assert watched.guard.state().hits_lru == recency.hits


@settings(max_examples=25)
@given(_events(), st.integers(0, 2**32))
def test_recency_in_charge_loses_no_memory_that_it_would_have_kept(
    events: list[tuple[str, int, int]], seed: int
) -> None:
    """Of what was missing when it took charge nothing is added, whatever the sizes."""
    owners, rng = _owners(10), random.Random(seed)
    guard = Guard(60)
    for _ in range(60):
        guard.ordered(_in_order(rng.sample(owners, 10)))
        owner = rng.choice(owners)
        guard.called(owner, rng.randrange(1, 30))
        guard.ended(owner)
    guard._in_charge, guard._failures = InCharge.LRU, 30
    missing = guard._missing
    for kind, who, number in events:
        if kind == "call":
            guard.called(owners[who], number)
        elif kind in ("end", "grow"):
            guard.ended(owners[who], number + 1 if kind == "grow" else None)
        elif kind == "go on":
            guard.go_on()
        _check_account(guard)
        assert guard._missing <= missing
        missing = guard._missing


# What it is good for


@pytest.mark.parametrize("history", [_crowd(48, 3000, 1), _rounds(48, 3000)])
def test_where_distance_is_right_it_stays_in_charge_and_nothing_is_lost(history: list[Owner]) -> None:
    watched = _play(history, 12, _honest)
    state = watched.guard.state()
    assert watched.switches == []
    assert (state.in_charge, state.since) == (InCharge.DISTANCE, 0)
    assert state.hits_guarded == state.hits_distance > 1.2 * state.hits_lru


def test_lies_from_the_beginning_end_soon() -> None:
    watched = _play(_crowd(48, 3000, 2), 12, _lying)
    left = watched.switches[0]
    assert left.in_charge is InCharge.LRU
    assert left.calls < 200
    state = watched.guard.state()
    assert state.hits_guarded > state.hits_lru - 40 > 2 * state.hits_distance


@pytest.mark.slow
@pytest.mark.parametrize("fits", [3, 12])
def test_past_merits_do_not_pay_for_long_lies(fits: int) -> None:
    history = _crowd(4 * fits, 6000, 3)
    watched, foretold = _Watched(fits, fits), _Foretold(history)
    for now, owner in enumerate(history):
        watched.use(owner)
        if now % 4 == 0:
            order = foretold.order(now)
            watched.guard.ordered(order if now < 5000 else _reversed(order))
    left = watched.switches[0]
    assert left.in_charge is InCharge.LRU
    assert 5000 < left.calls < 5200
    assert left.hits_guarded > left.hits_lru + 300


def _see_saw(watched: _Watched, calls: int) -> None:
    """Two call in turn, and each time the other one is ordered to leave first: few memories are missing, ever again."""
    pair = [Owner("left"), Owner("right")]
    for _ in range(calls):
        watched.guard.ordered(_in_order([*_owners(300), *pair]))
        watched.use(pair[0])
        pair.reverse()


@pytest.mark.slow
def test_past_merits_are_worth_no_more_than_the_stake() -> None:
    watched, foretold = _Watched(100, 100), _Foretold(_rounds(150, 2000))
    for now, owner in enumerate(foretold.calls):
        watched.guard.ordered(foretold.order(now))
        watched.use(owner)
    assert watched.behind < -500
    assert watched.switches == []
    _see_saw(watched, 70)
    (left,) = watched.switches
    assert left.reason == "of late, distance hit 25 times less than recency"


def test_a_crowd_that_called_at_once_does_not_raise_the_stake() -> None:
    watched = _Watched(40, 100)
    crowd = _owners(100)
    for owner in crowd:
        watched.guard.called(owner, None)
    for owner in crowd:
        watched.guard.ended(owner, 1)
    assert watched.guard.sizes()["guard_memories"] == 120
    _see_saw(watched, 50)
    (left,) = watched.switches
    assert left.reason == "of late, distance hit 10 times less than recency"


@pytest.mark.slow
def test_distance_does_not_come_back_before_what_it_lost_was_paid_for() -> None:
    watched, foretold = _Watched(50, 50), _Foretold(_rounds(75, 3000))
    _sweep(watched, 50, _fresh(200))
    for now, owner in enumerate(foretold.calls):
        watched.guard.ordered(foretold.order(now))
        watched.use(owner)
    left, back = watched.switches[:2]
    assert back.hits_distance - left.hits_distance > 300
    assert back.calls / 100 >= watched.behind + 12 - 50 > 0


def test_distance_comes_back_when_it_is_right_again() -> None:
    history = _crowd(48, 6000, 4)
    watched, foretold = _Watched(12, 12), _Foretold(history)
    for now, owner in enumerate(history):
        watched.use(owner)
        if now % 4 == 0:
            order = foretold.order(now)
            watched.guard.ordered(_reversed(order) if now < 1000 else order)
    state = watched.guard.state()
    assert state.in_charge is InCharge.DISTANCE
    assert 1000 < state.since < 2000
    assert state.hits_guarded > 1.1 * state.hits_lru


@pytest.mark.slow
def test_who_flips_with_every_change_is_believed_ever_more_seldom() -> None:
    watched = _play(_crowd(48, 8000, 5), 12, _flipping)
    returns = [state for state in watched.switches if state.in_charge is InCharge.DISTANCE]
    won = [int(state.reason.split(" hit ")[1].split(" times")[0]) for state in returns]
    asked = [8 << number for number in range(len(won))]
    assert won
    assert all(leads >= least for leads, least in zip(won, asked, strict=True))


def test_a_return_that_proves_right_makes_the_next_one_easy_again() -> None:
    guard = Guard(4)
    guard._failures = 2
    guard._switch(InCharge.LRU, "for a test")
    foretold = _Foretold(_rounds(8, 600))
    for now, owner in enumerate(foretold.calls):
        guard.called(owner, 1)
        guard.ended(owner)
        guard.ordered(foretold.order(now))
    assert guard.in_charge is InCharge.DISTANCE
    assert guard._asked == 8


def _failed(failures: int) -> Guard:
    """Of 4 that fit, in whose charge is recency."""
    guard = Guard(4)
    guard._proved, guard._failures = False, failures - 1
    guard._switch(InCharge.LRU, "for a test")
    assert guard._asked == 8 << failures
    return guard


def test_a_return_that_failed_is_forgotten_when_many_calls_have_paid_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guards, "_FORGIVEN", 1)
    guard = _failed(3)
    asked = []
    for number in range(2_500):
        guard.called(Owner(f"new-{number}"), 1)
        guard.ended(Owner(f"new-{number}"))
        asked.append(guard._asked)
    assert [asked[number] for number in (798, 799, 1_599, 2_399)] == [64, 32, 16, 8]


def test_whoever_comes_after_those_who_lied_is_believed_from_the_beginning() -> None:
    guard = _failed(5)
    guard.pardon()
    assert (guard.in_charge, guard._asked) == (InCharge.DISTANCE, 8)
    assert guard.state().switches == 2


def test_a_pardon_gives_back_nothing_of_what_was_lost() -> None:
    watched, strangers = _Watched(20, 20), _fresh(10_000)
    for _ in range(10):
        _sweep(watched, 20, strangers)
        watched.guard.pardon()
    assert watched.behind > 0


def test_until_it_is_known_what_was_ordered_it_comes_back_to_recency() -> None:
    """The engine was sent no order meanwhile, and has none in force before the next plan has arrived."""
    guard = _failed(1)
    guard.ordered(_in_order(_owners(4)))
    guard._switch(InCharge.DISTANCE, "for a test")
    assert guard.sizes()["guard_ordered"] == 0


def test_where_nothing_was_ordered_both_are_the_same() -> None:
    watched = _Watched(12, 12)
    for owner in _crowd(48, 1000, 6):
        watched.use(owner)
    state = watched.guard.state()
    assert state.hits_guarded == state.hits_distance == state.hits_lru
    assert state.in_charge is InCharge.DISTANCE


# What it tells


def test_its_state_says_who_decides_since_when_and_why() -> None:
    guard = Guard(100)
    assert guard.state() == GuardState(
        InCharge.DISTANCE, 0, "nothing was ordered so far, which leaves it to recency", 0, 0, 0, 0
    )
    a, b, c = _owners(3)
    guard.ordered(((a, 1.0), (b, 2.0), (c, 3.0)))
    for owner in (a, b, c):
        guard.called(owner, 40)
        guard.ended(owner)
    state = guard.state()
    assert state.reason == "from the beginning, until recency does better"
    assert (state.calls, state.hits_lru, state.hits_distance, state.hits_guarded) == (3, 0, 0, 0)
    guard.called(a, 40)
    assert guard.state().hits_distance == guard.state().hits_guarded == 1
    assert guard.state().hits_lru == 0


def test_it_says_when_it_cannot_judge() -> None:
    guard = Guard(2)
    for owner in _owners(9):
        guard.called(owner, None)
        guard.ended(owner)
    assert guard.state().reason == "cannot judge: no call has told how large its memory is"
    assert (guard.state().calls, guard.state().unsized) == (9, 9)
    guard.called(Owner("sized"), 1)
    assert "cannot" not in guard.state().reason
    assert guard.state().unsized == 9


def test_memory_whose_size_nobody_told_is_as_large_as_is_usual() -> None:
    guard = Guard(110)
    a, b, c = _owners(3)
    guard.called(a, None)
    guard.ended(a, 60)
    guard.called(b, None)
    guard.ended(b)
    guard.called(c, 40)
    guard.ended(c)
    guard.called(a, None)
    assert guard.state().hits_lru == 0
    guard.called(c, None)
    assert guard.state().hits_lru == 1


def test_an_order_of_the_same_ranks_costs_nothing() -> None:
    guard = Guard(2)
    owners = _owners(4)
    guard.ordered(_in_order(owners))
    for owner in owners:
        guard.called(owner, 1)
        guard.ended(owner)
    heap = guard._guarded._farthest_first
    guard.ordered([(owner, 7.5 + place) for place, owner in enumerate(owners)])
    guard.called(Owner("new"), 1)
    guard.ended(Owner("new"))
    assert guard._guarded._farthest_first is heap is not None
    guard.adopt({})
    guard.called(Owner("newer"), 1)
    guard.go_on()
    assert guard._guarded._farthest_first is not heap


def test_a_switch_has_a_reason_in_words() -> None:
    watched, strangers = _Watched(50, 50), _fresh(200)
    _sweep(watched, 50, strangers)
    assert "recency would have kept, and no more may be risked" in watched.switches[0].reason
    watched = _Watched(100, 100)
    for owner in _owners(100):
        watched.use(owner)
    _see_saw(watched, 60)
    assert watched.switches[0].reason == "of late, distance hit 25 times less than recency"


# What runs, and what the engine tells


def test_a_running_call_keeps_its_memory() -> None:
    guard = Guard(2)
    a, b, c, d = _owners(4)
    guard.called(a, 1)
    for owner in (b, c, d):
        guard.called(owner, 1)
        guard.ended(owner)
    guard.called(a, 1)
    state = guard.state()
    assert state.hits_lru == state.hits_distance == state.hits_guarded == 1


def test_memory_stays_locked_until_the_last_of_its_calls_ended() -> None:
    guard = Guard(1)
    a, b = _owners(2)
    guard.called(a, 1)
    guard.called(a, 1)
    guard.ended(a)
    guard.called(b, 1)
    guard.ended(b)
    guard.called(a, 1)
    assert guard.state().hits_lru == 2
    guard.ended(a)
    guard.ended(a)
    guard.called(b, 1)
    guard.go_on()
    guard.called(a, 1)
    assert guard.state().hits_lru == 2


def test_calls_that_begin_together_find_what_was_there_before_the_first_of_them() -> None:
    guard = Guard(2)
    a, b, c, d = _owners(4)
    for owner in (a, b):
        guard.called(owner, 1)
        guard.ended(owner)
    for owner in (c, a):
        guard.called(owner, 1)
    assert guard.state().hits_lru == guard.state().hits_distance == guard.state().hits_guarded == 1
    assert guard.sizes()["guard_memories"] == 9, "room is made when the engine goes on"
    guard.go_on()
    assert guard.sizes()["guard_memories"] == 6, "b left"
    for owner in (d, b):
        guard.called(owner, 1)
    assert guard.state().hits_lru == 1


@pytest.mark.parametrize("goes_on", ["a plan", "another order", "an end", "another size"])
def test_what_began_takes_its_room_before_anything_else_happens(goes_on: str) -> None:
    """By the order in force when it began: `a` is far then, and near after that."""
    guard = Guard(2)
    a, b, c = _owners(3)
    guard.ordered(_in_order([b, c, a]))
    for owner in (b, a):
        guard.called(owner, 1)
        guard.ended(owner)
    guard.called(c, 1)
    assert guard.keeps(a)
    match goes_on:
        case "a plan":
            guard.go_on()
        case "another order":
            guard.ordered(_in_order([a, c, b]))
        case "an end":
            guard.ended(c, 1)
        case _:
            guard.resize(2)
    assert not guard.keeps(a)
    assert guard.keeps(b)


def test_a_call_that_failed_leaves_nothing() -> None:
    guard = Guard(3)
    a, b = _owners(2)
    for owner in (a, b):
        guard.called(owner, 1)
        guard.ended(owner)
    guard.called(a, 1)
    guard.ended(a, failed=True)
    guard.called(a, 1)
    guard.called(b, 1)
    assert guard.state().hits_lru == 2, "a once, before it failed, and b"
    guard.called(b, 1)
    guard.ended(b, failed=True)
    guard.called(b, 1)
    assert guard.state().hits_lru == 4, "another call of it runs"


def test_the_end_of_a_call_that_is_not_known_says_nothing() -> None:
    guard = Guard(1)
    guard.ended(_owners(1)[0], 5)
    assert guard.sizes() == {"guard_memories": 0, "guard_running": 0, "guard_ordered": 0}


def test_memory_larger_than_the_cache_pushes_all_others_out_and_does_not_stay() -> None:
    guard = Guard(10)
    a, b = _owners(2)
    guard.called(a, 5)
    guard.ended(a)
    guard.called(b, 11)
    guard.ended(b)
    assert guard.sizes()["guard_memories"] == 0
    guard.called(a, 5)
    assert guard.state().hits_lru == 0


def test_an_engine_with_less_room_holds_less() -> None:
    guard = Guard(3)
    for owner in _owners(3):
        guard.called(owner, 1)
        guard.ended(owner)
    assert guard.sizes()["guard_memories"] == 9
    guard.resize(1)
    assert guard.sizes()["guard_memories"] == 3


def test_an_engine_that_starts_anew_holds_nothing_and_what_was_counted_stays() -> None:
    guard = Guard(3)
    a, b = _owners(2)
    for _ in range(2):
        guard.called(a, 1)
    guard.forget()
    assert guard.sizes()["guard_memories"] == 0
    guard.ended(a)
    guard.called(a, 1)
    guard.called(b, 1)
    assert guard.state().hits_lru == 1
    assert guard.state().calls == 4


def test_calls_beyond_the_limit_are_played_as_if_they_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "MEMORY_LIMIT", 2)
    guard = Guard(100)
    owners = _owners(5)
    for owner in owners:
        guard.called(owner, 1)
    assert guard.sizes() == {"guard_memories": 15, "guard_running": 2, "guard_ordered": 0}
    guard.resize(0)
    assert guard.sizes()["guard_memories"] == 6


def test_calls_that_begin_together_do_not_hold_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (guards, shadow_cache):
        monkeypatch.setattr(module, "MEMORY_LIMIT", 3)
    guard = Guard(100)
    for owner in _owners(3):
        guard.called(owner, 1)
        guard.ended(owner)
    for number in range(2):
        guard.called(Owner(f"new-{number}"), 1)
        assert guard.sizes()["guard_memories"] == 9


# In the controller

_SIDE_BY_SIDE = 16
_FARTHEST = 40.0


class _Society:
    """Agents mind their own business, each for some steps between its activations, and tell how long. Calls run side by
    side, last for some plans, and leave memory that grows; the engine has room for a quarter of it."""

    def __init__(self, seed: int, agents: int = 200) -> None:
        self.rng = random.Random(seed)
        self.core = Controller(ControllerConfig())
        self.sizes = {AgentName(f"agent-{n:03}"): self.rng.randrange(600, 1400) for n in range(agents)}
        self.next = {agent: self.rng.randrange(self._gap()) for agent in self.sizes}
        self.at, self.step, self.calls = 0.0, 0, 0
        room = sum(self.sizes.values()) // 4
        self.post(EngineFound(0.0, GPU, Capabilities("emulated", "1", True, BOTH, "boot-1", room)))

    @property
    def guard(self) -> GuardState:
        state = self.core.engines()[0].guard
        assert state is not None
        return state

    def post(self, event: Event) -> None:
        for action in self.core.handle(event):
            self.core.handle(Settled(self.at, action))

    def plan(self) -> None:
        self.at += 0.05
        self.post(Ticked(self.at))
        while self.core.behind:
            self.post(Idled(self.at))

    def play(self, steps: int, tell: Callable[[float], float]) -> None:
        for _ in range(steps):
            away = {agent: tell(float(then - self.step)) for agent, then in self.next.items()}
            self.post(StepTicked(self.at, TOWN, float(self.step)))
            self.post(DistanceHinted(self.at, TOWN, Clock.STEPS, away))
            self.plan()
            self._activate([agent for agent, then in self.next.items() if then == self.step], tell)
            self.step += 1

    def _activate(self, waiting: list[AgentName], tell: Callable[[float], float]) -> None:
        self.rng.shuffle(waiting)
        running: list[tuple[CallId, AgentName, int]] = []
        ended = 0
        while waiting or running:
            while waiting and len(running) < _SIDE_BY_SIDE:
                agent = waiting.pop()
                running.append((self._call(agent), agent, self.rng.randrange(3)))
            call, agent, more = running.pop(0)
            acts_for = None
            if not more:
                self.next[agent] = self.step + self._gap()
                acts_for = tell(float(self.next[agent] - self.step)), Clock.STEPS
            self.sizes[agent] += 8
            usage = Usage(self.sizes[agent] - 20, None, 20)
            self.post(CallEnded(self.at, call, Outcome.DONE, usage, acts_for))
            if more:
                running.append((self._call(agent), agent, more - 1))
            ended += 1
            if ended % 8 == 0:
                self.plan()

    def _call(self, agent: AgentName) -> CallId:
        self.calls += 1
        self.post(CallStarted(self.at, CallId(self.calls), TOWN, agent, GPU))
        return CallId(self.calls)

    def _gap(self) -> int:
        """Choosing a place, travel, work, sleep: about 18 of 100 are active in a step."""
        return self.rng.choices((1, 3, 9, 25), (35, 35, 20, 10))[0]


def _right(away: float) -> float:
    return away


def _wrong(away: float) -> float:
    return max(0.0, _FARTHEST - away)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_society_whose_distances_are_right_never_loses_them(seed: int) -> None:
    society = _Society(seed)
    society.play(120, _right)
    state = society.guard
    assert (state.in_charge, state.switches, state.calls) == (InCharge.DISTANCE, 0, society.calls)
    assert state.hits_guarded == state.hits_distance > 1.1 * state.hits_lru


@pytest.mark.slow
def test_a_society_whose_distances_are_wrong_is_left_to_recency_until_they_are_right() -> None:
    society = _Society(0)
    society.play(40, _wrong)
    state = society.guard
    assert (state.in_charge, state.switches) == (InCharge.LRU, 1)
    assert state.since < 500
    assert state.hits_guarded >= state.hits_lru - 50 - state.calls / 100 > state.hits_distance, (
        "which breaks it"
    )
    assert society.core.engines()[0].order == ()

    society.play(40, _right)
    again = society.guard
    assert (again.in_charge, again.switches) == (InCharge.DISTANCE, 2)
    assert again.since < state.calls + 1000, "a dozen steps"
    assert again.hits_guarded - state.hits_guarded > again.hits_lru - state.hits_lru
    assert society.core.engines()[0].order
