from __future__ import annotations

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from tests.engine_adapters.sequence import Call, Difference, Step, Told, differences, record, replay

CAPACITY_TOKENS = 6_000


async def play(steps: list[Step], *, extended: bool = True, commands: bool = True) -> list[int]:
    engine = EmulatedEngine(capacity_tokens=CAPACITY_TOKENS, extended=extended, beat_interval_s=None)
    transport = httpx.ASGITransport(engine.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulated") as client:
        return await replay(steps, client, commands=commands)


def test_the_same_seed_records_the_same_sequence() -> None:
    steps = record(1, CAPACITY_TOKENS)
    assert steps == record(1, CAPACITY_TOKENS)
    assert steps != record(2, CAPACITY_TOKENS)
    assert {step.name for step in steps if isinstance(step, Told)} == {"plan", "pin", "unpin", "evict"}


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_sequence_tells_engines_apart_and_repeats_itself() -> None:
    steps = record(1, CAPACITY_TOKENS)
    extended = await play(steps)
    assert differences(steps, extended, await play(steps)) == []
    stock = await play(steps, extended=False, commands=False)
    assert differences(steps, extended, stock, within=128) != []
    prompts = [len(step.prompt) for step in steps if isinstance(step, Call)]
    assert 0.2 < sum(extended) / sum(prompts) < 0.9
    assert sum(1 for cached in extended if cached < 100) > 10


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_extended_engine_without_commands_does_as_a_stock_one() -> None:
    steps = record(3, CAPACITY_TOKENS)
    extended = await play(steps, commands=False)
    stock = await play(steps, extended=False, commands=False)
    assert differences(steps, extended, stock) == []


def test_differences_are_told_by_call() -> None:
    steps: list[Step] = [Call((1, 2, 3), 1, None), Told("renew", {}), Call((1, 2), 1, None)]
    assert differences(steps, [0, 1], [0, 2]) == [Difference(1, 2, 1, 2)]
    assert differences(steps, [0, 1], [0, 2], within=1) == []
