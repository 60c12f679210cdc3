"""What the proxy needs of an engine: one small interface, met by shape.

Adapters turn actions of the core into control calls. They are given an `httpx.AsyncClient` and never make a plan of
their own: whoever calls them decides. Where an engine has no place for a plan, its adapter keeps what it was told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scalesim.proxy.core.actions import Action
from scalesim.proxy.core.model import AdapterName, Capabilities, EngineId, EngineReport, LoadResult, Owner

LOAD_GRACE_S = 20.0
"""After `Load.within_s`: for an engine to come to a safe place and to answer."""
ADAPTER_S = 120.0
"""For an adapter to come from a disk, and for the calls that use it to end before it is dropped."""


@dataclass(frozen=True, slots=True, order=True)
class Fence:
    """Who commands an engine: a later `token` outranks all earlier ones, `sequence` orders the calls of one token."""

    token: int
    sequence: int


class EngineError(Exception):
    """A control call failed. The data path never sees these."""

    def __init__(self, engine: EngineId, message: str) -> None:
        super().__init__(f"{engine}: {message}")
        self.engine = engine


class EngineUnreachable(EngineError):
    """No answer in time: probe again later."""


class EngineRefused(EngineError):
    """The engine answered that it will not: asking the same again gives the same."""


class AdapterNameTaken(EngineRefused):
    """The engine has an adapter of that name from another path."""


class FenceLost(EngineRefused):
    """Somebody with a higher fence commands this engine: stop sending. `token`: theirs, if the engine says it."""

    def __init__(self, engine: EngineId, message: str, token: int | None = None) -> None:
        super().__init__(engine, message)
        self.token = token


@dataclass(frozen=True, slots=True)
class Behind:
    """An engine behind a front end, for people."""

    base_url: str
    up: bool
    capabilities: Capabilities | None
    """As last found; None: it never was."""
    problem: str
    """Why it is not up; empty if it is."""
    agents: int
    """Whose calls go there, as far as is known."""


class Front(Protocol):
    """Stands in front of several engines, and decides itself which of them gets a call."""

    def headers(self, owner: Owner) -> Sequence[tuple[bytes, bytes]]:
        """That say whose a call is, names in lower case."""
        ...

    def request_id(self, owner: Owner, unique: str) -> str:
        """For a call of that agent. `unique`: 32 hexadecimal digits."""
        ...

    def keeps_adapter(self, path: str) -> bool:
        """Whether the adapter of a request reaches an engine by its field; else the base model would answer."""
        ...

    def heard(self, owner: Owner, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Those of an answer to a call of that agent: they may say which engine gave it."""
        ...

    def forget(self, owner: Owner) -> None:
        """The agent left."""
        ...

    def behind(self) -> Sequence[Behind]: ...

    def sizes(self) -> Mapping[str, int]: ...


class EngineAdapter(Protocol):
    """Capabilities say which actions do something; `carry_out` of another raises `EngineRefused`."""

    @property
    def engine(self) -> EngineId: ...

    @property
    def base_url(self) -> str: ...

    @property
    def front(self) -> Front | None:
        """Of what is several engines and more than an address; None for an engine."""
        ...

    async def probe(self) -> Capabilities:
        """Asks the engine what it is. Raises `EngineUnreachable`."""
        ...

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        """Returns how a `Load` ended (it takes as long as the load does), None for all others. Raises `EngineError`.

        Loads run side by side with everything else; among themselves their fences are not ordered.
        """
        ...

    async def report(self) -> EngineReport:
        """Raises `EngineError`; `EngineRefused` where the engine has no residency to report."""
        ...

    async def models(self) -> Sequence[object]:
        """What it says that it serves: the cards of an OpenAI model list, as they are. Raises `EngineError`; `EngineRefused`
        where it has no such list."""
        ...

    async def abort(self, request_id: str) -> None:
        """Ends a request that nobody waits for. Unknown ids are no error."""
        ...

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, object]:
        """Top-level fields to add to (or replace in) a JSON request body, e.g. the owner's name and the request's id.

        `owner` is None when the caller is unknown or its simulation is not on. `adapter` is what an operator assigned to
        the agent; a request that names one itself keeps its own. Empty: send the bytes as they came.
        """
        ...

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        """The adapter that a request body names, None for the base model (or where the engine has no adapters)."""
        ...
