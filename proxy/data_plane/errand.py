"""One request on its way: the engine at which it has a place, and what it is to say there.

What it holds there is a `Seat`. Another one can be had before the first is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from scalesim.engine_adapters.base import EngineAdapter
from scalesim.proxy.core.model import AdapterName, EngineId, owner_of
from scalesim.proxy.core.placer import Caller
from scalesim.proxy.core.placing import Why
from scalesim.proxy.engines.fleet import Fleet, NoEngine
from scalesim.proxy.engines.models import Serving

from ..errors import CallRefused
from .admission import Admission, Admissions, EngineFull
from .beginning import beginning_of
from .body import with_fields
from .call import Call
from .callers import Callers
from .headers import Headers, to_engine
from .outgoing import Outgoing, Writer
from .queueing import Place, Ticket
from .request import CHAT, Request
from .request_ids import carried

_NOBODY = Caller(None)


class AdapterNotTaken(CallRefused):
    """What is in front of the engine would drop the adapter that the agent is to have: the base model would answer."""


class Seat(NamedTuple):
    engine: EngineId
    is_counted: bool
    """It was placed. Else somebody is asked something, and that is all."""
    moves: bool = False
    """The agent's memory is to be there from now on."""
    admission: Admission | None = None
    ticket: Ticket | None = None


class Errand:
    __slots__ = (
        "_to_every_engine",
        "body",
        "call",
        "caller",
        "headers",
        "is_late",
        "is_out",
        "request",
        "seat",
        "serving",
        "to",
        "waited_s",
    )

    def __init__(
        self, request: Request, serving: Serving | None, caller: Caller = _NOBODY, call: Call | None = None
    ) -> None:
        self.request = request
        headers = carried(to_engine(request.headers))
        if call is not None and call.span is not None:
            headers = call.span.carried(headers)
        self.headers = self._to_every_engine = headers
        self.body = request.body
        self.serving = serving
        """None: anybody may answer it."""
        self.caller = caller
        self.call = call
        """None: it is no generation call."""
        self.seat: Seat
        self.to: EngineAdapter
        self.is_late = False
        """What its `CallStarted` said of when it is sent, and where, holds no more."""
        self.is_out = False
        """An engine may be at work on it."""
        self.waited_s = 0.0
        """For a place, as long as it was not sent."""

    @property
    def engine(self) -> EngineId:
        return self.seat.engine

    def __str__(self) -> str:
        return f"engine '{self.seat.engine}' at {self.to.base_url}"

    async def turn(self) -> None:
        """Waits for it. Raises `EngineFull`."""
        _, _, _, admission, ticket = self.seat
        if ticket is not None and admission is not None and ticket.place is not Place.RUNNING:
            await admission.wait(ticket)
            self.is_late = True

    def writes(self, outgoing: Outgoing) -> None:
        """For the engine where it has a seat."""
        self.body, self.headers = outgoing.body, self._to_every_engine
        if outgoing.headers:
            said = {name for name, _ in self._to_every_engine}
            added = [(name, value) for name, value in outgoing.headers if name not in said]
            self.headers = self._to_every_engine + added

    def answered(self, headers: Headers) -> None:
        """The head of an answer is there."""
        owner = None if self.call is None else self.call.outgoing.heard
        if self.to.front is not None and owner is not None:
            self.to.front.heard(owner, headers)

    def goes(self) -> None:
        """It is sent now."""
        if self.is_late and self.call is not None:
            self.call.send(self.seat.engine, moves=self.seat.moves)
        if self.call is not None and self.call.span is not None:
            self.call.span.sent()
        self.is_late, self.is_out = False, True

    def came(self) -> None:
        """The engine has nothing more to do for it: whoever waits there need not wait for this client to read its answer."""
        self.is_out = False
        _, _, _, admission, ticket = self.seat
        if ticket is not None and admission is not None:
            admission.done(ticket)


class Errands:
    def __init__(
        self,
        *,
        fleet: Fleet,
        admissions: Admissions,
        callers: Callers,
        writer: Writer,
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._admissions = admissions
        self._callers = callers
        self._writer = writer
        self._clock = clock

    def begin(self, request: Request) -> Errand:
        """With a seat, which is owed to `leave`; a call has started. Raises `CallRefused`: nothing happened."""
        parsed = request.parsed
        if not request.is_call and (parsed is None or "model" not in parsed):
            errand = Errand(request, None)
            self._sit(errand, self._seat(errand))
            return errand
        named = None if parsed is None else parsed.get("model")
        serving = self._fleet.serving(named)
        # As the engine knows it: it would answer any other name with the only model that it has.
        model = serving.model if serving.base and named not in (None, serving.model) else None
        if not request.is_call:
            errand = Errand(request, serving)
            if model is not None and parsed is not None:
                errand.body = with_fields(request.body, parsed, {"model": model})
            self._sit(errand, self._seat(errand))
            return errand
        call = self._callers.call_of(request, model)
        try:
            errand = Errand(request, serving, self._caller_of(call, serving), call)
            self._sit(errand, self._seat(errand))
        except BaseException:
            call.refuse()
            raise
        call.start(errand.seat.engine, moves=errand.seat.moves, beginning=errand.caller.prefix)
        return errand

    def elsewhere(self, errand: Errand, without: Collection[EngineId]) -> Seat | None:
        """A seat at another engine; None: there is none. To be given to `move`, or back."""
        try:
            return self._seat(errand, without)
        except (NoEngine, EngineFull, AdapterNotTaken):
            return None

    def place_again(self, errand: Errand) -> None:
        """The engine where it has a place may not be asked any more. Raises as `_seat` does."""
        self.move(errand, self._seat(errand))

    def move(self, errand: Errand, seat: Seat) -> None:
        before = errand.seat
        self._sit(errand, seat)
        self.give_back(errand, before)
        errand.is_late = True

    def leave(self, errand: Errand) -> None:
        self.give_back(errand, errand.seat)

    def give_back(self, errand: Errand, seat: Seat) -> None:
        if seat.ticket is not None and seat.admission is not None:
            seat.admission.done(seat.ticket)
        if seat.is_counted:
            usage = None if errand.call is None else errand.call.usage
            self._fleet.end(
                seat.engine, errand.caller.key, None if usage is None else usage.prompt + usage.output
            )

    def _caller_of(self, call: Call, serving: Serving) -> Caller:
        simulation, agent = call.caller.simulation, call.caller.agent
        adapter, parsed = serving.adapter or call.said.assigned, call.request.parsed
        if adapter is None and parsed is not None:
            named = parsed.get("lora_path")
            adapter = AdapterName(named) if isinstance(named, str) and named else None
        key = None if agent is None else self._fleet.key_of(owner_of(simulation, agent), serving)
        prefix = None if parsed is None else beginning_of(call.request.path, parsed, adapter)
        return Caller(key, adapter, prefix)

    def _seat(self, errand: Errand, without: Collection[EngineId] = ()) -> Seat:
        """Raises `NoEngine`, `EngineFull` and `AdapterNotTaken`."""
        at = self._clock()
        if errand.serving is None:
            return Seat(self._fleet.somebody(at, without), is_counted=False)
        engine, why = self._fleet.place(errand.caller, errand.serving, at, without)
        moves = why is not Why.DETOUR
        if (why_not := self._loses_the_adapter(errand, engine)) is not None:
            self._fleet.end(engine)
            raise AdapterNotTaken(why_not)
        admission = None if errand.call is None else self._admissions.of(engine)
        if admission is None or errand.call is None:
            return Seat(engine, True, moves)
        try:
            ticket = admission.come(errand.call.caller.simulation)
        except EngineFull:
            self._fleet.end(engine)
            raise
        return Seat(engine, True, moves, admission, ticket)

    def _sit(self, errand: Errand, seat: Seat) -> None:
        errand.seat = seat
        to = errand.to = self._fleet.adapter(seat.engine)
        if errand.call is not None:
            features = self._fleet.features(seat.engine)
            outgoing = self._writer.write(errand.request, errand.call.said, to, features)
            errand.call.outgoing = outgoing
            errand.writes(outgoing)
            if errand.call.span is not None:
                errand.call.span.placed(seat.engine, to.base_url, moves=seat.moves)

    def _loses_the_adapter(self, errand: Errand, engine: EngineId) -> str | None:
        """Why the engine would not hear of the adapter that an operator assigned; None: it does."""
        front, path = self._fleet.adapter(engine).front, errand.request.path
        assigned = None if errand.call is None else errand.call.said.assigned
        if front is None or assigned is None or front.keeps_adapter(path):
            return None
        instead = f": use {CHAT}" if front.keeps_adapter(CHAT) else ""
        return f"{path}: the front end {engine!r} drops adapters here, and the agent's calls are to run on {assigned!r}{instead}"
