"""Whose call a request is, and what was said of it: before anybody knows where it goes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from scalesim.proxy.core.model import AdapterName, CallId
from scalesim.proxy.recognition.guess import EXPLICIT, Told
from scalesim.proxy.recognition.ladder import Recognised, as_told

from ..errors import CallRefused
from .acts_for import acts_for_of
from .call import Call, Listeners
from .headers import shown
from .identity import Recogniser
from .outgoing import Said
from .request import CHAT, RESPONSES, Request

Recognise = Callable[[CallId, float, Told, str, Mapping[str, object]], Recognised | None]
"""Says whose call it is: by what the client told, and the route and the body of the request. None: nobody knows. Must not
raise."""


class Callers:
    def __init__(
        self, *, recogniser: Recogniser, recognise: Recognise, listeners: Listeners, first_call: int = 1
    ) -> None:
        """Calls are numbered from `first_call` on: no two processes may number the same."""
        self._recogniser = recogniser
        self._recognise = recognise
        self._listeners = listeners
        self._call_ids = itertools.count(first_call)

    def sizes(self) -> dict[str, int]:
        return {"identity_fields": self._recogniser.size}

    def call_of(self, request: Request, model: str | None) -> Call:
        """A call that has not started. `model`: see `Said`. Raises `CallRefused`, and has learned nothing then: only the
        recogniser learns from a request, so whatever else may refuse it comes first."""
        acts_for = acts_for_of(request.headers)
        parsed, trace = request.parsed, self._listeners.trace
        span = None if trace is None else trace(request.headers, request.path, parsed)
        told = self._recogniser.recognise(request.raw_path, request.headers, parsed, request.key)
        number, at = CallId(next(self._call_ids)), self._listeners.clock()
        caller = self._recognise(number, at, told, request.path, parsed or {}) or as_told(told)
        # It may refuse, but only a name that was given outright, of which the recogniser learns nothing.
        assigned = self._assigned_to(caller, request.path)
        said = Said(caller, told.simulation, assigned, model)
        call = Call(number, at, request, said, acts_for, self._listeners)
        if span is not None:
            span.recognised(caller.simulation, caller.agent, caller.source, caller.confidence)
            call.span = span
        return call

    def _assigned_to(self, caller: Recognised, path: str) -> AdapterName | None:
        """Raises `CallRefused` where the engine would answer without the adapter, and say nothing of it."""
        if caller.agent is None or caller.confidence != EXPLICIT:
            # An adapter is part of the answer: never by a name that was only guessed, and in every mode alike.
            return None
        assigned = self._listeners.assigned(caller.simulation, caller.agent)
        if assigned is not None and path == RESPONSES:
            raise CallRefused(
                f"{RESPONSES}: the engine uses no adapters on this route, and the calls of the agent "
                f"{shown(caller.agent)} are to run on the adapter {shown(assigned)}: use {CHAT}"
            )
        return assigned
