"""What clients send to the admin API. Numbers are numbers (no strings, no booleans), never negative and never absurd."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from typing import Annotated, ClassVar, Self

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)

from scalesim.proxy.core import choosing, kinds
from scalesim.proxy.core.model import Clock, Mode
from scalesim.proxy.core.space import HORIZON, LEAST, Motion, SpaceRules

SIMULATION_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
SimulationPath = Annotated[str, Path(pattern=SIMULATION_PATTERN, examples=["town"])]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]
"""As the data plane reads it from a call, where space around it is dropped too."""
AgentPath = Annotated[Name, Path(examples=["Ann"])]
ADAPTER_PATTERN = r"^[A-Za-z0-9._-]{1,128}$"
"""Without @, which begins the version in the names that engines are given."""
AdapterPath = Annotated[str, Path(pattern=ADAPTER_PATTERN, examples=["pirate"])]
ENGINE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
EnginePath = Annotated[str, Path(pattern=ENGINE_PATTERN, examples=["engine-0"])]
AdapterId = Annotated[str, StringConstraints(pattern=ADAPTER_PATTERN)]
MOST = 1e12
"""Steps or seconds (30,000 years of them); more would only swallow the small ones when they are added."""
Amount = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False, strict=True)]


class TimeUnit(StrEnum):
    """Of what is told. There are other clocks, on which nobody but us tells."""

    STEPS = "steps"
    SECONDS = "seconds"

    @property
    def clock(self) -> Clock:
        return Clock(self.value)


def body_example(**example: JsonValue) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"example": example})


class ModeBody(BaseModel):
    model_config = body_example(mode="shadow")

    mode: Mode = Field(
        description="off: serve only; shadow: decide and count, send nothing; on: command the engine"
    )


def known_estimator(name: str) -> str:
    choosing.find(name)
    return name


class SimulationBody(BaseModel):
    model_config = body_example(mode="on")

    mode: Mode | None = Field(
        None, description="The proxy's default for a new simulation; unchanged for a known one."
    )
    estimator: Annotated[str, AfterValidator(known_estimator)] | None = Field(
        None, description="auto for a new simulation; unchanged for a known one."
    )


class Bulk(BaseModel):
    """A body that may come in parts: cut, or as lines. All of them are the same but for their entries."""

    ENTRIES: ClassVar[tuple[str, ...]]
    """The fields that tell something of each agent."""

    def entries(self) -> int:
        return max(len(getattr(self, name)) for name in self.ENTRIES)

    def add(self, more: Self) -> str | None:
        """Takes over the entries of the next part, or says which other field is not the same."""
        for name in type(self).model_fields:
            mine, other = getattr(self, name), getattr(more, name)
            if name not in self.ENTRIES:
                if mine != other:
                    return name
            elif isinstance(mine, list):
                mine.extend(other)
            else:
                mine.update(other)
        return None


def known_kind(name: str) -> str:
    if name not in kinds.names():
        raise ValueError(f"no kind of memory is called so; there are {', '.join(kinds.names())}")
    return name


class HostCopyBody(BaseModel):
    model_config = body_example(kind="kv_prefix", wanted=False)

    kind: Annotated[str, AfterValidator(known_kind)] = Field(description="Of memory: kv_prefix or lora.")
    wanted: Annotated[bool, Field(strict=True)] = Field(
        description="Whether it has a copy in the engine's host memory; without one it is computed again."
    )


class AdapterBody(BaseModel):
    model_config = body_example(path="/adapters/pirate")

    path: Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")] = Field(
        description="As the engine's machine sees it. Another path is another version."
    )


class EngineBody(BaseModel):
    model_config = body_example(name="gpu-2", url="http://10.0.0.2:30000")

    name: Annotated[str, StringConstraints(pattern=ENGINE_PATTERN)] = Field(
        description="In status, metrics and logs."
    )
    url: Annotated[str, StringConstraints(max_length=2000)] = Field(
        description="Its own address, without /v1. The key for control calls is sent there."
    )
    weight: Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False, strict=True)] | None = Field(
        None, description="Its size; an engine of the usual size has 1. null: by the size of its cache."
    )


class AssignmentBody(BaseModel):
    model_config = body_example(name="pirate")

    name: AdapterId = Field(description="Of a registered adapter.")
    create_agents: bool = Field(
        False, description="Take an agent that is not known yet instead of refusing it."
    )


class AssignmentsBody(Bulk):
    model_config = body_example(agents={"Ann": "pirate", "Bob": None})
    ENTRIES = ("agents",)

    agents: dict[Name, AdapterId | None] = Field(
        description="On which registered adapter each agent's calls run. null: none is assigned any more."
    )
    create_agents: bool = Field(
        False, description="Take agents that are not known yet instead of refusing them."
    )


class DistancesBody(Bulk):
    model_config = body_example(unit="steps", distances={"Ann": 0, "Bob": 12, "Cleo": None})
    ENTRIES = ("distances",)

    unit: TimeUnit = Field(description="The clock the distances are told on.")
    distances: dict[Name, Amount | None] = Field(
        description="How soon each agent calls next, from now. null: it is not expected to call again."
    )
    create_agents: bool = Field(
        False, description="Take agents that are not known yet instead of refusing them."
    )


class ActionsBody(Bulk):
    model_config = body_example(unit="seconds", durations={"Ann": 42.5})
    ENTRIES = ("durations",)

    unit: TimeUnit = Field(description="The clock the durations are told on.")
    durations: dict[Name, Amount] = Field(
        description="The agent acts from now on, for so long, and does not call meanwhile."
    )
    create_agents: bool = Field(
        False, description="Take agents that are not known yet instead of refusing them."
    )


class TickBody(BaseModel):
    model_config = body_example(step=17)

    step: Amount | None = Field(None, description="The step that begins now. null: the one after the last.")


Length = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False, strict=True)]
Place = tuple[Length, Length]
"""x and y."""
_Extent = Annotated[float, Field(ge=LEAST, le=MOST, allow_inf_nan=False, strict=True)]


class SpaceBody(BaseModel):
    model_config = body_example(unit="steps", radius=4, speed=30, cooldown=26.67)

    unit: TimeUnit = Field(description="The clock of all times here: speeds are lengths a step, or a second.")
    radius: _Extent = Field(description="Two agents that are not farther apart may interact.")
    speed: Amount = Field(
        description="Of agents with a destination and no speed of their own. The grid is laid out by it, so it should "
        "be a common one."
    )
    cooldown: Amount = Field(description="For so long after an interaction the same two have no other.")
    horizon: _Extent | None = Field(
        None,
        description="So far ahead meetings are looked for, and velocities believed. null: 12 steps, or 120 seconds.",
    )

    def rules(self) -> SpaceRules:
        clock = self.unit.clock
        horizon = HORIZON[clock] if self.horizon is None else self.horizon
        return SpaceRules(clock, self.radius, self.speed, self.cooldown, horizon)


class PositionsBody(Bulk):
    model_config = body_example(
        positions={"Ann": [12, 40], "Bob": [80, 7.5], "Cleo": [3, 3]},
        destinations={"Ann": [20, 46]},
        speeds={"Ann": 2},
        velocities={"Bob": [-1, 0]},
    )
    ENTRIES = ("positions", "destinations", "velocities", "speeds")

    positions: dict[Name, Place] = Field(
        default_factory=dict,
        description="Where agents are now. Who is given neither a destination nor a velocity stands there.",
    )
    destinations: dict[Name, Place] = Field(
        default_factory=dict,
        description="They go there straight, and stop. A position may be left out where it was told before.",
    )
    velocities: dict[Name, Place] = Field(
        default_factory=dict, description="They go on like that, for a horizon at the most."
    )
    speeds: dict[Name, Amount] = Field(
        default_factory=dict, description="To the destination. Left out: the space's."
    )
    create_agents: bool = Field(
        False, description="Take agents that are not known yet instead of refusing them."
    )

    def agents(self) -> Iterator[str]:
        """Of whom anything is told; some of them more than once."""
        return chain(self.positions, self.destinations, self.velocities, self.speeds)

    def motion(self, agent: str) -> Motion:
        """Raises ValueError where what is told of the agent does not go together."""
        if agent in self.destinations and agent in self.velocities:
            raise ValueError(f"a destination and a velocity are given for {agent!r}")
        if agent in self.speeds and agent not in self.destinations:
            raise ValueError(f"a speed and no destination is given for {agent!r}")
        return Motion(
            self.positions.get(agent),
            self.destinations.get(agent),
            self.velocities.get(agent),
            self.speeds.get(agent),
        )


class InteractionsBody(Bulk):
    model_config = body_example(pairs=[["Ann", "Bob"]])
    ENTRIES = ("pairs",)

    pairs: list[tuple[Name, Name]] = Field(
        description="They have just interacted. Again: the cooldown begins anew."
    )

    @field_validator("pairs")
    @classmethod
    def _of_two(cls, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        if alone := sorted({one for one, other in pairs if one == other}):
            raise ValueError(f"an interaction is between two; given with itself: {alone[:20]}")
        return pairs


class GraphBody(Bulk):
    model_config = body_example(edges=[["Ann", "Bob"], ["Bob", "Cleo"]], directed=False)
    ENTRIES = ("edges",)

    edges: list[tuple[Name, Name]] = Field(
        description="Who is tied to whom. A pair that is given twice, or ties somebody to itself, counts as an edge "
        "and changes nothing else."
    )
    directed: Annotated[bool, Field(strict=True)] = Field(
        False, description="Activations spread only from the first of a pair to the second."
    )
    create_agents: bool = Field(
        False, description="Take agents that are not known yet instead of refusing them."
    )


class ActivationsBody(Bulk):
    model_config = body_example(agents=["Ann"], wave="rumour")
    ENTRIES = ("agents",)

    agents: list[Name] = Field(description="They are activated in the current step.")
    wave: Name = Field(
        "default",
        description="What spreads. In each wave an agent is expected once; another wave reaches all of them anew. "
        "Eight are kept.",
    )
    create_agents: bool = Field(
        False, description="Take agents that are not known yet instead of refusing them."
    )


AgentId = Annotated[Name | int, Field(union_mode="left_to_right")]


class UpdateBody(Bulk):
    """KVFlow's payload: the same distances by agent, by distance, or both."""

    ENTRIES = ("agent_data", "timestep_data")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "agent_data": {"0": 0, "1": 3, "2": 3},
                "timestep_data": {"0": ["0"], "3": ["1", "2"]},
                "timestep_cnt": 17,
            }
        },
    )

    agent_data: dict[Name, Amount] | None = Field(None, description="Steps until each agent calls next.")
    timestep_data: dict[str, list[AgentId]] | None = Field(
        None, description="Agents by steps until they call next."
    )
    timestep_cnt: Annotated[int, Field(ge=0, le=int(MOST), strict=True)] | None = Field(
        None, description="Taken and not needed: each update is the step after the last, whatever its number."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.agent_data is None and self.timestep_data is None:
            raise ValueError("agent_data and timestep_data are both missing")
        return self

    def entries(self) -> int:
        return len(self.agent_data or ()) + sum(map(len, (self.timestep_data or {}).values()))

    def add(self, more: Self) -> str | None:
        self.agent_data, self.timestep_data = self.agent_data or {}, self.timestep_data or {}
        self.agent_data.update(more.agent_data or {})
        for key, agents in (more.timestep_data or {}).items():
            self.timestep_data.setdefault(key, []).extend(agents)
        return "timestep_cnt" if self.timestep_cnt != more.timestep_cnt else None

    def distances(self) -> Iterator[tuple[str, float]]:
        """Both halves, one after the other. Raises ValueError for what is no number of steps."""
        yield from (self.agent_data or {}).items()
        for key, agents in (self.timestep_data or {}).items():
            steps = _steps(key)
            for agent in agents:
                yield str(agent), steps


def _steps(key: str) -> float:
    """JSON has no numbers for keys."""
    try:
        steps = float(key)
    except ValueError:
        steps = -1.0
    if not 0 <= steps <= MOST:
        raise ValueError(
            f"timestep_data has the key {key[:80]!r}, which is not a number of steps from 0 to {MOST:g}"
        )
    return steps
