"""What the admin API answers of engines."""

from __future__ import annotations

from pydantic import BaseModel, Field, JsonValue

from scalesim.engine_adapters.base import Behind
from scalesim.proxy.core.guard import GuardState, InCharge
from scalesim.proxy.core.model import Pool
from scalesim.proxy.core.placing import Why
from scalesim.proxy.core.snapshot import EngineSnapshot
from scalesim.proxy.engine_status import EngineStatus, describe
from scalesim.proxy.engines.breaker import State as Breaker
from scalesim.proxy.engines.fleet import EngineState
from scalesim.proxy.engines.registry import State

from .answers import example
from .desk import Desk

ENGINE_EXAMPLE: dict[str, JsonValue] = {
    "engine": "engine-0",
    "url": "http://127.0.0.1:30000",
    "up": True,
    "for_s": 812.5,
    "commanded": True,
    "extended": True,
    "description": "sglang 0.5.23, extended",
    "features": ["evict", "order", "pin", "residency"],
    "capacity_tokens": 11000,
    "agents": 24,
    "ordered_agents": 20,
    "pinned_agents": 2,
    "pinned_tokens": 2100,
    "pin_budget_tokens": 5500,
    "plan_in_force": True,
    "actions_waiting": 0,
    "pools": [{"name": "kv", "kinds": ["kv_prefix"], "capacity_bytes": 176000000, "free_bytes": 4000000}],
    "adapter_slots": 8,
    "host_adapters": 64,
    "adapters": 24,
    "loads_in_flight": 2,
    "loading_bytes": 4100000,
    "guard": {
        "in_charge": "distance",
        "since_calls": 0,
        "reason": "from the beginning, until recency does better",
        "hits": {"lru": 1240, "distance": 1610, "guarded": 1610},
        "calls": 2400,
        "unsized_calls": 24,
        "switches": 0,
        "rehearses": False,
    },
    "problem": "",
    "policy": "nearest_first",
    "state": "up",
    "configured": True,
    "weight": 1.0,
    "breaker": "closed",
    "calls": 3,
    "held_tokens": 9100,
    "front": None,
    "behind": [],
}


class PoolAnswer(BaseModel):
    name: str
    kinds: list[str] = Field(description="Of the memory that competes for it.")
    capacity_bytes: int
    free_bytes: int

    @classmethod
    def of(cls, pool: Pool) -> PoolAnswer:
        return cls(
            name=pool.name,
            kinds=sorted(pool.kinds),
            capacity_bytes=pool.capacity_bytes,
            free_bytes=pool.free_bytes,
        )


class GuardHitsAnswer(BaseModel):
    lru: int = Field(description="Of calls that would have found their memory if recency had always decided.")
    distance: int = Field(description="If distance had always decided.")
    guarded: int = Field(description="If whoever was in charge decided.")


class GuardAnswer(BaseModel):
    in_charge: InCharge = Field(description="lru: the order of distances is not sent.")
    since_calls: int = Field(description="It took charge at that call.")
    reason: str
    hits: GuardHitsAnswer
    calls: int = Field(description="Played: of all known agents.")
    unsized_calls: int = Field(
        description="Of these, of whose memory nobody had told the size: each is taken to be as large as is usual."
    )
    switches: int
    rehearses: bool = Field(
        description="No simulation is on, so nothing is sent: this is what would be if those in shadow were."
    )

    @classmethod
    def of(cls, state: GuardState, rehearses: bool) -> GuardAnswer:
        return cls(
            in_charge=state.in_charge,
            since_calls=state.since,
            reason=state.reason,
            hits=GuardHitsAnswer(
                lru=state.hits_lru, distance=state.hits_distance, guarded=state.hits_guarded
            ),
            calls=state.calls,
            unsized_calls=state.unsized,
            switches=state.switches,
            rehearses=rehearses,
        )


class BehindAnswer(BaseModel):
    url: str
    up: bool
    description: str
    features: list[str]
    agents: int = Field(description="Whose calls go there, as far as is known.")
    problem: str = Field(description="Empty if it is up.")

    @classmethod
    def of(cls, one: Behind) -> BehindAnswer:
        found = one.capabilities
        return cls(
            url=one.base_url,
            up=one.up,
            description=describe(found) if found else "not found yet",
            features=sorted(found.features) if found else [],
            agents=one.agents,
            problem=one.problem,
        )


class EngineAnswer(BaseModel):
    model_config = example(ENGINE_EXAMPLE)

    engine: str
    url: str
    up: bool
    for_s: float = Field(description="Since when it is up, or lost.")
    commanded: bool = Field(description="false once a proxy that was started later has taken over.")
    extended: bool
    description: str
    features: list[str]
    capacity_tokens: int | None
    agents: int = Field(description="Whose last call went there.")
    ordered_agents: int | None = Field(description="In the plan that is in force; null if that is not known.")
    pinned_agents: int
    pinned_tokens: int | None = Field(description="As the engine last reported.")
    pin_budget_tokens: int
    plan_in_force: bool | None = Field(description="As the engine last reported.")
    actions_waiting: int
    pools: list[PoolAnswer] = Field(description="Of device memory, as the engine last reported.")
    adapter_slots: int | None = Field(description="null: it has no adapters.")
    host_adapters: int | None = Field(
        description="Its host memory takes so many; null: not known, or any number."
    )
    adapters: int = Field(description="Known to it.")
    loads_in_flight: int
    loading_bytes: int = Field(description="What those loads move.")
    guard: GuardAnswer | None = Field(
        description="Of the order of its cache; null: it takes none, or the guard or the part `order` is off."
    )
    problem: str = Field(description="Empty if all is well.")
    policy: str = Field(description="By which memory leaves it.")
    state: State = Field(
        description="starting: it has not answered yet; up; lost: it does not answer; draining: it gets no more calls and "
        "leaves with its last one."
    )
    configured: bool = Field(description="By the settings: it is there again after a restart of the proxy.")
    weight: float | None = Field(description="As it was given; null: by the size of its cache.")
    breaker: Breaker = Field(description="open: its calls fail, so it gets none for a while.")
    calls: int = Field(description="That run there or wait for it.")
    held_tokens: int = Field(description="Memory of the agents that live there, as far as placement knows.")
    front: str | None = Field(
        description="The kind of front end that it is, in front of several engines; null: an engine."
    )
    behind: list[BehindAnswer] = Field(
        description="The engines behind it that are listed: these are commanded."
    )

    @classmethod
    def of(
        cls,
        status: EngineStatus,
        known: EngineSnapshot | None,
        now: float,
        placed: EngineState,
        breaker: Breaker,
        policy: str,
    ) -> EngineAnswer:
        entry = placed.entry
        found = status.capabilities
        return cls(
            engine=status.engine,
            url=status.base_url,
            up=status.up,
            for_s=round(now - status.since, 3),
            commanded=status.commanded,
            extended=found is not None and found.extended,
            description=status.about,
            features=sorted(found.features) if found else [],
            capacity_tokens=status.capacity_tokens,
            agents=known.agents if known else 0,
            ordered_agents=len(known.order) if known and known.order is not None else None,
            pinned_agents=len(known.pins) if known else 0,
            pinned_tokens=status.report.pinned_tokens if status.report else None,
            pin_budget_tokens=known.pin_budget_tokens if known else 0,
            plan_in_force=status.report.plan_in_force if status.report else None,
            actions_waiting=status.waiting,
            pools=[PoolAnswer.of(pool) for pool in (status.report.pools if status.report else ())],
            adapter_slots=found.adapter_slots if found else None,
            host_adapters=found.host_adapters if found else None,
            adapters=known.adapters if known else 0,
            loads_in_flight=status.loads,
            loading_bytes=known.loading_bytes if known else 0,
            guard=GuardAnswer.of(known.guard, known.guard_rehearses) if known and known.guard else None,
            problem=status.problem or placed.problem,
            policy=policy,
            state=entry.state,
            configured=entry.configured,
            weight=entry.address.weight,
            breaker=breaker,
            calls=placed.running,
            held_tokens=placed.held_tokens,
            front=None if entry.address.front is None else entry.address.front.kind,
            behind=[BehindAnswer.of(one) for one in placed.behind],
        )


class EnginesAnswer(BaseModel):
    model_config = example({"engines": [ENGINE_EXAMPLE]})

    engines: list[EngineAnswer]


def engines_of(desk: Desk) -> list[EngineAnswer]:
    known = {one.id: one for one in desk.controller.engines()}
    placed = {one.entry.address.name: one for one in desk.fleet.states()}
    now = desk.clock()
    breakers = desk.fleet.breakers.states(now)
    return [
        EngineAnswer.of(
            one,
            known.get(one.engine),
            now,
            placed[one.engine],
            breakers.get(one.engine, Breaker.CLOSED),
            desk.controller.policy(one.engine),
        )
        for one in desk.runtime.engines()
    ]


class PlacedAnswer(BaseModel):
    engine: str
    calls: int = Field(description="That run there or wait for it.")
    held_tokens: int = Field(description="Memory of the agents that live there.")


class PlacementAnswer(BaseModel):
    model_config = example(
        {
            "rule": "by_memory",
            "calls": {"home": 5210, "new": 48, "detour": 7},
            "moved": 3,
            "agents": 48,
            "engines": [{"engine": "engine-0", "calls": 3, "held_tokens": 9100}],
        }
    )

    rule: str
    calls: dict[Why, int] = Field(
        description="By the reason for their place. home: its memory is there; detour: its memory stays where it is, this call "
        "alone comes here; new: nobody knows of memory of it; forgotten: the engine with it started anew; lost: that engine is "
        "gone; alone: nobody knows who calls; rule: the rule looks at no memory."
    )
    moved: int = Field(description="Agents that got another home while they did not call.")
    agents: int = Field(description="Of which it is known where they live.")
    engines: list[PlacedAnswer]

    @classmethod
    def of(cls, desk: Desk) -> PlacementAnswer:
        placer = desk.fleet.placer
        loads = placer.loads()
        return cls(
            rule=desk.settings.placement,
            calls={why: count for why, count in placer.placed.items() if count},
            moved=placer.moved,
            agents=placer.sizes()["placed_agents"],
            engines=[
                PlacedAnswer(engine=name, calls=calls, held_tokens=held)
                for name, (calls, held) in loads.items()
            ],
        )
