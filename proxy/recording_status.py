"""How traces of calls are doing, for people, and why what was asked of them is not done."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ScaleSimError


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


@dataclass(frozen=True, slots=True)
class Kept:
    """A trace in the folder, whether or not it is being recorded."""

    name: str
    size_bytes: int
    """Of all its files together."""
    files: int
    full_text: bool | None
    """None: it does not say."""
    changed_unix_s: float


class TraceRefused(ScaleSimError):
    """Nothing was begun, ended or deleted; the message says why."""


class NoFolder(TraceRefused):
    """Operators may begin no traces: set `traces_folder`."""


class UnknownTrace(TraceRefused):
    """There is no trace of that name."""


class TraceExists(TraceRefused):
    """A trace of that name is there: take another name, or delete it."""


class TraceRuns(TraceRefused):
    """One is being recorded, and there can be no other."""


class TooManyTraces(TraceRefused):
    """The folder holds as many as it may: delete one."""


class FullTextForbidden(TraceRefused):
    """The settings allow traces with hashes only: `traces_full_text`."""


class TraceFailed(TraceRefused):
    """The disk, or the folder, does not let us."""
