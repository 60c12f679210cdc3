"""Traces of calls: begun and ended while the proxy runs, one at a time, and fetched. They stand in one folder of the settings."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from scalesim.proxy.recording_status import Kept, NoFolder, TraceFailed, TraceRefused, UnknownTrace

from .answers import example
from .audit import audit
from .desk import Desk
from .gate import LINES
from .office import Office, TraceBook
from .problems import Refusals, refused
from .recording_answers import RECORDING_EXAMPLE, RecordingAnswer

_TRACE: dict[str, JsonValue] = {
    "name": "monday",
    "state": "recording",
    "full_text": False,
    "size_bytes": 201500,
    "files": 1,
    "changed": "2026-03-01T12:00:00Z",
    "recording": {**RECORDING_EXAMPLE, "path": "/var/lib/scalesim/traces/monday.jsonl"},
}
TRACE_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
TraceName = Annotated[str, StringConstraints(pattern=TRACE_PATTERN)]
TracePath = Annotated[str, Path(pattern=TRACE_PATTERN, examples=["monday"])]
_DISK: dict[int | str, dict[str, object]] = {
    503: {"description": "The folder cannot be read or written; the text says why."}
}


REFUSALS: Refusals = {
    UnknownTrace: HTTPStatus.NOT_FOUND,
    TraceFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    TraceRefused: HTTPStatus.CONFLICT,
}


class TraceState(StrEnum):
    RECORDING = "recording"
    ENDED = "ended"


class TraceBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "monday", "full_text": False}}
    )

    name: TraceName = Field(description="Of its file in the folder.")
    full_text: Annotated[bool, Field(strict=True)] = Field(
        False,
        description="Prompts, answers and names are recorded in full, instead of as hashes. Only where the settings allow it.",
    )


class TraceAnswer(BaseModel):
    model_config = example(_TRACE)

    name: str
    state: TraceState
    full_text: bool | None = Field(
        description="Prompts, answers and names are in it in full; null: its header does not say."
    )
    size_bytes: int = Field(description="Of all its files.")
    files: int
    changed: str = Field(description="When something was last written, in UTC.")
    recording: RecordingAnswer | None = Field(description="How it is doing, while it is being recorded.")


class TracesAnswer(BaseModel):
    model_config = example({"full_text_allowed": False, "recording": _TRACE["recording"], "traces": [_TRACE]})

    full_text_allowed: bool = Field(description="By the settings.")
    recording: RecordingAnswer | None = Field(
        description="What is being recorded now; it may be the trace of the settings, which is none of those below."
    )
    traces: list[TraceAnswer] = Field(description="Of the folder, by name; at most 100.")


def trace_routes(desk: Desk, office: Office) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/traces", tags=["traces"])

    @router.get("", responses=_DISK)
    async def traces() -> TracesAnswer:
        """Those of the folder, and what is being recorded now."""
        book = office.traces
        with refused(REFUSALS):
            kept = [] if book is None else await book.all_kept()
        status = None if book is None else book.status()
        return TracesAnswer(
            full_text_allowed=desk.settings.traces_full_text,
            recording=None if status is None else RecordingAnswer.of(status),
            traces=[_answer(one) for one in kept],
        )

    @router.post("", status_code=HTTPStatus.CREATED, responses=_DISK)
    async def start(body: TraceBody, request: Request, response: Response) -> TraceAnswer:
        """Calls that end from now on are recorded, until it is stopped or the proxy ends. One trace at a time."""
        with refused(REFUSALS):
            kept = await _book().start(body.name, full_text=body.full_text)
        what = "in full text" if body.full_text else "as hashes"
        audit(request, f"the trace {body.name!r} was begun, {what}")
        response.headers["location"] = f"/admin/v1/traces/{body.name}"
        return _answer(kept)

    @router.get("/{trace}", responses=_DISK)
    async def one_trace(trace: TracePath) -> TraceAnswer:
        """How large it is, and how it is doing while it is being recorded."""
        with refused(REFUSALS):
            return _answer(await _book().kept(trace))

    @router.post("/{trace}/stop", responses=_DISK)
    async def stop(trace: TracePath, request: Request) -> TraceAnswer:
        """No call is recorded any more, and what was is on the disk. Again: no harm."""
        with refused(REFUSALS):
            kept = await _book().stop(trace)
        audit(request, f"the trace {trace!r} was stopped")
        return _answer(kept)

    @router.get(
        "/{trace}/content",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "The lines of all its files, the oldest first, up to where they are now.",
                "content": {LINES: {"schema": {"type": "string"}, "example": _CONTENT}},
            },
            **_DISK,
        },
    )
    async def content(trace: TracePath, request: Request) -> StreamingResponse:
        """The trace itself. It may still be recorded."""
        with refused(REFUSALS):
            pieces = await _book().content(trace)
        audit(request, f"the trace {trace!r} is fetched")
        named = {"content-disposition": f'attachment; filename="{trace}.jsonl"'}
        return StreamingResponse(pieces, media_type=LINES, headers=named)

    @router.delete("/{trace}", status_code=HTTPStatus.NO_CONTENT, responses=_DISK)
    async def delete(trace: TracePath, request: Request) -> None:
        """With all its files and the key of its hashes. Not while it is being recorded."""
        with refused(REFUSALS):
            await _book().delete(trace)
        audit(request, f"the trace {trace!r} was deleted")

    def _book() -> TraceBook:
        """Raises `NoFolder`."""
        if office.traces is None:
            raise NoFolder("there is no folder for traces: set traces_folder")
        return office.traces

    def _answer(kept: Kept) -> TraceAnswer:
        runs = office.traces is not None and office.traces.running == kept.name
        status = office.traces.status() if runs and office.traces is not None else None
        return TraceAnswer(
            name=kept.name,
            state=TraceState.RECORDING if runs else TraceState.ENDED,
            full_text=kept.full_text,
            size_bytes=kept.size_bytes,
            files=kept.files,
            changed=datetime.fromtimestamp(kept.changed_unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            recording=None if status is None else RecordingAnswer.of(status),
        )

    return router


_CONTENT = '{"schema":"scalesim.trace","version":1,"text":false}\n{"timestamp":12.5,"request_id":"1"}\n'
