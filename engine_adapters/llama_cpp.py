"""llama.cpp's server: slots are memory. An agent's calls go to its slot, the order decides whose slot another one gets, and
what leaves a slot can be copied to a file and restored ahead of a call.

The server has no owners, no order and no fence, so what is in force is kept here: it ends with the proxy, and two proxies
before one server do not know of each other. Wants `--slots` and `--slot-save-path`, best on a file system in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

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
    FAR,
    KV_PREFIX,
    AdapterName,
    Capabilities,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Owner,
    Pool,
)

from .base import LOAD_GRACE_S, EngineRefused, EngineUnreachable, Fence, FenceLost
from .control_calls import ControlCalls, json_object, json_value, locked_out, told, unknown
from .llama_cpp_slots import Copy, Slot, Slots, empty

NAME = "llama.cpp"
COPIES_PER_SLOT = 8
"""Files beside each slot; a file is as large as what its slot held."""
COPIES_AT_ONCE = 2
"""After each plan: while one is written the server does nothing else."""
_NOT_ENABLED = 501

_PATHS = frozenset(
    {"/v1/chat/completions", "/chat/completions", "/v1/completions", "/completions", "/completion"}
)
"""Of which the body may name a slot and adapters."""


class LlamaCppAdapter:
    """One server. What it can do is learned by `probe`; before the first one every action is refused."""

    def __init__(self, calls: ControlCalls) -> None:
        self.front = None
        self.engine, self.base_url = calls.engine, calls.base_url
        self._calls = calls
        self._known: Capabilities | None = None
        self._slots = Slots([])
        self._loras: Sequence[Mapping[str, Any]] = ()
        self._bytes_per_token = 1
        """Until a copy has shown how many it is: a token then counts as a byte."""
        self._fence = Fence(-1, -1)
        self._moving = asyncio.Lock()
        """One copy or restore at a time: the server does nothing else meanwhile."""

    # --- what it is ------------------------------------------------------------------------------------------------

    async def probe(self) -> Capabilities:
        response = await self._calls.send("GET", "/props")
        if (locked := locked_out(response)) is not None:
            return locked
        props = json_object(response)
        if not is_llama_cpp(props):
            return unknown("it does not answer as llama.cpp's server")
        boot_id = boot_id_of(props)
        # The rest waits for the server's current step, and does not change while it runs.
        if self._known is None or self._known.boot_id is None or self._known.boot_id != boot_id:
            self._known = await self._found(props, boot_id)
        return self._known

    async def _found(self, props: Mapping[str, Any], boot_id: str | None) -> Capabilities:
        version = str(props.get("build_info") or "unknown")
        slots = await self._read_slots()
        self._loras = await self._read_loras()
        if slots is None:
            return Capabilities(
                NAME, version, False, boot_id=boot_id, reason="it was started with --no-slots"
            )
        name = hashlib.sha256(self.engine.encode()).hexdigest()[:8]
        files = [f"scalesim-{name}-{number}.bin" for number in range(COPIES_PER_SLOT * len(slots))]
        self._slots = Slots([Slot(one["id"], one["n_ctx"]) for one in slots], files)
        self._slots.look(slots)
        features = {"order", "pin", "residency", "owners"}
        if await self._saves():
            features.add("evict")
            # A file does not say on which adapter it was computed.
            if not self._loras and len(slots) > 1:
                features |= {f"load_{KV_PREFIX}", "host_copy"}
        return Capabilities(
            kind=NAME,
            version=version,
            extended=True,
            features=frozenset(features),
            boot_id=boot_id,
            capacity_tokens=sum(slot.context_tokens for slot in self._slots.slots),
        )

    async def _read_slots(self) -> Sequence[Mapping[str, Any]] | None:
        """None where it was started without the route."""
        response = await self._calls.send("GET", "/slots")
        if response.status_code in (404, _NOT_ENABLED):
            return None
        slots = json_value(response)
        if not isinstance(slots, list) or not all(map(_is_slot, slots)):
            raise EngineUnreachable(self.engine, f"/slots: {told(response)}")
        return slots

    async def _read_loras(self) -> Sequence[Mapping[str, Any]]:
        adapters = json_value(await self._calls.send("GET", "/lora-adapters"))
        if not isinstance(adapters, list):
            return ()
        return [one for one in adapters if isinstance(one, dict) and isinstance(one.get("id"), int)]

    async def _saves(self) -> bool:
        """Asks for a file that cannot be: what is refused is either the name, or all saving."""
        response = await self._calls.send("POST", "/slots/0?action=save", {"filename": "/"})
        return response.status_code == 400

    # --- what it does ----------------------------------------------------------------------------------------------

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        if not isinstance(action, Load | StopLoad):
            self._obey(fence)
        elif fence.token < self._fence.token:
            raise FenceLost(self.engine, "a later token commands", self._fence.token)
        match action:
            case Order(distances=distances, no_host_copy=uncopied):
                self._needs("order")
                self._slots.order = {owner: away for owner, away in distances if away < FAR}
                self._slots.uncopied = frozenset(uncopied)
                await self._copy_ahead()
            case Renew():
                self._needs("order")
                await self._copy_ahead()
            case Pin(owners=owners):
                self._needs("pin")
                self._slots.pin(owners)
            case Unpin(owners=owners):
                self._needs("pin")
                self._slots.pins.difference_update(owners)
            case Evict(owners=owners):
                self._needs("evict")
                await self._evict(owners)
            case Load(memory=memory):
                self._needs(f"load_{memory.kind}")
                return await self._load(Owner(memory.key), action.distance, action.within_s)
            case StopLoad(memory=memory):
                self._needs(f"load_{memory.kind}")  # it is over before anything could stop it
            case FetchAdapter() | DropAdapter():
                self._needs("fetch_adapters")
        return None

    def _obey(self, fence: Fence) -> None:
        if fence < self._fence:
            raise FenceLost(self.engine, "a later command was given", self._fence.token)
        self._fence = fence

    async def _evict(self, owners: Sequence[Owner]) -> None:
        async with self._moving:
            for owner in owners:
                slot = self._slots.of(owner)
                if slot is not None and slot.is_idle:
                    await self._act(slot, "erase")
            self._slots.forget(owners)

    async def _copy_ahead(self) -> None:
        """What leaves first first: a call that takes its slot cannot wait for a copy."""
        if f"load_{KV_PREFIX}" not in self._features:
            return
        async with self._moving:
            for slot in self._slots.to_copy(COPIES_AT_ONCE):
                await self._copy(slot)

    async def _copy(self, slot: Slot) -> None:
        owner, task, used = slot.owner, slot.task, slot.used
        if owner is None or (file := self._slots.file_for(owner)) is None:
            return
        self._slots.copies.pop(owner, None)
        slot.is_held = True
        try:
            saved = json_object(await self._act(slot, "save", file))
        finally:
            slot.is_held = False
        tokens, size_bytes = saved.get("n_saved"), saved.get("n_written")
        if not isinstance(tokens, int) or not isinstance(size_bytes, int) or not tokens:
            return
        if slot.owner != owner or slot.used != used:
            return  # a call came in between: what was written is what it left
        slot.copied = task
        self._slots.copies[owner] = Copy(file, tokens, size_bytes)
        self._bytes_per_token = max(1, round(size_bytes / tokens))

    async def _load(self, owner: Owner, distance: float, within_s: float) -> LoadResult:
        async with self._moving:
            if (own := self._slots.of(owner)) is not None and (own.tokens or not own.is_idle):
                return LoadResult(LoadState.RESIDENT)
            if owner not in self._slots.copies:
                return LoadResult(LoadState.ABSENT)
            slot = self._slots.for_load(owner, distance)
            if slot is None:
                return LoadResult(LoadState.NO_ROOM)
            if slot.needs_copy and slot.owner not in self._slots.uncopied:
                await self._copy(slot)
            copy = self._slots.copies.get(owner)
            if copy is None or not slot.is_idle:
                return LoadResult(LoadState.STOPPED)
            return await self._restore(slot, owner, copy, within_s)

    async def _restore(self, slot: Slot, owner: Owner, copy: Copy, within_s: float) -> LoadResult:
        empty(slot)
        used, slot.is_held = slot.used, True
        try:
            response = await self._act(slot, "restore", copy.file, within_s + LOAD_GRACE_S, refusable=True)
        finally:
            slot.is_held = False
        if slot.used != used:
            return LoadResult(LoadState.STOPPED)
        if response.status_code != 200:
            self._slots.copies.pop(owner, None)
            return LoadResult(LoadState.ABSENT)
        slot.owner, slot.tokens, slot.copied = owner, copy.tokens, slot.task
        return LoadResult(LoadState.LOADED, copy.size_bytes)

    async def _act(
        self,
        slot: Slot,
        action: str,
        file: str | None = None,
        deadline_s: float | None = None,
        *,
        refusable: bool = False,
    ) -> httpx.Response:
        body = {} if file is None else {"filename": file}
        path = f"/slots/{slot.number}?action={action}"
        response = await self._calls.send("POST", path, body, deadline_s)
        if response.status_code != 200 and not refusable:
            raise EngineRefused(self.engine, f"{path}: {told(response)}")
        return response

    async def report(self) -> EngineReport:
        self._needs("residency")
        boot_id = boot_id_of(json_object(await self._calls.send("GET", "/props")))
        slots = await self._read_slots()
        if slots is None:
            raise EngineRefused(self.engine, "it does not tell of its slots any more")
        self._slots.look(slots)
        return self._reported(boot_id or "")

    def _reported(self, boot_id: str) -> EngineReport:
        """A slot belongs to one owner as a whole: that is what its memory takes, and what a copy would need."""
        each, table = self._bytes_per_token, self._slots
        memories: dict[MemoryId, MemoryReport] = {}
        usual = max((slot.context_tokens for slot in table.slots), default=0) * each
        for owner in table.copies:
            memories[MemoryId(KV_PREFIX, owner)] = MemoryReport(0, usual)
        free_tokens = 0
        for slot in table.slots:
            if slot.owner is None:
                free_tokens += slot.context_tokens
            else:
                memories[MemoryId(KV_PREFIX, slot.owner)] = MemoryReport(slot.context_tokens * each, 0)
        capacity = sum(slot.context_tokens for slot in table.slots)
        pinned = [slot for slot in table.slots if slot.owner in table.pins]
        return EngineReport(
            boot_id=boot_id,
            plan_in_force=bool(table.order),
            pinned_owners=frozenset(table.pins),
            pinned_tokens=sum(slot.context_tokens for slot in pinned),
            capacity_tokens=capacity,
            pools=(Pool("slots", frozenset({KV_PREFIX}), capacity * each, free_tokens * each),),
            memories=memories,
        )

    async def models(self) -> Sequence[object]:
        return await self._calls.models()

    async def abort(self, request_id: str) -> None:
        """Nothing to do: it ends a request by itself when the connection is closed, streamed or not."""

    # --- what a call is given --------------------------------------------------------------------------------------

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, object]:
        """The owner's slot. And, where there are adapters, always which of them: a request that names none would be answered
        with what its slot's last call computed on one. An assigned one that is not there is named all the same, and the server
        refuses that: the model by itself would answer something else."""
        if path not in _PATHS:
            return {}
        added: dict[str, object] = {}
        if owner is not None and self._slots.slots and "id_slot" not in body and not _has_many_answers(body):
            added["id_slot"] = self._slots.take(owner).number
        if "lora" not in body and (self._loras or adapter is not None):
            named = self._named_loras()
            is_there = adapter is None or any(name == adapter for name, _ in named)
            added["lora"] = [_chosen(one, name, adapter) for name, one in named] if is_there else adapter
        return added

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        told = body.get("lora")
        if path not in _PATHS or not isinstance(told, list):
            return None
        in_use = {one.get("id") for one in told if isinstance(one, dict) and one.get("scale")}
        names = [name for name, one in self._named_loras() if one["id"] in in_use]
        return names[0] if len(names) == 1 else None

    def _named_loras(self) -> list[tuple[AdapterName, Mapping[str, Any]]]:
        """By the names of their files, as the server has no others."""
        return [
            (AdapterName(posixpath.splitext(posixpath.basename(str(one.get("path"))))[0]), one)
            for one in self._loras
        ]

    @property
    def _features(self) -> frozenset[str]:
        return frozenset() if self._known is None else self._known.features

    def _needs(self, feature: str) -> None:
        if feature not in self._features:
            raise EngineRefused(self.engine, f"it cannot {feature}, as it was started")


def is_llama_cpp(props: Mapping[str, Any]) -> bool:
    """Whether that is its answer to `/props`."""
    return "total_slots" in props and "default_generation_settings" in props


def boot_id_of(props: Mapping[str, Any]) -> str | None:
    """It has no id of its start, but a mark for media in prompts that is drawn anew at each. None if that is missing."""
    mark = props.get("media_marker")
    return hashlib.sha256(mark.encode()).hexdigest()[:16] if isinstance(mark, str) and mark else None


def _is_slot(told: object) -> bool:
    return isinstance(told, dict) and isinstance(told.get("id"), int) and isinstance(told.get("n_ctx"), int)


def _chosen(told: Mapping[str, Any], name: AdapterName, adapter: AdapterName | None) -> dict[str, object]:
    """For a call on `adapter`; None: as the server was started."""
    return {"id": told["id"], "scale": told.get("scale", 0.0) if adapter is None else float(name == adapter)}


def _has_many_answers(body: Mapping[str, object]) -> bool:
    """They take slots of others as well."""
    prompt, n = body.get("prompt"), body.get("n")
    return (isinstance(n, int) and n > 1) or (
        isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    )
