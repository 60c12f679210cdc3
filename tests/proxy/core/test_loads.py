"""Of several things to load, which is asked for when, and what becomes of what failed, was stopped, or is too far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core import loads
from scalesim.proxy.core.actions import Load, StopLoad
from scalesim.proxy.core.kinds import Way
from scalesim.proxy.core.loads import LoadQueue
from scalesim.proxy.core.model import EngineId, LoadResult, LoadState, MemoryId, MemoryReport
from scalesim.proxy.core.prefetch import Want

GPU = EngineId("gpu")


def _id(name: str, kind: str = "lora") -> MemoryId:
    return MemoryId(kind, name)


def _want(
    name: str,
    distance: float,
    size_bytes: int = 10,
    way: Way = Way.COPY,
    deadline: float = math.inf,
    kind: str = "lora",
) -> Want:
    return Want(_id(name, kind), distance, size_bytes, way, deadline)


def _load(
    name: str, distance: float, within_s: float = 600.0, kind: str = "lora", way: Way = Way.COPY
) -> Load:
    return Load(GPU, _id(name, kind), distance, within_s, way is Way.RECOMPUTE)


def _stop(name: str, way: Way = Way.COPY) -> StopLoad:
    return StopLoad(GPU, _id(name), way is Way.RECOMPUTE)


class _Talk:
    """A queue whose every answer is checked."""

    def __init__(self, max_in_flight: int = 2, max_bytes: int = 100) -> None:
        self.queue = LoadQueue(GPU, max_in_flight=max_in_flight, max_bytes=max_bytes)
        self.at = 0.0
        self.complete = True

    def plan(self, *wants: Want, idle: bool = True, preempt: bool = True) -> list[Load | StopLoad]:
        actions, self.complete = self.queue.plan(wants, self.at, idle=idle, preempt=preempt)
        self.queue.check()
        assert self.complete or self.queue.in_flight, "something must come that ends the waiting"
        return actions

    def settle(
        self, action: Load | StopLoad, state: LoadState | None = LoadState.LOADED, moved_bytes: int = 0
    ) -> bool:
        """`state` None: it failed."""
        error = "out of memory" if state is None else None
        result = None if state is None or isinstance(action, StopLoad) else LoadResult(state, moved_bytes)
        ours = self.queue.settle(action, error, result, self.at)
        self.queue.check()
        return ours

    def names(self, actions: Sequence[Load | StopLoad]) -> list[str]:
        return [("-" if isinstance(action, StopLoad) else "") + action.memory.key for action in actions]


def test_the_nearest_are_loaded_first_and_a_settled_plan_is_silent() -> None:
    talk = _Talk()
    wants = [_want("far", 9), _want("near", 1), _want("middle", 5)]
    assert talk.plan(*wants) == [_load("near", 1), _load("middle", 5)]
    assert not talk.complete
    assert talk.plan(*wants) == []
    assert talk.queue.loading == {_id("near"), _id("middle")}
    assert talk.settle(_load("near", 1))
    assert talk.plan(_want("far", 9), _want("middle", 5)) == [_load("far", 9)]
    assert talk.complete


def test_all_kinds_are_in_one_queue() -> None:
    talk = _Talk()
    wants = [_want("calm", 3), _want("Ann", 1, kind="kv_prefix"), _want("Ann", 2, kind="model")]
    assert talk.plan(*wants) == [_load("Ann", 1, kind="kv_prefix"), _load("Ann", 2, kind="model")]


def test_nothing_is_queued_twice() -> None:
    talk = _Talk(max_in_flight=9)
    assert talk.plan(_want("shared", 4), _want("shared", 2), _want("own", 3)) == [
        _load("shared", 2),
        _load("own", 3),
    ]
    assert talk.plan(_want("shared", 1), _want("own", 3)) == []


def test_bytes_in_flight_are_bounded_and_a_small_one_does_not_slip_past_a_nearer() -> None:
    talk = _Talk(max_in_flight=9, max_bytes=100)
    wants = [_want("a", 1, 60), _want("b", 2, 60), _want("c", 3, 20)]
    assert talk.names(talk.plan(*wants)) == ["a"]
    assert not talk.complete
    assert talk.queue.in_flight_bytes == 60
    talk.settle(_load("a", 1))
    assert talk.names(talk.plan(*wants[1:])) == ["b", "c"]
    assert talk.queue.in_flight_bytes == 80


def test_one_larger_than_the_budget_flies_alone() -> None:
    talk = _Talk(max_bytes=100)
    wants = [_want("small", 1, 10), _want("huge", 2, 999), _want("later", 3, 10)]
    assert talk.names(talk.plan(*wants)) == ["small"]
    talk.settle(_load("small", 1))
    assert talk.names(talk.plan(*wants[1:])) == ["huge"]
    assert talk.names(talk.plan(*wants[1:])) == []
    talk.settle(_load("huge", 2))
    assert talk.names(talk.plan(*wants[2:])) == ["later"]


def test_a_load_takes_the_time_that_is_left() -> None:
    talk = _Talk()
    talk.at = 5.0
    assert talk.plan(_want("a", 1, deadline=7.5), _want("b", 2, deadline=5.0)) == [_load("a", 1, 2.5)]
    assert talk.queue.sizes()["loads_waiting"] == 0, "it would come too late"


def test_what_is_no_longer_wanted_falls_out_and_is_stopped_if_it_flies() -> None:
    talk = _Talk(max_in_flight=1)
    (a,) = talk.plan(_want("a", 1), _want("b", 2))
    assert talk.plan() == [_stop("a")]
    assert talk.complete
    assert talk.plan() == [], "stopped once"
    assert talk.queue.in_flight == (a, _stop("a"))
    assert talk.settle(_stop("a"))
    assert talk.settle(a, LoadState.STOPPED)
    assert not talk.queue.in_flight
    assert talk.plan() == []


def test_a_load_whose_deadline_passed_is_stopped() -> None:
    talk = _Talk()
    talk.plan(_want("a", 1, deadline=2.0))
    talk.at = 2.0
    assert talk.plan(_want("a", 1, deadline=2.0)) == [_stop("a")]


def test_a_nearer_load_stops_the_farthest_and_that_one_goes_back_into_the_queue() -> None:
    talk = _Talk(max_in_flight=2)
    far, middle, near = _want("far", 9), _want("middle", 5), _want("near", 0)
    assert talk.names(talk.plan(far, middle)) == ["middle", "far"]
    assert talk.plan(far, middle, near) == [_stop("far")]
    assert not talk.complete
    assert talk.plan(far, middle, near) == [], "its end is waited for"
    assert talk.settle(_load("far", 9), LoadState.STOPPED, 4)
    assert talk.plan(far, middle, near) == [_load("near", 0)]
    talk.settle(_stop("far"))
    assert talk.settle(_load("near", 0))
    assert talk.plan(far, middle) == [_load("far", 9)]
    counters = talk.queue.counters
    assert (counters.started, counters.stopped, counters.loaded, counters.moved_bytes) == (4, 1, 1, 4)


def test_without_preemption_a_nearer_load_is_the_next() -> None:
    talk = _Talk(max_in_flight=1)
    talk.plan(_want("far", 9), preempt=False)
    wants = [_want("far", 9), _want("middle", 5), _want("near", 0)]
    assert talk.plan(*wants, preempt=False) == []
    assert not talk.complete
    talk.settle(_load("far", 9))
    assert talk.plan(*wants[1:], preempt=False) == [_load("near", 0)]


def test_an_equally_far_load_is_not_interrupted() -> None:
    talk = _Talk(max_in_flight=1)
    talk.plan(_want("a", 1))
    assert talk.plan(_want("a", 1), _want("b", 1)) == []


def test_a_load_that_came_nearer_meanwhile_is_not_interrupted() -> None:
    talk = _Talk(max_in_flight=1)
    talk.plan(_want("a", 9))
    assert talk.plan(_want("a", 1), _want("b", 2)) == []


def test_as_many_are_stopped_as_make_room_and_none_in_vain() -> None:
    talk = _Talk(max_in_flight=9, max_bytes=100)
    flying = [_want("a", 1, 40), _want("b", 5, 30), _want("c", 7, 30)]
    talk.plan(*flying)
    assert talk.names(talk.plan(*flying, _want("near", 3, 60))) == ["-c", "-b"]
    talk = _Talk(max_in_flight=9, max_bytes=100)
    talk.plan(*flying)
    assert talk.plan(*flying, _want("near", 3, 80)) == []
    assert not talk.complete


def test_several_nearer_loads_each_get_their_room_at_once() -> None:
    talk = _Talk(max_in_flight=2)
    far = [_want("y", 8), _want("z", 9)]
    talk.plan(*far)
    wants = [*far, _want("a", 1), _want("b", 2), _want("c", 3)]
    assert talk.names(talk.plan(*wants)) == ["-z", "-y"]
    talk.settle(_load("z", 9), LoadState.STOPPED)
    assert talk.names(talk.plan(*wants)) == ["a"]
    talk.settle(_load("y", 8), LoadState.STOPPED)
    assert talk.names(talk.plan(*wants)) == ["b"]


def test_a_stopped_load_that_was_quicker_counts_as_loaded() -> None:
    talk = _Talk(max_in_flight=1)
    talk.plan(_want("far", 9))
    talk.plan(_want("far", 9), _want("near", 1))
    assert talk.settle(_load("far", 9), LoadState.LOADED, 10)
    assert talk.queue.counters.loaded == 1
    assert talk.plan(_want("near", 1)) == [_load("near", 1)]


def test_a_memory_is_not_loaded_again_before_its_stop_is_settled() -> None:
    """The two may overtake each other: the stop would reach the new load."""
    talk = _Talk()
    talk.plan(_want("a", 1))
    talk.plan()
    talk.settle(_load("a", 1), LoadState.STOPPED)
    assert talk.plan(_want("a", 1), _want("b", 2)) == [_load("b", 2)]
    assert not talk.complete
    talk.settle(_stop("a"))
    assert talk.plan(_want("a", 1), _want("b", 2)) == [_load("a", 1)]


def test_a_stop_that_failed_leaves_the_load_in_flight_until_its_own_end() -> None:
    talk = _Talk(max_in_flight=1)
    talk.plan(_want("a", 1))
    talk.plan(_want("b", 2))
    assert talk.settle(_stop("a"), None)
    assert talk.queue.in_flight == (_load("a", 1),)
    assert talk.plan(_want("b", 2)) == [_stop("a")], "once more"
    assert talk.plan(_want("b", 2)) == []
    assert not talk.complete
    assert talk.settle(_stop("a"))
    assert talk.settle(_load("a", 1))
    assert talk.plan(_want("b", 2)) == [_load("b", 2)]
    assert talk.queue.counters.failed == 0


def test_what_is_wanted_again_while_it_is_stopped_waits_for_its_end() -> None:
    talk = _Talk()
    talk.plan(_want("a", 1))
    talk.plan()
    assert talk.plan(_want("a", 1)) == []
    assert not talk.complete
    talk.settle(_stop("a"))
    talk.settle(_load("a", 1), LoadState.STOPPED)
    assert talk.plan(_want("a", 1)) == [_load("a", 1)]


def test_a_failure_is_repeated_after_growing_waits_and_not_for_ever() -> None:
    talk = _Talk()
    for wait in (0.5, 1.0):
        assert talk.plan(_want("a", 1)) == [_load("a", 1)]
        assert talk.settle(_load("a", 1), None)
        assert talk.queue.wake_at == talk.at + wait
        talk.at += wait - 0.01
        assert talk.plan(_want("a", 1), _want("b", 2, 999)) != [_load("a", 1)], "others go on"
        talk.settle(_load("b", 2))
        talk.at += 0.01
    assert talk.plan(_want("a", 1)) == [_load("a", 1)]
    talk.settle(_load("a", 1), None)
    talk.at += 3600.0
    assert talk.plan(_want("a", 1)) == []
    assert talk.complete
    assert talk.queue.wake_at == math.inf
    talk.queue.renew(_id("a"))
    assert talk.plan(_want("a", 1)) == [_load("a", 1)]
    assert talk.queue.counters.failed == 3


def test_a_renewal_does_not_cut_the_wait_after_a_failure_short() -> None:
    """Each call of many agents would repeat the failure of what they share."""
    talk = _Talk()
    talk.plan(_want("a", 1))
    talk.settle(_load("a", 1), None)
    talk.queue.renew(_id("a"))
    talk.queue.renew(_id("stranger"))
    assert talk.plan(_want("a", 1)) == []
    assert talk.queue.wake_at == 0.5


def test_only_failures_in_a_row_count() -> None:
    talk = _Talk()
    for state in (None, None, LoadState.LOADED, None, None):
        talk.at += 10.0
        assert talk.plan(_want("a", 1)) == [_load("a", 1)]
        talk.settle(_load("a", 1), state)
    talk.at += 10.0
    assert talk.plan(_want("a", 1)) == [_load("a", 1)]


def test_what_is_absent_is_not_asked_for_again_until_it_is_renewed() -> None:
    talk = _Talk()
    talk.plan(_want("a", 1))
    talk.settle(_load("a", 1), LoadState.ABSENT)
    talk.at += 3600.0
    assert talk.plan(_want("a", 1)) == []
    assert talk.queue.has_given_up(_id("a"))
    assert not talk.queue.has_given_up(_id("b"))
    talk.queue.renew(_id("a"))
    assert not talk.queue.has_given_up(_id("a"))
    assert talk.plan(_want("a", 1)) == [_load("a", 1)]
    assert talk.queue.counters.refused == 1


@pytest.mark.parametrize(
    ("state", "way", "seconds"),
    [
        (LoadState.NO_ROOM, Way.COPY, 0.25),
        (LoadState.NO_ROOM, Way.RECOMPUTE, 1.0),
        (LoadState.LOADED, Way.COPY, 1.0),
        (LoadState.RESIDENT, Way.COPY, 1.0),
    ],
)
def test_an_answer_holds_for_a_while(state: LoadState, way: Way, seconds: float) -> None:
    """What is there by its own word is asked for again only after a report that may deny it; room may come any time."""
    talk, want = _Talk(), _want("a", 1, way=way)
    talk.plan(want)
    talk.settle(_load("a", 1, way=way), state)
    talk.at += seconds - 0.05
    assert talk.plan(want) == []
    assert talk.complete
    assert talk.queue.wake_at == seconds
    talk.at = seconds
    assert talk.plan(want) == [_load("a", 1, way=way)]


def test_the_waits_for_room_double_up_to_a_limit_and_begin_anew_with_success_and_renewal() -> None:
    """A full device would otherwise be asked four times a second, without end; what others ask changes nothing in it."""
    talk = _Talk()

    def waits(number: int) -> list[float]:
        found = []
        for _ in range(number):
            assert talk.plan(_want("a", 1)) == [_load("a", 1)]
            talk.settle(_load("a", 1), LoadState.NO_ROOM)
            assert talk.plan(_want("a", 1), _want("b", 2)) == [_load("b", 2)]
            found.append(talk.queue.wake_at - talk.at)
            talk.at = talk.queue.wake_at
            talk.settle(_load("b", 2))
            talk.at += 1.0
        return found

    assert waits(6) == [0.25, 0.5, 1.0, 1.0, 1.0, 1.0]
    talk.queue.renew(_id("a"))
    assert waits(3) == [0.25, 0.5, 1.0]
    talk.plan(_want("a", 1))
    talk.settle(_load("a", 1))
    talk.at += 1.0
    assert waits(2) == [0.25, 0.5]


def test_what_the_engine_stopped_by_itself_is_taken_up_again_a_little_later() -> None:
    talk = _Talk()
    wants = [_want("a", 1, way=Way.RECOMPUTE)]
    talk.plan(*wants)
    talk.settle(_load("a", 1, way=Way.RECOMPUTE), LoadState.STOPPED)
    assert talk.queue.wake_at == 0.25
    assert talk.plan(*wants) == []
    talk.at = 0.25
    assert talk.plan(*wants) == [_load("a", 1, way=Way.RECOMPUTE)]


def test_recomputations_take_the_engine_one_at_a_time_while_it_is_idle() -> None:
    talk = _Talk()
    wants = [_want("a", 1, 999, Way.RECOMPUTE), _want("b", 2, 999, Way.RECOMPUTE), _want("copy", 3)]
    assert talk.plan(*wants, idle=False) == [_load("copy", 3)]
    assert talk.plan(*wants) == [_load("a", 1, way=Way.RECOMPUTE)]
    assert talk.queue.in_flight_bytes == 10
    assert talk.plan(*wants) == []
    talk.settle(_load("a", 1, way=Way.RECOMPUTE))
    assert talk.plan(*wants[1:]) == [_load("b", 2, way=Way.RECOMPUTE)]


def test_a_recomputation_ends_when_there_is_something_else_to_do() -> None:
    talk = _Talk()
    wants = [_want("a", 1, way=Way.RECOMPUTE)]
    talk.plan(*wants)
    assert talk.plan(*wants, idle=False) == [_stop("a", Way.RECOMPUTE)]
    talk.settle(_stop("a", Way.RECOMPUTE))
    talk.settle(_load("a", 1, way=Way.RECOMPUTE), LoadState.STOPPED)
    assert talk.plan(*wants, idle=False) == []
    assert talk.complete, "what ends a call plans again"
    assert talk.plan(*wants) == [_load("a", 1, way=Way.RECOMPUTE)]


def test_a_nearer_recomputation_interrupts_a_farther_one_but_no_copy() -> None:
    talk = _Talk(max_in_flight=1)
    wants = [_want("copy", 9), _want("far", 5, way=Way.RECOMPUTE)]
    assert talk.names(talk.plan(*wants)) == ["copy", "far"]
    assert talk.plan(*wants, _want("near", 1, way=Way.RECOMPUTE)) == [_stop("far", Way.RECOMPUTE)]


def test_what_is_on_its_way_already_is_not_loaded_again() -> None:
    talk = _Talk()
    assert not talk.queue.heal({_id("a")}, {}, talk.at)
    assert talk.plan(_want("a", 1), _want("b", 2)) == [_load("b", 2)]
    assert not talk.queue.heal({_id("a"), _id("b")}, {}, talk.at)
    assert talk.queue.heal({_id("b")}, {}, talk.at), "it ended"
    assert talk.plan(_want("a", 1), _want("b", 2)) == [_load("a", 1)]


def test_what_a_report_does_not_show_is_in_flight_until_its_own_end() -> None:
    talk = _Talk(max_in_flight=1)
    talk.plan(_want("a", 1))
    for _ in range(9):
        assert not talk.queue.heal(set(), {}, talk.at)
    assert talk.plan(_want("a", 1), _want("b", 2)) == []
    assert talk.settle(_load("a", 1))


WHOLE = {_id("a"): MemoryReport(10, 0)}


def test_a_load_whose_acknowledgement_is_lost_ends_by_two_reports_in_a_row() -> None:
    talk = _Talk(max_in_flight=1)
    talk.queue.heal(set(), WHOLE, talk.at)  # before it began
    talk.plan(_want("a", 1))
    nothing_to_see: list[tuple[set[MemoryId], dict[MemoryId, MemoryReport]]] = [
        ({_id("a")}, WHOLE),
        (set(), {_id("a"): MemoryReport(5, 5)}),
        (set(), {_id("a"): MemoryReport(0, 0)}),
        (set(), {}),
    ]
    for loading, memories in nothing_to_see:
        assert not talk.queue.heal(set(), WHOLE, talk.at)
        assert not talk.queue.heal(loading, memories, talk.at)
    assert not talk.queue.heal(set(), WHOLE, talk.at)
    lost = talk.queue.in_flight[0]
    assert talk.queue.heal(set(), WHOLE, talk.at), "its room is free"
    talk.queue.check()
    assert talk.queue.in_flight == ()
    assert talk.queue.counters.loaded == 1
    talk.at = 2.0
    again = talk.plan(_want("a", 1))
    assert again == [lost]
    assert not talk.settle(lost), "the answer came late: it is not that of the new one"
    assert talk.settle(again[0])


def test_what_is_computed_again_is_never_missing_and_does_not_end_by_reports() -> None:
    talk = _Talk()
    talk.plan(_want("a", 1, way=Way.RECOMPUTE))
    for _ in range(9):
        assert not talk.queue.heal(set(), WHOLE, talk.at)
    assert talk.settle(_load("a", 1, way=Way.RECOMPUTE))


def test_a_lost_engine_holds_nothing_against_the_new_one() -> None:
    talk = _Talk()
    talk.plan(_want("gone", 1))
    talk.settle(_load("gone", 1), LoadState.ABSENT)
    (old,) = talk.plan(_want("a", 1))
    (stop,) = talk.plan()
    talk.queue.heal({_id("b")}, {}, talk.at)
    talk.queue.forget()
    talk.queue.check()
    assert talk.queue.in_flight == ()
    assert talk.queue.wake_at == math.inf
    new = talk.plan(_want("a", 1), _want("b", 2))
    assert new == [_load("a", 1), _load("b", 2)]
    assert new[0] == old
    assert not talk.settle(old, None), "the end of the old one is none of the new, though they look the same"
    assert not talk.settle(stop)
    assert talk.queue.loading == {_id("a"), _id("b")}
    assert talk.settle(new[0])
    talk.settle(new[1])
    assert talk.plan(_want("gone", 1)) == [_load("gone", 1)]


def test_a_load_on_which_engines_die_is_given_up() -> None:
    talk = _Talk()
    for _ in range(2):
        assert talk.plan(_want("a", 1)) == [_load("a", 1)]
        talk.queue.forget()
    assert talk.plan(_want("a", 1)) == [_load("a", 1)]
    talk.settle(_load("a", 1), None)
    talk.queue.forget()
    assert talk.plan(_want("a", 1), _want("b", 2)) == [_load("b", 2)]
    talk.queue.renew(_id("a"))
    assert talk.plan(_want("a", 1), _want("b", 2)) == [_load("a", 1)]


def test_what_was_not_ours_or_is_over_says_nothing() -> None:
    talk = _Talk()
    assert not talk.settle(_load("a", 1))
    assert not talk.settle(_stop("a"))
    (load,) = talk.plan(_want("a", 1))
    assert isinstance(load, Load)
    assert not talk.settle(replace(load, distance=7.0))
    assert not talk.settle(_stop("a"))
    assert talk.settle(load)
    assert not talk.settle(load)


def test_a_load_without_a_result_counts_as_loaded() -> None:
    talk = _Talk()
    talk.plan(_want("a", 1))
    assert talk.queue.settle(_load("a", 1), None, None, talk.at)
    assert talk.queue.counters.loaded == 1


def test_what_waits_and_what_failed_is_bounded() -> None:
    talk = _Talk(max_in_flight=9_999, max_bytes=1 << 40)
    limit = loads.TABLE_LIMIT
    wants = [_want(str(number), number) for number in range(limit + 5)]
    actions = talk.plan(*wants)
    assert len(actions) == limit
    assert talk.queue.sizes()["loads_in_flight"] == limit
    for action in actions:
        talk.queue.settle(action, "broken", None, talk.at)
    for action in talk.plan(*wants[limit:]):
        talk.queue.settle(action, "broken", None, talk.at)
    talk.queue.check()
    assert talk.queue.sizes()["loads_resting"] == limit
    talk.queue.heal({_id(str(number)) for number in range(limit + 5)}, {}, talk.at)
    assert talk.queue.sizes()["loads_elsewhere"] == limit


def test_rests_that_are_over_are_forgotten() -> None:
    talk = _Talk()
    for number in range(20):
        name = str(number)
        talk.plan(_want(name, 1))
        talk.settle(_load(name, 1))
        talk.at += 0.5
    assert talk.queue.sizes()["loads_resting"] <= 3


NAMES = st.sampled_from("abcdefg")
WANTS = st.builds(
    _want,
    NAMES,
    st.sampled_from([0.0, 1.0, 2.0, 5.0]),
    st.sampled_from([0, 10, 40, 70, 150]),
    st.sampled_from([Way.COPY, Way.COPY, Way.COPY, Way.RECOMPUTE]),
    st.sampled_from([math.inf, math.inf, 3.0, 20.0]),
)
STEPS = st.one_of(
    st.tuples(st.just("plan"), st.lists(WANTS, max_size=9), st.booleans(), st.booleans()),
    st.tuples(st.just("plan"), st.lists(WANTS, max_size=9), st.booleans(), st.booleans()),
    st.tuples(st.just("settle"), st.integers(0, 9), st.none() | st.sampled_from(LoadState)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.just(LoadState.LOADED)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.just(LoadState.STOPPED)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.5, 2.0])),
    st.tuples(st.just("heal"), st.sets(NAMES.map(_id), max_size=3)),
    st.tuples(st.just("renew"), NAMES.map(_id)),
    st.tuples(st.just("forget")),
)


class _History(_Talk):
    """Plays the engine as well: it keeps what was asked of it, and answers in any order."""

    def __init__(self) -> None:
        super().__init__(max_in_flight=3, max_bytes=100)
        self.asked: list[Load | StopLoad] = []
        self.lost: list[Load | StopLoad] = []

    def step(self, step: tuple[object, ...]) -> None:
        match step:
            case ("plan", list(wants), bool(idle), bool(preempt)):
                self.ask(wants, idle, preempt)
            case ("settle", int(place), state):
                assert state is None or isinstance(state, LoadState)
                self.answer(place, state)
            case ("wait", float(seconds)):
                self.at += seconds
            case ("heal", set(loading)):
                self.queue.heal(loading, {}, self.at)
            case ("renew", MemoryId() as memory):
                self.queue.renew(memory)
            case ("forget",):
                self.lost += self.asked
                self.asked = []
                self.queue.forget()
            case _:
                raise AssertionError(step)
        self.queue.check()
        assert sorted(map(repr, self.queue.in_flight)) == sorted(map(repr, self.asked))

    def ask(self, wants: list[Want], idle: bool, preempt: bool) -> list[Load | StopLoad]:
        busy = {action.memory for action in self.asked}
        flying = {action.memory for action in self.asked if isinstance(action, Load)}
        actions = self.plan(*wants, idle=idle, preempt=preempt)
        wanted = {want.memory: want for want in wants}
        for action in actions:
            assert action.engine == GPU
            if isinstance(action, Load):
                assert action.memory not in busy, "one load per memory, and no stop that could reach it"
                assert action.memory in wanted
                assert 0 < action.within_s <= 600
            else:
                assert action.memory in flying
                assert action not in self.asked, "stopped once"
        self.asked += actions
        return actions

    def answer(self, place: int, state: LoadState | None) -> None:
        if self.lost and place % 2:
            assert not self.settle(self.lost.pop(), state)
        elif self.asked:
            assert self.settle(self.asked.pop(place % len(self.asked)), state)

    def come_to_rest(self, wants: list[Want]) -> set[MemoryId]:
        """The same is wanted until it is there, planned for only when the queue says that it must be."""
        there: set[MemoryId] = set()
        for want in wants:
            self.queue.renew(want.memory)
        self.queue.heal(set(), {}, self.at)
        for _ in range(60):
            left = [want for want in wants if want.memory not in there]
            self.ask(left, True, True)
            if not self.asked:
                if self.queue.wake_at == math.inf:
                    break
                assert self.queue.wake_at > self.at
                self.at = self.queue.wake_at
            # Stops first, as an engine would: their loads end as stopped.
            self.asked.sort(key=lambda action: isinstance(action, Load))
            stopped = set()
            while self.asked:
                action = self.asked.pop(0)
                if isinstance(action, StopLoad):
                    stopped.add(action.memory)
                    assert self.settle(action)
                else:
                    state = LoadState.STOPPED if action.memory in stopped else LoadState.LOADED
                    assert self.settle(action, state)
                    there |= {action.memory} - stopped
        return there


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(STEPS, max_size=40), st.lists(WANTS, max_size=9))
def test_random_histories_break_nothing_and_everything_wanted_gets_loaded(
    steps: list[tuple[object, ...]], wants: list[Want]
) -> None:
    history = _History()
    for step in steps:
        history.step(step)
    wants = [replace(want, deadline=math.inf) for want in wants]
    assert history.come_to_rest(wants) >= {want.memory for want in wants}
