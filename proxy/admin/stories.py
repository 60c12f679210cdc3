"""What happened to one agent of late: for whoever asks why a call of it was slow."""

from __future__ import annotations

import math

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from scalesim.proxy.core.misses import Cause
from scalesim.proxy.core.model import AgentName, Clock, LoadState, Outcome, SimulationId, Source
from scalesim.proxy.core.story import Called, Expected, Move, Moved, StorySnapshot
from scalesim.proxy.recognition.guess import CallerKind
from scalesim.proxy.recognition.ladder import Recognised

from .bodies import AgentPath, SimulationPath
from .desk import Desk

_AGO = "Seconds ago."


class EstimateAnswer(BaseModel):
    ago_s: float = Field(description=_AGO)
    distance: float | None = Field(description="As it was then; null: not expected again.")
    unit: Clock
    spread: float = Field(description="How far off it usually is; 0: its source vouches for it.")
    source: Source

    @classmethod
    def of(cls, known: Expected, now: float) -> EstimateAnswer:
        return cls(
            ago_s=round(now - known.at, 3),
            distance=known.distance if math.isfinite(known.distance) else None,
            unit=known.clock,
            spread=known.spread,
            source=known.source,
        )


class MoveAnswer(BaseModel):
    ago_s: float = Field(description=_AGO)
    engine: str
    kind: str = Field(description="Of memory.")
    key: str
    move: Move = Field(
        description="load: to the device ahead of a call; fetch: an adapter to the engine's host memory."
    )
    result: LoadState | None = Field(description="Of a load that did not fail.")
    problem: str = Field(description="Why it failed; empty if it did not.")

    @classmethod
    def of(cls, known: Moved, now: float) -> MoveAnswer:
        return cls(
            ago_s=round(now - known.at, 3),
            engine=known.engine,
            kind=known.memory.kind,
            key=known.memory.key,
            move=known.move,
            result=known.result,
            problem=known.problem,
        )


class CallAnswer(BaseModel):
    ago_s: float = Field(description="Seconds since its end.")
    engine: str
    adapter: str | None
    outcome: Outcome
    first_call: bool = Field(description="It opened an activation, and not the agent's first one.")
    rank: int | None = Field(
        description="In the engine's order when it started, 0 the nearest; null: not in it, or the order was not known."
    )
    prompt_tokens: int | None
    cached_tokens: int | None = Field(description="null: the engine does not say.")
    expected_tokens: int | None = Field(
        description="That should have been cached, by what calls of the agent found before."
    )
    miss: Cause | None = Field(
        description="Why it did not find its memory on the device; unknown: nothing tells; null: it did, or the engine does "
        "not say."
    )

    @classmethod
    def of(cls, known: Called, now: float) -> CallAnswer:
        return cls(
            ago_s=round(now - known.at, 3),
            engine=known.engine,
            adapter=known.adapter,
            outcome=known.outcome,
            first_call=known.first,
            rank=known.rank,
            prompt_tokens=known.prompt_tokens,
            cached_tokens=known.cached_tokens,
            expected_tokens=known.expected_tokens,
            miss=known.miss,
        )


class RecognisedAnswer(BaseModel):
    source: str = Field(description="The recipe that found it, `answer`, or `learned`.")
    confidence: float
    kind: CallerKind = Field(description="other: a game master, an evaluator or the like.")
    why: str = Field(description="What in its last call said so.")

    @classmethod
    def of(cls, known: Recognised) -> RecognisedAnswer:
        return cls(source=known.source, confidence=known.confidence, kind=known.kind, why=known.why)


class StoryAnswer(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "simulation": "town",
                "agent": "Ann",
                "recognised": {
                    "source": "recipe:oasis",
                    "confidence": 0.98,
                    "kind": "agent",
                    "why": "act: its name stands in the system message",
                },
                "estimates": [
                    {"ago_s": 9.2, "distance": 3, "unit": "steps", "spread": 0.4, "source": "hinted"}
                ],
                "moves": [
                    {
                        "ago_s": 2.4,
                        "engine": "engine-0",
                        "kind": "kv_prefix",
                        "key": "town/Ann",
                        "move": "load",
                        "result": "no_room",
                        "problem": "",
                    }
                ],
                "calls": [
                    {
                        "ago_s": 1.1,
                        "engine": "engine-0",
                        "adapter": None,
                        "outcome": "done",
                        "first_call": True,
                        "rank": 0,
                        "prompt_tokens": 2210,
                        "cached_tokens": 0,
                        "expected_tokens": 2048,
                        "miss": "prefetch_refused",
                    }
                ],
            }
        }
    )

    simulation: str
    agent: str
    recognised: RecognisedAnswer | None = Field(
        description="How its last call was found to be its; null: the client said it, or that was long ago."
    )
    estimates: list[EstimateAnswer] = Field(
        description="Of when its activations had ended, and of when the next ones began."
    )
    moves: list[MoveAnswer] = Field(
        description="Of its prefix, and of the adapter on which its next call is expected to run."
    )
    calls: list[CallAnswer]

    @classmethod
    def of(
        cls, simulation: str, agent: str, recognised: Recognised | None, known: StorySnapshot, now: float
    ) -> StoryAnswer:
        return cls(
            simulation=simulation,
            agent=agent,
            recognised=None if recognised is None else RecognisedAnswer.of(recognised),
            estimates=[EstimateAnswer.of(one, now) for one in known.estimates],
            moves=[MoveAnswer.of(one, now) for one in known.moves],
            calls=[CallAnswer.of(one, now) for one in known.calls],
        )


def story_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/simulations/{simulation}", tags=["simulations"])

    @router.get("/agents/{agent:path}/story")
    async def story(simulation: SimulationPath, agent: AgentPath) -> StoryAnswer:
        """What happened to the agent of late, the oldest first, at most sixteen entries of each sort. Only the agents that
        called last have a story; of all others the lists are empty."""
        name = SimulationId(simulation)
        desk.agent(name, agent)
        known = desk.controller.story(name, AgentName(agent))
        assert known is not None  # its agent is known
        recognised = desk.callers.explained(name, AgentName(agent))
        return StoryAnswer.of(name, agent, recognised, known, desk.clock())

    return router
