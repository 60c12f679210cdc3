"""What the admin API answers of adapters, and to whom assigns them."""

from __future__ import annotations

from pydantic import BaseModel, Field, JsonValue

from scalesim.proxy.core.snapshot import AdapterSnapshot

from .answers import AGENT_EXAMPLE, AgentAnswer, PinAnswer, TakenAnswer, example

_EXAMPLE: dict[str, JsonValue] = {
    "name": "pirate",
    "path": "/adapters/pirate",
    "version": 1,
    "engine_name": "pirate",
    "agents": 3,
    "engines": {"engine-0": "slot"},
    "problem": "",
    "pin": {"reason": "the king speaks", "since_s": 12.5, "ends_in_s": 887.5, "in_force": True},
}


class AdapterAnswer(BaseModel):
    model_config = example(_EXAMPLE)

    name: str
    path: str
    version: int
    engine_name: str = Field(description="What engines call this version.")
    agents: int = Field(description="To which it is assigned.")
    engines: dict[str, str] = Field(description="Where it is on each: slot, host, loading or unknown.")
    problem: str = Field(description="Why engines could not get it; empty if all is well.")
    pin: PinAnswer | None = Field(description="Of an operator, not of a plan.")

    @classmethod
    def of(cls, known: AdapterSnapshot, now: float) -> AdapterAnswer:
        return cls(
            name=known.name,
            path=known.path,
            version=known.version,
            engine_name=known.key,
            agents=known.agents,
            engines={engine: place.value for engine, place in known.engines.items()},
            problem="; ".join(sorted(known.problems.values())),
            pin=PinAnswer.of(known.pin, bool(known.pinned_on), now),
        )


class AdaptersAnswer(BaseModel):
    model_config = example({"total": 1, "adapters": [_EXAMPLE], "next": "17"})

    total: int
    adapters: list[AdapterAnswer]
    next: str | None = Field(description="For `after`, to get the next page; null: this was the last.")


class AssignedAnswer(TakenAnswer):
    model_config = example({"simulation": "town", "agents": 3, "problems": {}})

    problems: dict[str, str] = Field(
        description="Why calls on some of these adapters fail for now, by their names; empty if all is well."
    )


class AssignedAgentAnswer(AgentAnswer):
    model_config = example({**AGENT_EXAMPLE, "problem": ""})

    problem: str = Field(description="Why calls on the adapter fail for now; empty if all is well.")
