"""What a leader hears: the records of all members, each once and in its sender's order, and what follows where some are missing.
Pure; `at` is of the leader's clock.

A member that falls silent has taken its calls with it: they are ended for it. One that lost records, or was cut off, says which of
its calls run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scalesim.proxy.core.events import CallEnded, CallSent, CallStarted, Event, StepTicked
from scalesim.proxy.core.model import AgentName, CallId, Outcome, SimulationId

CALL_BITS = 32
"""Of a call's number, below that of its sender."""
SENDER_BITS = 30
"""Together they are less than 63, so that every reader of JSON takes them."""
SILENT_S = 10.0
SENDERS = 512
_STEPS = 64
_REPEATED_S = 30.0


def first_call(member: int) -> int:
    """The calls of a member are numbered from here on, so that no two members have one of the same number."""
    return member << CALL_BITS


def sender_of(call: CallId) -> int:
    return call >> CALL_BITS


class Running(NamedTuple):
    """The sender's calls that run; all others of it have ended."""

    calls: tuple[CallId, ...]


class Heard(NamedTuple):
    number: int
    """Of the record; 0: it follows from what was not heard."""
    event: Event
    whom: tuple[SimulationId, AgentName] | None = None
    """Whose call was sent or has ended, where that is known."""


@dataclass(slots=True, eq=False)
class _Sender:
    next: int
    heard_at: float
    calls: dict[CallId, CallStarted] = field(default_factory=dict)


class Senders:
    def __init__(self, limit: int = SENDERS) -> None:
        self._limit = limit
        self._known: OrderedDict[int, _Sender] = OrderedDict()
        """Who was heard last comes last."""
        self.missed = 0
        """Records that were dropped before they were sent, or trimmed before they were read."""
        self.unread = 0
        """Records that could not be read."""

    def sizes(self) -> dict[str, int]:
        return {
            "group_members": len(self._known),
            "group_calls": sum(len(one.calls) for one in self._known.values()),
        }

    def next_of(self) -> dict[int, int]:
        """What is expected next of each."""
        return {name: one.next for name, one in self._known.items()}

    def expect(self, sender: int, number: int, at: float) -> None:
        """As another leader knew it."""
        self._sender(sender, number, at)

    def resume(self, started: CallStarted, at: float) -> None:
        """This call runs, as another leader knew it."""
        sender = sender_of(started.call)
        self._sender(sender, 0, at).calls[started.call] = started

    def entry(
        self, sender: int, first: int, items: Sequence[Event | Running | None], at: float
    ) -> Iterator[Heard]:
        """What is new in it. To be used up before the next one."""
        known = self._sender(sender, first, at)
        if first > known.next > 0:
            self.missed += first - known.next
        for number, item in enumerate(items, first):
            if number < known.next:
                continue  # an entry whose answer was lost is sent again
            known.next = number + 1
            match item:
                case None:
                    self.unread += 1
                case Running(calls=calls):
                    yield from self._ended(known, set(known.calls) - set(calls), at)
                case CallEnded(call=call):
                    yield Heard(number, item, _whose(known.calls.pop(call, None)))
                case CallSent(call=call):
                    started = known.calls.get(call)
                    if started is not None:
                        known.calls[call] = as_sent(started, item)
                    yield Heard(number, item, _whose(started))
                case event:
                    if isinstance(event, CallStarted):
                        known.calls[event.call] = event
                    yield Heard(number, event)
        known.next = max(known.next, first + len(items))

    def silent(self, at: float) -> Iterator[Heard]:
        """The ends of calls whose members have fallen silent, which are forgotten."""
        for sender, known in list(self._known.items()):
            if at - known.heard_at < SILENT_S:
                continue
            del self._known[sender]
            yield from self._ended(known, set(known.calls), at)

    def _sender(self, sender: int, number: int, at: float) -> _Sender:
        known = self._known.get(sender)
        if known is None:
            known = self._known[sender] = _Sender(number, at)
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        known.heard_at = at
        known.next = known.next or number
        self._known.move_to_end(sender)
        return known

    def _ended(self, sender: _Sender, calls: set[CallId], at: float) -> Iterator[Heard]:
        for call in sorted(calls):
            whose = _whose(sender.calls.pop(call))
            yield Heard(0, CallEnded(at, call, Outcome.CLIENT_GONE), whose)


def as_sent(started: CallStarted, sent: CallSent) -> CallStarted:
    """What is to be told of a call that runs elsewhere by now than where it began."""
    return replace(started, engine=sent.engine, adapter=sent.adapter, moves=started.moves or sent.moves)


def _whose(started: CallStarted | None) -> tuple[SimulationId, AgentName] | None:
    return None if started is None or started.agent is None else (started.simulation, started.agent)


class Steps:
    """Members that read steps in requests each tell of a step when they first see it: only the first of them counts."""

    def __init__(self) -> None:
        self._told: OrderedDict[SimulationId, OrderedDict[float, tuple[int, float]]] = OrderedDict()

    def sizes(self) -> dict[str, int]:
        return {"group_steps": sum(map(len, self._told.values()))}

    def is_repeated(self, event: StepTicked, sender: int, at: float) -> bool:
        if event.step is None:
            return False
        told = self._told.setdefault(event.simulation, OrderedDict())
        self._told.move_to_end(event.simulation)
        if len(self._told) > _STEPS:
            self._told.popitem(last=False)
        by, when = told.get(event.step, (sender, at))
        if by != sender and at - when < _REPEATED_S:
            return True
        told[event.step] = sender, at
        told.move_to_end(event.step)
        if len(told) > _STEPS:
            told.popitem(last=False)
        return False
