"""What the admin API answers of simulations and their agents.

In every answer, distances and moments are JSON numbers; what is infinite or unknown is null.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from scalesim.proxy.core.accuracy import Score
from scalesim.proxy.core.counters import Counters
from scalesim.proxy.core.model import Clock, Mode
from scalesim.proxy.core.pins import OperatorPin
from scalesim.proxy.core.snapshot import AgentSnapshot, SimulationSnapshot

SIMULATION_EXAMPLE: dict[str, JsonValue] = {
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
        "hinted": {"order": 0.71, "time_error": 2.1, "unit": "steps", "count": 96},
        "gap": {"order": 0.97, "time_error": 0.4, "unit": "steps", "count": 72},
    },
    "in_charge": "gap",
    "estimator": "auto",
}
AGENT_EXAMPLE: dict[str, JsonValue] = {
    "name": "Ann",
    "distance": 0,
    "unit": "steps",
    "overdue": 0.5,
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
    "pin": {"reason": "the judge of all disputes", "since_s": 12.5, "ends_in_s": 887.5, "in_force": True},
}


def example(value: dict[str, JsonValue]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": value})


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
    model_config = example(SIMULATION_EXAMPLE)

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

    estimator: str = Field(description="By which distances are worked out; auto: by all of them.")

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
            estimator=known.estimator,
        )


class SimulationsAnswer(BaseModel):
    model_config = example({"simulations": [SIMULATION_EXAMPLE]})

    simulations: list[SimulationAnswer]


class MemoryAnswer(BaseModel):
    kind: str
    key: str
    device_bytes: int | None = Field(description="null: the engine does not say.")
    missing_bytes: int | None = Field(description="What a load would move.")
    loading: bool = Field(description="It is on its way to the device ahead of a call.")


class PinAnswer(BaseModel):
    """Of an operator."""

    reason: str
    since_s: float = Field(description="Seconds since it was pinned first.")
    ends_in_s: float | None = Field(description="null: when it is taken back.")
    in_force: bool = Field(
        description="The engine was told, as far as is known. Not while the simulation is not on, the engine is not up, or the "
        "memory has grown beyond the budget."
    )

    @classmethod
    def of(cls, pin: OperatorPin | None, in_force: bool, now: float) -> PinAnswer | None:
        if pin is None:
            return None
        return cls(
            reason=pin.reason,
            since_s=round(now - pin.since, 3),
            ends_in_s=round(max(0.0, pin.until - now), 3) if math.isfinite(pin.until) else None,
            in_force=in_force,
        )


class AgentAnswer(BaseModel):
    model_config = example(AGENT_EXAMPLE)

    name: str
    distance: float | None = Field(
        description="null: nothing is known (source is null too), or not expected again."
    )
    unit: Clock | None
    overdue: float | None = Field(
        description="For how long it should have called, in that unit; null: it need not have. Its distance is 0 at first then, and grows "
        "again: who does not come when expected may not come for long."
    )
    source: str | None = Field(
        description="Who knows: activation (it calls now), operator (who asked for its memory), hinted, plan, answers, spatial, path, turns or "
        "gap (learned)."
    )
    running: bool = Field(description="In an activation: it calls, or will call again at once.")
    engine: str | None = Field(description="Where its last call went.")
    adapter: str | None = Field(description="On which its next call is expected to run, as engines call it.")
    memories: list[MemoryAnswer] = Field(description="Of that engine, as far as its last report goes.")
    pin: PinAnswer | None = Field(description="Of an operator, not of a plan.")

    @classmethod
    def of(cls, known: AgentSnapshot, now: float) -> AgentAnswer:
        distance = known.distance
        return cls(
            name=known.name,
            distance=None if distance is None or math.isinf(distance) else round(distance, 4),
            unit=known.clock,
            overdue=None if known.overdue is None else round(known.overdue, 4),
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
            pin=PinAnswer.of(known.pin, known.pin_in_force, now),
        )


class AgentsAnswer(BaseModel):
    model_config = example({"simulation": "town", "total": 24, "agents": [AGENT_EXAMPLE], "next": "17"})

    simulation: str
    total: int = Field(description="Of the simulation, whatever is looked for.")
    agents: list[AgentAnswer]
    next: str | None = Field(description="For `after`, to get the next page; null: this was the last.")


class TakenAnswer(BaseModel):
    model_config = example({"simulation": "town", "agents": 3})

    simulation: str
    agents: int = Field(description="Of how many agents something was told.")


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
