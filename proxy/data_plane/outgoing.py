"""What an engine is sent of a call: the client's body to the byte, and a few fields besides."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from scalesim.engine_adapters.base import EngineAdapter
from scalesim.proxy.access.keys import Key
from scalesim.proxy.core.model import AdapterName, Mode, Owner, SimulationId, owner_of
from scalesim.proxy.recognition.ladder import Recognised

from .body import with_fields
from .request import RESPONSES, Request

Salted = Callable[[Key | None, SimulationId | None, str], Mapping[str, str]]
"""What is put into the body on this route, so that the simulation that was said outright has a part of the cache of its own."""


class Outgoing(NamedTuple):
    body: bytes
    sent: Mapping[str, object] | None = None
    """The body as an object, if it is one."""
    adapter: AdapterName | None = None
    """On which it runs."""
    abort_id: str | None = None
    """By which the engine can abort it, if it can."""
    headers: Sequence[tuple[bytes, bytes]] = ()
    """That it gets besides the client's, unless the client sent such itself."""
    heard: Owner | None = None
    """Whose call it is, for a front end: its answer may say where it went."""


class Said(NamedTuple):
    """What is said to whichever engine the call goes to."""

    caller: Recognised
    simulation: SimulationId | None
    """As it was told, never as it was found: it decides whose cache the call may use."""
    assigned: AdapterName | None
    """By an operator."""
    model: str | None
    """In place of the one that the request names; None: that."""


class Writer:
    def __init__(self, *, mode_of: Callable[[SimulationId], Mode], salted: Salted) -> None:
        self._mode_of = mode_of
        self._salted = salted

    def write(self, request: Request, said: Said, to: EngineAdapter, features: frozenset[str]) -> Outgoing:
        """For an engine with these features, as far as they are known."""
        parsed, owner = request.parsed, self._owner_of(said)
        heard = None if to.front is None else owner
        headers = () if to.front is None or owner is None else to.front.headers(owner)
        if parsed is None:
            return Outgoing(request.body, headers=headers, heard=heard)
        given = parsed if said.model is None else {**parsed, "model": said.model}
        fields, abort_id = self._additions(given, request.path, said, owner, to, features)
        fields |= self._salted(request.key, said.simulation, request.path)
        if said.model is not None:
            # Some engines are asked for an adapter in place of the model.
            fields.setdefault("model", said.model)
        sent = {**parsed, **fields}
        body = with_fields(request.body, parsed, fields)
        return Outgoing(body, sent, to.adapter_of(request.path, sent), abort_id, headers, heard)

    def _owner_of(self, said: Said) -> Owner | None:
        # Also in shadow: once it is switched on, the engine knows whose the memory is that it holds by then.
        caller = said.caller
        if caller.agent is None or self._mode_of(caller.simulation) is Mode.OFF:
            return None
        return owner_of(caller.simulation, caller.agent)

    def _additions(
        self,
        parsed: Mapping[str, object],
        path: str,
        said: Said,
        owner: Owner | None,
        to: EngineAdapter,
        features: frozenset[str],
    ) -> tuple[dict[str, object], str | None]:
        """What the engine shall see besides, and the id by which it can abort the call."""
        own_id = os.urandom(16).hex()  # nobody may guess by which id another client's call is aborted
        if path == RESPONSES:
            # The id is also the answer's own, by which clients continue it: engines know such ids by their prefix.
            given, own_id = parsed.get("request_id"), f"resp_{own_id}"
        else:
            given = parsed.get("rid")
            if to.front is not None and owner is not None:
                own_id = to.front.request_id(owner, own_id)
        request_id = given if isinstance(given, str) and given else own_id
        told = owner if "owners" in features else None
        fields = dict(to.additions(path, parsed, told, request_id, said.assigned))
        can_abort = "abort" in features
        if not can_abort or given:
            # No id of ours where it is of no use, and none in place of the client's (a list: one for each of a batch).
            fields = {key: value for key, value in fields.items() if value != own_id}
        engine_knows_it = request_id == given or request_id in fields.values()
        return fields, request_id if can_abort and engine_knows_it else None
