"""Plays a recorded trace over HTTP: at its own pace, faster, or each caller's calls one after the other with the pauses they had.

A trace holds hashes of prompts, not their words. So each block gets made-up text of its length that depends on its id alone: prompts are as
long as those that were recorded (in bytes), and alike where those were. Answers have the lengths that they had. What is lost is what the
words meant, how they were cut into messages, and whatever the engine's tokenizer makes of other words.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache

from .player import Player, Target, playing
from .program import Activation, Call, Impossible, Told
from .prose import prose
from .records import CallRecord, StepPlayed
from .replay.trace_player import Pace
from .replay.traces import NOBODY, Trace, TracedCall, by_caller

KEPT_BLOCKS = 65_536
"""Texts that are not made again each time, 16 MB or so."""
TEMPLATE = "traced"

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Traced:
    played: StepPlayed
    late_s: float
    """By which a call began later than it should have, at most: of more than a little, the client was too slow for this pace."""


async def play_trace(
    trace: Trace, target: Target, pace: Pace | None = None, sleep: Sleep = asyncio.sleep
) -> Traced:
    """Names are told, as far as the target has one for the simulation; a trace knows nothing else to tell. Raises `HintRefused`."""
    if target.admin_url is not None and target.told is not Told.NONE:
        raise Impossible("a trace has nothing to tell but names")
    async with playing(target) as player:
        return await _Play(trace, player, pace or Pace(), sleep).run()


class _Play:
    def __init__(self, trace: Trace, player: Player, pace: Pace, sleep: Sleep) -> None:
        self._trace = trace
        self._player = player
        self._pace = pace
        self._sleep = sleep
        self._records: list[CallRecord] = []
        self._asked: dict[str, int] = {}
        """Calls of each caller so far."""
        self._late_s = 0.0

    async def run(self) -> Traced:
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as calls:
            if self._pace.closed:
                for own in by_caller(self._trace.calls):
                    calls.create_task(self._one_after_the_other(own))
            else:
                first_s = self._trace.calls[0].arrived_s
                for call in self._trace.calls:
                    due_s = began_s + (call.arrived_s - first_s) / self._pace.speed
                    await self._until(due_s)
                    calls.create_task(self._call(call))
        records = tuple(sorted(self._records, key=lambda record: record.started_s))
        return Traced(StepPlayed(time.perf_counter() - began_s, records), self._late_s)

    async def _one_after_the_other(self, calls: deque[TracedCall]) -> None:
        ended_s = self._trace.calls[0].arrived_s
        for call in calls:
            pause_s = max(0.0, call.arrived_s - ended_s) / self._pace.speed
            await self._until(time.perf_counter() + pause_s)
            await self._call(call)
            ended_s = max(ended_s, call.arrived_s + (call.took_s or 0.0))

    async def _until(self, due_s: float) -> None:
        await self._sleep(max(0.0, due_s - time.perf_counter()))
        self._late_s = max(self._late_s, time.perf_counter() - due_s)

    async def _call(self, call: TracedCall) -> None:
        index = self._asked[call.agent] = self._asked.get(call.agent, -1) + 1
        asked = Call(({"role": "user", "content": text_of(call, self._trace)},), call.output_tokens, TEMPLATE)
        activation = Activation(call.agent, (asked,), math.inf, trigger=TEMPLATE)
        record = await self._player.single(activation, index, is_named=call.agent != NOBODY)
        self._records.append(record)


def text_of(call: TracedCall, trace: Trace) -> str:
    """As many bytes as the trace says the prompt had."""
    size = trace.block_tokens * trace.bytes_per_token
    whole = "".join(_block(block, size) for block in call.blocks[:-1])
    last = call.input_tokens * trace.bytes_per_token - len(whole)
    return whole + _block(call.blocks[-1], last)


@lru_cache(maxsize=KEPT_BLOCKS)
def _block(block: int, size: int) -> str:
    return prose(f"block/{block}", size)[:size].ljust(size, ".")
