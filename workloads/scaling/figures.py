"""What several engines did together: rates, shares of what is possible, and memory that went from one to another. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scalesim.workloads.belady import Cut, RecordedCall, minimum, unlimited

FULL = 0.95
"""From this share of its core on a proxy is full: beyond, engines cannot make it faster."""
SHARED = 2
"""Cores that several proxies have: that of a single one, and that of engines and clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """With so many engines, behind so many proxies."""

    engines: int
    proxies: int = 1
    cap_rps: float
    """What they could answer together."""
    rps: float
    p50_ms: float
    p99_ms: float
    proxy_busy: float
    """Cores. One proxy has one for itself; several, with their Redis, have both, which they share with the others."""
    ends_busy: float
    """The same of engines and clients, which have one, and no other."""
    redis_busy: float = 0.0
    """The same of the Redis of several proxies."""
    calls: Mapping[str, int]
    """By engine."""
    errors: Mapping[str, int]

    @property
    def of_cap(self) -> float:
        return self.rps / self.cap_rps

    @property
    def full(self) -> bool:
        if self.ends_busy >= FULL:
            return True
        if self.proxies == 1:
            return self.proxy_busy >= FULL
        return self.proxy_busy + self.redis_busy + self.ends_busy >= SHARED * FULL

    @property
    def imbalance(self) -> float:
        """The most that one engine had, over the mean."""
        total = sum(self.calls.values())
        return max(self.calls.values()) * len(self.calls) / total if total else 0.0


def linear(rate: Rate, first: Rate) -> float | None:
    """The rate over as many times the first's as there are engines; None where a core is full, and engines cannot help."""
    return None if rate.full else rate.rps / first.rps * first.engines / rate.engines


@dataclass(frozen=True, slots=True)
class Noted:
    """A call, as an engine wrote it down."""

    owner: str | None
    call: RecordedCall
    cached: int
    ahead: bool = False
    """It was no call of an agent: it generates nothing, and brings a prefix back before one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Of all engines together; the best that is possible is that of each one's own calls with its own cache."""

    prompt_tokens: int
    cached_tokens: int
    belady_tokens: int
    endless_tokens: int
    """With caches that never give anything up."""
    calls: Mapping[str, int]
    moves: int
    """Calls on another engine than the one before of the same agent."""
    moved_bytes: int
    """Of their prompts: what was not in the new engine's cache, and had to be computed there."""
    ahead_bytes: int
    """Of prefixes that were computed before the calls that need them. Belady brings nothing back ahead: this is why there may be
    more hits than his."""

    @property
    def rate(self) -> float:
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0

    @property
    def of_belady(self) -> float:
        return self.cached_tokens / self.belady_tokens if self.belady_tokens else 0.0


def hits(engines: Mapping[str, Sequence[Noted]], capacity_tokens: int, bytes_per_token: int) -> Hits:
    ahead_tokens = sum(
        len(one.call.prompt) - one.cached for noted in engines.values() for one in noted if one.ahead
    )
    engines = {name: [one for one in noted if not one.ahead] for name, noted in engines.items()}
    best = endless = 0
    for noted in engines.values():
        cut = Cut([one.call for one in noted])
        best += sum(minimum(cut, capacity_tokens).tokens)
        endless += sum(unlimited(cut).tokens)
    everywhere = sorted(
        ((one, name) for name, noted in engines.items() for one in noted), key=lambda pair: pair[0].call.start
    )
    last: dict[str, str] = {}
    moves = moved_tokens = 0
    for one, name in everywhere:
        if one.owner is None:
            continue
        before = last.get(one.owner)
        last[one.owner] = name
        if before is not None and before != name:
            moves += 1
            moved_tokens += len(one.call.prompt) - one.cached
    return Hits(
        prompt_tokens=sum(len(one.call.prompt) for one, _ in everywhere),
        cached_tokens=sum(one.cached for one, _ in everywhere),
        belady_tokens=best,
        endless_tokens=endless,
        calls={name: len(noted) for name, noted in engines.items()},
        moves=moves,
        moved_bytes=moved_tokens * bytes_per_token,
        ahead_bytes=ahead_tokens * bytes_per_token,
    )


def noted_of(told: Mapping[str, object]) -> Noted:
    """Of a line of what an engine says. Raises `KeyError` and `TypeError` for what is none."""
    start, end, prompt = told["start"], told["end"], told["prompt"]
    output, cached, owner, ahead = told["output_tokens"], told["cached"], told["owner"], told["ahead"]
    if not (
        isinstance(start, float)
        and isinstance(end, float)
        and isinstance(prompt, list)
        and isinstance(output, int)
        and isinstance(cached, int)
        and (owner is None or isinstance(owner, str))
    ):
        raise TypeError(f"{told!r:.200} is no call")
    return Noted(owner, RecordedCall(start, end, prompt, output, first=False), cached, ahead is True)
