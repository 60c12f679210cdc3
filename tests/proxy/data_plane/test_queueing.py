"""Who is sent next: tickets in and out, in time that is given."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.data_plane.queueing import FairQueue, Place, Refused, Ticket

TOWNS = ("a", "b", "c", "d")


def come(queue: FairQueue, simulation: str, at: float = 0.0) -> Ticket:
    came = queue.come(simulation, at)
    assert not isinstance(came, Refused)
    return came[0]


def burst(queue: FairQueue, simulation: str, count: int) -> list[Ticket]:
    return [come(queue, simulation) for _ in range(count)]


def served_in_turn(queue: FairQueue, running: list[Ticket], count: int) -> list[str]:
    """Whose calls begin, when always the oldest that runs ends."""
    begun: list[str] = []
    for _ in range(count):
        queue.done(running.pop(0), 0)
        while (ticket := queue.next(0)) is not None:
            running.append(ticket)
            begun.append(ticket.simulation)
    return begun


def test_calls_run_at_once_while_there_are_places_and_wait_in_their_order_then() -> None:
    queue = FairQueue(capacity=2, max_waiting=9)
    first, second, third, fourth = burst(queue, "a", 4)
    assert [one.place for one in (first, second, third, fourth)] == [Place.RUNNING] * 2 + [Place.WAITING] * 2
    assert queue.next(0) is None
    queue.done(second, 1)
    assert queue.next(1) is third
    assert queue.next(1) is None
    queue.done(first, 2)
    assert queue.next(2) is fourth
    assert queue.sizes() == {"queue_waiting": 0, "queue_running": 2, "queue_simulations": 1}


def test_a_burst_does_not_starve_another_simulation() -> None:
    queue = FairQueue(capacity=1, max_waiting=2000)
    running = burst(queue, "a", 1000)[:1]
    burst(queue, "b", 3)
    assert served_in_turn(queue, running, 7) == ["b", "a", "b", "a", "b", "a", "a"]


def test_long_calls_take_no_more_than_their_share_of_the_places() -> None:
    queue = FairQueue(capacity=8, max_waiting=2000)
    long = burst(queue, "long", 100)[:8]
    short = burst(queue, "short", 100)
    for ticket in long[4:]:  # half of them end; the others run for the rest of the test
        queue.done(ticket, 0)
        assert queue.next(0) is not None
    running = [ticket for ticket in short if ticket.place is Place.RUNNING]
    assert len(running) == 4
    assert served_in_turn(queue, running, 90) == ["short"] * 90


def test_weights_divide_the_places() -> None:
    queue = FairQueue(capacity=9, max_waiting=999, weight=lambda name: 2.0 if name == "a" else 1.0)
    running = burst(queue, "c", 9)
    for name in ("a", "b"):
        burst(queue, name, 100)
    served_in_turn(queue, running, 30)
    assert Counter(one.simulation for one in running) == {"a": 6, "b": 3}


def test_weights_divide_the_turns_where_one_call_runs_at_a_time() -> None:
    queue = FairQueue(capacity=1, max_waiting=999, weight=lambda name: 2.0 if name == "a" else 1.0)
    running = burst(queue, "c", 1)
    for name in ("a", "b"):
        burst(queue, name, 100)
    assert Counter(served_in_turn(queue, running, 30)) == {"a": 20, "b": 10}


def test_who_comes_back_with_each_call_is_not_put_first_for_it() -> None:
    queue = FairQueue(capacity=1, max_waiting=99)
    running = burst(queue, "a", 50)[:1]
    begun = []
    for _ in range(20):
        if not any(one.simulation == "b" for one in running):
            come(queue, "b")
        begun += served_in_turn(queue, running, 1)
    assert 9 <= begun.count("a") <= 11


def test_a_full_queue_refuses_who_has_its_share_and_makes_room_for_who_has_not() -> None:
    queue = FairQueue(capacity=1, max_waiting=4)
    of_a = burst(queue, "a", 5)
    assert isinstance(queue.come("a", 0), Refused)
    for _ in range(2):
        came = queue.come("b", 0)
        assert not isinstance(came, Refused)
        ticket, displaced = came
        assert ticket.place is Place.WAITING
        assert displaced is of_a.pop()
        assert displaced.place is Place.DISPLACED
        queue.done(displaced, 0)  # is owed, and changes nothing
    assert isinstance(queue.come("b", 0), Refused)
    assert isinstance(queue.come("a", 0), Refused)
    assert queue.sizes()["queue_waiting"] == 4


def test_nothing_waits_where_nothing_may() -> None:
    queue = FairQueue(capacity=1, max_waiting=0)
    come(queue, "a")
    assert isinstance(queue.come("b", 0), Refused)


def test_who_waits_may_leave_from_anywhere_in_the_line() -> None:
    queue = FairQueue(capacity=1, max_waiting=9)
    first, second, third, fourth = burst(queue, "a", 4)
    queue.done(third, 0)
    queue.done(third, 0)  # once more changes nothing
    assert queue.sizes()["queue_waiting"] == 2
    queue.done(first, 0)
    assert queue.next(0) is second
    queue.done(second, 0)
    assert queue.next(0) is fourth
    queue.done(fourth, 0)
    assert queue.sizes() == {"queue_waiting": 0, "queue_running": 0, "queue_simulations": 0}


def test_retry_after_follows_from_the_rate_at_which_calls_end() -> None:
    queue = FairQueue(capacity=1, max_waiting=10)
    running = burst(queue, "a", 11)
    for at in (2, 4, 6):
        queue.done(running.pop(0), at)
        queue.next(at)
        come(queue, "a", at)
    refused = queue.come("a", 6)
    assert refused == Refused(22.0)  # ten wait, and it is the eleventh: a call ends every 2 s
    assert queue.retry_after_s("b", 6) == 4.0  # of two simulations it would have every other place
    assert queue.retry_after_s("b", 36) == 60.0  # nothing has ended for half a minute
    assert queue.retry_after_s("a", 999) == 120.0


def test_retry_after_is_at_least_a_second_also_before_any_call_has_ended() -> None:
    queue = FairQueue(capacity=1, max_waiting=1)
    burst(queue, "a", 2)
    assert queue.come("a", 0) == Refused(1.0)


def test_a_smaller_capacity_lets_what_runs_go_on_and_a_larger_one_lets_more_begin() -> None:
    queue = FairQueue(capacity=2, max_waiting=9)
    first, second, *_ = burst(queue, "a", 6)
    queue.resize(1)
    queue.done(first, 0)
    assert queue.next(0) is None
    queue.done(second, 0)
    assert queue.next(0) is not None
    queue.resize(3)
    assert [queue.next(0) is not None for _ in range(3)] == [True, True, False]


def test_simulations_that_come_and_go_leave_nothing_behind() -> None:
    queue = FairQueue(capacity=2, max_waiting=10)
    busy = come(queue, "busy")
    come(queue, "busy")
    come(queue, "busy")
    for number in range(5000):
        queue.done(come(queue, f"town {number}"), 0)
    for number in range(5000):
        ticket = come(queue, f"village {number}")
        queue.done(busy, 0)
        begun = queue.next(0)
        assert begun is not None
        queue.done(ticket, 0)
        busy = come(queue, "busy")
    assert queue.sizes()["queue_simulations"] <= 1024 + 10
    assert len(queue._ready) <= 2 * 10 + 64


moves = st.lists(st.tuples(st.sampled_from(("come", "end", "leave")), st.integers(0, 63)), max_size=250)


@settings(deadline=None)
@given(moves, st.integers(1, 5), st.integers(0, 12))
def test_no_call_is_lost_none_runs_above_capacity_and_no_place_stays_free(
    steps: list[tuple[str, int]], capacity: int, max_waiting: int
) -> None:
    queue = FairQueue(capacity=capacity, max_waiting=max_waiting)
    open_tickets: list[Ticket] = []
    for what, which in steps:
        if what == "come":
            came = queue.come(TOWNS[which % 4], 0)
            waiting = [one for one in open_tickets if one.place is Place.WAITING]
            if isinstance(came, Refused):
                lengths = Counter(one.simulation for one in waiting)
                assert sum(lengths.values()) == max_waiting
                # Nobody who was refused had more than a call less in the queue than anybody else.
                assert lengths[TOWNS[which % 4]] + 1 >= max(lengths.values(), default=0)
            else:
                ticket, displaced = came
                assert (displaced is not None) == (
                    sum(one.place is Place.DISPLACED for one in open_tickets) == 1
                )
                if displaced is not None:
                    open_tickets.remove(displaced)
                open_tickets.append(ticket)
        else:
            wanted = Place.RUNNING if what == "end" else Place.WAITING
            if found := [one for one in open_tickets if one.place is wanted]:
                gone = found[which % len(found)]
                open_tickets.remove(gone)
                queue.done(gone, 0)
        before = [one for one in open_tickets if one.place is Place.WAITING]
        while (begun := queue.next(0)) is not None:
            # Each simulation in its own order.
            assert begun is next(one for one in before if one.simulation == begun.simulation)
            before.remove(begun)
        places = Counter(one.place for one in open_tickets)
        assert places[Place.RUNNING] <= capacity
        assert places[Place.WAITING] <= max_waiting
        assert not places[Place.WAITING] or places[Place.RUNNING] == capacity
        assert queue.sizes()["queue_waiting"] == places[Place.WAITING]
        assert queue.sizes()["queue_running"] == places[Place.RUNNING]
    for ticket in open_tickets:
        queue.done(ticket, 0)
    assert queue.next(0) is None
    assert queue.sizes() == {"queue_waiting": 0, "queue_running": 0, "queue_simulations": 0}


@settings(deadline=None)
@given(
    st.integers(1, 12),
    st.integers(2, 4),
    st.lists(st.integers(0, 1_000_000), min_size=60, max_size=200),
    st.lists(st.integers(0, 1_000_000), max_size=200),
)
def test_no_simulation_with_waiting_calls_has_less_than_its_share_of_the_places_minus_one_call(
    capacity: int, towns: int, ends: list[int], leaves: list[int]
) -> None:
    queue = FairQueue(capacity=capacity, max_waiting=10_000)
    # One took all places before the others came, and has the longest line: the hardest case.
    running = burst(queue, TOWNS[0], capacity)
    first = set(running)
    waiting = [one for name in TOWNS[:towns] for one in burst(queue, name, 500 if name == TOWNS[0] else 250)]
    for number, which in enumerate(ends):
        if number < len(leaves):
            queue.done(waiting.pop(leaves[number] % len(waiting)), 0)
        ended = running.pop(which % len(running))
        first.discard(ended)
        queue.done(ended, 0)
        begun = queue.next(0)
        assert begun is not None
        running.append(begun)
        waiting.remove(begun)
        if not first:
            held = Counter(one.simulation for one in running)
            assert all(held[name] > capacity / towns - 1 for name in TOWNS[:towns])


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.lists(st.integers(0, 3), max_size=60))
def test_turns_are_shared_out_by_weight_within_one_call_where_one_runs_at_a_time(
    weights: list[int], leaves: list[int]
) -> None:
    weight = dict(zip(TOWNS, weights, strict=False))
    queue = FairQueue(capacity=1, max_waiting=10_000, weight=lambda name: float(weight[name]))
    running = burst(queue, "a", 1)
    lines = {name: burst(queue, name, 400) for name in weight}
    begun: Counter[str] = Counter()
    for number in range(200):
        if number < len(leaves) and (line := lines.get(TOWNS[leaves[number]])):
            queue.done(line.pop(), 0)  # who leaves is not charged for it
        begun.update(served_in_turn(queue, running, 1))
        for one, other in ((one, other) for one in weight for other in weight):
            ahead = begun[one] / weight[one] - begun[other] / weight[other]
            # The bound of start-time fair queueing, and the call that ran at first.
            assert ahead <= 1 / weight[one] + 1 / weight[other] + 1 / weight["a"] + 1e-9


@settings(deadline=None)
@given(st.lists(st.sampled_from((0.5, 1.0, 2.0, 5.0)), min_size=2, max_size=4), st.integers(1, 16), st.data())
def test_nobody_is_ahead_of_one_who_waits_by_more_than_a_call_for_its_weight(
    weights: list[float], capacity: int, data: st.DataObject
) -> None:
    weight = dict(zip(TOWNS, weights, strict=False))
    queue = FairQueue(capacity=capacity, max_waiting=10_000, weight=weight.__getitem__)
    running = burst(queue, "a", capacity)
    for name in weight:
        burst(queue, name, 300)
    for which in data.draw(st.lists(st.integers(0, 99), max_size=100)):
        queue.done(running.pop(which % len(running)), 0)
        held = Counter(one.simulation for one in running)
        begun = queue.next(0)
        assert begun is not None
        running.append(begun)
        assert held[begun.simulation] / weight[begun.simulation] == min(
            held[one] / weight[one] for one in weight
        )
