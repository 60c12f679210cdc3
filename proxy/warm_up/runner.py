"""Sends an agent's known prefixes to an engine that has nothing better to do, slice by slice.

Each slice is a request of its own for a longer start of the same prompt, which generates nothing: what the slice before it
computed comes from the cache. Between two slices everything may change, so everything is asked again there.

A warm-up is no call of the agent: the core hears of none, and the engine is told the owner with the last slice only. Each
prompt of an owner counts there as a call: with the owner on each slice, the cuts would be taken for the places where the
agent's prompts part, and after a few slices of one template the memory of all others would no longer be its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from scalesim.engine_adapters.base import EngineAdapter, EngineRefused, EngineUnreachable
from scalesim.proxy.core.actions import Load, StopLoad
from scalesim.proxy.core.model import KV_PREFIX, EngineId, LoadResult, LoadState, MemoryId, Owner

from .prefixes import Prefix
from .prompts import request_of
from .slices import LIMIT_TOKENS, next_cut, tokens_per_unit, units_in
from .store import PrefixStore

SLICE_TIMEOUT_S = 10.0
"""An engine that takes longer for so few tokens is computing something else."""
BUSY_TIMES = 4.0
BUSY_GRACE_S = 0.25
"""A slice that takes this much longer than the engine's quickest, per token, waited for somebody else's requests."""
PACE_TOKENS = 32
"""A slice of fewer new tokens says nothing of the pace."""
LOST_TOKENS = 128
"""A slice finds in the cache what the one before it left there, up to the tail of the template and a page's remainder."""
TAIL_TOKENS = 16
"""New even in a slice that was cached whole: the template's text after a cut, and the last token."""


@dataclass(slots=True)
class _Job:
    ends_at: float
    stopped: bool = False
    busy: bool = False


@dataclass(frozen=True, slots=True)
class _Count:
    prompt: int
    cached: int | None
    """None where the engine does not say."""


class WarmUp:
    """Carries out `Load`s of prefixes on engines that cannot do it themselves; one at a time on each engine."""

    def __init__(
        self,
        store: PrefixStore,
        client: httpx.AsyncClient,
        demand: Callable[[EngineId], int],
        *,
        features: Callable[[EngineId], frozenset[str]],
        bytes_per_token: Callable[[EngineId], int | None] = lambda engine: None,
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` belongs to the caller. `demand` counts the requests of clients in flight at an engine, `features` are
        those of its `Capabilities`. Where `bytes_per_token` is unknown, results say that nothing was moved."""
        self.counts: Counter[str] = Counter()
        """slices, new_tokens, over_limit (slices of more than LIMIT_TOKENS new tokens), busy (warm-ups that found the
        engine computing for somebody else), and per state of `LoadState` the warm-ups that ended so."""
        self._store = store
        self._client = client
        self._demand = demand
        self._features = features
        self._bytes_per_token = bytes_per_token
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._clock = clock
        self._jobs: dict[tuple[EngineId, MemoryId], _Job] = {}
        self._turns: dict[EngineId, asyncio.Lock] = {}
        self._pace: dict[EngineId, float] = {}
        """Of the quickest slice, in seconds per new token."""

    async def load(self, adapter: EngineAdapter, action: Load) -> LoadResult:
        """Returns once all of the owner's prefixes are in the cache, or it is known why not.

        Raises `EngineError`; what was prefilled until then stays usable.
        """
        engine, memory = action.engine, action.memory
        if memory.kind != KV_PREFIX:
            raise EngineRefused(engine, f"a warm-up brings back prefixes, not a {memory.kind}")
        if (engine, memory) in self._jobs:
            raise EngineRefused(engine, "this prefix is being warmed up already")
        prefixes = self._store.prefixes_of(Owner(memory.key))
        if not prefixes:
            return self._ended(LoadState.ABSENT, engine, 0)
        job = self._jobs[engine, memory] = _Job(self._clock() + action.within_s)
        try:
            async with self._turns.setdefault(engine, asyncio.Lock()):
                return await self._all(adapter, job, Owner(memory.key), prefixes)
        finally:
            del self._jobs[engine, memory]

    def stop(self, action: StopLoad) -> None:
        """Ends that warm-up after the slice under way, as stopped. One that is not under way is no error."""
        job = self._jobs.get((action.engine, action.memory))
        if job is not None:
            job.stopped = True

    def give_up(self, owner: Owner) -> None:
        """Ends its warm-ups on all engines in the same way: what they send is not what its calls begin with any more."""
        for (_, memory), job in self._jobs.items():
            if memory.key == owner:
                job.stopped = True

    def forget_engine(self, engine: EngineId) -> None:
        """It has left, and what it was sent has ended."""
        self._turns.pop(engine, None)
        self._pace.pop(engine, None)

    def sizes(self) -> Mapping[str, int]:
        return {"warm_ups": len(self._jobs), "warm_up_engines": len(self._turns)}

    # --- one warm-up -----------------------------------------------------------------------------------------------

    async def _all(
        self, adapter: EngineAdapter, job: _Job, owner: Owner, prefixes: list[Prefix]
    ) -> LoadResult:
        moved = 0
        for prefix in prefixes:
            state, tokens = await self._one(adapter, job, owner, prefix)
            moved += tokens
            if state in (LoadState.STOPPED, LoadState.NO_ROOM):
                return self._ended(state, adapter.engine, moved)
        return self._ended(LoadState.LOADED if moved else LoadState.RESIDENT, adapter.engine, moved)

    async def _one(
        self, adapter: EngineAdapter, job: _Job, owner: Owner, prefix: Prefix
    ) -> tuple[LoadState, int]:
        """How it ended, and how many tokens were prefilled for it.

        A cached slice is not followed by a longer one: nobody knows where the cached part ends, and beyond it a long
        slice would hold the engine for as long as it is. A slice that is cached costs one token.
        """
        moved, cut, before = 0, 0, 0
        per_unit = prefix.tokens_per_unit
        while cut < len(prefix.text):
            if self._must_end(job, adapter.engine):
                return LoadState.STOPPED, moved
            end = next_cut(prefix.text, cut, per_unit)
            count = await self._slice(adapter, job, owner, prefix, end, before)
            if count is None:
                return LoadState.STOPPED, moved
            added = max(0, count.prompt - before)
            new = added if count.cached is None else count.prompt - count.cached
            if count.cached is None or new > added // 2 + TAIL_TOKENS:
                moved += new
            if count.cached is not None and count.cached + LOST_TOKENS < before:
                # What the slice before left is gone: others need the room, and going on would only take more of it.
                return LoadState.NO_ROOM, moved
            per_unit = max(prefix.tokens_per_unit, tokens_per_unit(added, units_in(prefix.text[cut:end])))
            cut, before = end, count.prompt
        return (LoadState.LOADED if moved else LoadState.RESIDENT), moved

    def _must_end(self, job: _Job, engine: EngineId) -> bool:
        return job.stopped or job.busy or self._clock() >= job.ends_at or self._demand(engine) > 0

    async def _slice(
        self, adapter: EngineAdapter, job: _Job, owner: Owner, prefix: Prefix, end: int, before: int
    ) -> _Count | None:
        """None if the engine had no time for it."""
        lora = adapter.adapter_of(prefix.path, prefix.fields)
        path, body = request_of(prefix.path, prefix.fields, prefix.text[:end], lora)
        tells_owner = end == len(prefix.text) and "owners" in self._features(adapter.engine)
        request_id = f"warm-up-{uuid4().hex}"
        body |= adapter.additions(path, body, owner if tells_owner else None, request_id)
        began = self._clock()
        try:
            answer = await self._client.post(
                adapter.base_url + path, json=body, headers=self._headers, timeout=SLICE_TIMEOUT_S
            )
        except httpx.ReadTimeout:
            job.busy = True
            self.counts["busy"] += 1
            await adapter.abort(request_id)
            return None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise EngineUnreachable(adapter.engine, f"warm-up: {type(exc).__name__} {exc}".rstrip()) from exc
        count = _count_in(adapter.engine, answer)
        new = count.prompt - (before if count.cached is None else count.cached)
        self._judge_pace(adapter.engine, job, new, self._clock() - began)
        self.counts["slices"] += 1
        self.counts["new_tokens"] += max(0, new)
        self.counts["over_limit"] += new > LIMIT_TOKENS
        return count

    def _judge_pace(self, engine: EngineId, job: _Job, new: int, seconds: float) -> None:
        """Also calls that did not come through this proxy keep an engine busy; only its pace tells."""
        quickest = self._pace.get(engine)
        if quickest is not None:
            expected = quickest * max(new, PACE_TOKENS)
            if seconds > BUSY_TIMES * expected + BUSY_GRACE_S:
                job.busy = True
                self.counts["busy"] += 1
        if new >= PACE_TOKENS:
            pace = seconds / new
            self._pace[engine] = pace if quickest is None else min(quickest, pace)

    def _ended(self, state: LoadState, engine: EngineId, tokens: int) -> LoadResult:
        self.counts[state.value] += 1
        return LoadResult(state, tokens * (self._bytes_per_token(engine) or 0))


def _count_in(engine: EngineId, answer: httpx.Response) -> _Count:
    """What the engine says of the prompt. Raises `EngineError`; the texts hold nothing of the prompt."""
    if answer.status_code >= 500:
        raise EngineUnreachable(engine, f"warm-up: HTTP {answer.status_code}")
    if answer.status_code >= 400:
        raise EngineRefused(engine, f"warm-up: HTTP {answer.status_code} on {answer.request.url.path}")
    try:
        told = answer.json()
    except ValueError as exc:
        raise EngineRefused(engine, "warm-up: its answer is not JSON") from exc
    counts = _mapping(_mapping(told).get("usage")) or _mapping(_mapping(told).get("meta_info"))
    prompt = _tokens(counts.get("prompt_tokens"))
    if prompt is None:
        raise EngineRefused(engine, "warm-up: its answer does not count the prompt's tokens")
    details = _mapping(counts.get("prompt_tokens_details")) or counts
    return _Count(prompt, _tokens(details.get("cached_tokens")))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
