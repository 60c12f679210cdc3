"""What the admin API answers of the trace that is being written."""

from __future__ import annotations

import dataclasses

from pydantic import BaseModel, Field, JsonValue

from scalesim.proxy.recording_status import RecordingStatus

from .answers import example

RECORDING_EXAMPLE: dict[str, JsonValue] = {
    "path": "trace.jsonl",
    "full_text": False,
    "calls": 310,
    "lost": 0,
    "written_bytes": 201500,
    "waiting": 2,
    "problem": "",
}


class RecordingAnswer(BaseModel):
    model_config = example(RECORDING_EXAMPLE)

    path: str
    full_text: bool = Field(description="Prompts, answers and names are recorded in full.")
    calls: int = Field(description="Recorded, since the start.")
    lost: int = Field(description="Not recorded: the queue was full, the disk was, or they are too large.")
    written_bytes: int
    waiting: int = Field(description="To be written.")
    problem: str = Field(description="Why nothing can be written now; empty if all is well.")

    @classmethod
    def of(cls, one: RecordingStatus) -> RecordingAnswer:
        return cls(**dataclasses.asdict(one))
