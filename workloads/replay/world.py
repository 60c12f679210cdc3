"""Engines, and whoever puts calls on them: the proxy's placement and core, and a note of what came of each call."""

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
from scalesim.workloads.program import Impossible
from scalesim.workloads.telling import Duration

from .causes import Idleness, causes
from .clock import Clock
from .engine import Call, Engine, Sizes
from .foresight import Foresight
from .kvflow import StepPrefetch
from .paths import Path
from .prices import Prices
from .proxy import PLAN_EVERY_S, Proxy
from .results import Control, Hits, Moved, Results, Shares, StepTime, spread
from .rules import LOADS_AHEAD, OWN

SIMULATION = SimulationId("town")


@dataclass(frozen=True, slots=True)
class Setting:
    """What plays; `sizes` of each engine."""

    costs: Prices
    sizes: Sizes
    policy: str = "nearest_first"
    """One of `policy_names()`."""
    engines: int = 1
    placement: str = placement.DEFAULT
    plan_every_s: float = PLAN_EVERY_S
    front_s: float = 0.0
    """From a call's leaving the client until it stands in an engine's queue."""
    after_s: float = 0.0
    """From a call's end until its client knows it."""
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
            raise Impossible(f"there are {self.engines} engines, and there has to be one")
        if not self.plan_every_s > 0:
            raise Impossible(f"plan_every_s is {self.plan_every_s}, and has to be above 0")

    def told(self) -> dict[str, object]:
        return {
            "policy": self.policy,
            "engines": self.engines,
            "placement": self.placement,
            "plan_every_s": self.plan_every_s,
            "front_s": self.front_s,
            "after_s": self.after_s,
            **self.costs.told(),
            "sizes": asdict(self.sizes),
        }


def policy_names() -> list[str]:
    """Of the proxy's core, and of engines by themselves."""
    return [*policies.names(), *OWN]


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, before anybody knows where it goes."""

    agent: str
    path: Path
    output_tokens: int
    adapter: str | None = None
    begins: bool = True
    """It is the first of an activation."""
    acts_for: Duration | None = None
    """What its request says of the time after it."""
    said: Duration | None = None
    """What its answer says of that."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that is over."""

    engine: EngineId
    call: Call
    counts_as_first: bool
    """Of an activation after its agent's first."""


class World:
    def __init__(
        self,
        setting: Setting,
        agents: int,
        foresight: Foresight,
        progress: Callable[[int, float], None] = lambda calls, seconds: None,
        watch: Callable[[Ended], None] = lambda ended: None,
    ) -> None:
        """`progress` is told after each call how many have ended, and the time; `watch`, what came of it."""
        self.clock = Clock()
        self.ended = 0
        self._setting = setting
        self._progress = progress
        self._watch = watch
        rule = setting.policy if setting.policy in OWN else None
        self._idleness = Idleness()
        self.engines = {
            EngineId(f"engine-{number}"): Engine(
                f"engine-{number}",
                self.clock,
                setting.costs,
                setting.sizes,
                rule,
                foresight,
                self._idleness,
                number,
            )
            for number in range(setting.engines)
        }
        self._usable = frozenset(self.engines)
        self._placer = Placer(placement.find(setting.placement), agent_limit=max(1, agents))
        for name in self.engines:
            self._placer.come_up(name, "1", 0.0)
        self.proxy: Proxy | None = None
        """None: engines are left alone."""
        if rule is None:
            config = replace(setting.config, policy=setting.policy)
            self.proxy = Proxy(self.clock, self.engines, setting.costs, config, setting.plan_every_s)
        self._prefetches = (
            [StepPrefetch(self.clock, engine, foresight) for engine in self.engines.values()]
            if rule in LOADS_AHEAD
            else []
        )
        self._numbers = count()
        self._last: dict[str, EngineId] = {}
        """By agent, where its last call went."""
        self._moves = 0
        self._ttft, self._took, self._queued = array("d"), array("d"), array("d")
        self._cached = self._from_host = self._ahead = 0
        self._first_prompt = self._first_cached = 0
        self._with_adapter = self._adapter_hits = 0

    def begin_step(self) -> None:
        """A step of a program began."""
        for prefetch in self._prefetches:
            prefetch.begin_step()

    def end_activation(self) -> None:
        for prefetch in self._prefetches:
            prefetch.end_activation()

    def call(
        self, asked: Asked, then: Callable[[Call], None], ends: Callable[[], None] = lambda: None
    ) -> None:
        """`then` is told its end; `ends` a moment before, when its memory is not given back yet. Raises `Impossible` for one that fits nowhere."""
        agent, now = AgentName(asked.agent), self.clock.now
        adapter = None if asked.adapter is None else AdapterName(asked.adapter)
        placed = self._placer.place(Caller(agent, adapter), self._usable, now)
        assert placed is not None, "engines are always up"
        engine = placed.engine
        is_new = asked.agent not in self._last
        self._moves += self._last.get(agent, engine) != engine
        self._last[agent] = engine

        def ended(call: Call) -> None:
            self._end(asked, call, engine, is_new)
            self._later(self._setting.after_s, lambda: then(call))

        number, owner = next(self._numbers), owner_of(SIMULATION, agent)
        call = Call(number, owner, asked.path, asked.output_tokens, asked.adapter, ended, ends, asked_s=now)
        if self.proxy is not None:
            self.proxy.post(CallStarted(now, CallId(number), SIMULATION, agent, engine, adapter))
        self._later(self._setting.front_s, lambda: self._submit(engine, call))

    def _submit(self, engine: EngineId, call: Call) -> None:
        try:
            self.engines[engine].submit(call)
        except ValueError as exc:
            raise Impossible(str(exc)) from exc

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        if seconds:
            self.clock.after(seconds, do)
        else:
            do()

    def _end(self, asked: Asked, call: Call, engine: EngineId, is_new: bool) -> None:
        usage = Usage(call.prompt_tokens, call.cached, call.output_tokens)
        self._placer.end(engine, asked.agent, usage.prompt + usage.output)
        counts_as_first = asked.begins and not is_new
        self._note(call, counts_as_first=counts_as_first)
        self._watch(Ended(engine, call, counts_as_first))
        if self.proxy is not None:
            number = CallId(call.number)
            self.proxy.post(
                CallEnded(self.clock.now, number, Outcome.DONE, usage, asked.acts_for, asked.said)
            )

    def _note(self, call: Call, *, counts_as_first: bool) -> None:
        self.ended += 1
        self._ttft.append(call.first_s - call.asked_s)
        self._took.append(call.ended_s - call.asked_s)
        self._queued.append(call.began_s - call.arrived_s)
        self._cached += call.cached
        self._from_host += call.from_host
        self._ahead += call.ahead
        if counts_as_first:
            self._first_prompt += call.prompt_tokens
            self._first_cached += call.cached
        if call.adapter is not None:
            self._with_adapter += 1
            self._adapter_hits += not call.adapter_missed
        self._progress(self.ended, self.clock.now)

    # Results

    def results(self, steps: tuple[StepTime, ...], played: dict[str, object]) -> Results:
        """`played` says what, in words and numbers."""
        engines, seconds = list(self.engines.values()), self.clock.now
        whole = seconds * len(engines) or 1.0
        prompt = sum(engine.counts.prompt_tokens for engine in engines)
        decode = sum(engine.spent.decode for engine in engines) / whole
        prefill = sum(engine.spent.prefill for engine in engines) / whole
        load = sum(engine.spent.load for engine in engines) / whole
        size = self._setting.costs.bytes_per_token
        return Results(
            setting={**played, **self._setting.told()},
            seconds=seconds,
            calls=self.ended,
            prompt_tokens=prompt,
            computed_tokens=sum(engine.counts.computed_tokens for engine in engines),
            output_tokens=sum(engine.counts.output_tokens for engine in engines),
            steps=steps,
            step_s=spread([step.seconds for step in steps]),
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
            causes=causes(
                [engine.account for engine in engines],
                max(0.0, whole - sum(engine.spent.busy for engine in engines)),
                self._idleness.seconds,
            ),
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
        if self.proxy is None:
            return None
        totals = self.proxy.core.totals()
        return Control(
            plans=self.proxy.plans,
            orders=totals.orders,
            loads=totals.loads,
            loaded=sum(engine.ahead.loaded for engine in engines),
            stopped=sum(engine.ahead.stopped for engine in engines),
            refused=sum(engine.ahead.refused for engine in engines),
            moves=self._moves,
        )
