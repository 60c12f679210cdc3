"""Plays a program on modelled engines: step by step, each agent's calls one after the other, all agents side by side."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import count

from scalesim.proxy.core import placement, policies
from scalesim.proxy.core.controller import ControllerConfig
from scalesim.proxy.core.events import CallEnded, CallStarted
from scalesim.proxy.core.model import (
    AdapterName,
    AgentName,
    CallId,
    EngineId,
    Outcome,
    SimulationId,
    Usage,
    owner_of,
)
from scalesim.proxy.core.placer import Caller, Placer
from scalesim.workloads.program import Activation, Impossible, Program, Step, Told
from scalesim.workloads.telling import Teller

from .clock import Clock
from .costs import Costs
from .engine import Call, Engine, Sizes
from .foresight import Foresight
from .proxy import PLAN_EVERY_S, Proxy
from .results import Control, Hits, Moved, Results, Shares, StepTime, spread
from .rules import OWN
from .work import Prompts

SIMULATION = SimulationId("town")


@dataclass(frozen=True, slots=True)
class Setting:
    """What plays; `sizes` of each engine."""

    costs: Costs
    sizes: Sizes
    policy: str = "nearest_first"
    """One of `policy_names()`."""
    engines: int = 1
    placement: str = placement.DEFAULT
    told: Told = Told.EXACT
    chars_per_token: float = 4.0
    plan_every_s: float = PLAN_EVERY_S
    config: ControllerConfig = field(default_factory=ControllerConfig)
    """But for its policy."""

    def __post_init__(self) -> None:
        if self.policy not in policy_names():
            raise Impossible(f"there is no policy {self.policy!r}; there is {', '.join(policy_names())}")
        if self.placement not in placement.names():
            raise Impossible(
                f"there is no placement {self.placement!r}; there is {', '.join(placement.names())}"
            )
        if self.engines < 1:
            raise Impossible(f"there are {self.engines} engines, and has to be one")
        if not self.plan_every_s > 0:
            raise Impossible(f"a plan every {self.plan_every_s} s is none")


def policy_names() -> list[str]:
    """Of the proxy's core, and of engines by themselves."""
    return [*policies.names(), *OWN]


def play(
    program: Program, setting: Setting, progress: Callable[[int, float], None] = lambda calls, seconds: None
) -> Results:
    """`progress` is told after each call how many have ended, and the time. Raises `Impossible` for calls that fit nowhere."""
    return _Play(program, setting, progress).run()


@dataclass(slots=True, eq=False)
class _Chain:
    step: Step
    activation: Activation
    engine: EngineId
    index: int = 0
    is_first: bool = False
    """Of its agent."""


class _Play:
    def __init__(self, program: Program, setting: Setting, progress: Callable[[int, float], None]) -> None:
        program.must_tell(setting.told)
        self._program = program
        self._setting = setting
        self._progress = progress
        self._clock = Clock()
        self._prompts = Prompts(setting.chars_per_token)
        self._owners = {agent: str(owner_of(SIMULATION, AgentName(agent))) for agent in program.agents}
        self._foresight = Foresight(program, self._owners)
        rule = setting.policy if setting.policy in OWN else None
        self._engines = {
            EngineId(name): Engine(name, self._clock, setting.costs, setting.sizes, rule, self._foresight)
            for name in (f"engine-{number}" for number in range(setting.engines))
        }
        self._usable = frozenset(self._engines)
        self._placer = Placer(placement.find(setting.placement), agent_limit=max(1, len(program.agents)))
        for name in self._engines:
            self._placer.come_up(name, "1", 0.0)
        self._proxy: Proxy | None = None
        if rule is None:
            config = _with_policy(setting.config, setting.policy)
            self._proxy = Proxy(self._clock, self._engines, setting.costs, config, setting.plan_every_s)
        self._teller = Teller(program, setting.told, SIMULATION)
        self._numbers = count()
        self._open = 0
        """Chains of the present step that go on."""
        self._last: dict[str, EngineId] = {}
        self._moves = 0
        self._ended = 0
        self._ttft, self._took, self._queued = array("d"), array("d"), array("d")
        self._cached = self._from_host = self._ahead = 0
        self._first_prompt = self._first_cached = 0
        self._with_adapter = self._adapter_hits = 0
        self._steps: list[StepTime] = []

    def run(self) -> Results:
        if self._proxy is not None:
            self._proxy.post_all(self._teller.begin(self._clock.now))
        for step in self._program.steps:
            began, calls = self._clock.now, self._ended
            self._foresight.begin_step(step)
            if self._proxy is not None:
                self._proxy.post_all(self._teller.begin_step(began, step))
                self._proxy.post_all(self._teller.tell(began, step))
            self._open = len(step.activations)
            for activation in step.activations:
                self._begin(step, activation)
            self._clock.run_until(lambda: not self._open)
            self._steps.append(
                StepTime(step.index, self._clock.now - began, self._ended - calls, len(step.activations))
            )
        return self._results()

    # Calls

    def _begin(self, step: Step, activation: Activation) -> None:
        is_first = activation.agent not in self._last
        if not activation.calls:
            self._open -= 1
            return
        self._call(_Chain(step, activation, EngineId(""), is_first=is_first))

    def _call(self, chain: _Chain) -> None:
        activation, now = chain.activation, self._clock.now
        agent = AgentName(activation.agent)
        adapter = None if activation.adapter is None else AdapterName(activation.adapter)
        placed = self._placer.place(Caller(agent, adapter), self._usable, now)
        assert placed is not None, "engines are always up"
        chain.engine = placed.engine
        self._moves += self._last.get(agent, placed.engine) != placed.engine
        self._last[agent] = placed.engine
        asked = activation.calls[chain.index]
        call = Call(
            next(self._numbers),
            self._owners[agent],
            self._prompts.path(asked, activation.adapter),
            asked.max_tokens,
            activation.adapter,
            lambda ended: self._go_on(chain, ended),
        )
        if self._proxy is not None:
            self._proxy.post(CallStarted(now, CallId(call.number), SIMULATION, agent, placed.engine, adapter))
        try:
            self._engines[placed.engine].submit(call)
        except ValueError as exc:
            raise Impossible(str(exc)) from exc

    def _go_on(self, chain: _Chain, call: Call) -> None:
        self._note(chain, call)
        activation = chain.activation
        is_last = chain.index + 1 == len(activation.calls)
        usage = Usage(call.prompt_tokens, call.cached, call.output_tokens)
        self._placer.end(chain.engine, activation.agent, usage.prompt + usage.output)
        if is_last:
            self._foresight.end_activation(call.owner, activation.acts_for_steps)
        if self._proxy is not None:
            acts_for = self._teller.acts_for(chain.step, activation) if is_last else None
            said = self._teller.said(activation.calls[chain.index])
            self._proxy.post(
                CallEnded(self._clock.now, CallId(call.number), Outcome.DONE, usage, acts_for, said)
            )
        if is_last:
            self._open -= 1
        else:
            chain.index += 1
            self._call(chain)

    def _note(self, chain: _Chain, call: Call) -> None:
        self._ended += 1
        self._ttft.append(call.first_s - call.arrived_s)
        self._took.append(call.ended_s - call.arrived_s)
        self._queued.append(call.began_s - call.arrived_s)
        self._cached += call.cached
        self._from_host += call.from_host
        self._ahead += call.ahead
        if chain.index == 0 and not chain.is_first:
            self._first_prompt += call.prompt_tokens
            self._first_cached += call.cached
        if call.adapter is not None:
            self._with_adapter += 1
            self._adapter_hits += not call.adapter_missed
        self._progress(self._ended, self._clock.now)

    # Results

    def _results(self) -> Results:
        engines, seconds = list(self._engines.values()), self._clock.now
        whole = seconds * len(engines) or 1.0
        prompt = sum(engine.counts.prompt_tokens for engine in engines)
        decode = sum(engine.spent.decode for engine in engines) / whole
        prefill = sum(engine.spent.prefill for engine in engines) / whole
        load = sum(engine.spent.load for engine in engines) / whole
        setting, size = self._setting, self._setting.costs.bytes_per_token
        return Results(
            setting=_told(self._program, setting),
            seconds=seconds,
            calls=self._ended,
            prompt_tokens=prompt,
            computed_tokens=sum(engine.counts.computed_tokens for engine in engines),
            output_tokens=sum(engine.counts.output_tokens for engine in engines),
            steps=tuple(self._steps),
            step_s=spread([step.seconds for step in self._steps]),
            ttft_s=spread(self._ttft),
            call_s=spread(self._took),
            queued_s=spread(self._queued),
            shares=Shares(decode, prefill, load, max(0.0, 1.0 - decode - prefill - load)),
            hits=Hits(
                all_calls=self._cached / (prompt or 1),
                first_calls=self._first_cached / self._first_prompt if self._first_prompt else None,
                on_device=(self._cached - self._from_host) / (prompt or 1),
                from_host=self._from_host / (prompt or 1),
                ahead=self._ahead / (prompt or 1),
                adapters=self._adapter_hits / self._with_adapter if self._with_adapter else None,
            ),
            moved=Moved(
                demand=sum(engine.counts.demand_bytes for engine in engines),
                ahead=sum(engine.ahead.moved_bytes for engine in engines),
                wasted=sum(
                    engine.cache.counts.wasted * size + engine.slots.wasted * engine.sizes.adapter_bytes
                    for engine in engines
                ),
                link_share=sum(engine.link.busy_s for engine in engines) / whole,
            ),
            control=self._control(engines),
            evicted_tokens=sum(engine.cache.counts.evicted for engine in engines),
            most_running=max(engine.counts.most_running for engine in engines),
            engines=tuple(
                {
                    **asdict(engine.spent),
                    "steps": engine.counts.steps,
                    "most_used_tokens": engine.counts.most_used_tokens,
                    "prompt_tokens": engine.counts.prompt_tokens,
                }
                for engine in engines
            ),
        )

    def _control(self, engines: list[Engine]) -> Control | None:
        if self._proxy is None:
            return None
        totals = self._proxy.core.totals()
        return Control(
            plans=self._proxy.plans,
            orders=totals.orders,
            loads=totals.loads,
            loaded=sum(engine.ahead.loaded for engine in engines),
            stopped=sum(engine.ahead.stopped for engine in engines),
            refused=sum(engine.ahead.refused for engine in engines),
            moves=self._moves,
        )


def _with_policy(config: ControllerConfig, policy: str) -> ControllerConfig:
    return replace(config, policy=policy)


def _told(program: Program, setting: Setting) -> dict[str, object]:
    return {
        "scenario": program.scenario,
        "agents": len(program.agents),
        "steps": len(program.steps),
        "policy": setting.policy,
        "told": setting.told.value,
        "engines": setting.engines,
        "placement": setting.placement,
        "plan_every_s": setting.plan_every_s,
        "gpu": asdict(setting.costs.gpu),
        "model": asdict(setting.costs.model),
        "server": asdict(setting.costs.server),
        "devices": setting.costs.devices,
        "sizes": asdict(setting.sizes),
    }
