"""By which rules answers are read for how long agents act, of each simulation."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from scalesim.proxy.core.durations import MAX_RULES, RULES, Reading, Rule, Scale
from scalesim.proxy.core.events import ReadingSet
from scalesim.proxy.core.model import Clock, SimulationId

from .bodies import SimulationPath, TimeUnit
from .desk import Desk
from .problems import Problem

_Word = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class RuleBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "busy",
                "pattern": "busy for (?P<amount>[0-9]{1,4}+) min",
                "amount_unit": "minutes",
            }
        },
    )

    name: _Word
    pattern: str = Field(
        description="Searched for in the text in lower case. The groups amount, and perhaps unit, more and more_unit "
        "together, are what it finds. All repeats have a bound and are possessive."
    )
    amount_unit: str = Field("minutes", description="Of an amount without a word for its unit.")
    factor: Annotated[float, Field(strict=True)] = Field(1.0, description="The amount is multiplied by it.")
    needs: Annotated[list[_Word], Field(max_length=16)] = Field(
        default_factory=list,
        description="Only texts with one of these words are searched, which saves time. Empty: all are.",
    )
    whole: Annotated[bool, Field(strict=True)] = Field(
        False, description="The pattern fits the whole text, and not only a part of it."
    )

    def rule(self) -> Rule:
        """Raises ValueError that names it."""
        needs = tuple(word.lower() for word in self.needs)
        return Rule(self.name, self.pattern, self.amount_unit, self.factor, needs, self.whole)


class AnswersBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"rules": ["default"], "unit": "steps", "per_minute": 0.2}},
    )

    rules: Annotated[list[Literal["default"] | RuleBody], Field(max_length=MAX_RULES)] = Field(
        description="The first that finds anything counts. default: those that come with the proxy. Empty: nothing is read."
    )
    unit: TimeUnit = Field(description="In which a simulated minute has a length. steps needs ticks.")
    per_minute: Annotated[float, Field(strict=True)] = Field(
        description="Steps or seconds that a simulated minute takes."
    )

    def reading(self) -> Reading:
        """Raises ValueError for rules and scales that make no sense."""
        rules: list[Rule] = []
        for one in self.rules:
            rules += RULES if one == "default" else [one.rule()]
        return Reading(tuple(rules), Scale(self.unit.clock, self.per_minute))


class ReadingAnswer(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "simulation": "town",
                "rules": [
                    {
                        "name": "busy",
                        "pattern": "busy for (?P<amount>[0-9]{1,4}+) min",
                        "amount_unit": "minutes",
                        "factor": 1,
                        "needs": [],
                        "whole": False,
                    }
                ],
                "unit": "steps",
                "per_minute": 0.2,
                "found": 210,
            }
        }
    )

    simulation: str
    rules: list[RuleBody] = Field(
        description="In the order in which they are tried. Empty: answers are not read."
    )
    unit: Clock | None
    per_minute: float | None
    found: int = Field(
        description="Calls in whose answers a duration was found since the simulation is known."
    )


def answer_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/simulations/{simulation}", tags=["answers"])

    @router.put("/answers")
    async def set_rules(simulation: SimulationPath, body: AnswersBody) -> ReadingAnswer:
        """From the next call on, the answers to known agents are read by these rules, where the call itself does not say
        how long its agent acts. In the mode off nothing is read."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        try:
            reading = body.reading()
        except ValueError as exc:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{exc}; nothing was changed") from exc
        desk.post(ReadingSet(desk.clock(), name, reading))
        return _answer(name)

    @router.get("/answers")
    async def rules(simulation: SimulationPath) -> ReadingAnswer:
        """What holds now, be it of the simulation or of the proxy (`answers` in its settings)."""
        return _answer(SimulationId(simulation))

    @router.delete("/answers", status_code=HTTPStatus.NO_CONTENT)
    async def forget_rules(simulation: SimulationPath) -> None:
        """What holds for all simulations holds for this one again: by default, that nothing is read."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        desk.post(ReadingSet(desk.clock(), name, None))

    def _answer(name: SimulationId) -> ReadingAnswer:
        found = desk.simulation(name).counters.said
        reading = desk.controller.reading(name)
        if reading is None:
            return ReadingAnswer(simulation=name, rules=[], unit=None, per_minute=None, found=found)
        return ReadingAnswer(
            simulation=name,
            rules=[
                RuleBody(
                    name=rule.name,
                    pattern=rule.pattern,
                    amount_unit=rule.unit,
                    factor=rule.factor,
                    needs=list(rule.needs),
                    whole=rule.whole,
                )
                for rule in reading.rules
            ],
            unit=reading.scale.clock,
            per_minute=reading.scale.per_minute,
            found=found,
        )

    return router
