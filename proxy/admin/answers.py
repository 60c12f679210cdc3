"""What the admin API answers. Distances and moments are JSON numbers; what is infinite or unknown is null."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from scalesim.proxy.core.accuracy import Score
from scalesim.proxy.core.counters import Counters
from scalesim.proxy.core.guard import GuardState, InCharge
from scalesim.proxy.core.model import Clock, Mode
from scalesim.proxy.core.snapshot import AdapterSnapshot, AgentSnapshot, EngineSnapshot, SimulationSnapshot
from scalesim.proxy.engine_status import EngineStatus, describe

_SIMULATION: dict[str, JsonValue] = {
    "simulation": "town",
    "mode": "on",
    "step": 17,
    "pace_s": 2.4,
    "resting": False,
    "agents": 24,
    "running_calls": 3,
    "calls": 310,
    "failed_calls": 0,
    "activations": 96,
    "prompt_tokens": 401200,
    "cached_tokens": 322100,
    "prefix_hit_rate": 0.803,
    "first_call_prompt_tokens": 98000,
    "first_call_cached_tokens": 61000,
    "first_call_hit_rate": 0.622,
    "accuracy": {
        "hinted": {"order": 0.97, "time_error": 0.4, "unit": "steps", "count": 96},
        "gap": {"order": 0.71, "time_error": 2.1, "unit": "steps", "count": 72},
    },
    "in_charge": None,
}
_ENGINE: dict[str, JsonValue] = {
    "engine": "engine-0",
    "url": "http://127.0.0.1:30000",
    "up": True,
    "for_s": 812.5,
    "commanded": True,
    "extended": True,
    "description": "sglang 0.5.23, extended (evict, order, pin, residency)",
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
}
_AGENT: dict[str, JsonValue] = {
    "name": "Ann",
    "distance": 3,
    "unit": "steps",
    "source": "hinted",
    "running": False,
    "engine": "engine-0",
    "adapter": "pirate",
    "memories": [
        {
            "kind": "kv_prefix",
            "key": "town/Ann",
            "device_bytes": 0,
            "missing_bytes": 7300000,
            "loading": True,
        }
    ],
}
_ADAPTER: dict[str, JsonValue] = {
    "name": "pirate",
    "path": "/adapters/pirate",
    "version": 1,
    "engine_name": "pirate",
    "agents": 3,
    "engines": {"engine-0": "slot"},
    "problem": "",
}


def _example(example: dict[str, JsonValue]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class AccuracyAnswer(BaseModel):
    order: float = Field(
        description="Of two agents of which it told, how often the one that came first was told to be nearer: 1 is always, "
        ".5 no better than a coin."
    )
    time_error: float | None = Field(
        description="Mean distance between what it told and what came; null: none came."
    )
    unit: Clock | None = Field(
        description="Of time_error. turns: activations of all agents of the simulation."
    )
    count: int = Field(description="Activations by which its order was measured, a sample of all.")

    @classmethod
    def of(cls, score: Score) -> AccuracyAnswer:
        finite = score.time_error != float("inf")
        return cls(
            order=round(score.order, 4),
            time_error=round(score.time_error, 4) if finite else None,
            unit=score.clock,
            count=score.count,
        )


class SimulationAnswer(BaseModel):
    model_config = _example(_SIMULATION)

    simulation: str
    mode: Mode
    step: float | None = Field(
        description="What the simulation calls its current step; null if it never ticked."
    )
    pace_s: float | None = Field(description="Seconds per step, as measured.")
    resting: bool = Field(
        description="Nothing was seen of it for idle_after_s: it holds nothing on the engine, and what it had told counts no "
        "longer. Whatever is seen of it ends that."
    )
    agents: int
    running_calls: int
    calls: int
    failed_calls: int
    activations: int
    prompt_tokens: int = Field(description="Of the calls for which the engine said what it had cached.")
    cached_tokens: int
    prefix_hit_rate: float | None = Field(description="cached_tokens over prompt_tokens.")
    first_call_prompt_tokens: int = Field(
        description="Of the first call of each activation after the agent's first."
    )
    first_call_cached_tokens: int
    first_call_hit_rate: float | None
    accuracy: dict[str, AccuracyAnswer] = Field(
        description="How well each source (see source of an agent) told when agents call next, in the last few dozen cases."
    )
    in_charge: str | None = Field(
        description="The source whose word goes before that of one with more authority, since it told the order better; null: "
        "nobody's, the usual order holds."
    )

    @classmethod
    def of(cls, known: SimulationSnapshot) -> SimulationAnswer:
        counted: Counters = known.counters
        return cls(
            simulation=known.id,
            mode=known.mode,
            step=known.step,
            pace_s=known.pace_s,
            resting=known.resting,
            agents=known.agents,
            running_calls=known.running_calls,
            calls=counted.calls,
            failed_calls=counted.failed_calls,
            activations=counted.activations,
            prompt_tokens=counted.prompt_tokens,
            cached_tokens=counted.cached_tokens,
            prefix_hit_rate=_rate(counted.cached_tokens, counted.prompt_tokens),
            first_call_prompt_tokens=counted.first_prompt_tokens,
            first_call_cached_tokens=counted.first_cached_tokens,
            first_call_hit_rate=_rate(counted.first_cached_tokens, counted.first_prompt_tokens),
            accuracy={source: AccuracyAnswer.of(score) for source, score in known.accuracy.items()},
            in_charge=known.in_charge,
        )


class SimulationsAnswer(BaseModel):
    model_config = _example({"simulations": [_SIMULATION]})

    simulations: list[SimulationAnswer]


class MemoryAnswer(BaseModel):
    kind: str
    key: str
    device_bytes: int | None = Field(description="null: the engine does not say.")
    missing_bytes: int | None = Field(description="What a load would move.")
    loading: bool = Field(description="It is on its way to the device ahead of a call.")


class AgentAnswer(BaseModel):
    model_config = _example(_AGENT)

    name: str
    distance: float | None = Field(
        description="null: nothing is known (source is null too), or not expected again."
    )
    unit: Clock | None
    source: str | None = Field(
        description="Who knows: activation (it calls now), hinted, plan, answers, spatial, path, turns or "
        "gap (learned)."
    )
    running: bool = Field(description="In an activation: it calls, or will call again at once.")
    engine: str | None = Field(description="Where its last call went.")
    adapter: str | None = Field(description="On which its next call is expected to run, as engines call it.")
    memories: list[MemoryAnswer] = Field(description="Of that engine, as far as its last report goes.")

    @classmethod
    def of(cls, known: AgentSnapshot) -> AgentAnswer:
        finite = known.distance is not None and known.distance != float("inf")
        return cls(
            name=known.name,
            distance=known.distance if finite else None,
            unit=known.clock,
            source=known.source,
            running=known.in_activation,
            engine=known.engine,
            adapter=known.adapter,
            memories=[
                MemoryAnswer(
                    kind=one.kind,
                    key=one.key,
                    device_bytes=one.device_bytes,
                    missing_bytes=one.missing_bytes,
                    loading=one.loading,
                )
                for one in known.memories
            ],
        )


class AgentsAnswer(BaseModel):
    model_config = _example({"simulation": "town", "total": 24, "agents": [_AGENT]})

    simulation: str
    total: int
    agents: list[AgentAnswer]


class AdapterAnswer(BaseModel):
    model_config = _example(_ADAPTER)

    name: str
    path: str
    version: int
    engine_name: str = Field(description="What engines call this version.")
    agents: int = Field(description="To which it is assigned.")
    engines: dict[str, str] = Field(description="Where it is on each: slot, host, loading or unknown.")
    problem: str = Field(description="Why engines could not get it; empty if all is well.")

    @classmethod
    def of(cls, known: AdapterSnapshot) -> AdapterAnswer:
        return cls(
            name=known.name,
            path=known.path,
            version=known.version,
            engine_name=known.key,
            agents=known.agents,
            engines={engine: place.value for engine, place in known.engines.items()},
            problem="; ".join(sorted(known.problems.values())),
        )


class AdaptersAnswer(BaseModel):
    model_config = _example({"total": 1, "adapters": [_ADAPTER]})

    total: int
    adapters: list[AdapterAnswer]


class PoolAnswer(BaseModel):
    name: str
    kinds: list[str] = Field(description="Of the memory that competes for it.")
    capacity_bytes: int
    free_bytes: int


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


class EngineAnswer(BaseModel):
    model_config = _example(_ENGINE)

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

    @classmethod
    def of(cls, status: EngineStatus, known: EngineSnapshot | None, now: float) -> EngineAnswer:
        found = status.capabilities
        capacity = found.capacity_tokens if found else None
        return cls(
            engine=status.engine,
            url=status.base_url,
            up=status.up,
            for_s=round(now - status.since, 3),
            commanded=status.commanded,
            extended=found is not None and found.extended,
            description=describe(found) if found else "not found yet",
            features=sorted(found.features) if found else [],
            capacity_tokens=status.report.capacity_tokens if status.report else capacity,
            agents=known.agents if known else 0,
            ordered_agents=len(known.order) if known and known.order is not None else None,
            pinned_agents=len(known.pins) if known else 0,
            pinned_tokens=status.report.pinned_tokens if status.report else None,
            pin_budget_tokens=known.pin_budget_tokens if known else 0,
            plan_in_force=status.report.plan_in_force if status.report else None,
            actions_waiting=status.waiting,
            pools=[
                PoolAnswer(
                    name=pool.name,
                    kinds=sorted(pool.kinds),
                    capacity_bytes=pool.capacity_bytes,
                    free_bytes=pool.free_bytes,
                )
                for pool in (status.report.pools if status.report else ())
            ],
            adapter_slots=found.adapter_slots if found else None,
            host_adapters=found.host_adapters if found else None,
            adapters=known.adapters if known else 0,
            loads_in_flight=status.loads,
            loading_bytes=known.loading_bytes if known else 0,
            guard=GuardAnswer.of(known.guard, known.guard_rehearses) if known and known.guard else None,
            problem=status.problem,
        )


class EnginesAnswer(BaseModel):
    model_config = _example({"engines": [_ENGINE]})

    engines: list[EngineAnswer]


class StatusAnswer(BaseModel):
    model_config = _example(
        {
            "version": "0.1.0",
            "up_s": 1200.5,
            "mode": "on",
            "policy": "nearest_first",
            "parts": ["order", "pin"],
            "engines": [_ENGINE],
            "simulations": [_SIMULATION],
            "plans": 5200,
            "planning_s": 1.25,
            "actions": {"order": {"done": 310}},
            "sizes": {"agents": 24},
            "failures": {},
        }
    )

    version: str
    up_s: float
    mode: Mode = Field(description="Of new simulations.")
    policy: str
    parts: list[str] = Field(description="Of memory control: those that are on.")
    engines: list[EngineAnswer]
    simulations: list[SimulationAnswer]
    plans: int
    planning_s: float
    actions: dict[str, dict[str, int]] = Field(description="By kind and result.")
    sizes: dict[str, int] = Field(description="Entries of the tables; each has a limit.")
    failures: dict[str, int] = Field(
        description="Bugs that were survived, by place; the log has the tracebacks."
    )


class TakenAnswer(BaseModel):
    model_config = _example({"simulation": "town", "agents": 3})

    simulation: str
    agents: int = Field(description="Of how many agents something was told.")


class AssignedAnswer(TakenAnswer):
    model_config = _example({"simulation": "town", "agents": 3, "problems": {}})

    problems: dict[str, str] = Field(
        description="Why calls on some of these adapters fail for now, by their names; empty if all is well."
    )


class AssignedAgentAnswer(AgentAnswer):
    model_config = _example({**_AGENT, "problem": ""})

    problem: str = Field(description="Why calls on the adapter fail for now; empty if all is well.")


class StepAnswer(BaseModel):
    model_config = _example({"simulation": "town", "step": 17})

    simulation: str
    step: float | None


class HealthAnswer(BaseModel):
    model_config = _example({"status": "alive", "engines": {"engine-0": "up"}})

    status: str
    engines: dict[str, str] = Field(description="up or lost")


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
