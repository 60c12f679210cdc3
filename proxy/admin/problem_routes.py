"""What the types of problems mean: each `type` leads here."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from .answers import example
from .problem_types import MEANINGS, PATH, ProblemType
from .problems import Problem

_SHOWN = ProblemType.PIN_BUDGET_FULL


class ProblemTypeAnswer(BaseModel):
    model_config = example({"type": _SHOWN.uri, "meaning": MEANINGS[_SHOWN]})

    type: str
    meaning: str = Field(description="What is wrong, and what to do.")

    @classmethod
    def of(cls, known: ProblemType) -> ProblemTypeAnswer:
        return cls(type=known.uri, meaning=MEANINGS[known])


class ProblemTypesAnswer(BaseModel):
    model_config = example({"problems": [{"type": _SHOWN.uri, "meaning": MEANINGS[_SHOWN]}]})

    problems: list[ProblemTypeAnswer]


def problem_routes(_: object) -> APIRouter:
    router = APIRouter(prefix=PATH, tags=["problems"])

    @router.get("")
    async def problem_types() -> ProblemTypesAnswer:
        """All types of problems but `about:blank`, where the status says it all."""
        return ProblemTypesAnswer(problems=[ProblemTypeAnswer.of(one) for one in ProblemType])

    @router.get("/{problem}")
    async def problem_type(
        problem: Annotated[str, Path(max_length=64, examples=[_SHOWN.value])],
    ) -> ProblemTypeAnswer:
        """What one of them means."""
        known = next((one for one in ProblemType if one.value == problem), None)
        if known is None:
            raise Problem(
                HTTPStatus.NOT_FOUND, f"no problem is called {problem!r}", ProblemType.UNKNOWN_PROBLEM
            )
        return ProblemTypeAnswer.of(known)

    return router
