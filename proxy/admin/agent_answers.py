"""What the admin API answers of one agent, in full."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pydantic import BaseModel, Field, JsonValue

from scalesim.proxy.core.model import Clock, Source
from scalesim.proxy.core.snapshot import AgentSnapshot, EstimateSnapshot

from .answers import AGENT_EXAMPLE, AgentAnswer, example

_EXAMPLE: dict[str, JsonValue] = {
    **AGENT_EXAMPLE,
    "owner": "town/Ann",
    "spread": 0.4,
    "running_calls": 0,
    "activations": 12,
    "size_tokens": 2210,
    "idle_s": 31.5,
    "estimates": [
        {"source": "hinted", "distance": 0, "unit": "steps", "spread": 0, "distance_s": 0, "overdue": 0.5},
        {
            "source": "gap",
            "distance": 4.1,
            "unit": "steps",
            "spread": 1.2,
            "distance_s": 9.9,
            "overdue": None,
        },
    ],
}


class SourceAnswer(BaseModel):
    source: Source
    distance: float | None = Field(description="null: not expected again.")
    unit: Clock
    spread: float = Field(description="How far off it usually is; 0: the source vouches for it.")
    distance_s: float | None = Field(description="The same in seconds, by the measured pace.")
    overdue: float | None = Field(
        description="For how long it should have called, in the same unit as `distance`; null: it need not have."
    )

    @classmethod
    def of(cls, known: EstimateSnapshot) -> SourceAnswer:
        return cls(
            source=known.source,
            distance=_finite(known.distance),
            unit=known.clock,
            spread=known.spread,
            distance_s=_finite(known.distance_s),
            overdue=None if known.overdue is None else round(known.overdue, 4),
        )


class AgentDetailAnswer(AgentAnswer):
    model_config = example(_EXAMPLE)

    owner: str = Field(description="Its name towards engines.")
    spread: float | None = Field(
        description="How far off the distance usually is; 0: its source vouches for it."
    )
    running_calls: int
    activations: int = Field(description="That it began.")
    size_tokens: int | None = Field(description="Of its prefix; null until an engine reported a call.")
    idle_s: float | None = Field(description="Since its last call started or ended; null: it never called.")
    estimates: list[SourceAnswer] = Field(
        description="What each source says of its next activation, whether or not it is believed. Who calls now is active, "
        "whatever they say."
    )

    @classmethod
    def of_agent(
        cls, known: AgentSnapshot, estimates: Iterable[EstimateSnapshot], now: float
    ) -> AgentDetailAnswer:
        return cls(
            **AgentAnswer.of(known, now).model_dump(),
            owner=known.owner,
            spread=known.spread,
            running_calls=known.running_calls,
            activations=known.activations,
            size_tokens=known.size_tokens,
            idle_s=round(now - known.used_at, 3) if known.activations else None,
            estimates=[SourceAnswer.of(one) for one in estimates],
        )


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
