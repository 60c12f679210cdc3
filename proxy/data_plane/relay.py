"""The ASGI app that carries every request to an engine, and every answer back, as it is.

The way of a request: it is taken in (`request`), joined to one that is the same (`repeats`), recognised (`callers`), placed at an
engine and written for it (`errand`, `outgoing`), waits for its turn and is sent, perhaps again (`sending`), its answer is copied
(`copying`), and whatever happens it ends (`call`, `aborting`): also when the client leaves before (`leaving`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from scalesim.proxy.core.durations import Reading
from scalesim.proxy.core.events import Event
from scalesim.proxy.core.model import AdapterName, AgentName, Mode, Outcome, SimulationId
from scalesim.proxy.engines.fleet import Fleet

from ..errors import CallRefused, UpstreamError
from ..served_call import Record
from ..span import Trace
from ..timings import Timings
from .aborting import Aborts
from .admission import Admissions
from .asgi import (
    ClientGone,
    Receive,
    Scope,
    Send,
    answer_error,
    answer_refusal,
    refuse_websocket,
    retry_after,
)
from .call import Answered, Call, Listeners, Read, Remember
from .callers import Callers, Recognise
from .copying import copy
from .errand import Errand, Errands
from .identity import Recogniser
from .leaving import while_there
from .outgoing import Salted, Writer
from .repeats import Repeats, named
from .request import Request, accepted
from .retrying import Retrying
from .sending import Sender
from .sharing import Sharing
from .upstream import Upstream

_log = logging.getLogger(__name__)


class Relay:
    """Everything it is given is owned by whoever made it. Of what the functions are for, see `Listeners`, `Recognise` and `Salted`."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        upstream: Upstream,
        admissions: Admissions,
        sharing: Sharing,
        retrying: Retrying,
        recogniser: Recogniser,
        post: Callable[[Event], None],
        mode_of: Callable[[SimulationId], Mode],
        clock: Callable[[], float],
        max_body_bytes: int,
        assigned: Callable[[SimulationId, AgentName], AdapterName | None],
        recomputed: Callable[[SimulationId, AgentName], bool],
        remember: Remember,
        reading: Callable[[SimulationId], Reading | None],
        read: Read,
        recognise: Recognise,
        answered: Answered,
        record: Record | None = None,
        trace: Trace | None = None,
        salted: Salted = lambda *_: {},
        wall: Callable[[], float] = time.time,
        first_call: int = 1,
        timings: Timings | None = None,
    ) -> None:
        listeners = self._listeners = Listeners(
            post=post,
            clock=clock,
            mode_of=mode_of,
            assigned=assigned,
            recomputed=recomputed,
            remember=remember,
            reading=reading,
            read=read,
            answered=answered,
            record=record,
            trace=trace,
        )
        self._timings = Timings() if timings is None else timings
        self._callers = Callers(
            recogniser=recogniser, recognise=recognise, listeners=listeners, first_call=first_call
        )
        self._errands = Errands(
            fleet=fleet,
            admissions=admissions,
            callers=self._callers,
            writer=Writer(mode_of=mode_of, salted=salted),
            clock=clock,
        )
        self._sender = Sender(
            fleet=fleet,
            upstream=upstream,
            errands=self._errands,
            retrying=retrying,
            clock=clock,
            wall=wall,
            timings=self._timings,
        )
        self._repeats = Repeats(sharing, self._answer)
        self._aborts = Aborts()
        self._admissions = admissions
        self._retrying = retrying
        self._clock = clock
        self.max_body_bytes = max_body_bytes
        """Of requests that come from now on."""
        self._in_flight = 0
        self._calls_in_flight = 0

    def record(self, record: Record | None) -> None:
        """Who is told of calls that end from now on; None: nobody."""
        self._listeners.record = record

    def sizes(self) -> dict[str, int]:
        """How much is held right now."""
        return {
            "requests_in_flight": self._in_flight,
            "calls_in_flight": self._calls_in_flight,
            **self._aborts.sizes(),
            **self._callers.sizes(),
            **self._repeats.sizes(),
            **self._admissions.sizes(),
            **self._retrying.sizes(),
        }

    async def drained(self) -> None:
        """Waits (a few seconds at most) for the aborts that are under way: to be called before adapters are closed."""
        await self._aborts.drained()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                self._in_flight += 1
                try:
                    await self._relay(scope, receive, send)
                except ClientGone:
                    pass  # whoever held anything for it has let go
                finally:
                    self._in_flight -= 1
            case "websocket":
                await refuse_websocket(receive, send)

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `ClientGone`."""
        try:
            request = await accepted(scope, receive, self.max_body_bytes, self._clock)
            name = named(request)
            if name is not None and await self._repeats.answer(name, request, scope, receive, send):
                return
            errand = self._begin(request)
        except CallRefused as exc:
            await answer_refusal(send, exc)
            return
        try:
            await while_there(scope, receive, self._exchange(errand, send))
        finally:
            self._end(errand)

    async def _answer(self, request: Request, send: Send) -> None:
        """From beginning to end, whether or not its client is there; as long as it is not cancelled."""
        try:
            errand = self._begin(request)
        except CallRefused as exc:
            await answer_refusal(send, exc)
            return
        try:
            await self._exchange(errand, send)
        finally:
            self._end(errand)

    def _begin(self, request: Request) -> Errand:
        errand = self._errands.begin(request)
        self._calls_in_flight += request.is_call
        return errand

    def _end(self, errand: Errand) -> None:
        """Also when its task was cancelled. What has not ended by now has nobody who waits for it."""
        call = errand.call
        if call is not None:
            self._calls_in_flight -= 1
            call.end_without_a_client()
            self._time(call, errand)
            _log.debug("a call at %s ended as %s with status %s", errand, call.outcome, call.status)
            abort_id = call.outgoing.abort_id
            if errand.is_out and call.outcome is not Outcome.DONE and abort_id is not None:
                self._aborts.soon(errand.to, abort_id)
        self._errands.leave(errand)

    def _time(self, call: Call, errand: Errand) -> None:
        timings, came_at = self._timings.of(errand.seat.engine), errand.request.came_at
        if call.outcome is not None:
            timings.calls[call.outcome].note(call.ended_at - came_at)
        if call.first_byte_at is not None and call.is_streamed:
            timings.first_token.note(call.first_byte_at - came_at)

    async def _exchange(self, errand: Errand, send: Send) -> None:
        """Returns when the client has all it will get; cancelled when it left."""
        try:
            begun = await self._sender.send(errand)
        except CallRefused as exc:
            if errand.call is not None:
                errand.call.end(Outcome.ENGINE_FAILED)
            await answer_refusal(send, exc)
            return
        except UpstreamError as exc:
            if errand.call is not None:
                errand.call.end(Outcome.ENGINE_FAILED)
            _log.warning("%s %s: %s", errand, exc.what, exc)
            message = f"{errand} {exc.what}: {exc}"
            await answer_error(send, exc.status, exc.kind, message, *retry_after(exc.retry_after_s))
            return
        try:
            await copy(errand, begun, send, self._clock)
        finally:
            begun.answer.close()
