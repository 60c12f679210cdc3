"""From what is wanted of an engine, and what we believe of it, to the orders and pins that close the gap.

At most one step per kind is in flight: what comes on top waits for its end, which every action has (`Settled`). The
actions of one call are to be carried out in their order. A settled plan is silent except for `Renew`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from .actions import (
    Action,
    DropAdapter,
    Evict,
    FetchAdapter,
    Load,
    Order,
    Pin,
    Renew,
    StopLoad,
    Unpin,
)
from .model import AdapterName, EngineId, EngineReport, Owner
from .wanted import Wanted

RENEW_AFTER_S = 1.0
_RETRY_AFTER_S = 0.25
_RETRY_LIMIT_S = 5.0

Named = TypeVar("Named", bound=str)


def ranks_of(order: Iterable[tuple[Named, float]]) -> Mapping[Named, int]:
    """An order without its values: equal rank is equal distance, which the engine resolves by recency."""
    ranks: dict[Named, int] = {}
    rank, last = -1, -1.0
    for name, distance in order:
        if distance != last:
            rank, last = rank + 1, distance
        ranks[name] = rank
    return ranks


class Ordered(NamedTuple):
    """What of an `Order` makes a difference to an engine. Two that are equal here are the same to it, so the second is
    not sent."""

    owners: Mapping[Owner, int]
    adapters: Mapping[AdapterName, int]
    pinned_adapters: frozenset[AdapterName]
    no_host_copy: frozenset[Owner]
    ready_first: bool
    by_recency: bool = False


NOTHING = Ordered({}, {}, frozenset(), frozenset(), False)
"""Recency decides."""


def ordered_of(wanted: Wanted) -> Ordered:
    return Ordered(
        ranks_of(wanted.order),
        ranks_of(wanted.adapters),
        frozenset(wanted.pinned_adapters),
        frozenset(wanted.no_host_copy),
        wanted.ready_first,
        wanted.by_recency,
    )


@dataclass(slots=True)
class Belief:
    """What one engine holds in force as far as we know, and what is on its way to it."""

    order: Ordered | None = NOTHING
    """None: unknown, to be sent again."""
    pins: dict[Owner, int] = field(default_factory=dict)
    """Surely pinned, each with the tokens that were granted to it."""
    doubtful: dict[Owner, int] = field(default_factory=dict)
    """May be pinned or not: a pin or its release failed, or the engine reported pins that are not ours."""
    sent_at: float = 0.0
    """The last `Order` or `Renew`."""
    flying_order: tuple[Order, Ordered] | None = None
    flying_pin: tuple[Pin, dict[Owner, int]] | None = None
    flying_unpin: Unpin | None = None
    flying_renew: Renew | None = None
    _ordered: bool = False
    """An order of ours arrived: one that the engine reports beyond that is no longer somebody else's."""
    _failures: int = 0
    _wait_until: float = 0.0

    @property
    def in_force(self) -> bool:
        return self.order not in (None, NOTHING) or bool(self.pins)

    @property
    def in_flight(self) -> tuple[Action, ...]:
        flying = (
            self.flying_order and self.flying_order[0],
            self.flying_unpin,
            self.flying_pin and self.flying_pin[0],
            self.flying_renew,
        )
        return tuple(action for action in flying if action)

    def is_free(self, features: frozenset[str]) -> bool:
        """Whether anything could be sent that does not have to wait for what is in flight."""
        return ("order" in features and self.flying_order is None) or (
            "pin" in features and self.flying_pin is None and self.flying_unpin is None
        )

    def waits(self, at: float) -> bool:
        """Whether the engine failed repeatedly and is left in peace for a while."""
        return at < self._wait_until

    def steps(
        self,
        engine: EngineId,
        wanted: Wanted,
        sizes: Mapping[Owner, int],
        budget: int,
        features: frozenset[str],
        at: float,
    ) -> tuple[list[Action], bool]:
        """What to do now, and whether that is all: False if something has to wait for what is in flight.

        `sizes` has the tokens of all owners in `wanted.pins` and of those believed pinned that are still known.
        """
        actions: list[Action] = []
        complete = True
        if "order" in features:
            actions, complete = self._order(engine, wanted, at)
        if "pin" in features:
            pinning, pinned = self._pin(engine, wanted.pins, sizes, budget, at)
            actions += pinning
            complete = complete and pinned
        return actions, complete

    def renewal(self, engine: EngineId, at: float) -> list[Action]:
        if (
            not self.in_force
            or self.flying_order
            or self.flying_renew
            or at < self.sent_at + RENEW_AFTER_S
            or self.waits(at)
        ):
            return []
        self.sent_at = at
        self.flying_renew = Renew(engine)
        return [self.flying_renew]

    def settle(self, action: Action, error: str | None, at: float) -> bool:
        """True if it was one of ours in flight. Others (from before the engine was lost) say nothing of its present."""
        match action:
            case Order():
                if self.flying_order is None or self.flying_order[0] != action:
                    return False
                self.order = None if error else self.flying_order[1]
                self._ordered = self._ordered or error is None
                self.flying_order = None
            case Pin():
                if self.flying_pin is None or self.flying_pin[0] != action:
                    return False
                self._pin_settled(self.flying_pin[1], error)
                self.flying_pin = None
            case Unpin():
                if self.flying_unpin != action:
                    return False
                self._unpin_settled(action.owners, error)
                self.flying_unpin = None
            case Renew():
                if self.flying_renew != action:
                    return False
                if error:
                    # It may have aged out meanwhile.
                    self.order = None
                    self._doubt(self.pins)
                self.flying_renew = None
            case Evict() | Load() | StopLoad() | FetchAdapter() | DropAdapter():
                return False
        self._count_failure(error, at)
        return True

    def heal(self, report: EngineReport) -> bool:
        """Takes over what the engine says of itself where it contradicts us. True if it did.

        What is in flight is left alone: the report may be from before or after it.
        """
        healed = False
        if self.flying_order is None:
            aged_out = self.order not in (None, NOTHING) and not report.plan_in_force
            foreign = self.order == NOTHING and not self._ordered and report.plan_in_force
            if aged_out or foreign:
                self.order = None
                healed = True
        if self.flying_pin is None and self.flying_unpin is None:
            missing = self.pins.keys() - report.pinned_owners
            beyond = report.pinned_owners - self.pins.keys()
            for owner in missing:
                del self.pins[owner]
            # Doubts that the report does not confirm are settled: not pinned.
            self.doubtful = {owner: self.doubtful.get(owner, 0) for owner in sorted(beyond)}
            healed = healed or bool(missing or beyond)
        return healed

    def forget(self) -> None:
        """The engine started anew or cannot be reached: nothing is believed, nothing in flight counts."""
        self.order, self._ordered = NOTHING, False
        self.pins, self.doubtful = {}, {}
        self.flying_order = self.flying_pin = self.flying_unpin = self.flying_renew = None
        self._failures, self._wait_until = 0, 0.0

    def _order(self, engine: EngineId, wanted: Wanted, at: float) -> tuple[list[Action], bool]:
        ordered = ordered_of(wanted)
        if self.flying_order is not None:
            return [], ordered == self.flying_order[1]
        if ordered == self.order:
            return [], True
        order = Order(
            engine,
            wanted.order,
            wanted.adapters,
            wanted.pinned_adapters,
            wanted.no_host_copy,
            wanted.ready_first,
            wanted.by_recency,
        )
        self.flying_order = order, ordered
        self.sent_at = at
        return [order], True

    def _pin(
        self, engine: EngineId, owners: tuple[Owner, ...], sizes: Mapping[Owner, int], budget: int, at: float
    ) -> tuple[list[Action], bool]:
        wanted = dict.fromkeys(owners)
        if self.flying_pin is not None or self.flying_unpin is not None:
            pinning = set() if self.flying_pin is None else self.flying_pin[1].keys()
            releasing = set() if self.flying_unpin is None else set(self.flying_unpin.owners)
            then = (self.pins.keys() | pinning) - releasing
            return [], then == wanted.keys() and not self.doubtful.keys() - pinning - releasing
        self.pins = {owner: sizes.get(owner, tokens) for owner, tokens in self.pins.items()}
        self.doubtful = {owner: sizes.get(owner, tokens) for owner, tokens in self.doubtful.items()}
        gone = tuple(owner for owner in (*self.pins, *self.doubtful) if owner not in wanted)
        # A pin that needs the room of one that goes waits until that is gone, or a failure between the two would
        # leave more pinned than the budget allows.
        left = budget - sum(self.pins.values()) - sum(self.doubtful.values())
        granted: dict[Owner, int] = {}
        complete = True
        for owner in wanted:
            if owner in self.pins:
                continue
            cost = 0 if owner in self.doubtful else sizes[owner]
            if cost > left:
                complete = False
                continue
            granted[owner] = sizes[owner]
            left -= cost
        actions: list[Action] = []
        if gone:
            self.flying_unpin = Unpin(engine, gone)
            actions.append(self.flying_unpin)
        if granted:
            if not self.in_force:
                self.sent_at = at
            self.flying_pin = Pin(engine, tuple(granted)), granted
            actions.append(self.flying_pin[0])
        return actions, complete

    def _pin_settled(self, granted: dict[Owner, int], error: str | None) -> None:
        if error:
            self._doubt(granted)
            return
        for owner, tokens in granted.items():
            self.doubtful.pop(owner, None)
            self.pins[owner] = tokens

    def _unpin_settled(self, owners: tuple[Owner, ...], error: str | None) -> None:
        for owner in owners:
            tokens = self.pins.pop(owner, self.doubtful.get(owner, 0))
            if error:
                self.doubtful[owner] = tokens
            else:
                self.doubtful.pop(owner, None)

    def _doubt(self, owners: Mapping[Owner, int]) -> None:
        for owner, tokens in list(owners.items()):
            self.pins.pop(owner, None)
            self.doubtful[owner] = tokens

    def _count_failure(self, error: str | None, at: float) -> None:
        if error is None:
            self._failures, self._wait_until = 0, 0.0
            return
        self._failures += 1
        # The first failure is repeated by the next plan; an engine that keeps failing is not asked at every tick.
        if self._failures > 1:
            self._wait_until = at + min(_RETRY_LIMIT_S, _RETRY_AFTER_S * 2.0 ** min(self._failures - 2, 10))
