"""Plays a program on several engines inside this process and in virtual time: a placement rule, the caches of emulated engines,
and no HTTP.

Unlike in `robustness_play`, a step of an engine takes as long as what it computes: an engine that finds little, or has too much
to do, is late. What leaves a cache is decided by recency, or by exact distances; no call fails, and telling takes no time.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.engine_adapters.emulated.scheduler import Generation
from scalesim.proxy.core.model import AdapterName, EngineId, SimulationId, owner_of
from scalesim.proxy.core.model import AgentName as Name
from scalesim.proxy.core.placement import find
from scalesim.proxy.core.placer import Caller, Placer
from scalesim.proxy.core.placing import Bounds, Why

from .emulated import DECODE_S_PER_STEP, MOST_RUNNING, PREFILL_S_PER_TOKEN
from .program import Activation, Impossible, Program, Step
from .robustness_play import Prompts

SIMULATION = SimulationId("town")


@dataclass(frozen=True, slots=True)
class Away:
    """An engine is lost when one step of the program begins, and back, with nothing in its cache, when another does."""

    engine: int
    from_step: int
    to_step: int


@dataclass(frozen=True, slots=True)
class Fleet:
    engines: int
    capacity_tokens: int
    """Of each."""
    rule: str
    by_distance: bool = False
    """What leaves a cache; else by recency."""
    horizon_steps: float | None = None
    """Beyond it agents may move when a step begins; None: none does."""
    bounds: Bounds = field(default_factory=Bounds)
    away: Away | None = None


@dataclass(slots=True)
class Outcome:
    prompt_tokens: int = 0
    cached_tokens: int = 0
    first_prompt_tokens: int = 0
    """Of the first call of each activation..."""
    first_cached_tokens: int = 0
    calls: int = 0
    changes: int = 0
    """Calls on another engine than the one before of the same agent."""
    whys: dict[Why, int] = field(default_factory=dict)
    moved: int = 0
    """Agents that got another home while they did not call."""
    seconds: float = 0.0
    """Until the last answer."""
    waits_s: list[float] = field(default_factory=list)
    """From a call to its answer."""
    busy_s: list[float] = field(default_factory=list)
    """By engine."""
    adapter_places: Mapping[str, int] = field(default_factory=dict)
    """By adapter, on how many engines calls of it ran."""
    most_running: int = 0
    """Above its even share, the most that an engine ran when it got a call."""
    shares_back: list[float] = field(default_factory=list)
    """By step of the program: of the calls, those on the engine that was away."""

    @property
    def hits(self) -> float:
        return self.cached_tokens / self.prompt_tokens

    @property
    def first_hits(self) -> float:
        return self.first_cached_tokens / self.first_prompt_tokens

    @property
    def imbalance(self) -> float:
        """The busiest engine's time over the mean."""
        return max(self.busy_s) * len(self.busy_s) / sum(self.busy_s)


def play(program: Program, prompts: Prompts, fleet: Fleet) -> Outcome:
    """Raises `Impossible` where an engine is too small for a call: it would wait for ever."""
    largest = max(
        (len(prompts.of(call.messages)) + call.max_tokens + 1 for _, _, _, call in program.calls()), default=0
    )
    if largest > fleet.capacity_tokens:
        raise Impossible(
            f"the largest call needs {largest:,} tokens, and an engine has {fleet.capacity_tokens:,}:"
            " more room, or fewer engines"
        )
    return _Play(program, prompts, fleet).run()


@dataclass(slots=True, eq=False)
class _UnderWay:
    activation: Activation
    index: int
    generation: Generation
    began_s: float


class _Play:
    def __init__(self, program: Program, prompts: Prompts, fleet: Fleet) -> None:
        self._program = program
        self._prompts = prompts
        self._fleet = fleet
        self._names = [EngineId(f"engine-{number}") for number in range(fleet.engines)]
        self._engines = {name: self._engine() for name in self._names}
        self._under_way: dict[EngineId, list[_UnderWay]] = {name: [] for name in self._names}
        self._steps: list[tuple[float, int, EngineId]] = []
        """Ends of steps of engines, those that have one."""
        self._stepping: set[EngineId] = set()
        self._placer = Placer(find(fleet.rule), fleet.bounds, agent_limit=len(program.agents), ramp_s=30.0)
        self._usable = frozenset(self._names)
        self._now = 0.0
        self._last: dict[str, EngineId] = {}
        """By agent, where its last call went."""
        self._distances: dict[str, float] = {}
        self._busy: dict[EngineId, float] = dict.fromkeys(self._names, 0.0)
        self._places: defaultdict[str, set[EngineId]] = defaultdict(set)
        self._outcome = Outcome()
        self._numbers = 0
        for name in self._names:
            self._placer.come_up(name, "1", 0.0)

    def _engine(self) -> EmulatedEngine:
        return EmulatedEngine(
            capacity_tokens=self._fleet.capacity_tokens,
            prefill_s_per_token=PREFILL_S_PER_TOKEN,
            decode_s_per_token=DECODE_S_PER_STEP,
            max_running=MOST_RUNNING,
            extended=self._fleet.by_distance,
            beat_interval_s=None,
        )

    def run(self) -> Outcome:
        outcome, away = self._outcome, self._fleet.away
        for step in self._program.steps:
            self._come_and_go(step.index)
            self._begin(step)
            calls = Counter[EngineId]()
            while self._steps:
                self._now, _, name = heapq.heappop(self._steps)
                self._stepping.remove(name)
                self._engines[name].scheduler.end()
                calls[name] += self._go_on(name, step)
                self._keep_going(name)
            if away is not None:
                outcome.shares_back.append(calls[self._names[away.engine]] / max(1, calls.total()))
        outcome.seconds = self._now
        outcome.busy_s = list(self._busy.values())
        outcome.whys = {why: count for why, count in self._placer.placed.items() if count}
        outcome.moved = self._placer.moved
        outcome.adapter_places = {adapter: len(places) for adapter, places in sorted(self._places.items())}
        return outcome

    def _come_and_go(self, step: int) -> None:
        away = self._fleet.away
        if away is None:
            return
        name = self._names[away.engine]
        if step == away.from_step:
            self._usable -= {name}
            self._placer.lose(name)
        if step == away.to_step:
            self._usable |= {name}
            self._engines[name] = self._engine()
            self._placer.come_up(name, "2", self._now)

    def _begin(self, step: Step) -> None:
        self._distances = dict(step.distances)
        horizon = self._fleet.horizon_steps
        if horizon is not None:
            self._placer.rebalance(step.distances.items(), self._usable, self._now, horizon)
        for name in self._names:
            self._tell(name)
        for activation in step.activations:
            self._call(activation, 0)

    def _tell(self, name: EngineId) -> None:
        """An engine is told of those whose memory it has, as far as they are expected to call again."""
        ledger = self._engines[name].ledger
        if ledger is None:
            return
        there = {
            owner_of(SIMULATION, Name(agent)): distance
            for agent, distance in self._distances.items()
            if distance < math.inf and (self._placer.home_of(agent) or self._last.get(agent)) == name
        }
        ledger.set_plan({str(owner): distance for owner, distance in there.items()})

    def _call(self, activation: Activation, index: int) -> None:
        call, agent, outcome = activation.calls[index], activation.agent, self._outcome
        adapter = None if activation.adapter is None else AdapterName(activation.adapter)
        placed = self._placer.place(Caller(agent, adapter), self._usable, self._now)
        assert placed is not None, "one engine is always up"
        name = placed.engine
        if activation.adapter is not None:
            self._places[activation.adapter].add(name)
        running = [len(self._under_way[one]) for one in sorted(self._usable)]
        over = len(self._under_way[name]) + 1 - math.ceil((sum(running) + 1) / len(running))
        outcome.most_running = max(outcome.most_running, over)
        outcome.changes += self._last.get(agent, name) != name
        self._last[agent] = name
        generation = Generation(
            rid=str(self._numbers),
            prompt=self._prompts.of(call.messages),
            max_new=call.max_tokens,
            ends_at=None,
            owner=owner_of(SIMULATION, Name(agent)),
            choice=0,
            notify=lambda: None,
        )
        self._numbers += 1
        self._under_way[name].append(_UnderWay(activation, index, generation, self._now))
        self._engines[name].scheduler.submit(generation)
        self._keep_going(name)

    def _keep_going(self, name: EngineId) -> None:
        """Begins the engine's next step, if it has none under way and something to do."""
        scheduler = self._engines[name].scheduler
        if name in self._stepping or scheduler.idle:
            return
        step = scheduler.begin()
        takes = step.load_s + step.compute_s
        self._busy[name] += takes
        self._stepping.add(name)
        heapq.heappush(self._steps, (self._now + takes, self._names.index(name), name))

    def _go_on(self, name: EngineId, step: Step) -> int:
        """With the chains of those that the engine has answered; how many these are."""
        answered = [one for one in self._under_way[name] if one.generation.finish is not None]
        self._under_way[name] = [one for one in self._under_way[name] if one.generation.finish is None]
        ended = False
        for one in answered:
            done, activation, outcome = one.generation, one.activation, self._outcome
            outcome.calls += 1
            outcome.prompt_tokens += len(done.prompt)
            outcome.cached_tokens += done.cached
            if one.index == 0:
                outcome.first_prompt_tokens += len(done.prompt)
                outcome.first_cached_tokens += done.cached
            outcome.waits_s.append(self._now - one.began_s)
            self._placer.end(name, activation.agent, len(done.prompt) + len(done.output))
            if one.index + 1 < len(activation.calls):
                self._call(activation, one.index + 1)
            else:
                self._distances[activation.agent] = activation.acts_for_steps
                ended = True
        if ended:
            self._tell(name)
        return len(answered)
