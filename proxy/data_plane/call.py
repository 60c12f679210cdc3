"""A generation call between its events: one `CallStarted`, and whatever happens one `CallEnded`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scalesim.proxy.core.durations import Reading
from scalesim.proxy.core.events import AgentLeft, CallEnded, CallSent, CallStarted, Event, StepTicked
from scalesim.proxy.core.model import (
    AdapterName,
    AgentName,
    CallId,
    Clock,
    EngineId,
    Mode,
    Outcome,
    Owner,
    SimulationId,
    Usage,
    owner_of,
)
from scalesim.proxy.recognition.ladder import Left, Recognised

from ..served_call import Record, ServedCall
from ..span import CallSpan, Trace
from .outgoing import Outgoing, Said
from .request import Request
from .usage import Witness

Remember = Callable[[Owner, str, Mapping[str, object], int, AdapterName | None], None]
"""Told of an answered call of a known agent: its owner, the path, the body (with an assigned adapter), its prompt's tokens,
the adapter it ran on."""

Read = Callable[[Witness, Reading], tuple[float, Clock] | None]
"""Finds in an answer how long its agent acts after it."""

Answered = Callable[[CallId, float, str], list[Left] | None]
"""Told when a call has ended of which `Recognised` wanted the answer, and what it said. Answers who turned out to be somebody
else."""


@dataclass(slots=True)
class Listeners:
    """Who is told of calls, or asked what they are to be told. None of them may raise.

    `remember` is called for agents of which `recomputed` says that nothing but their prompts can bring their prefixes back.
    `read` is called for answers in simulations of which `reading` says that they are read, and where the recognition says how.
    `record` is told of every call when it has ended. It alone may be another one later.
    """

    post: Callable[[Event], None]
    clock: Callable[[], float]
    mode_of: Callable[[SimulationId], Mode]
    assigned: Callable[[SimulationId, AgentName], AdapterName | None]
    """On which adapter an operator has an agent's calls run."""
    recomputed: Callable[[SimulationId, AgentName], bool]
    remember: Remember
    reading: Callable[[SimulationId], Reading | None]
    read: Read
    answered: Answered
    record: Record | None = None
    trace: Trace | None = None


class Call:
    __slots__ = (
        "_acts_for",
        "_assigned_then",
        "_listeners",
        "at",
        "caller",
        "ended_at",
        "first_byte_at",
        "id",
        "outcome",
        "outgoing",
        "request",
        "said",
        "span",
        "status",
        "usage",
        "witness",
    )

    def __init__(
        self,
        call: CallId,
        at: float,
        request: Request,
        said: Said,
        acts_for: tuple[float, Clock] | None,
        listeners: Listeners,
    ) -> None:
        self.id = call
        self.at = at
        """When it arrived."""
        self.request = request
        self.said = said
        self.caller: Recognised = said.caller
        self.outgoing = Outgoing(request.body)
        """What the engine is sent that it is meant for now."""
        self.span: CallSpan | None = None
        self.witness: Witness | None = None
        """Of the answer, once there is one."""
        self.status: int | None = None
        self.first_byte_at: float | None = None
        """Of the answer's body."""
        self.ended_at = at
        """Once it has an outcome."""
        self.outcome: Outcome | None = None
        """None while it runs."""
        self.usage: Usage | None = None
        """Of a call that was answered whole, if the engine told it."""
        self._acts_for = acts_for
        self._listeners = listeners
        self._assigned_then: AdapterName | None = None

    @property
    def is_streamed(self) -> bool:
        """An answer to it begins with its first token, not with its last."""
        parsed = self.request.parsed
        return parsed is not None and parsed.get("stream") is True

    def start(self, engine: EngineId, *, moves: bool, beginning: str | None) -> None:
        """It has a place."""
        caller, listeners = self.caller, self._listeners
        if caller.agent is not None:
            self._assigned_then = listeners.assigned(caller.simulation, caller.agent)
        if caller.step is not None:
            listeners.post(StepTicked(self.at, caller.simulation, caller.step))
        adapter = self.outgoing.adapter
        listeners.post(
            CallStarted(self.at, self.id, caller.simulation, caller.agent, engine, adapter, moves, beginning)
        )

    def refuse(self) -> None:
        """It has no place, so it never starts."""
        self._hear(self._listeners.clock(), "")
        if self.span is not None:
            self.span.refused()

    def send(self, engine: EngineId, *, moves: bool) -> None:
        """It is sent later than it started, or elsewhere."""
        listeners = self._listeners
        listeners.post(CallSent(listeners.clock(), self.id, engine, self.outgoing.adapter, moves))

    def see_the_first(self) -> None:
        """A piece of the answer has come."""
        if self.first_byte_at is None:
            self.first_byte_at = self._listeners.clock()
            if self.span is not None:
                self.span.first_piece()

    def end(self, outcome: Outcome, usage: Usage | None = None) -> None:
        """Posts `CallEnded`, the first time it is called."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        listeners, caller = self._listeners, self.caller
        answer = self.witness if outcome is Outcome.DONE else None
        # The last byte is on its way already, and the client's next call cannot start before this one has ended.
        said = None if answer is None else self._duration_in(answer)
        at = self.ended_at = listeners.clock()
        listeners.post(CallEnded(at, self.id, outcome, usage, self._acts_for, said, caller.ends))
        if answer is not None and usage is not None:
            self.usage = usage
            self._remember(usage)
        if caller.wants_answer:
            self._hear(at, "" if answer is None else answer.text())
        if listeners.record is not None:
            self._record(listeners.record, at, outcome, usage)
        if self.span is not None:
            self.span.ended(outcome, self.status, usage)

    def end_without_a_client(self) -> None:
        """Ends a call that nobody waits for, if it has not ended.

        It was not cut off if the stream's own end has gone by: clients close right after they read it, and by then the end
        of the engine's connection may not have come.
        """
        if self.outcome is not None:
            return
        if self.witness is not None and self.witness.saw_the_end():
            self.end(Outcome.DONE, self.witness.usage())
        else:
            self.end(Outcome.CLIENT_GONE)

    def _duration_in(self, answer: Witness) -> tuple[float, Clock] | None:
        """Where it would be of no use nothing is read."""
        caller, listeners = self.caller, self._listeners
        if (
            caller.agent is None
            or self._acts_for is not None
            or listeners.mode_of(caller.simulation) is Mode.OFF
        ):
            return None
        reading = caller.reading or listeners.reading(caller.simulation)
        return None if reading is None or not reading.rules else listeners.read(answer, reading)

    def _remember(self, usage: Usage) -> None:
        simulation, agent, listeners = self.caller.simulation, self.caller.agent, self._listeners
        sent = self.outgoing.sent
        if agent is None or sent is None or listeners.mode_of(simulation) is not Mode.ON:
            return
        # A call from before a change of its agent's adapter tells nothing of the next one.
        if (
            listeners.recomputed(simulation, agent)
            and listeners.assigned(simulation, agent) == self._assigned_then
        ):
            owner = owner_of(simulation, agent)
            listeners.remember(owner, self.request.path, sent, usage.prompt, self.outgoing.adapter)

    def _hear(self, at: float, answer: str) -> None:
        if self.caller.wants_answer:
            for left in self._listeners.answered(self.id, at, answer) or ():
                self._listeners.post(AgentLeft(at, left.simulation, left.agent))

    def _record(self, record: Record, at: float, outcome: Outcome, usage: Usage | None) -> None:
        caller, request = self.caller, self.request
        record(
            ServedCall(
                call=self.id,
                route=request.path,
                simulation=caller.simulation,
                agent=caller.agent,
                source=caller.source,
                confidence=caller.confidence,
                adapter=self.outgoing.adapter,
                body=request.parsed,
                raw=request.body,
                arrived_at=self.at,
                first_byte_at=self.first_byte_at,
                ended_at=at,
                outcome=outcome,
                status=self.status,
                usage=usage,
                answer=self.witness,
                kind=caller.kind,
                step=caller.step,
            )
        )
