"""The queue of loads in the engine: order, slices, stops, and that every message is answered once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scalesim.engine_adapters.sglang_plugin.loads import MAX_WAITING, Counts, Load, Loads, State


class FakeMover:
    """Memories of a number of slices each; the test says when a slice has arrived."""

    def __init__(self, slices: dict[str, int]) -> None:
        self.counts = Counts()
        self.left = dict(slices)
        self.moving: str | None = None
        self.busy = False
        """A call's own load is on its way."""
        self.begun: list[str] = []
        self.breaks = False

    def next_slice(self, load: Load) -> int | State:
        if self.breaks:
            raise RuntimeError("no such tensor")
        if load.key not in self.left:
            return State.ABSENT
        if not self.left[load.key]:
            return State.LOADED if load.moved_bytes else State.RESIDENT
        assert self.moving is None, "one slice at a time"
        self.left[load.key] -= 1
        self.moving = load.key
        self.begun.append(load.key)
        return 10

    def is_moving(self, key: str) -> bool:
        return self.moving == key

    def is_busy(self) -> bool:
        return self.busy or self.moving is not None

    def arrive(self) -> None:
        self.moving = None


class Desk:
    def __init__(self, **slices: int) -> None:
        self.mover = FakeMover(slices)
        self.answers: list[tuple[object, int, dict[str, Any]]] = []
        self.loads = Loads(
            {"blob": self.mover},
            lambda message, status, payload: self.answers.append((message, status, payload)),
        )

    def ask(self, key: str, distance: float) -> None:
        assert self.loads.ask(f"{key} at {distance:g}", "blob", key, distance) == ""

    def arrive(self) -> None:
        self.mover.arrive()
        self.loads.pump()

    def states(self) -> list[tuple[object, str]]:
        return [(message, str(payload["state"])) for message, _, payload in self.answers]


def test_a_load_is_answered_when_its_last_slice_has_arrived() -> None:
    desk = Desk(ann=2)
    desk.ask("ann", 1)
    desk.loads.pump()
    assert desk.loads.loading() == [["blob", "ann"]]
    desk.arrive()
    assert desk.answers == []
    desk.arrive()
    assert desk.answers == [("ann at 1", 200, {"ok": True, "state": "loaded", "moved_bytes": 20})]
    assert not desk.loads.in_progress
    assert desk.mover.counts == Counts(issued=1, moved_bytes=20)


def test_a_nearer_load_goes_on_before_the_next_slice_of_a_farther_one() -> None:
    desk = Desk(ann=2, bob=1)
    desk.ask("ann", 5)
    desk.loads.pump()
    desk.ask("bob", 1)
    desk.arrive()
    desk.arrive()
    desk.arrive()
    assert desk.mover.begun == ["ann", "bob", "ann"]
    assert desk.states() == [("bob at 1", "loaded"), ("ann at 5", "loaded")]


def test_no_slice_goes_in_front_of_what_a_call_loads_itself() -> None:
    desk = Desk(ann=1)
    desk.mover.busy = True
    desk.ask("ann", 0)
    desk.loads.pump()
    assert desk.mover.begun == []
    desk.mover.busy = False
    desk.loads.pump()
    assert desk.mover.begun == ["ann"]


def test_what_is_there_and_what_is_nowhere_is_answered_at_once() -> None:
    desk = Desk(ann=0)
    desk.ask("ann", 1)
    desk.ask("nobody", 2)
    desk.loads.pump()
    assert desk.states() == [("ann at 1", "resident"), ("nobody at 2", "absent")]
    assert desk.mover.counts == Counts(refused=1)


def test_a_stop_ends_a_load_behind_the_slice_that_is_on_its_way() -> None:
    desk = Desk(ann=3)
    desk.ask("ann", 1)
    desk.loads.pump()
    assert desk.loads.stop("blob", "ann")
    assert desk.answers == [], "half a slice cannot be used"
    desk.arrive()
    assert desk.states() == [("ann at 1", "stopped")]
    assert desk.mover.counts == Counts(issued=1, stopped=1, moved_bytes=10)
    assert not desk.loads.stop("blob", "ann")


def test_a_load_that_has_not_begun_stops_at_once() -> None:
    desk = Desk(ann=1)
    desk.ask("ann", 1)
    assert desk.loads.stop("blob", "ann")
    assert desk.states() == [("ann at 1", "stopped")]


def test_a_second_message_for_the_same_memory_waits_for_the_same_load() -> None:
    desk = Desk(ann=1)
    desk.ask("ann", 3)
    desk.ask("ann", 2)
    desk.loads.pump()
    desk.arrive()
    assert desk.states() == [("ann at 3", "loaded"), ("ann at 2", "loaded")]
    assert desk.mover.begun == ["ann"]


def test_asked_for_again_a_stopped_load_goes_on() -> None:
    desk = Desk(ann=2)
    desk.ask("ann", 3)
    desk.loads.pump()
    desk.loads.stop("blob", "ann")
    desk.ask("ann", 1)
    desk.arrive()
    desk.arrive()
    assert desk.states() == [("ann at 3", "loaded"), ("ann at 1", "loaded")]


def test_what_this_engine_cannot_load_is_said_by_name() -> None:
    assert Desk().loads.ask("x", "model", "ann", 1) == "this server cannot load 'model'; it can load: blob"
    assert Loads({}, lambda *_: None).ask("x", "lora", "ann", 1).endswith("it can load: none")


def test_the_queue_is_bounded() -> None:
    desk = Desk()
    for number in range(MAX_WAITING):
        desk.ask(str(number), 1)
    assert desk.loads.ask("x", "blob", "one more", 1) == "256 loads are waiting already"
    for _ in range(MAX_WAITING - 1):
        desk.ask("0", 1)
    assert desk.loads.ask("x", "blob", "0", 1) == "256 calls wait for this load already"


def test_a_mover_that_breaks_ends_its_load_and_nothing_else() -> None:
    desk = Desk(ann=1)
    desk.mover.breaks = True
    desk.ask("ann", 1)
    desk.loads.pump()
    [(message, status, payload)] = desk.answers
    assert (message, status, payload["error"]["message"]) == (
        "ann at 1",
        500,
        "RuntimeError('no such tensor')",
    )
    desk.mover.breaks = False
    desk.ask("ann", 1)
    desk.loads.pump()
    desk.arrive()
    assert desk.answers[-1][2]["state"] == "loaded"


def test_a_flush_answers_all_that_was_asked_for() -> None:
    desk = Desk(ann=2, bob=1)
    desk.ask("ann", 1)
    desk.ask("bob", 2)
    desk.loads.pump()
    desk.loads.forget()
    assert desk.states() == [("ann at 1", "stopped"), ("bob at 2", "stopped")]
    assert not desk.loads.in_progress


_KEYS = st.sampled_from(["ann", "bob", "cem", "nobody"])


@given(
    st.dictionaries(st.sampled_from(["ann", "bob", "cem"]), st.integers(0, 3)),
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), _KEYS, st.floats(0, 10)),
            st.tuples(st.just("stop"), _KEYS, st.none()),
            st.tuples(st.sampled_from(["pump", "arrive", "busy"]), st.none(), st.none()),
        ),
        max_size=60,
    ),
)
def test_every_message_is_answered_exactly_once(
    slices: dict[str, int], history: list[tuple[str, Any, Any]]
) -> None:
    desk = Desk(**slices)
    asked = 0
    for what, key, distance in history:
        match what:
            case "ask":
                asked += 1
                assert desk.loads.ask(asked, "blob", key, distance) == ""
            case "stop":
                desk.loads.stop("blob", key)
            case "busy":
                desk.mover.busy = not desk.mover.busy
            case "arrive":
                desk.arrive()
            case _:
                desk.loads.pump()
        answered = [message for message, _, _ in desk.answers]
        assert len(set(answered)) == len(answered) <= asked
    desk.mover.busy = False
    for _ in range(sum(slices.values()) + 5):
        desk.arrive()
    assert sorted(message for message, _, _ in desk.answers) == list(range(1, asked + 1))  # type: ignore[type-var]
    assert not desk.loads.in_progress
