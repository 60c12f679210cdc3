"""A distributed front end: calls go to it, and it decides which of its engines gets them; control goes to the engines that are listed.

To everybody else it is one engine, as large as those behind it together. What is commanded goes to each of them: an engine takes no notice
of owners of which it holds nothing. Once it is known where an agent's calls go, what is said of that agent is said there alone: what
another engine still has of it is of no use, and leaves first. The front end's answers tell where they come from, or else the engines'
reports.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from scalesim.proxy.core.actions import (
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
from scalesim.proxy.core.model import (
    KV_PREFIX,
    AdapterName,
    Capabilities,
    EngineReport,
    LoadResult,
    LoadState,
    Owner,
)

from .base import Behind, EngineAdapter, EngineError, EngineRefused, EngineUnreachable, Fence, FenceLost
from .control_calls import ControlCalls
from .front_kinds import ADAPTER, FrontKind, key_of, turn_of
from .front_reports import as_one, boot_id_of, holder_of, reported_as_one

HOMES = 65_536
"""Agents of which it is kept where their calls go; of others it is found out again."""
GONE_S = 1.0
"""For an engine that did not answer the last time: the others' reports must not wait for it."""

_RANK = re.compile(r"@\d+$")
"""Of one engine's part, where it runs in parallel."""
_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Engine:
    adapter: EngineAdapter
    capabilities: Capabilities | None = None
    """As last found; also while it does not answer."""
    up: bool = True
    problem: str = "not found yet"
    report: EngineReport | None = None

    @property
    def features(self) -> frozenset[str]:
        return self.capabilities.features if self.capabilities is not None and self.up else frozenset()


class FrontAdapter:
    """`calls` go to the front end, and `itself` speaks to it as to an engine, for what both have; `engines` are those behind it that are listed.
    `hints`: what each call says besides, where the front end takes hints. The deadline of `calls` is that of whoever asks; what is asked of
    engines takes less."""

    def __init__(
        self,
        kind: FrontKind,
        calls: ControlCalls,
        itself: EngineAdapter,
        engines: Iterable[EngineAdapter],
        *,
        hints: Mapping[str, object] | None = None,
    ) -> None:
        self.front = self
        self.engine, self.base_url = calls.engine, calls.base_url
        self._kind = kind
        self._calls = calls
        self._itself = itself
        self._engines = {one.base_url: _Engine(one) for one in engines}
        self._hints = dict(hints or {})
        self._homes: OrderedDict[Owner, str] = OrderedDict()
        """The least recently called first."""
        self._has_moved = False
        """An agent's calls go elsewhere since the last order: that has to be told anew."""

    # --- what a call is given --------------------------------------------------------------------------------------

    def headers(self, owner: Owner) -> Sequence[tuple[bytes, bytes]]:
        return ((self._kind.key_header, key_of(owner).encode()),)

    def request_id(self, owner: Owner, unique: str) -> str:
        return turn_of(owner, unique) if self._kind.id_is_key else unique

    def keeps_adapter(self, path: str) -> bool:
        return self._kind.keeps(path, ADAPTER)

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, object]:
        told = self._spokesman().additions(path, body, owner, request_id, adapter)
        added = {name: value for name, value in told.items() if self._kind.keeps(path, name)}
        if self._hints and path in self._kind.kept and body.get("nvext") is None:
            added["nvext"] = {"agent_hints": self._hints}
        return added

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        if not self.keeps_adapter(path):
            body = {name: value for name, value in body.items() if name != ADAPTER}
        return self._spokesman().adapter_of(path, body)

    def _spokesman(self) -> EngineAdapter:
        """For what all of the engines have in common."""
        found = (one.adapter for one in self._engines.values() if one.capabilities is not None)
        return next(found, self._itself)

    # --- where calls go --------------------------------------------------------------------------------------------

    def heard(self, owner: Owner, headers: Sequence[tuple[bytes, bytes]]) -> None:
        name = self._kind.engine_header
        if name is None:
            return
        for key, value in headers:
            if key.lower() == name:
                self._lives(owner, _RANK.sub("", value.decode("latin-1").strip()).rstrip("/"))
                return

    def forget(self, owner: Owner) -> None:
        self._homes.pop(owner, None)

    def sizes(self) -> Mapping[str, int]:
        return {"homes_behind_fronts": len(self._homes)}

    def behind(self) -> Sequence[Behind]:
        agents: dict[str, int] = dict.fromkeys(self._engines, 0)
        for url in self._homes.values():
            agents[url] += 1
        return [
            Behind(
                url,
                one.up and one.capabilities is not None,
                one.capabilities,
                one.problem,
                agents[url],
            )
            for url, one in self._engines.items()
        ]

    def _lives(self, owner: Owner, url: str) -> None:
        if url not in self._engines:
            return
        before = self._homes.get(owner)
        self._homes[owner] = url
        self._homes.move_to_end(owner)
        self._has_moved = self._has_moved or before not in (None, url)
        if len(self._homes) > HOMES:
            self._homes.popitem(last=False)

    def _is_at(self, owner: Owner, url: str) -> bool:
        """As far as anybody knows."""
        return self._homes.get(owner, url) == url

    # --- what it is ------------------------------------------------------------------------------------------------

    async def probe(self) -> Capabilities:
        """Raises `EngineUnreachable` where the front end itself does not answer, whatever the engines behind it do."""
        _, *found = await asyncio.gather(
            self._calls.send("GET", "/health"),
            *(self._bounded(one, one.adapter.probe) for one in self._engines.values()),
        )
        for one, what in zip(self._engines.values(), found, strict=True):
            if isinstance(what, Capabilities):
                one.capabilities, one.up, one.problem = what, True, ""
            else:
                self._fell_silent(one, what)
        there = {url: one.capabilities if one.up else None for url, one in self._engines.items()}
        closes = self._kind.closes_gap
        is_closed = all(one is None or closes in one.features for one in there.values())
        return as_one(self._kind.name, there, "" if is_closed else self._kind.gap)

    async def _bounded(self, one: _Engine, ask: Callable[[], Awaitable[_T]]) -> _T | EngineError:
        """Before whoever asks for all of them loses patience."""
        deadline_s = self._calls.deadline_s
        within_s = deadline_s * 3 / 4 if one.up else min(GONE_S, deadline_s)
        try:
            async with asyncio.timeout(within_s):
                return await ask()
        except TimeoutError:
            return EngineUnreachable(one.adapter.engine, f"no answer within {within_s:g} s")
        except EngineError as exc:
            return exc

    def _fell_silent(self, one: _Engine, why: object) -> None:
        one.up, one.report, one.problem = False, None, str(why)
        gone = one.adapter.base_url
        for owner in [owner for owner, url in self._homes.items() if url == gone]:
            del self._homes[owner]  # its next call goes elsewhere

    async def models(self) -> Sequence[object]:
        return await self._itself.models()

    async def report(self) -> EngineReport:
        """With another boot id once an engine behind it fell silent or is back: a probe then says what there is."""
        asked = [one for one in self._engines.values() if not one.up or "residency" in one.features]
        found = await asyncio.gather(
            *(self._bounded(one, one.adapter.report if one.up else one.adapter.probe) for one in asked)
        )
        boot_ids = {
            url: one.capabilities.boot_id
            for url, one in self._engines.items()
            if one.capabilities is not None and one.up
        }
        for one, what in zip(asked, found, strict=True):
            url = one.adapter.base_url
            match what:
                case EngineReport():
                    one.report = what
                    boot_ids[url] = what.boot_id
                case Capabilities():
                    boot_ids[url] = what.boot_id
                case EngineRefused():
                    one.report = None
                case _:
                    boot_ids.pop(url, None)
                    if one.up:
                        self._fell_silent(one, what)
        reports = self._reports()
        if not reports:
            raise EngineUnreachable(self.engine, "no engine behind it reports")
        self._learn(reports)
        report = reported_as_one(reports, boot_id_of(boot_ids), self._homes)
        return replace(report, plan_in_force=report.plan_in_force and not self._has_moved)

    def _reports(self) -> dict[str, EngineReport]:
        return {url: one.report for url, one in self._engines.items() if one.report is not None}

    def _learn(self, reports: Mapping[str, EngineReport]) -> None:
        """Where calls go, if the front end does not say it: there is their memory."""
        if self._kind.engine_header is not None:
            return
        for memory in {memory for one in reports.values() for memory in one.memories}:
            if memory.kind == KV_PREFIX and (home := holder_of(memory, reports, None)) is not None:
                self._lives(Owner(memory.key), home)

    # --- what it does ----------------------------------------------------------------------------------------------

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        parts = {
            url: part
            for url, one in self._engines.items()
            if one.up and (part := self._part(action, url, one.features)) is not None
        }
        if isinstance(action, Load) and not parts:
            return LoadResult(LoadState.ABSENT)
        if not parts and not isinstance(action, Pin | StopLoad):
            raise EngineRefused(self.engine, "no engine behind it can do that")
        if isinstance(action, Order):
            self._has_moved = False
        results = await asyncio.gather(
            *(self._engines[url].adapter.carry_out(part, fence) for url, part in parts.items()),
            return_exceptions=True,
        )
        errors = [one for one in results if isinstance(one, BaseException)]
        if errors:
            raise min(errors, key=_severity)
        loads = [one for one in results if isinstance(one, LoadResult)]
        return _load_of(loads) if loads else None

    def _part(self, action: Action, url: str, features: frozenset[str]) -> Action | None:
        """What of an action is for that engine; None: nothing."""
        match action:
            case Order(distances=distances, no_host_copy=no_host_copy) if "order" in features:
                return replace(
                    action,
                    distances=tuple(one for one in distances if self._is_at(one[0], url)),
                    no_host_copy=tuple(one for one in no_host_copy if self._is_at(one, url)),
                )
            case Pin(owners=owners) if "pin" in features:
                there = tuple(one for one in owners if self._is_at(one, url))
                return replace(action, owners=there) if there else None
            case Load(memory=memory) if f"load_{memory.kind}" in features:
                if memory.kind != KV_PREFIX:
                    return action  # its next call may go to any of them
                home = self._homes.get(Owner(memory.key))
                return action if holder_of(memory, self._reports(), home) == url else None
            case StopLoad(memory=memory) if f"load_{memory.kind}" in features:
                return action
            case Unpin() if "pin" in features:
                return action
            case Evict() if "evict" in features:
                return action
            case Renew() if features & {"order", "pin"}:
                return action
            case FetchAdapter() | DropAdapter() if "fetch_adapters" in features:
                return action
            case _:
                return None

    async def abort(self, request_id: str) -> None:
        """At all of them: an engine that does not know the id takes no notice."""
        able = [one for one in self._engines.values() if "abort" in one.features]
        results = await asyncio.gather(
            *(one.adapter.abort(request_id) for one in able), return_exceptions=True
        )
        errors = [one for one in results if isinstance(one, BaseException)]
        if errors:
            raise min(errors, key=_severity)


def _severity(error: BaseException) -> tuple[int, int]:
    """What stands first is told: what nobody expected, then whoever outranks all others."""
    match error:
        case FenceLost(token=token):
            return 1, -(token or 0)
        case EngineUnreachable():
            return 2, 0
        case EngineError():
            return 3, 0
        case _:
            return 0, 0


def _load_of(loads: Sequence[LoadResult]) -> LoadResult:
    """It is usable once it is where it was to be brought: all of these."""
    order = (LoadState.NO_ROOM, LoadState.STOPPED, LoadState.ABSENT, LoadState.LOADED, LoadState.RESIDENT)
    state = min((one.state for one in loads), key=order.index)
    return LoadResult(state, sum(one.moved_bytes for one in loads))
