"""Who calls: what the client says outright is trusted, the rest only as long as it tells callers apart.

The header X-Agent-ID, the URL prefix /sim/{simulation}/agent/{agent}, then the untrusted sources. A wrong name costs time and
never an answer, so nothing but explicitly given nonsense is refused. What the text of a request says is read elsewhere
(`proxy/recognition`).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from scalesim.proxy.access.keys import Key
from scalesim.proxy.core.model import AgentName, SimulationId
from scalesim.proxy.recognition.guess import EXPLICIT, SIMULATION_ID, Told

from ..errors import CallRefused
from .headers import AGENT, SESSION, SIMULATION, Headers, bearer_of, shown, single, text_of, title

_MAX_NAME_CHARS = 256
MAX_FIELDS = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WINDOW_CALLS = 64

_AGENT, _SESSION, _SIMULATION = title(AGENT), title(SESSION), title(SIMULATION)

_CONFIDENCE = {
    "agent_id": 0.95,
    "metadata.agent_id": 0.95,
    _SESSION: 0.85,
    "session_id": 0.85,
    "user": 0.8,
    "": 0.0,
}
"""In the order in which they are believed: names of agents before names of sessions, of which an agent may have several."""
_FIELDS = frozenset({"agent_id", "metadata", "session_id", "user"})
"""Of a body, in which one of them stands."""


class _NotItsSimulation(CallRefused):
    status = 403
    kind = "permission_error"


class Address(NamedTuple):
    """What the URL says. `path` is the engine's, still percent-encoded."""

    simulation: SimulationId | None
    agent: AgentName | None
    path: str


def address_of(path: str) -> Address:
    """Splits /sim/{simulation}[/agent/{agent}] off a percent-encoded path. Raises `CallRefused` for names that are none."""
    if not path.startswith("/sim/"):
        return Address(None, None, path)
    simulation, _, rest = path.removeprefix("/sim/").partition("/")
    known = _simulation_id(_decoded(simulation), "the URL's /sim/{simulation}")
    if not rest.startswith("agent/"):
        return Address(known, None, "/" + rest)
    agent, _, rest = rest.removeprefix("agent/").partition("/")
    name = _decoded(agent).strip()
    where = "the URL's /agent/{agent}"
    if not name:
        raise CallRefused(f"{where} is empty")
    return Address(known, _agent_name(name, where), "/" + rest)


class Recogniser:
    """Keeps a bounded memory of which untrusted fields told callers apart lately, one entry per simulation and field."""

    def __init__(self, *, max_fields: int = MAX_FIELDS) -> None:
        self._max_fields = max_fields
        self._fields: OrderedDict[tuple[SimulationId, str], _Variety] = OrderedDict()

    @property
    def size(self) -> int:
        return len(self._fields)

    def recognise(
        self, path: str, headers: Headers, body: Mapping[str, object] | None, key: Key | None = None
    ) -> Told:
        """Header names in lower case. Raises `CallRefused`, naming the header or the part of the URL, and then learns nothing.

        `key`: the one that was sent, if we know it. It says the simulation unless the request does, and a confined one alone
        says it.
        Where a header and the URL differ, the header counts: it is the one that was chosen for this call.
        """
        address = address_of(path)
        simulation = address.simulation
        if (given := single(headers, SIMULATION)) is not None:
            simulation = _simulation_id(given, _SIMULATION)
        client = ""
        if key is not None:
            if key.confined and simulation not in (None, key.simulation):
                raise _NotItsSimulation(
                    f"the API key is for the simulation {shown(str(key.simulation))}, and the request says "
                    f"{shown(str(simulation))}: leave that out, or use another key"
                )
            if simulation is None:
                simulation, client = key.simulation, f"{hash(key.digest):x}"
        elif simulation is None and (sent := _bearer(headers)):
            client = f"{hash(sent):x}"
        if (name := single(headers, AGENT)) is not None:
            return Told(simulation, client, _agent_name(name, _AGENT), _AGENT, EXPLICIT)
        if address.agent is not None:
            return Told(simulation, client, address.agent, "URL", EXPLICIT)
        agent, source = self._believed(simulation or SimulationId(""), headers, body or {})
        return Told(simulation, client, agent, source, _CONFIDENCE[source])

    def _believed(
        self, simulation: SimulationId, headers: Headers, body: Mapping[str, object]
    ) -> tuple[AgentName | None, str]:
        best: tuple[AgentName | None, str] = (None, "")
        # All fields learn from each call, not only the one that is believed: it may stop telling callers apart.
        for source, value in _untrusted(headers, body):
            if self._tells_apart(simulation, source, value) and not best[1]:
                best = (AgentName(value), source)
        return best

    def _tells_apart(self, simulation: SimulationId, source: str, value: str) -> bool:
        key = (simulation, source)
        variety = self._fields.get(key)
        if variety is None:
            variety = self._fields[key] = _Variety()
            if len(self._fields) > self._max_fields:
                self._fields.popitem(last=False)
        else:
            self._fields.move_to_end(key)
        variety.see(value)
        return variety.seen_lately


class _Variety:
    """Whether a field had two values in its last calls.

    That is so unless the newest value fills the whole window, so the length of its run is all there is to keep.
    """

    __slots__ = ("_calls", "_last", "_run")

    def __init__(self) -> None:
        self._calls = 0
        self._last = 0
        self._run = 0

    def see(self, value: str) -> None:
        digest = hash(value)  # of a fixed size, whatever clients send
        self._calls += 1
        self._run = self._run + 1 if digest == self._last and self._calls > 1 else 1
        self._last = digest

    @property
    def seen_lately(self) -> bool:
        return self._run < min(self._calls, _WINDOW_CALLS)


def _untrusted(headers: Headers, body: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The untrusted sources of this call that hold a usable name, in the order in which they are believed."""
    session = next((text_of(value) for name, value in headers if name == SESSION), None)
    if session is None and _FIELDS.isdisjoint(body):
        return
    metadata = body.get("metadata")
    values: dict[str, object] = {
        "agent_id": body.get("agent_id"),
        "metadata.agent_id": metadata.get("agent_id") if isinstance(metadata, dict) else None,
        _SESSION: session,
        "session_id": body.get("session_id"),
        "user": body.get("user"),
    }
    for source, value in values.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        text = str(value).strip()
        if text and _is_name(text):
            yield source, text


def _bearer(headers: Headers) -> str:
    return next((bearer_of(value) for name, value in headers if name == b"authorization"), "")


def _is_name(text: str) -> bool:
    return len(text) <= _MAX_NAME_CHARS and _CONTROL.search(text) is None


def _agent_name(text: str, where: str) -> AgentName:
    if not _is_name(text):
        raise CallRefused(
            f"{where}: {shown(text)} is no agent's name: at most {_MAX_NAME_CHARS} characters, no control characters"
        )
    return AgentName(text)


def _simulation_id(text: str, where: str) -> SimulationId:
    if SIMULATION_ID.fullmatch(text) is None:
        raise CallRefused(f"{where}: {shown(text)} is no simulation's id: 1 to 64 of A-Z a-z 0-9 . _ -")
    return SimulationId(text)


def _decoded(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError as exc:
        raise CallRefused(f"the URL's {shown(part)} is not percent-encoded UTF-8") from exc
