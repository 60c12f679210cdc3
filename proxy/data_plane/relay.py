"""The ASGI app that carries every request to the engine, and every answer back, as it is.

A generation call is told to the core by exactly one `CallStarted` and one `CallEnded`. While it runs, a watcher waits for
the client to leave, in both modes: engines do not notice that nobody waits for a non-streaming answer.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import posixpath
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from scalesim.engine_adapters.base import EngineAdapter, EngineError
from scalesim.proxy.access.keys import Key
from scalesim.proxy.core.durations import Reading
from scalesim.proxy.core.events import AgentLeft, CallStarted, Event, StepTicked
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
from scalesim.proxy.recognition.guess import EXPLICIT, Told
from scalesim.proxy.recognition.ladder import Left, Recognised, as_told

from ..errors import CallRefused, UpstreamBroke, UpstreamError
from ..served_call import Record, ServedCall
from .acts_for import acts_for_of
from .asgi import (
    ClientGone,
    Receive,
    Scope,
    Send,
    answer_error,
    raise_when_gone,
    read_body,
    refuse_websocket,
)
from .body import parsed_object, with_fields
from .call import Call
from .entrance import KEY
from .headers import Headers, shown, to_client, to_engine
from .identity import Recogniser, address_of
from .upstream import Answer, Upstream
from .usage import Witness, witness_of

_RESPONSES = "/v1/responses"

GENERATION_ROUTES = frozenset(
    {"/v1/chat/completions", "/v1/completions", _RESPONSES, "/v1/embeddings", "/generate"}
)
"""POST to one of these is a call of the core's words. Everything else passes through unseen."""

_CONTROL_ROUTES = "scalesim"
"""The first segment of the routes by which engines are commanded: those are the adapter's alone."""

_ABORT_TIMEOUT_S = 5.0
_PRINTABLE = string.ascii_letters + string.digits + string.punctuation

_log = logging.getLogger(__name__)


class _ControlRouteRefused(CallRefused):
    status = 403
    kind = "permission_error"


@dataclass(frozen=True, slots=True)
class _Request:
    """What goes to the engine. `call` is None for what is no generation call."""

    method: str
    target: str
    headers: Headers
    body: bytes
    parsed: Mapping[str, object] | None
    call: Call | None


Remember = Callable[[Owner, str, Mapping[str, object], int, AdapterName | None], None]
"""Told of an answered call of a known agent: its owner, the path, the body (with an assigned adapter), its prompt's tokens,
the adapter it ran on."""

Read = Callable[[Witness, Reading], tuple[float, Clock] | None]
"""Finds in an answer how long its agent acts after it."""

Recognise = Callable[[CallId, float, Told, str, Mapping[str, object]], Recognised | None]
"""Says whose call it is: by what the client told, and the route and the body of the request. None: nobody knows."""

Salted = Callable[[Key | None, SimulationId | None, str], Mapping[str, str]]
"""What is put into the body on this route, so that the simulation that was said outright has a part of the cache of its own."""

Answered = Callable[[CallId, float, str], list[Left] | None]
"""Told when a call has ended of which `Recognised` wanted the answer, and what it said. Answers who turned out to be somebody
else."""


class Relay:
    """Everything it is given is owned by whoever made it. `features` are the engine's as of now, empty while it is unknown.

    `assigned` says on which adapter an operator has an agent's calls run. `remember` must not raise; it is called for
    agents of which `recomputed` says that nothing but their prompts can bring their prefixes back. `read` must not raise
    either; it is called for answers in simulations of which `reading` says that they are read, and where `recognise` says how.
    `recognise` and `answered` must not raise, `record` is told of every call when it has ended.
    """

    def __init__(
        self,
        *,
        adapter: EngineAdapter,
        upstream: Upstream,
        recogniser: Recogniser,
        post: Callable[[Event], None],
        mode_of: Callable[[SimulationId], Mode],
        clock: Callable[[], float],
        max_body_bytes: int,
        features: Callable[[], frozenset[str]],
        assigned: Callable[[SimulationId, AgentName], AdapterName | None],
        recomputed: Callable[[SimulationId, AgentName], bool],
        remember: Remember,
        reading: Callable[[SimulationId], Reading | None],
        read: Read,
        recognise: Recognise,
        answered: Answered,
        record: Record | None = None,
        salted: Salted = lambda *_: {},
    ) -> None:
        self._adapter = adapter
        self._upstream = upstream
        self._recogniser = recogniser
        self._post = post
        self._mode_of = mode_of
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._features = features
        self._assigned = assigned
        self._recomputed = recomputed
        self._remember = remember
        self._reading = reading
        self._read = read
        self._recognise = recognise
        self._answered = answered
        self._record = record
        self._salted = salted
        self._call_ids = itertools.count(1)
        self._in_flight = 0
        self._calls_in_flight = 0
        self._aborts: set[asyncio.Task[None]] = set()

    def sizes(self) -> dict[str, int]:
        """How much is held right now."""
        return {
            "requests_in_flight": self._in_flight,
            "calls_in_flight": self._calls_in_flight,
            "aborts_in_flight": len(self._aborts),
            "identity_fields": self._recogniser.size,
        }

    def demand(self, engine: EngineId) -> int:
        """Calls of clients in flight there: what is computed for nobody yet makes way for them."""
        return self._calls_in_flight if engine == self._adapter.engine else 0

    async def drained(self) -> None:
        """Waits (a few seconds at most) for the aborts that are under way: to be called before the adapter is closed."""
        if self._aborts:
            await asyncio.wait(self._aborts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                self._in_flight += 1
                try:
                    await self._relay(scope, receive, send)
                finally:
                    self._in_flight -= 1
            case "websocket":
                await refuse_websocket(receive, send)

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = await self._accept(scope, receive)
        except CallRefused as exc:
            await answer_error(send, exc.status, exc.kind, str(exc))
            return
        except ClientGone:
            return
        self._calls_in_flight += request.call is not None
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(raise_when_gone(receive))
                await self._exchange(request, send)
                watcher.cancel()
        except* (ClientGone, OSError):  # ASGI lets `send` raise OSError when nobody listens
            pass
        finally:
            self._calls_in_flight -= request.call is not None
            # Also when this task is cancelled. What has not ended by now has nobody who waits for it.
            call = request.call
            if call is not None and call.end_without_a_client() and call.abort_id is not None:
                self._abort_soon(call.abort_id)

    async def _accept(self, scope: Scope, receive: Receive) -> _Request:
        """Reads the request and, last of all, posts `CallStarted`. Raises `CallRefused` and `ClientGone`: nothing happened."""
        headers: Headers = list(scope["headers"])
        raw_path = _ascii(scope.get("raw_path") or scope["path"].encode())
        path = address_of(raw_path).path
        if path not in GENERATION_ROUTES and _is_control_route(path):
            raise _ControlRouteRefused(
                f"{shown(path)}: the engine's control routes (/{_CONTROL_ROUTES}/...) are not served here"
            )
        query = _ascii(scope["query_string"])
        target = f"{path}?{query}" if query else path
        body = await read_body(headers, receive, self._max_body_bytes)
        if scope["method"] != "POST" or path not in GENERATION_ROUTES:
            return _Request(scope["method"], target, to_engine(headers), body, None, None)

        # Only the recogniser learns from a request, so it comes after everything else that may refuse it.
        acts_for = acts_for_of(headers)
        parsed = parsed_object(headers, body)
        key: Key | None = scope.get(KEY)
        told = self._recogniser.recognise(raw_path, headers, parsed, key)
        call, at = CallId(next(self._call_ids)), self._clock()
        caller = self._recognise(call, at, told, path, parsed or {}) or as_told(told)
        # It may refuse, but only a name that was given outright, of which the recogniser learns nothing.
        assigned = self._assigned_to(caller, path)
        abort_id: str | None = None
        adapter: AdapterName | None = None
        remember: Callable[[Usage], None] | None = None
        given = body
        if parsed is not None:
            fields, abort_id = self._additions(parsed, caller, path, assigned)
            # By what was said, never by whom the call was found to be from: it decides whose cache it may use.
            fields |= self._salted(key, told.simulation, path)
            body = with_fields(body, parsed, fields)
            sent = {**parsed, **fields}
            adapter = self._adapter.adapter_of(path, sent)
            remember = self._remembering(caller, path, sent, adapter)
        if caller.step is not None:
            self._post(StepTicked(at, caller.simulation, caller.step))
        started = CallStarted(
            at=at,
            call=call,
            simulation=caller.simulation,
            agent=caller.agent,
            engine=self._adapter.engine,
            adapter=adapter,
        )
        self._post(started)
        relayed = Call(
            call,
            self._post,
            self._clock,
            acts_for=acts_for,
            abort_id=abort_id,
            ends=caller.ends,
            remember=remember,
            read=None if acts_for is not None else self._reader(caller),
            hear=self._hear if caller.wants_answer else None,
            record=self._recording(started, caller, path, parsed, given),
        )
        return _Request("POST", target, to_engine(headers), body, parsed, relayed)

    def _assigned_to(self, caller: Recognised, path: str) -> AdapterName | None:
        """Raises `CallRefused` where the engine would answer without the adapter, and say nothing of it."""
        if caller.agent is None or caller.confidence != EXPLICIT:
            # An adapter is part of the answer: never by a name that was only guessed, and in every mode alike.
            return None
        assigned = self._assigned(caller.simulation, caller.agent)
        if assigned is not None and path == _RESPONSES:
            raise CallRefused(
                f"{_RESPONSES}: the engine uses no adapters on this route, and the calls of the agent "
                f"{shown(caller.agent)} are to run on the adapter {shown(assigned)}: use /v1/chat/completions"
            )
        return assigned

    def _remembering(
        self, caller: Recognised, path: str, sent: Mapping[str, object], adapter: AdapterName | None
    ) -> Callable[[Usage], None] | None:
        simulation, agent = caller.simulation, caller.agent
        if agent is None or self._mode_of(simulation) is not Mode.ON:
            return None
        owner, assigned = owner_of(simulation, agent), self._assigned(simulation, agent)

        def remember(usage: Usage) -> None:
            # A call from before a change of its agent's adapter tells nothing of the next one.
            if self._assigned(simulation, agent) == assigned and self._recomputed(simulation, agent):
                self._remember(owner, path, sent, usage.prompt, adapter)

        return remember

    def _hear(self, call: CallId, at: float, answer: str) -> None:
        for left in self._answered(call, at, answer) or ():
            self._post(AgentLeft(at, left.simulation, left.agent))

    def _reader(self, caller: Recognised) -> Callable[[Witness], tuple[float, Clock] | None] | None:
        """None where it would be of no use, so that nothing is read."""
        if caller.agent is None or self._mode_of(caller.simulation) is Mode.OFF:
            return None
        reading = caller.reading or self._reading(caller.simulation)
        return None if reading is None or not reading.rules else lambda answer: self._read(answer, reading)

    def _recording(
        self,
        started: CallStarted,
        caller: Recognised,
        path: str,
        parsed: Mapping[str, object] | None,
        raw: bytes,
    ) -> Callable[[Call, float, Outcome, Usage | None], None] | None:
        record = self._record
        if record is None:
            return None

        def ended(call: Call, at: float, outcome: Outcome, usage: Usage | None) -> None:
            record(
                ServedCall(
                    call=started.call,
                    route=path,
                    simulation=caller.simulation,
                    agent=caller.agent,
                    source=caller.source,
                    confidence=caller.confidence,
                    adapter=started.adapter,
                    body=parsed,
                    raw=raw,
                    arrived_at=started.at,
                    first_byte_at=call.first_byte_at,
                    ended_at=at,
                    outcome=outcome,
                    status=call.status,
                    usage=usage,
                    answer=call.witness,
                    kind=caller.kind,
                    step=caller.step,
                )
            )

        return ended

    def _additions(
        self, parsed: Mapping[str, object], caller: Recognised, path: str, assigned: AdapterName | None
    ) -> tuple[dict[str, str], str | None]:
        """What the engine shall see besides, and the id by which the engine can abort it, if it can."""
        features = self._features()
        owner = None
        # Also in shadow: once it is switched on, the engine knows whose the memory is that it holds by then.
        is_off = self._mode_of(caller.simulation) is Mode.OFF
        if caller.agent is not None and "owners" in features and not is_off:
            owner = owner_of(caller.simulation, caller.agent)
        if path == _RESPONSES:
            # The id is also the answer's own, by which clients continue it: engines know such ids by their prefix.
            given, own_id = parsed.get("request_id"), f"resp_{secrets.token_hex(16)}"
        else:
            given, own_id = parsed.get("rid"), secrets.token_hex(16)
        request_id = given if isinstance(given, str) and given else own_id
        fields = dict(self._adapter.additions(path, parsed, owner, request_id, assigned))
        if "abort" not in features or given:
            # No id of ours where it is of no use, and none in place of the client's (a list: one for each of a batch).
            fields = {key: value for key, value in fields.items() if value != own_id}
        engine_knows_it = request_id == given or request_id in fields.values()
        abort_id = request_id if "abort" in features and engine_knows_it else None
        return fields, abort_id

    async def _exchange(self, request: _Request, send: Send) -> None:
        """Sends the request and copies the answer. Returns when the client has all it will get; cancelled when it left."""
        ended = request.call.end if request.call is not None else _nothing
        try:
            answer = await self._upstream.send(
                request.method, self._adapter.base_url, request.target, request.headers, request.body
            )
        except UpstreamError as exc:
            ended(Outcome.ENGINE_FAILED)
            where = f"engine '{self._adapter.engine}' at {self._adapter.base_url}"
            _log.warning("%s %s: %s", where, exc.what, exc)
            await answer_error(send, exc.status, exc.kind, f"{where} {exc.what}: {exc}")
            return
        try:
            await self._copy(request, answer, send)
        finally:
            await answer.aclose()

    async def _copy(self, request: _Request, answer: Answer, send: Send) -> None:
        ended = request.call.end if request.call is not None else _nothing
        headers = to_client(answer.headers)
        if answer.status in (204, 304):
            # It may tell the length of a body that is not sent; servers hold an answer to what it tells.
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        witness = witness_of(headers, request.parsed)
        if request.call is not None:
            request.call.witness = witness
            request.call.status = answer.status
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        is_whole = False
        try:
            async for chunk in answer:
                if request.call is not None:
                    request.call.see_the_first()
                is_whole = answer.is_whole
                await send({"type": "http.response.body", "body": chunk, "more_body": not is_whole})
                witness.see(chunk)
        except UpstreamBroke as exc:
            ended(Outcome.ENGINE_FAILED)
            _log.warning(
                "engine '%s' at %s broke off in its answer: %s",
                self._adapter.engine,
                self._adapter.base_url,
                exc,
            )
            # The answer stays without its end: the server then closes the connection, and the client can tell.
            return
        if not is_whole:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        ended(Outcome.DONE, witness.usage())

    def _abort_soon(self, request_id: str) -> None:
        task = asyncio.create_task(self._abort(request_id))
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)

    async def _abort(self, request_id: str) -> None:
        try:
            async with asyncio.timeout(_ABORT_TIMEOUT_S):
                await self._adapter.abort(request_id)
        except (EngineError, TimeoutError) as exc:
            _log.warning("a call whose client left could not be aborted: %s", exc or "no answer in time")


def _nothing(outcome: Outcome, usage: Usage | None = None) -> bool:
    return False


def _is_control_route(path: str) -> bool:
    """Percent-decoded once, as engines do. Of slashes and dots they make nothing, but something before them may."""
    return posixpath.normpath(unquote(path)).lstrip("/").partition("/")[0] == _CONTROL_ROUTES


def _ascii(raw: bytes) -> str:
    """As it is, but for bytes that no URL may hold."""
    return raw.decode("ascii") if raw.isascii() else quote(raw, safe=_PRINTABLE)
