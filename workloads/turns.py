"""Plays the lanes of a comparison in turns: step k of one, then of the next, so that drift of the machine hits all alike.

Only one lane is active at a time. The order of the lanes rotates from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import uuid4

from .configurations import Lane
from .engines import Engine, http_client
from .fleet import Fleet
from .player import Player, StepPlayed, Target, play_program, playing
from .program import Activation, Call, Program, Step
from .prose import prose
from .results import Play


class WarmUpFailed(Exception):
    """A lane that cannot answer its first calls is not worth measuring."""


def _warm_up() -> Program:
    def chain(agent: str) -> Activation:
        calls = tuple(
            Call(({"role": "user", "content": prose(f"{agent}/{size}", size)},), 8, "warm-up")
            for size in (200, 4000)
        )
        return Activation(agent, calls, 1.0)

    agents = ("warm-0", "warm-1")
    step = Step(0, tuple(chain(agent) for agent in agents), dict.fromkeys(agents, 0.0))
    return Program("warm-up", agents, (step,))


async def play_pass(
    program: Program,
    lanes: Sequence[Lane],
    fleet: Fleet,
    *,
    pass_index: int = 0,
    repeats: int = 1,
    on_step: Callable[[Lane], None] = lambda lane: None,
) -> list[Play]:
    """Every lane plays the whole program `repeats` times, each time with an empty cache and a simulation of its own."""
    plays: list[Play] = []
    async with AsyncExitStack() as after:
        after.callback(fleet.stop_proxies)
        urls = await fleet.engines([lane.engine for lane in lanes])
        engines = {
            lane.name: Engine(await after.enter_async_context(http_client(urls[lane.engine])))
            for lane in lanes
        }
        targets = {lane.name: await _target(lane, engines[lane.name], fleet) for lane in lanes}
        for lane in lanes:
            for step in await play_program(_warm_up(), _simulation(targets[lane.name], "warm-up")):
                for call in step.calls:
                    if call.error is not None:
                        raise WarmUpFailed(f"{lane.name}: {call.error}")
        for repeat in range(repeats):
            plays += await _play_once(program, lanes, engines, targets, pass_index, repeat, on_step)
    return plays


async def _play_once(
    program: Program,
    lanes: Sequence[Lane],
    engines: dict[str, Engine],
    targets: dict[str, Target],
    pass_index: int,
    repeat: int,
    on_step: Callable[[Lane], None],
) -> list[Play]:
    played: dict[str, list[StepPlayed]] = {lane.name: [] for lane in lanes}
    async with AsyncExitStack() as simulations:
        players: dict[str, Player] = {}
        before = {}
        for lane in lanes:
            await engines[lane.name].forget_everything()
            target = _simulation(targets[lane.name], f"{program.scenario}-{repeat}")
            players[lane.name] = await simulations.enter_async_context(playing(target))
            before[lane.name] = await engines[lane.name].step_seconds()
        for turn, step in enumerate(program.steps):
            first = (turn + repeat) % len(lanes)
            for lane in [*lanes[first:], *lanes[:first]]:
                played[lane.name].append(await players[lane.name].play(step))
                on_step(lane)
        return [
            Play(
                lane.name,
                pass_index,
                repeat,
                tuple(played[lane.name]),
                _spent(before[lane.name], await engines[lane.name].step_seconds()),
            )
            for lane in lanes
        ]


async def _target(lane: Lane, engine: Engine, fleet: Fleet) -> Target:
    model = await engine.model()
    await engine.must_report_its_cache()
    if lane.configuration.mode is None:
        return Target(engine.url, model)
    await engine.must_take_plans()
    url, admin_url = await fleet.proxy(lane, engine.url)
    return Target(url, model, simulation=lane.name, admin_url=admin_url if lane.configuration.hints else None)


def _simulation(target: Target, name: str) -> Target:
    """The same place, and a simulation nobody has heard of before."""
    if target.simulation is None:
        return target
    return replace(target, simulation=f"{target.simulation}-{name}-{uuid4().hex[:8]}")


def _spent(before: dict[str, float] | None, after: dict[str, float] | None) -> dict[str, float] | None:
    if before is None and after is None:
        return None
    # A kind of step that has not happened yet is not counted yet.
    return {kind: seconds - (before or {}).get(kind, 0.0) for kind, seconds in (after or {}).items()}
