"""Plays the lanes of a comparison in turns: step k of one, then of the next, so that drift of the machine hits all alike.

Only one lane is active at a time. The order of the lanes rotates from step to step.

What loads memory ahead of calls would go on doing so while other lanes have their turn, and would get that time for
nothing. Where that is compared, a turn is a whole play.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from uuid import uuid4

from .builds import Flavour
from .configurations import Lane
from .engines import Counters, Engine, http_client
from .fleet import Fleet
from .player import Player, Target, play_program, playing
from .program import Activation, Call, Program, Step
from .prose import prose
from .records import StepPlayed
from .results import Play


class WarmUpFailed(Exception):
    """A lane that cannot answer its first calls is not worth measuring."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How the lanes play."""

    repeats: int = 1
    lead_in: int = 0
    """Steps at the beginning of each play that are played and not measured."""
    whole_plays: bool = False
    """A turn is the whole program instead of one step, and each repeat has proxies of its own."""
    adapter_paths: Mapping[str, str] = field(default_factory=dict)
    """By adapter: where it lies. Every engine loads all into its host memory before it is warmed up."""
    instead: Mapping[str, Program] = field(default_factory=dict)
    """By lane: another program, of as many steps, that it plays instead."""
    counts_loads: bool = False
    """Whether to ask extended engines for their loads ahead of calls."""
    logprobs: bool = True
    """Whether calls ask for the candidates of each token."""


DEFAULT_RULES = Rules()


def _warm_up(adapters: Sequence[str]) -> Program:
    """With adapters, so that what is done for the first of them is not measured either."""

    def chain(agent: str) -> Activation:
        calls = tuple(
            Call(({"role": "user", "content": prose(f"{agent}/{size}", size)},), 8, "warm-up")
            for size in (200, 4000)
        )
        return Activation(agent, calls, 1.0)

    agents = ("warm-0", "warm-1")
    step = Step(0, tuple(chain(agent) for agent in agents), dict.fromkeys(agents, 0.0))
    program = Program("warm-up", agents, (step,))
    return program.with_adapters(dict(zip(agents, adapters, strict=False))) if adapters else program


async def play_pass(
    program: Program,
    lanes: Sequence[Lane],
    fleet: Fleet,
    *,
    pass_index: int = 0,
    rules: Rules = DEFAULT_RULES,
    on_step: Callable[[Lane], None] = lambda lane: None,
) -> list[Play]:
    """Every lane plays the whole program in each repeat, each time with an empty cache and a simulation of its own."""
    plays: list[Play] = []
    async with AsyncExitStack() as after:
        after.callback(fleet.stop_proxies)
        urls = await fleet.engines([lane.engine for lane in lanes])
        engines = {
            lane.name: Engine(await after.enter_async_context(http_client(urls[lane.engine])))
            for lane in lanes
        }
        for engine in engines.values():
            await engine.load_adapters(rules.adapter_paths)
        seats: list[_Seat] = []
        for repeat in range(rules.repeats):
            # A proxy that has watched a whole play goes into the next one as its guard left it. Nobody compares whole plays
            # step by step, so there is time for new ones.
            if rules.whole_plays or not seats:
                fleet.stop_proxies()
                seats = [await _seat(lane, engines[lane.name], program, fleet, rules) for lane in lanes]
                for seat in seats:
                    await _warm(seat)
            if rules.whole_plays:
                first = (pass_index + repeat) % len(seats)
                turns = [[seat] for seat in [*seats[first:], *seats[:first]]]
            else:
                turns = [seats]
            for playing_now in turns:
                plays += await _play_once(playing_now, pass_index, repeat, rules.lead_in, on_step)
    return plays


@dataclass(frozen=True, slots=True)
class _Seat:
    lane: Lane
    engine: Engine
    target: Target
    program: Program
    counts_loads: bool

    async def counters(self) -> Counters:
        return await self.engine.counters(loads=self.counts_loads)


async def _seat(lane: Lane, engine: Engine, program: Program, fleet: Fleet, rules: Rules) -> _Seat:
    own = rules.instead.get(lane.name, program)
    target = replace(
        (await _target(lane, engine, fleet)).of(own),
        adapters=own.adapters,
        adapter_paths=rules.adapter_paths,
        logprobs=rules.logprobs,
    )
    counts_loads = rules.counts_loads and lane.configuration.flavour is Flavour.EXTENDED
    return _Seat(lane, engine, target, own, counts_loads)


async def _warm(seat: _Seat) -> None:
    program = _warm_up(sorted(seat.target.adapter_paths)[:2])
    target = replace(_simulation(seat.target, "warm-up"), adapters=program.adapters)
    for step in await play_program(program, target):
        for call in step.calls:
            if call.error is not None:
                raise WarmUpFailed(f"{seat.lane.name}: {call.error}")


async def _play_once(
    seats: Sequence[_Seat], pass_index: int, repeat: int, lead_in: int, on_step: Callable[[Lane], None]
) -> list[Play]:
    played: dict[str, list[StepPlayed]] = {seat.lane.name: [] for seat in seats}
    async with AsyncExitStack() as simulations:
        players: dict[str, Player] = {}
        before = {}
        for seat in seats:
            await seat.engine.forget_everything()
            target = _simulation(seat.target, f"{seat.program.scenario}-{repeat}")
            players[seat.lane.name] = await simulations.enter_async_context(playing(target))
        for turn in range(len(seats[0].program.steps)):
            if turn == lead_in:
                for seat in seats:
                    before[seat.lane.name] = await seat.counters()
            first = (turn + repeat) % len(seats)
            for seat in [*seats[first:], *seats[:first]]:
                name = seat.lane.name
                played[name].append(await players[name].play(seat.program.steps[turn]))
                on_step(seat.lane)
        plays = []
        for seat in seats:
            name = seat.lane.name
            counted = (await seat.counters()).since(before[name])
            plays.append(
                Play(
                    name, pass_index, repeat, tuple(played[name][lead_in:]), counted.step_seconds,
                    counted.adapter_lookups, counted.loads, tuple(played[name][:lead_in]),
                    await players[name].accuracy(),
                )
            )  # fmt: skip
        return plays


async def _target(lane: Lane, engine: Engine, fleet: Fleet) -> Target:
    model = await engine.model()
    await engine.must_report_its_cache()
    if lane.configuration.mode is None:
        return Target(engine.url, model)
    await engine.must_take_plans()
    url, admin_url = await fleet.proxy(lane, engine.url)
    told = lane.configuration.told
    if not lane.configuration.named:
        return Target(url, model, measured_url=admin_url)
    if told is None:
        return Target(url, model, simulation=lane.name, measured_url=admin_url)
    return Target(url, model, simulation=lane.name, admin_url=admin_url, told=told)


def _simulation(target: Target, name: str) -> Target:
    """The same place, and a simulation nobody has heard of before."""
    if target.simulation is None:
        return target
    return replace(target, simulation=f"{target.simulation}-{name}-{uuid4().hex[:8]}")
