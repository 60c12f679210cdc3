"""Where calls wait for a place at an engine: what `queueing` decides, for tasks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from scalesim.proxy.core.model import EngineId

from ..errors import CallRefused
from .queueing import FairQueue, Place, Refused, Ticket

_ANY = 1_000_000_000
"""More calls than can be."""


class EngineFull(CallRefused):
    """Too much waits for the engine already. The client may come again after `retry_after_s`."""

    status = 429
    kind = "engine_full"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(f"{message}; try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class Admission:
    """In front of one engine.

    ticket = admission.come(simulation)
    try:
        if ticket.place is Place.WAITING:
            await admission.wait(ticket)
        ...
    finally:
        admission.done(ticket)
    """

    TABLES = ("queue_waiting", "queue_running", "queue_simulations", "queue_waiters")

    def __init__(self, queue: FairQueue, clock: Callable[[], float], *, max_wait_s: float | None) -> None:
        """`max_wait_s`: None if a call may wait for as long as its client does."""
        self._queue = queue
        self._clock = clock
        self._max_wait_s = max_wait_s
        self._waiters: dict[Ticket, asyncio.Future[None]] = {}

    def sizes(self) -> dict[str, int]:
        return {**self._queue.sizes(), "queue_waiters": len(self._waiters)}

    def resize(self, capacity: int) -> None:
        """How many calls the engine may run at once from now on."""
        self._queue.resize(capacity)
        self._admit()

    def limit(self, *, max_waiting: int, max_wait_s: float | None) -> None:
        """Of calls that come from now on."""
        self._queue.limit(max_waiting)
        self._max_wait_s = max_wait_s

    def come(self, simulation: str) -> Ticket:
        """A ticket that runs or waits. Raises `EngineFull`: there is none, and nothing to give back."""
        came = self._queue.come(simulation, self._clock())
        if isinstance(came, Refused):
            raise EngineFull("the engine has more to do than may wait for it", came.retry_after_s)
        ticket, displaced = came
        if displaced is not None:
            self._wake(displaced)
        return ticket

    async def wait(self, ticket: Ticket) -> None:
        """Returns once it runs. Raises `EngineFull` if it had to make room or waited for too long; `done` is still owed."""
        if ticket.place is Place.WAITING:
            woken = self._waiters[ticket] = asyncio.get_running_loop().create_future()
            max_wait_s = self._max_wait_s
            try:
                async with asyncio.timeout(max_wait_s):
                    await woken
            except TimeoutError:
                # It may have been given its place in the same moment.
                if ticket.place is Place.WAITING:
                    raise self._full(ticket, f"no place at the engine within {max_wait_s:g} s") from None
            finally:
                self._waiters.pop(ticket, None)
        if ticket.place is Place.DISPLACED:
            raise self._full(ticket, "others have had less of the engine than this simulation")

    def done(self, ticket: Ticket) -> None:
        """Of every ticket, once it has run or whoever waited is gone. May be called again."""
        self._queue.done(ticket, self._clock())
        self._admit()

    def _admit(self) -> None:
        while (ticket := self._queue.next(self._clock())) is not None:
            self._wake(ticket)

    def _wake(self, ticket: Ticket) -> None:
        # Nobody waits yet, if it is woken before its task came to wait.
        woken = self._waiters.get(ticket)
        if woken is not None and not woken.done():
            woken.set_result(None)

    def _full(self, ticket: Ticket, message: str) -> EngineFull:
        return EngineFull(message, self._queue.retry_after_s(ticket.simulation, self._clock()))


class Admissions:
    """In front of each engine. `capacity`: how many calls each may run at once, if nothing else is said of it; None: as many as
    come, and nobody waits."""

    def __init__(
        self, clock: Callable[[], float], *, capacity: int | None, max_waiting: int, max_wait_s: float | None
    ) -> None:
        self._clock = clock
        self._capacity = capacity
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._of: dict[EngineId, Admission] = {}

    def configure(self, *, capacity: int | None, max_waiting: int, max_wait_s: float | None) -> None:
        """From now on. Without a capacity, whoever waits is sent at once. With one where there was none, what runs already is
        not counted."""
        self._capacity, self._max_waiting, self._max_wait_s = capacity, max_waiting, max_wait_s
        for admission in self._of.values():
            admission.limit(max_waiting=max_waiting, max_wait_s=max_wait_s)
            admission.resize(_ANY if capacity is None else capacity)

    def sizes(self) -> dict[str, int]:
        """Of all together."""
        sizes = Counter(dict.fromkeys(Admission.TABLES, 0))
        for one in self._of.values():
            sizes.update(one.sizes())
        return dict(sizes)

    def waiting(self) -> dict[EngineId, int]:
        """Calls, by engine."""
        return {engine: one.sizes()["queue_waiting"] for engine, one in self._of.items()}

    def of(self, engine: EngineId) -> Admission | None:
        """Only of engines that are registered. None: nobody needs to wait there."""
        if self._capacity is None:
            return None
        admission = self._of.get(engine)
        if admission is None:
            queue = FairQueue(capacity=self._capacity, max_waiting=self._max_waiting)
            admission = self._of[engine] = Admission(queue, self._clock, max_wait_s=self._max_wait_s)
        return admission

    def forget(self, engine: EngineId) -> None:
        """It has left, and so has its last call."""
        self._of.pop(engine, None)
