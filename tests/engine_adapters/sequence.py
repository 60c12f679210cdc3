"""A recorded sequence of requests and commands, to be replayed on two engines and compared call by call.

The prompts do not depend on answers, so that both engines see the same ones:

    steps = record(seed=1, capacity_tokens=8_000)
    assert differences(steps, await replay(steps, one), await replay(steps, other)) == []

`one` and `other` are `httpx.AsyncClient`s with the engine's URL as base. With `commands=False` nothing but requests is
sent, for stock engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import httpx

from scalesim.engine_adapters.sglang_plugin import wire

AGENTS = 9
FIRST_ID, LAST_ID = 100, 3_000
"""Ids that a vocabulary of 4,096 has, too."""


@dataclass(frozen=True, slots=True)
class Call:
    prompt: tuple[int, ...]
    output: int
    owner: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """A command of the control protocol, without its fence."""

    name: str
    body: dict[str, Any]


Step = Call | Told


@dataclass(frozen=True, slots=True)
class Difference:
    call: int
    prompt_tokens: int
    left: int
    right: int


def record(seed: int, capacity_tokens: int, calls: int = 120) -> list[Step]:
    """A town of agents whose personas need about twice the cache, in chains of calls, under changing plans.

    Prompts stay short enough to be prefilled in one piece (no chunks) by an engine with usual settings.
    """
    draw = Random(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(FIRST_ID, LAST_ID) for _ in range(count))

    head = ids(40)
    persona_tokens = min(2 * capacity_tokens // AGENTS, 1_500)
    owners = [f"town/agent-{index}" for index in range(AGENTS)]
    personas = {owner: head + ids(draw.randrange(persona_tokens // 2, persona_tokens)) for owner in owners}
    steps: list[Step] = []
    made = 0
    while made < calls:
        steps += _commands(draw, owners)
        owner = draw.choice(owners)
        prompt = personas[owner]
        for _ in range(draw.randrange(1, 4)):  # one activation: each prompt continues the one before
            prompt += ids(draw.randrange(20, 150))
            steps.append(Call(prompt, draw.randrange(1, 12), owner))
            made += 1
        if draw.random() < 0.15:
            steps.append(Call(ids(draw.randrange(50, persona_tokens)), draw.randrange(1, 6), None))
            made += 1
    return steps


def _commands(draw: Random, owners: list[str]) -> list[Step]:
    dice = draw.random()
    if dice < 0.5:
        known = draw.sample(owners, draw.randrange(1, len(owners) + 1))
        return [Told("plan", {"owners": {owner: float(draw.randrange(50)) for owner in known}})]
    if dice < 0.55:
        return [Told("plan", {"owners": {}})]
    if dice < 0.65:
        return [Told("pin", {"owners": draw.sample(owners, 2)})]
    if dice < 0.75:
        return [Told("unpin", {"owners": draw.sample(owners, 4)})]
    if dice < 0.8:
        return [Told("evict", {"owners": draw.sample(owners, 1)})]
    return []


async def replay(steps: list[Step], client: httpx.AsyncClient, *, commands: bool = True) -> list[int]:
    """Empties the engine's cache and plays the steps one after the other; the cached tokens of each call."""
    token = sequence = 0
    if commands:
        stats = (await client.get(f"{wire.PREFIX}/stats")).raise_for_status().json()
        token = stats["fence"][0] + 1

    async def tell(name: str, body: dict[str, Any]) -> None:
        nonlocal sequence
        sequence += 1
        fenced = {"fence": [token, sequence], **body}
        (await client.post(f"{wire.PREFIX}/{name}", json=fenced)).raise_for_status()

    (await client.post("/flush_cache", params={"timeout": 60})).raise_for_status()
    cached = []
    for step in steps:
        if commands:
            await tell("renew", {})  # what is in force must not age while a slow engine works
        match step:
            case Call(prompt, output, owner):
                sampling = {"max_new_tokens": output, "temperature": 0, "ignore_eos": True}
                request: dict[str, Any] = {"input_ids": list(prompt), "sampling_params": sampling}
                if owner is not None:
                    request["session_id"] = owner
                answer = (await client.post("/generate", json=request)).raise_for_status()
                cached.append(int(answer.json()["meta_info"]["cached_tokens"]))
            case Told(name, body) if commands:
                await tell(name, body)
    return cached


def differences(steps: list[Step], left: list[int], right: list[int], within: int = 0) -> list[Difference]:
    """The calls whose cached tokens differ by more than `within`."""
    calls = [step for step in steps if isinstance(step, Call)]
    return [
        Difference(index, len(call.prompt), one, other)
        for index, (call, one, other) in enumerate(zip(calls, left, right, strict=True))
        if abs(one - other) > within
    ]
