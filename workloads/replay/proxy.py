"""What the proxy does between its core and its engines, in virtual time: as `runtime` and `dispatch` do it.

The core is the production one: its estimators, policies, guard and load queue. Actions reach the engine, and are settled, after
what a command takes; loads are settled when they end. Plans are made when something asks for one, and no more often than the
proxy makes them; reports come as often as they come there. Nothing fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice

from scalesim.proxy.core.actions import (
    Action,
    DropAdapter,
    Evict,
    FetchAdapter,
    Load,
    Order,
    Pin,
    Renew,
    StopLoad,
    Unpin,
)
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import EngineFound, Event, Idled, Reported, Settled, Ticked
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AdapterName,
    Capabilities,
    EngineId,
    EngineReport,
    LoadResult,
    MemoryId,
    MemoryReport,
    Owner,
    Pool,
)

from .clock import Clock
from .engine import Engine
from .prices import Prices

PLAN_EVERY_S = 0.05
RENEW_S = 1.0
"""A plan is made at least this often; as often, what an engine was sent ages by a beat."""
PIECES = 1 << 20
"""Of a plan, at once: nobody waits here."""
MAX_TOLD = 512
"""Owners whose memory is told in a report: the nearest of the plan."""
FEATURES = frozenset({"order", "pin", "evict", "residency", "owners", "by_recency"})
HOST_FEATURES = frozenset({"load_kv_prefix", "host_copy"})
ADAPTER_FEATURES = frozenset({"adapters"})
ONE_RANK_FEATURES = frozenset({"load_lora", "ready_first"})
"""With several, each would see the end of a copy at its own time: the plugin does neither there."""


class Proxy:
    def __init__(
        self,
        clock: Clock,
        engines: Mapping[EngineId, Engine],
        costs: Prices,
        config: ControllerConfig,
        plan_every_s: float = PLAN_EVERY_S,
    ) -> None:
        self.core = Controller(config)
        self.plans = 0
        self._clock = clock
        self._engines = engines
        self._costs = costs
        self._plan_every_s = plan_every_s
        # A report that no plan follows tells nobody anything.
        self._look_every_s = max(costs.server.report_every_s, plan_every_s)
        self._may_plan_at = 0.0
        self._plan_due = math.inf
        self._beats_due = RENEW_S
        for name, engine in engines.items():
            self.post(EngineFound(clock.now, name, self._capabilities(name, engine)))
        self._clock.after(self._look_every_s, self._look)
        self._await_plan(RENEW_S)

    def post(self, event: Event) -> None:
        for action in self.core.handle(event):
            self._carry_out(action)
        if self._plan_due > self._may_plan_at and self.core.dirty:
            self._await_plan(max(self._may_plan_at, self._clock.now))

    def post_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self.post(event)

    # Planning

    def _await_plan(self, at: float) -> None:
        if at < self._plan_due:
            self._plan_due = at
            self._clock.at(at, lambda: self._plan_at(at))

    def _plan_at(self, at: float) -> None:
        if at != self._plan_due:
            return
        now = self._clock.now
        self._plan_due = math.inf
        self._may_plan_at = now + self._plan_every_s
        self.plans += 1
        self.post(Ticked(now))
        while self.core.behind:
            self.post(Idled(now, PIECES))
        self._await_plan(now + max(RENEW_S, self._plan_every_s))

    def _look(self) -> None:
        now = self._clock.now
        beats = 0
        while now >= self._beats_due:
            self._beats_due += RENEW_S
            beats += 1
        for name, engine in self._engines.items():
            if beats:
                before = engine.ledger.plan_in_force, len(engine.ledger.pins)
                for _ in range(beats):
                    engine.ledger.beat()
                if before != (engine.ledger.plan_in_force, len(engine.ledger.pins)):
                    engine.ordered.changed()
            self.post(Reported(now, name, self._report(name, engine)))
        self._clock.after(self._look_every_s, self._look)

    # Engines

    def _capabilities(self, name: EngineId, engine: Engine) -> Capabilities:
        sizes = engine.sizes
        features = FEATURES
        if sizes.host_tokens:
            features |= HOST_FEATURES
        if sizes.slots:
            features |= ADAPTER_FEATURES
            if self._costs.has_one_rank:
                features |= ONE_RANK_FEATURES
        return Capabilities(
            kind="modelled",
            version="1",
            extended=True,
            features=features,
            boot_id=name,
            capacity_tokens=sizes.capacity_tokens,
            adapter_slots=sizes.slots or None,
        )

    def _report(self, name: EngineId, engine: Engine) -> EngineReport:
        """As an engine answers: of the nearest of its plan, of what is in its slots, and of the adapters that these need, or that it has seen."""
        sizes, ledger, size = engine.sizes, engine.ledger, self._costs.bytes_per_token
        pools = [Pool("kv", frozenset({KV_PREFIX}), sizes.capacity_tokens * size, engine.cache.free * size)]
        # An order is told nearest first.
        memories = engine.prefixes.report(islice(ledger.distances, MAX_TOLD))
        if sizes.slots:
            slots = engine.slots
            pools.append(
                Pool(
                    "lora",
                    frozenset({LORA}),
                    sizes.slots * sizes.adapter_bytes,
                    slots.free * sizes.adapter_bytes,
                )
            )
            planned = list(islice(ledger.adapters, MAX_TOLD))
            # Without a plan, an engine tells of those that it has had calls of: it tells of all it knows.
            seen = islice(engine.adapters_seen, MAX_TOLD - len(planned))
            for adapter in dict.fromkeys((*slots.held, *planned, *seen)):
                memories[MemoryId(LORA, adapter)] = MemoryReport(*engine.adapters.sizes(adapter))
        return EngineReport(
            boot_id=name,
            plan_in_force=ledger.plan_in_force,
            pinned_owners=frozenset(map(Owner, ledger.pins)),
            pinned_tokens=sum(engine.prefixes.tokens(owner) for owner in ledger.pins),
            capacity_tokens=sizes.capacity_tokens,
            pools=tuple(pools),
            memories=memories,
            loading=engine.ahead.under_way,
            running_adapters=frozenset(map(AdapterName, engine.running_adapters)),
        )

    def _carry_out(self, action: Action) -> None:
        """It arrives after half of what a command takes, and its end is known after the other half."""
        self._clock.after(self._costs.server.control_s / 2, lambda: self._arrived(action))

    def _arrived(self, action: Action) -> None:
        engine = self._engines[action.engine]
        if isinstance(action, Load):
            engine.ahead.load(
                action.memory, action.distance, action.within_s, lambda result: self._settle(action, result)
            )
            return
        self._do(engine, action)
        self._settle(action)

    def _settle(self, action: Action, result: LoadResult | None = None) -> None:
        def known() -> None:
            self.post(Settled(self._clock.now, action, result=result))

        self._clock.after(self._costs.server.control_s / 2, known)

    def _do(self, engine: Engine, action: Action) -> None:
        ledger = engine.ledger
        match action:
            case Order():
                # As it is sent: who is not expected any more is not in it.
                ledger.set_plan(
                    {owner: far for owner, far in action.distances if far < math.inf},
                    {adapter: far for adapter, far in action.adapters if far < math.inf},
                    action.pinned_adapters,
                    action.no_host_copy,
                    ready_first=action.ready_first,
                    by_recency=action.by_recency,
                )
            case Renew():
                ledger.renew()
                return
            case Pin(owners=owners):
                ledger.pin(owners)
            case Unpin(owners=owners):
                ledger.unpin(owners)
            case Evict(owners=owners):
                for owner in owners:
                    engine.cache.evict_owner(owner)
            case StopLoad(memory=memory):
                engine.ahead.stop(memory)
                return
            case Load() | FetchAdapter() | DropAdapter():
                raise AssertionError(f"nobody asks for {action} here")
        engine.ordered.changed()
