"""How the trace of calls is doing, for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    path: str
    full_text: bool
    calls: int
    """Written, since the start."""
    lost: int
    """Not written: the queue was full, the disk was, or they are too large."""
    written_bytes: int
    waiting: int
    problem: str
    """Why nothing can be written at the moment; empty if all is well."""
