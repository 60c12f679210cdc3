"""Traces that operators begin and end while the proxy runs, one at a time, in one folder and nowhere else.

The trace that the settings name, if they do, runs from the start to the end, and then no other can.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import orjson

from scalesim.proxy.recording_status import (
    FullTextForbidden,
    Kept,
    NoFolder,
    RecordingStatus,
    TooManyTraces,
    TraceExists,
    TraceFailed,
    TraceRuns,
    UnknownTrace,
)
from scalesim.proxy.served_call import Record, ServedCall

from .files import CannotRecord, lines_of, parts_of
from .recorder import Recorder

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a trace: never a path, never a hidden file, never one of the older files of another trace."""
MAX_TRACES = 100
"""In the folder. Beyond it one has to be deleted first."""
CHUNK_BYTES = 64 * 1024
_HEADER_BYTES = 4096
_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class TraceRules:
    folder: Path | None
    full_text: bool
    """May be asked for."""
    max_bytes: int
    files: int


class Traces:
    """To be entered before calls come, and left when the last has ended.

    `record` is told what is to be told of each call, whenever that changes; None: nothing.
    """

    def __init__(self, rules: TraceRules, clock: Callable[[], float]) -> None:
        self.rules = rules
        """Of traces that begin from now on."""
        self.record: Callable[[Record | None], None] = lambda _: None
        self._clock = clock
        self._turn = asyncio.Lock()
        self._recorder: Recorder | None = None
        self._name: str | None = None
        """Of the one that runs; None: it is that of the settings, or none runs."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        async with self._turn:
            await self._end()

    def sizes(self) -> dict[str, int]:
        return {"trace_calls_waiting": 0} if self._recorder is None else self._recorder.sizes()

    def status(self) -> RecordingStatus | None:
        """Of the one that runs."""
        return None if self._recorder is None else self._recorder.status()

    @property
    def running(self) -> str | None:
        """The name of the trace that an operator began, and that runs."""
        return self._name

    def note(self, call: ServedCall) -> None:
        """Never raises and never waits."""
        if self._recorder is not None:
            self._recorder.note(call)

    async def begin_at(self, path: Path, salt: Path, *, full_text: bool) -> None:
        """The trace of the settings. Raises `CannotRecord`."""
        async with self._turn:
            await self._begin(path, salt, full_text)

    async def start(self, name: str, *, full_text: bool) -> Kept:
        """Raises `TraceRefused`."""
        async with self._turn:
            path = self._path(name)
            if self._recorder is not None:
                what = "that of the settings" if self._name is None else repr(self._name)
                raise TraceRuns(f"a trace is being recorded, {what}: there can be no other at the same time")
            if full_text and not self.rules.full_text:
                raise FullTextForbidden(
                    "the settings allow no trace in full text: set traces_full_text, or leave full_text out"
                )
            if await _on_disk(path.exists):
                raise TraceExists(f"there is a trace {name!r} already: take another name, or delete it")
            if len(await _on_disk(_names, path.parent)) >= MAX_TRACES:
                raise TooManyTraces(f"there are {MAX_TRACES} traces, which is all there may be: delete one")
            try:
                await self._begin(path, _salt_of(path), full_text)
            except CannotRecord as exc:
                raise TraceFailed(str(exc)) from exc
            self._name = name
            return await _on_disk(_kept, path, name)

    async def stop(self, name: str) -> Kept:
        """What was told of it by now is on the disk. Again: no harm. Raises `TraceRefused`."""
        async with self._turn:
            path = await self._known(name)
            if self._name == name:
                await self._end()
            return await _on_disk(_kept, path, name)

    async def delete(self, name: str) -> None:
        """With the key of its hashes. Raises `TraceRefused`."""
        async with self._turn:
            path = await self._known(name)
            if self._name == name:
                raise TraceRuns(f"the trace {name!r} is being recorded: stop it first")
            await _on_disk(_delete, path)

    async def kept(self, name: str) -> Kept:
        """Raises `TraceRefused`."""
        return await _on_disk(_kept, await self._known(name), name)

    async def all_kept(self) -> list[Kept]:
        """By their names. None where there is no folder. Raises `TraceFailed`."""
        folder = self.rules.folder
        return [] if folder is None else await _on_disk(_all_kept, folder)

    async def content(self, name: str) -> AsyncIterator[bytes]:
        """All of its files one after another, the oldest first, up to where they are now. Raises `TraceRefused` before
        the first piece is asked for."""
        path = await self._known(name)
        files = await _on_disk(_opened, path)
        return _pieces(files)

    async def tried(self, name: str, trial: Callable[[Iterable[bytes]], T]) -> T:
        """`trial` gets the lines of all of its files, in a thread. Raises `TraceRefused`."""
        path = await self._known(name)
        return await _on_disk(lambda: trial(chain.from_iterable(map(lines_of, parts_of(path)))))

    def _path(self, name: str) -> Path:
        """Raises `NoFolder` and `UnknownTrace`."""
        folder = self.rules.folder
        if folder is None:
            raise NoFolder("there is no folder for traces: set traces_folder")
        if not NAME.fullmatch(name):
            raise UnknownTrace(f"{name[:80]!r} is no name of a trace")
        return folder / f"{name}{_SUFFIX}"

    async def _known(self, name: str) -> Path:
        """Raises `NoFolder` and `UnknownTrace`."""
        path = self._path(name)
        if not await _on_disk(_is_plain, path):
            raise UnknownTrace(f"there is no trace {name!r}")
        return path

    async def _begin(self, path: Path, salt: Path, full_text: bool) -> None:
        """Raises `CannotRecord`."""
        recorder = Recorder(
            path,
            salt,
            full_text=full_text,
            max_bytes=self.rules.max_bytes,
            files=self.rules.files,
            clock=self._clock,
        )
        await recorder.__aenter__()
        self._recorder = recorder
        self.record(recorder.note)

    async def _end(self) -> None:
        recorder, self._recorder, self._name = self._recorder, None, None
        if recorder is not None:
            self.record(None)
            await recorder.__aexit__()


async def _on_disk(look: Callable[..., T], *arguments: object) -> T:
    """In a thread. Raises `TraceFailed`."""
    try:
        return await asyncio.to_thread(look, *arguments)
    except FileNotFoundError as exc:
        raise UnknownTrace(f"{exc.filename}: it has been deleted meanwhile") from exc
    except OSError as exc:
        raise TraceFailed(f"{exc.filename}: {exc.strerror}") from exc


def _salt_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.salt")


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _names(folder: Path) -> list[str]:
    """Of the newest files of traces. Raises `TraceFailed`."""
    found = [path.stem for path in folder.glob(f"*{_SUFFIX}") if _is_plain(path)]
    if not folder.is_dir():
        raise TraceFailed(f"{folder}: there is no such folder")
    return sorted(name for name in found if NAME.fullmatch(name))


def _all_kept(folder: Path) -> list[Kept]:
    kept = []
    for name in _names(folder)[:MAX_TRACES]:
        with suppress(FileNotFoundError):  # it has been deleted meanwhile
            kept.append(_kept(folder / f"{name}{_SUFFIX}", name))
    return kept


def _kept(path: Path, name: str) -> Kept:
    parts = parts_of(path)
    told = [part.stat() for part in parts]
    return Kept(
        name=name,
        size_bytes=sum(one.st_size for one in told),
        files=len(parts),
        full_text=_is_full_text(path),
        changed_unix_s=told[-1].st_mtime,
    )


def _is_full_text(path: Path) -> bool | None:
    """None: its header does not say."""
    with path.open("rb") as file:
        first = file.readline(_HEADER_BYTES)
    try:
        header = orjson.loads(first)
    except orjson.JSONDecodeError:
        return None
    said = header.get("text") if isinstance(header, dict) else None
    return said if isinstance(said, bool) else None


def _delete(path: Path) -> None:
    for one in (*parts_of(path), _salt_of(path)):
        with suppress(FileNotFoundError):
            one.unlink()


def _opened(path: Path) -> list[tuple[IO[bytes], int]]:
    """With their sizes now: what is renamed meanwhile stays what it is, and what is written meanwhile is left out."""
    with ExitStack() as stack:
        newest = path.stat().st_ino
        files = [stack.enter_context(part.open("rb")) for part in parts_of(path)]
        if path.stat().st_ino != newest:
            raise TraceFailed(f"{path.name}: a new file of it was begun in this moment; try again")
        sized: list[tuple[IO[bytes], int]] = [(file, os.fstat(file.fileno()).st_size) for file in files]
        stack.pop_all()
        return sized


async def _pieces(files: list[tuple[IO[bytes], int]]) -> AsyncIterator[bytes]:
    with ExitStack() as stack:
        for file, _ in files:
            stack.enter_context(file)
        for file, size in files:
            left = size
            while left and (piece := await asyncio.to_thread(file.read, min(CHUNK_BYTES, left))):
                left -= len(piece)
                yield piece
