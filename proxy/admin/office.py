"""What the routes work with that look after the proxy itself: its settings, keys, recipes and traces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from scalesim.proxy.access.keyring import Keyring
from scalesim.proxy.configuration import Change, Configuration
from scalesim.proxy.recognition.recipes.book import Book
from scalesim.proxy.recognition.recipes.choosing import Index
from scalesim.proxy.recognition.recipes.shelf import Shelf
from scalesim.proxy.recognition.recipes.trial import TracedTrial
from scalesim.proxy.recording_status import Kept, NoFolder, RecordingStatus
from scalesim.proxy.settings import Settings


class TraceBook(Protocol):
    """Traces of a folder. Its methods raise `TraceRefused`."""

    @property
    def running(self) -> str | None:
        """Which of them is being recorded."""
        ...

    def status(self) -> RecordingStatus | None:
        """Of the one that is being recorded; it may be that of the settings."""
        ...

    async def all_kept(self) -> list[Kept]: ...

    async def kept(self, name: str) -> Kept: ...

    async def start(self, name: str, *, full_text: bool) -> Kept: ...

    async def stop(self, name: str) -> Kept: ...

    async def delete(self, name: str) -> None: ...

    async def content(self, name: str) -> AsyncIterator[bytes]: ...


async def _nothing_to_try(name: str, index: Index) -> TracedTrial:
    raise NoFolder("there is no folder for traces: set traces_folder")


@dataclass(frozen=True, slots=True)
class Office:
    configuration: Configuration
    keyring: Keyring
    book: Book
    reload: Callable[[], Awaitable[Change]]
    """As `Configuration.reload`, and with all else that is read again then. Raises `BadKeyFile` too."""
    traces: TraceBook | None = None
    """None: there can be none."""
    try_trace: Callable[[str, Index], Awaitable[TracedTrial]] = _nothing_to_try
    """What recipes would find in a trace of that name. Raises `TraceRefused`."""

    @classmethod
    def of(cls, settings: Settings) -> Office:
        """Of a proxy that is changed by nobody."""
        configuration = Configuration(settings)
        return cls(configuration, Keyring(settings), Book(Shelf()), configuration.reload)
