"""What one process without Redis keeps over its end: a file, written now and then as a whole.

The old file stays until the new one is on the disk, so neither a kill nor a full disk leaves half of one. Names of agents, paths of
adapters and addresses of engines stand in it, so only its owner may read it; prompts do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import orjson

from scalesim.proxy.core import keeping as kept_form
from scalesim.proxy.core.keeping import Keeping
from scalesim.proxy.core.model import AgentName, EngineId, SimulationId
from scalesim.proxy.core.plain import Forms, Garbled
from scalesim.proxy.errors import CannotKeep

log = logging.getLogger(__name__)

FORMAT = 1
EVERY_S = 5.0
_PIECE = 50
"""Agents that are written or restored between two turns of the loop."""
_ADAPTERS, _SIMULATION, _AGENT, _CHOICES, _ENGINES = "adapters", "simulation", "agent", "choices", "engines"

Write = Callable[[int, bytes], int]
"""As `os.write`."""


class Registered(NamedTuple):
    """An engine that an operator registered while the proxy ran."""

    name: EngineId
    url: str
    weight: float | None


_REGISTERED = Forms().of(list[Registered])


class StateFile:
    def __init__(self, path: Path, write: Write = os.write) -> None:
        self.path = path
        self._write = write

    def load(self) -> list[bytes]:
        """Its lines; none if there is no file. Raises `CannotKeep` for what is no whole state file of this format."""
        try:
            head, _, text = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise CannotKeep(f"{self.path}: cannot be read: {exc.strerror}") from exc
        try:
            found, check = cast("list[int]", orjson.loads(head))
        except (ValueError, TypeError) as exc:
            raise CannotKeep(f"{self.path}: is no state file") from exc
        if found != FORMAT:
            raise CannotKeep(f"{self.path}: has format {found}, and this version reads {FORMAT}")
        if check != zlib.crc32(text):
            raise CannotKeep(f"{self.path}: is damaged")
        return text.splitlines()

    def save(self, lines: Sequence[bytes]) -> None:
        """Raises `OSError`; the old file is then as it was."""
        text = b"\n".join(lines)
        new = self.path.with_name(f"{self.path.name}.new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            try:
                rest = orjson.dumps([FORMAT, zlib.crc32(text)]) + b"\n" + text
                while rest:
                    rest = rest[self._write(file, rest) :]
                os.fsync(file)
            finally:
                os.close(file)
            os.replace(new, self.path)
        except OSError:
            with contextlib.suppress(OSError):  # what is told is why it was not written
                new.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Keeper:
    """`keeping`: of the core as it is; `engines`: as they are. `shift`: from the clock of events to the wall's, which the next process has, too."""

    def __init__(
        self,
        file: StateFile,
        keeping: Callable[[], Keeping],
        clock: Callable[[], float],
        *,
        engines: Callable[[], Sequence[Registered]] = tuple,
        every_s: float = EVERY_S,
        shift: Callable[[], float] = lambda: time.time() - time.monotonic(),
    ) -> None:
        self.problem = ""
        """Why it could not be written last; empty if it was."""
        self.garbled = 0
        """Entries that could not be restored."""
        self.engines: list[Registered] = []
        """That were restored: they are no part of the core."""
        self._registered = engines
        self._file = file
        self._keeping = keeping
        self._clock = clock
        self._every_s = every_s
        self._shift = shift

    async def restore(self) -> int:
        """How many agents came back. Raises `CannotKeep`. To be done before the first event."""
        lines = await asyncio.to_thread(self._file.load)
        entries = await asyncio.to_thread(_in_order, lines)
        shift = self._shift()
        for place, (kind, simulation, agent, plain) in enumerate(entries):
            try:
                self.garbled += not self._restored(kind, simulation, agent, plain, shift)
            except Garbled:
                self.garbled += 1
            if place % _PIECE == 0:
                await asyncio.sleep(0)
        self._keeping().restored()
        return sum(one[0] == _AGENT for one in entries)

    def _restored(self, kind: str, simulation: str, agent: str, plain: object, shift: float) -> bool:
        known, at = self._keeping(), self._clock()
        match kind:
            case "adapters":
                known.restore_adapters(plain)
                return True
            case "simulation":
                return known.restore_simulation(SimulationId(simulation), plain, shift, at)
            case "agent":
                return known.restore_agent(SimulationId(simulation), AgentName(agent), plain, shift, at)
            case "choices":
                return known.restore_choices(plain, shift, at)
            case "engines":
                self.engines = _REGISTERED.read(plain, 0.0)
                return True
        return False

    async def run(self) -> None:
        """Until cancelled; what is known then is written too."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.keep()
        finally:
            self._save(list(self._entries()))

    async def keep(self) -> None:
        """Never raises for what the disk does."""
        lines = []
        for place, line in enumerate(self._entries()):
            lines.append(line)
            if place % _PIECE == 0:
                await asyncio.sleep(0)
        await asyncio.to_thread(self._save, lines)

    def _save(self, lines: Sequence[bytes]) -> None:
        try:
            self._file.save(lines)
        except OSError as exc:
            if not self.problem:
                log.warning("%s: cannot be written, and stays as it was: %s", self._file.path, exc.strerror)
            self.problem = str(exc)
            return
        if self.problem:
            log.info("%s is written again", self._file.path)
        self.problem = ""

    def _entries(self) -> Iterator[bytes]:
        """Agents may come and go between any two."""
        # One shift for all: two clocks that are read one after the other are never equally far apart.
        known, shift = self._keeping(), self._shift()
        yield orjson.dumps([_ADAPTERS, "", "", known.adapters()])
        for simulation in known.simulations():
            plain = known.simulation(simulation, shift)
            if plain is None:
                continue
            yield orjson.dumps([_SIMULATION, simulation, "", plain])
            for agent in list(known.agents(simulation)):
                of_it = known.agent(simulation, agent, shift, self._clock())
                if of_it is not None:
                    yield orjson.dumps([_AGENT, simulation, agent, of_it])
        yield orjson.dumps([_CHOICES, "", "", known.choices(shift)])
        yield orjson.dumps([_ENGINES, "", "", _REGISTERED.write(list(self._registered()), 0.0)])


_Entry = tuple[str, str, str, object]


def _in_order(lines: Sequence[bytes]) -> list[_Entry]:
    """Adapters and simulations before agents, and agents by when they were last used; then all else."""
    places = {_ADAPTERS: 0, _SIMULATION: 1, _AGENT: 2}
    entries = [cast("_Entry", tuple(orjson.loads(line))) for line in lines]
    return sorted(
        entries,
        key=lambda one: (places.get(one[0], 3), kept_form.used_at(one[3]) if one[0] == _AGENT else 0.0),
    )
