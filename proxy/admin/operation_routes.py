"""Operations over REST: who began one finds here how far it is, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field, JsonValue

from .answers import example
from .desk import Desk
from .operations import Operation, OperationState, TooManyOperations, Work
from .paging import Cursor, Limit
from .problem_types import ProblemType
from .problems import Problem

PATH = "/admin/v1/operations"
_EXAMPLE: dict[str, JsonValue] = {
    "id": "9f2c41d07be35a18",
    "kind": "prefetch",
    "of": {"simulation": "town", "agent": "Ann"},
    "state": "done",
    "progress": 1.0,
    "says": "2 of 2 memories are on the device",
    "result": {"memories": {"kv_prefix:town/Ann": "here", "lora:pirate": "here"}},
    "began_ago_s": 4.1,
    "took_s": 0.3,
}
OperationId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", examples=["9f2c41d07be35a18"])]


class OperationAnswer(BaseModel):
    model_config = example(_EXAMPLE)

    id: str
    kind: str
    of: dict[str, str] = Field(description="What it is about.")
    state: OperationState = Field(description="running, done, failed or stopped")
    progress: float = Field(description="Of its work, from 0 to 1.")
    says: str = Field(description="What it is at, or why it failed; may be empty.")
    result: dict[str, JsonValue] = Field(description="What came of it, or, of one that is not done, so far.")
    began_ago_s: float = Field(description="Seconds since it began.")
    took_s: float | None = Field(description="Seconds from its beginning to its end; null: it runs.")

    @classmethod
    def of_one(cls, known: Operation, now: float) -> OperationAnswer:
        return cls(
            id=known.id,
            kind=known.kind,
            of=dict(known.of),
            state=known.state,
            progress=round(known.progress, 4),
            says=known.says,
            result=dict(known.result),
            began_ago_s=round(now - known.began_at, 3),
            took_s=None if known.ended_at is None else round(known.ended_at - known.began_at, 3),
        )


class OperationsAnswer(BaseModel):
    model_config = example({"operations": [_EXAMPLE], "next": "17"})

    operations: list[OperationAnswer] = Field(description="In the order in which they began.")
    next: str | None = Field(description="For `after`, to get the next page; null: this was the last.")


BEGUN: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "It has begun: the header Location, and the id, say where to look after it.",
        "model": OperationAnswer,
    }
}


def begun(desk: Desk, response: Response, kind: str, of: Mapping[str, str], work: Work) -> OperationAnswer:
    """Begins it, and answers `202` with its place. Raises `Problem` while too many run."""
    try:
        operation = desk.operations.begin(kind, of, work)
    except TooManyOperations as exc:
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS, f"{exc}; nothing was begun", ProblemType.TOO_MANY_OPERATIONS
        ) from exc
    response.status_code = HTTPStatus.ACCEPTED
    response.headers["location"] = f"{PATH}/{operation.id}"
    return OperationAnswer.of_one(operation, desk.clock())


def operation_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix=PATH, tags=["operations"])

    @router.get("")
    async def operations(after: Cursor = None, limit: Limit = 100) -> OperationsAnswer:
        """The last of them, with those that ended."""
        page = desk.operations.page(int(after or 0), limit + 1)
        shown, now = page[:limit], desk.clock()
        return OperationsAnswer(
            operations=[OperationAnswer.of_one(one, now) for one in shown],
            next=str(shown[-1].number) if len(page) > limit else None,
        )

    @router.get("/{operation}")
    async def one_operation(operation: OperationId) -> OperationAnswer:
        """How far it is, and what came of it."""
        return OperationAnswer.of_one(_known(operation), desk.clock())

    @router.delete("/{operation}", status_code=HTTPStatus.NO_CONTENT)
    async def stop(operation: OperationId) -> None:
        """Stops it, if it runs, and forgets it. What it did by then stays."""
        desk.operations.forget(_known(operation).id)

    def _known(operation: str) -> Operation:
        known = desk.operations.get(operation)
        if known is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                f"no operation has the id {operation!r}: it ended long ago, or before this start of the proxy",
                ProblemType.UNKNOWN_OPERATION,
                operation=operation,
            )
        return known

    return router
