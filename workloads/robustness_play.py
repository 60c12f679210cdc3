"""Plays a program inside this process and in virtual time: the proxy's core, the emulated engine's cache, and no HTTP.

What a proxy does between its core and an engine is done here as `runtime` and `dispatch` do it, but takes no time: actions reach
the engine at once, and none fails. The engine is the emulated one, whose scheduler, cache and ledger are driven by hand. It has
no host tier and no adapters: all that is decided is what leaves its cache.

Each step of the engine takes the same time, whatever it computes. Who finds its prefix is not sooner done, so every play of a
program makes the same calls at the same times, and what the n-th call finds can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scalesim.engine_adapters.emulated import EmulatedEngine, tokens
from scalesim.engine_adapters.emulated.scheduler import Generation
from scalesim.engine_adapters.emulated.tokens import Tokens
from scalesim.engine_adapters.sglang_plugin import wire
from scalesim.proxy.core.actions import Action, Evict, Order, Pin, Renew, Unpin
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    Event,
    Idled,
    Reported,
    Settled,
    Ticked,
)
from scalesim.proxy.core.guard import GuardState, InCharge
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Capabilities,
    EngineId,
    EngineReport,
    Outcome,
    Owner,
    Part,
    SimulationId,
    Usage,
    owner_of,
)

from .program import Activation, Message, Program, Step, Told
from .records import CallKey
from .speech import spoken
from .telling import Duration, Teller

ENGINE_STEP_S = 0.02
PLAN_EVERY_S = 0.05
RENEW_S = 1.0
"""A plan is made at least this often; as often, the engine is looked at, and what it was sent ages by a beat."""
ENGINE = EngineId("emulated")
SIMULATION = SimulationId("town")
PARTS = frozenset({Part.ORDER, Part.PIN})
"""Of memory control, those that say what leaves the device."""


@dataclass(frozen=True, slots=True)
class CallPlayed:
    key: CallKey
    start_s: float
    end_s: float
    cached: int
    """Tokens of its prompt that the engine had."""


@dataclass(frozen=True, slots=True)
class Played:
    calls: tuple[CallPlayed, ...]
    """In the order in which they were made."""
    guard: GuardState | None = None
    """In the end; None where there was none."""


class Prompts:
    """The token ids of prompts as the engine's chat template makes them of messages. It reads each message once."""

    def __init__(self) -> None:
        self._end = tokens.render_chat(())
        self._read: dict[int, tuple[Message, Tokens]] = {}
        """By id, and with the message, so that the id stays its own."""

    def of(self, messages: Sequence[Message]) -> Tokens:
        prompt = self._end[:0]
        for message in messages:
            if id(message) not in self._read:
                self._read[id(message)] = message, tokens.render_chat((message,))[: -len(self._end)]
            prompt += self._read[id(message)][1]
        return prompt + self._end


def play(
    program: Program,
    prompts: Prompts,
    capacity_tokens: int,
    config: ControllerConfig | None,
    against: Program | None = None,
    told: Told = Told.EXACT,
) -> Played:
    """What is told of exact distances are the hints of the program's steps, where a step has any.

    `config` None: there is no proxy, and nobody tells the engine anything. `against` is told instead while the guard leaves
    the cache to distance: by somebody who sees who is in charge, and wants to do harm.
    """
    if told is Told.ANSWERS:
        program = spoken(program)
    return _Play(program, prompts, capacity_tokens, config, against or program, told).run()


@dataclass(frozen=True, slots=True)
class _UnderWay:
    number: int
    place: int
    """Of its step in the program."""
    key: CallKey
    activation: Activation
    generation: Generation
    start_s: float

    @property
    def is_last(self) -> bool:
        return self.key[2] == len(self.activation.calls) - 1


class _Play:
    def __init__(
        self,
        program: Program,
        prompts: Prompts,
        capacity_tokens: int,
        config: ControllerConfig | None,
        against: Program,
        told: Told,
    ) -> None:
        self._program = program
        self._against = against
        self._teller = Teller(program, told, SIMULATION)
        self._prompts = prompts
        # Whoever calls can run if there is room for it.
        self._engine = EmulatedEngine(
            capacity_tokens=capacity_tokens, max_running=len(program.agents), beat_interval_s=None
        )
        self._proxy = None if config is None else _Proxy(self._engine, config)
        self._only_hints = config is not None and config.distance == "hinted"
        self._telling = program
        self._under_way: list[_UnderWay] = []
        self._ended: dict[int, CallPlayed] = {}
        self._begun = 0
        self._engine_steps = 0

    @property
    def _now(self) -> float:
        return self._engine_steps * ENGINE_STEP_S

    def run(self) -> Played:
        scheduler = self._engine.scheduler
        if self._proxy is not None:
            self._proxy.post_all(self._teller.begin(self._now))
        for place, step in enumerate(self._program.steps):
            if self._proxy is not None:
                self._proxy.post_all(self._teller.begin_step(self._now, step))
                self._tell(self._proxy, place)
                self._proxy.catch_up(self._now)
            for activation in step.activations:
                self._call(place, step, activation, 0)
            while not scheduler.idle:
                scheduler.begin()
                self._engine_steps += 1
                if self._proxy is not None:
                    self._proxy.catch_up(self._now)
                    if self._wants(self._proxy) is not self._telling:
                        self._tell(self._proxy, place)
                scheduler.end()
                self._go_on(step)
        guard = None if self._proxy is None else self._proxy.guard
        return Played(tuple(self._ended[number] for number in range(self._begun)), guard)

    # What is told

    def _wants(self, proxy: _Proxy) -> Program:
        """Whose distances are told now."""
        if self._against is self._program or (guard := proxy.guard) is None:
            return self._against
        return self._against if guard.in_charge is InCharge.DISTANCE else self._program

    def _tell(self, proxy: _Proxy, place: int) -> None:
        self._telling = self._wants(proxy)
        proxy.post_all(self._teller.tell(self._now, self._telling.steps[place]))

    def _acts_for(self, call: _UnderWay) -> Duration | None:
        """What its request said."""
        step = self._telling.steps[call.place]
        return self._teller.acts_for(step, call.activation) if call.is_last else None

    # Calls

    def _call(self, place: int, step: Step, activation: Activation, index: int) -> None:
        call, agent, number = activation.calls[index], AgentName(activation.agent), self._begun
        generation = Generation(
            rid=str(number),
            prompt=self._prompts.of(call.messages),
            max_new=call.max_tokens,
            ends_at=None,
            owner=owner_of(SIMULATION, agent),
            choice=0,
            notify=lambda: None,
        )
        key = (step.index, activation.agent, index)
        self._under_way.append(_UnderWay(number, place, key, activation, generation, self._now))
        self._begun += 1
        if self._proxy is not None:
            self._proxy.post(CallStarted(self._now, CallId(number), SIMULATION, agent, ENGINE))
        self._engine.scheduler.submit(generation)

    def _go_on(self, step: Step) -> None:
        """With the chains of those whose calls were answered in this step of the engine."""
        answered = [call for call in self._under_way if call.generation.finish is not None]
        self._under_way = [call for call in self._under_way if call.generation.finish is None]
        for call in answered:
            done = call.generation
            self._ended[call.number] = CallPlayed(call.key, call.start_s, self._now, done.cached)
            if self._proxy is not None:
                usage = Usage(len(done.prompt), done.cached, len(done.output))
                number, acts_for = CallId(call.number), self._acts_for(call)
                said = self._teller.said(call.activation.calls[call.key[2]])
                self._proxy.post(CallEnded(self._now, number, Outcome.DONE, usage, acts_for, said))
                if acts_for is not None and self._only_hints:
                    # What a call says of the time after it is no distance, and would be heard by nobody.
                    steps, clock = acts_for
                    agent = AgentName(call.activation.agent)
                    self._proxy.post(DistanceHinted(self._now, SIMULATION, clock, {agent: steps}))
            if not call.is_last:
                self._call(call.place, step, call.activation, call.key[2] + 1)


class _Proxy:
    """What a proxy does between its core and one engine."""

    def __init__(self, engine: EmulatedEngine, config: ControllerConfig) -> None:
        assert engine.ledger is not None, "it is an extended one"
        self._core = Controller(config)
        self._engine = engine
        self._ledger = engine.ledger
        self._may_plan_at = self._must_plan_at = 0.0
        self._looks_at = RENEW_S
        found = Capabilities(
            kind="emulated",
            version="in process",
            extended=True,
            features=frozenset(wire.FEATURES),
            boot_id=engine.boot_id,
            capacity_tokens=engine.capacity_tokens,
        )
        self.post(EngineFound(0.0, ENGINE, found))

    @property
    def guard(self) -> GuardState | None:
        return self._core.engines()[0].guard

    def post(self, event: Event) -> None:
        for action in self._core.handle(event):
            self._carry_out(action)
            self.post(Settled(event.at, action))

    def post_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self.post(event)

    def catch_up(self, now: float) -> None:
        """Does what has become due, each at its time."""
        while (at := min(self._plans_at(now), self._looks_at)) <= now:
            if at == self._looks_at:
                self._look(at)
            else:
                self._plan(at)

    def _plans_at(self, now: float) -> float:
        """What asks for a plan since the last look at the clock counts as having come just now."""
        return max(self._may_plan_at, now) if self._core.dirty else self._must_plan_at

    def _plan(self, at: float) -> None:
        self._may_plan_at, self._must_plan_at = at + PLAN_EVERY_S, at + RENEW_S
        self.post(Ticked(at))
        while self._core.behind:
            self.post(Idled(at))

    def _look(self, at: float) -> None:
        self._looks_at = at + RENEW_S
        self._ledger.beat()
        pins = self._ledger.pins
        report = EngineReport(
            boot_id=self._engine.boot_id,
            plan_in_force=self._ledger.plan_in_force,
            pinned_owners=frozenset(map(Owner, pins)),
            pinned_tokens=sum(self._engine.cache.tokens_of_owners(pins).values()),
            capacity_tokens=self._engine.capacity_tokens,
        )
        self.post(Reported(at, ENGINE, report))

    def _carry_out(self, action: Action) -> None:
        match action:
            case Order(distances=distances, by_recency=by_recency):
                # As it is sent: who is not expected any more is not in it.
                told: dict[str, float] = {owner: far for owner, far in distances if far < math.inf}
                self._ledger.set_plan(told, by_recency=by_recency)
            case Renew():
                self._ledger.renew()
            case Pin(owners=owners):
                self._ledger.pin(owners)
            case Unpin(owners=owners):
                self._ledger.unpin(owners)
            case Evict(owners=owners):
                self._engine.cache.evict_owners(frozenset(owners))
            case _:
                raise AssertionError(f"no part that is switched on asks for {action}")
