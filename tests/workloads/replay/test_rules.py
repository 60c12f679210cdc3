"""Rules that look at steps: when memory is kept for how long its owner is usually away, and what is loaded for two steps ahead."""

from __future__ import annotations

from scalesim.workloads.program import Activation, Step
from scalesim.workloads.replay.cache import Cache
from scalesim.workloads.replay.clock import Clock
from scalesim.workloads.replay.engine import Call, Engine, Sizes
from scalesim.workloads.replay.foresight import Foresight
from scalesim.workloads.replay.kvflow import StepPrefetch
from scalesim.workloads.replay.owners import Owners
from scalesim.workloads.replay.paths import Pieces
from scalesim.workloads.replay.rules import TimeToLive

from .toy import COSTS, Asking


def at_step(index: int, **distances: float) -> Step:
    return Step(index, (), distances)


def foresight_of(*names: str) -> Foresight:
    steps = [Step(0, tuple(Activation(name, (), 1) for name in names), {})]
    return Foresight(steps, {name: name for name in names})


def test_an_owner_is_usually_back_after_as_many_steps_as_it_has_been_away_on_average() -> None:
    known = foresight_of("ann")
    for step in (0, 2, 6):
        known.begin_step(at_step(step))
        known.end_activation("ann", 1)
    expected = {7: True, 8: True, 9: True, 10: False}  # away for 2 and for 4 steps: 3 on average
    for step, is_expected in expected.items():
        known.begin_step(at_step(step))
        assert known.is_usually_back("ann") is is_expected


def test_of_whom_nothing_is_known_the_others_tell() -> None:
    known = foresight_of("ann", "bob")
    known.begin_step(at_step(0))
    assert known.is_usually_back("bob")
    known.end_activation("ann", 1)
    known.begin_step(at_step(2))
    known.end_activation("ann", 1)
    known.end_activation("bob", 1)
    known.begin_step(at_step(4))
    assert known.is_usually_back("bob")
    known.begin_step(at_step(5))
    assert not known.is_usually_back("bob")


def test_two_activations_in_a_step_are_no_time_away() -> None:
    known = foresight_of("ann")
    known.begin_step(at_step(0))
    known.end_activation("ann", 1)
    known.end_activation("ann", 1)
    known.begin_step(at_step(9))
    assert known.is_usually_back("ann"), "nobody knows how long it is away"


def test_what_lives_leaves_after_what_has_expired_and_by_recency_where_all_lives() -> None:
    known, pieces = foresight_of("ann", "bob", "cem"), Pieces()
    cache = Cache(200, TimeToLive(known, Owners()))

    def use(owner: str) -> int:
        held = cache.begin(pieces.path([(owner, 100)]), 0, owner)
        assert held is not None
        cache.computed(held)
        cache.end(held)
        known.end_activation(owner, 1)
        return held.cached

    def step(index: int, *owners: str) -> list[int]:
        known.begin_step(at_step(index))
        return [use(owner) for owner in owners]

    # Ann is away for one step at a time, Bob for four.
    assert step(0, "ann", "bob") == [0, 0]
    assert step(1, "ann") == [99]
    assert step(2, "ann") == [99]
    assert step(4, "bob") == [99]
    assert step(5, "ann") == [99]
    # By step 8 her time is over, and his is not, though she called after him: she makes room.
    assert step(8, "cem") == [0]
    assert step(8, "bob") == [99]


class Town:
    """Ann, Bob and Cem with personas of 500 tokens each, room for two of them, and copies of all in host memory."""

    def __init__(self, capacity: int = 1010) -> None:
        self.clock = Clock()
        self.known = foresight_of("ann", "bob", "cem")
        self.engine = Engine("toy", self.clock, COSTS, Sizes(capacity, 5000), "kvflow", self.known)
        self.prefetch = StepPrefetch(self.clock, self.engine, self.known)
        self.town = Asking(self.clock, self.engine)

    def step(self, index: int, **distances: float) -> None:
        self.known.begin_step(at_step(index, **distances))
        self.prefetch.begin_step()

    def call(self, owner: str, back_in: float) -> Call:
        call = self.town.call([(owner, 500), ("task", 1)], 1, owner)
        self.town.finish()
        self.known.end_activation(owner, back_in)
        self.prefetch.end_activation()
        return call

    def wait(self, seconds: float = 1.0) -> None:
        over: list[bool] = []
        self.clock.after(seconds, lambda: over.append(True))
        self.clock.run_until(lambda: bool(over))

    def there(self) -> set[str]:
        return {
            name
            for name in ("ann", "bob", "cem")
            if self.engine.cache.device_tokens(self.town.path((name, 500)))
        }


def test_kvflow_brings_back_who_is_active_within_two_steps_in_place_of_who_is_farther() -> None:
    town = Town()
    town.step(0, ann=0, bob=0, cem=0)
    for owner, back_in in (("ann", 3), ("bob", 9), ("cem", 5)):
        town.call(owner, back_in)
    assert town.there() == {"ann", "cem"}, "the farthest step left"
    # Bob is told to be back sooner: in three steps nothing is loaded yet, in two he takes Cem's place.
    town.step(1, ann=2, bob=3, cem=4)
    town.wait()
    assert town.there() == {"ann", "cem"}
    town.step(2, ann=1, bob=2, cem=3)
    town.wait()
    assert town.there() == {"ann", "bob"}
    call = town.call("bob", 1)
    assert call.hidden_bytes == 501 * COSTS.bytes_per_token
    assert call.waited_bytes == 0


def test_kvflow_takes_no_room_of_who_is_as_near() -> None:
    town = Town()
    town.step(0, ann=0, bob=0, cem=0)
    for owner in ("ann", "bob", "cem"):
        town.call(owner, 1)
    before = town.there()
    town.step(1, ann=0, bob=0, cem=0)
    town.wait()
    assert town.there() == before


def test_kvflow_tries_again_when_an_activation_ends() -> None:
    town = Town()
    town.step(0, ann=0, bob=0, cem=0)
    for owner, back_in in (("ann", 1), ("bob", 1), ("cem", 1)):
        town.call(owner, back_in)
    assert town.there() == {"bob", "cem"}
    town.step(1, ann=0, bob=0, cem=0)
    town.wait()
    assert town.there() == {"bob", "cem"}, "both are as near as Ann"
    town.call("bob", 7)
    town.wait()
    assert town.there() == {"ann", "cem"}
