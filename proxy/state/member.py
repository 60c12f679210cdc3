"""One process of a group: it tells what it learns, knows what all know, and leads if nobody else does.

`post` is `def`: no request waits for Redis. Without Redis a member serves on with what it knows; whoever leads does so until its
lease ends, and after that nobody commands.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol

from scalesim.proxy.core.events import CallEnded, CallSent, CallStarted, Event
from scalesim.proxy.core.model import CallId, EngineId
from scalesim.proxy.core.plain import Garbled
from scalesim.proxy.group_status import MemberStatus

from . import records
from .clocks import GroupClock
from .facts import TOLD_TO_ALL, Facts, Names
from .following import Following
from .leading import Core, Leading
from .lease import TTL_S, Ask, Lease
from .outbox import Outbox
from .senders import SENDER_BITS, as_sent, first_call
from .store import NotTheLeader, StateAway, Store, wall_shift

log = logging.getLogger(__name__)

BATCH_S = 0.003
"""Records wait for others for so long."""
ALIVE_S = 1.0
"""A member that has nothing to tell says that it lives."""
MEASURE_S = 1.0
FIRST_SAMPLES = 8
"""Of Redis's clock, in quick succession."""
RESTART_S = 0.2
LEADER_SILENT_S = 3.0
RUNNING = 65_536
LEAVE_S = 1.0
_OVER = "the lease has ended"


class Command(Protocol):
    """Of the engines: the runtime has it. Both are `def`, and neither raises."""

    def take(self, token: int) -> None:
        """Plan and command from now on, with that fence, whatever was before. The core is to be told of all engines that are up."""
        ...

    def release(self, why: str) -> None:
        """Command nothing any more, now: the core is to be told that all engines are lost, and what waits is dropped."""
        ...


class Engines(Names, Protocol):
    """As this process knows them: the fleet. None of this raises."""

    def known(self) -> Mapping[EngineId, Mapping[str, object]]:
        """What others need of each, as JSON has it, with its `part` in placement if it is up."""
        ...

    def told(self, engines: Mapping[EngineId, Mapping[str, object]]) -> None:
        """As the leader knows them; this process does not lead."""
        ...

    def moved(self, keys: Iterable[str]) -> None:
        """The group may know another place for these than before: see `Member.home_of`."""
        ...


class Member:
    def __init__(
        self,
        store: Store,
        core: Core,
        post: Callable[[Event], None],
        command: Command,
        clock: Callable[[], float],
        *,
        engines: Engines,
        url: str = "",
        ttl_s: float = TTL_S,
        number: int | None = None,
    ) -> None:
        """`post` hands an event to `core` (`Runtime.post`). `url`: of the admin listener, for other members."""
        self.number = 1 + secrets.randbelow((1 << SENDER_BITS) - 1) if number is None else number
        self.first_call = first_call(self.number)
        """This process numbers its calls from here on."""
        self.facts = Facts(engines, engines.moved)
        self.lease = Lease(ttl_s)
        self.untold = 0
        """Events that no record can be made of."""
        self.failures = 0
        """Parts that had to be begun anew."""
        self._store = store
        self._core = core
        self._post = post
        self._command = command
        self._clock = clock
        self._group_clock = GroupClock(wall_shift(clock()))
        self._outbox = Outbox()
        self._waiting = asyncio.Event()
        self._running: dict[CallId, CallStarted] = {}
        self._cut_off = True
        """Others may not know which of our calls run."""
        self._dropped = 0
        self._leads = False
        self._leading = Leading(
            store,
            self.facts,
            core,
            post,
            clock,
            self._group_clock,
            self.number,
            url,
            engines.known,
            lambda: self._outbox.first,
        )
        self._following = Following(
            store,
            self.facts,
            lambda: core.keeping,
            post,
            clock,
            self.number,
            lambda: engines.told(self.facts.engines()),
        )
        self._lead_task: asyncio.Task[None] | None = None
        self._lead_token: int | None = None
        """With which it was begun."""
        self._ending: set[asyncio.Task[None]] = set()
        self._stale = False
        """The core knows what this process led to, and others may have led since."""
        self._away = False
        """Redis did not answer the last time."""
        self._problem = "not reached yet"

    # For the rest of the proxy

    def post(self, event: Event) -> None:
        """What this process learned of calls, or was told: the group is to know it. Never waits, and never raises."""
        try:
            record = records.written(event, self._group_clock.shift)
        except TypeError:  # a name that is no text
            self.untold += 1
            self._post(event)
            return
        number = self._outbox.put(record)
        self._waiting.set()
        match event:
            case CallStarted(call=call):
                if len(self._running) < RUNNING:
                    self._running[call] = event
            case CallSent(call=call) if call in self._running:
                self._running[call] = as_sent(self._running[call], event)
            case CallEnded(call=call):
                self._running.pop(call, None)
        if self._lead_task is not None:
            self._leading.told(number, event)
        if isinstance(event, TOLD_TO_ALL) and not self._leading.direct:
            self._following.told(number)
            self._post(event)

    def may_command(self) -> bool:
        """To be asked right before each command: the lease may have ended since the last turn of the loop."""
        return self._leads and self.lease.token == self._lead_token and self.lease.holds(self._clock())

    def outranked(self, token: int | None) -> None:
        """An engine has seen a higher fence than ours: that one, if it says so."""
        ours = self.lease.token
        if ours is not None:
            log.warning("an engine has seen a higher fence than %d: the lease is taken anew", ours)
            # Where nobody knows how much higher it is: tokens are milliseconds, so that of the next lease is above all before it.
            self.lease.outranked(max(ours + 1, token or 0), self._clock())

    def home_of(self, key: str, prefix: str | None = None) -> EngineId | None:
        """Where an agent's memory is, as far as the group knows: see `Facts.home_of`."""
        return self.facts.home_of(key, prefix)

    def engines(self) -> dict[EngineId, dict[str, object]]:
        """As the leader sees them."""
        return self.facts.engines()

    @property
    def leads(self) -> bool:
        return self._leads

    def status(self) -> MemberStatus:
        head, now = self._following.head, self._clock()
        lag_s = None if head is None else max(0.0, now + self._group_clock.shift - head.written_at)
        is_fresh = lag_s is not None and lag_s < LEADER_SILENT_S
        return MemberStatus(
            self.number,
            self._leads,
            self.lease.token,
            head.url if head is not None and is_fresh else None,
            self._problem,
            len(self._outbox),
            self._outbox.next - 1,
            self._outbox.dropped,
            self._leading.senders.missed,
            self._leading.garbled + self._leading.senders.unread + self.facts.unread,
            self._group_clock.error_s,
            max(0.0, self.lease.until - now) if self.lease.holds(now) else 0.0,
            lag_s,
        )

    def sizes(self) -> dict[str, int]:
        return {
            "outbox": len(self._outbox),
            "outbox_bytes": self._outbox.size_bytes,
            "own_calls": len(self._running),
            **self._leading.sizes(),
            **self.facts.sizes(),
        }

    # The loop

    async def run(self) -> None:
        """Until cancelled; then the lease is given back, and what waits is told if that takes no time."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (self._keep_lease, self._tell, self._measure, self._following.run):
                    tasks.create_task(self._kept_running(part))
        finally:
            await self._leave()

    async def _kept_running(self, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception:
                self.failures += 1
                if self.failures & (self.failures - 1) == 0:
                    log.exception(
                        "a part of the group's state failed (seen %d times); going on", self.failures
                    )
            await asyncio.sleep(RESTART_S)

    async def _leave(self) -> None:
        token = self.lease.token
        self._stop_leading("this process ends")
        self.lease.end()
        if self._ending:
            await asyncio.wait(self._ending)
        # Else it ends by itself, a little later.
        with suppress(StateAway, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._farewell(token)

    async def _farewell(self, token: int | None) -> None:
        if token is not None:
            await self._store.release_lease(token)
        self._outbox.put(records.running(()))
        batch = self._outbox.batch()
        await self._store.tell(self.number, batch.first, records.batch(batch.records))

    async def _keep_lease(self) -> None:
        while True:
            await self._ask_for_lease()
            now = self._clock()
            if self._leads or self._lead_task is not None:
                # A process that was stopped may find its lease over and get the next one in one go: engines may have heard another
                # leader in between.
                if not self.lease.holds(now) or self.lease.token != self._lead_token:
                    self._stop_leading(_OVER)
                elif self._lead_task is not None and self._lead_task.done():
                    self._stop_leading("leading ended")
            elif self.lease.holds(now):
                self._stale, self._lead_token = True, self.lease.token
                self._lead_task = asyncio.create_task(self._lead())
            elif self._stale:
                self._forget_if_another_leads()
            until = min(self.lease.ask_at, self.lease.until) if self.lease.holds(now) else self.lease.ask_at
            await asyncio.sleep(min(max(0.001, until - self._clock()), 0.1))

    def _forget_if_another_leads(self) -> None:
        """What this process knows of agents grows old then; what it needs for its own calls it reads again."""
        head = self._following.head
        if head is None or head.leader == self.number:
            return
        self._stale = False
        self._leading.forget()
        self._following.restore_adapters()
        for event in self.facts.all_events(self._clock()):
            self._post(event)

    async def _ask_for_lease(self) -> None:
        lease, asked_at = self.lease, self._clock()
        try:
            # An answer that comes after the lease's end is of no use.
            async with asyncio.timeout(lease.ttl_s / 2):
                match lease.next(asked_at):
                    case None:
                        return
                    case Ask.TAKE if self._away and not self._led_last:
                        # If Redis was started anew, what the last leader knows is all there is: it goes first.
                        await self._store.time()
                        lease.wait(self._clock())
                    case Ask.TAKE:
                        token, left_s = await self._store.take_lease(lease.ttl_s, lease.floor)
                        if token is None:
                            lease.held_by_another(self._clock(), left_s)
                        else:
                            lease.granted(token, asked_at)
                    case Ask.RENEW:
                        assert lease.token is not None, "only what is held is renewed"
                        if await self._store.renew_lease(lease.token, lease.ttl_s):
                            lease.granted(lease.token, asked_at)
                        else:
                            lease.held_by_another(self._clock())
        except (StateAway, TimeoutError) as exc:
            self._problem = str(exc) or "no answer"
            lease.unanswered(self._clock())
            self._away = True
        else:
            self._problem, self._away = "", False

    @property
    def _led_last(self) -> bool:
        """As far as we know."""
        head = self._following.head
        return head is None or head.leader == self.number or self._stale

    async def _lead(self) -> None:
        token = self.lease.token
        assert token is not None, "begun with a lease"
        while True:
            try:
                await self._following_looked()
                await self._leading.learn(token, self._outbox.next)
                break
            except StateAway:
                await asyncio.sleep(RESTART_S)
        log.info("this process leads its group now, with the token %d", token)
        self._leads = True
        self._command.take(token)
        try:
            await self._leading.run(token)
        except* NotTheLeader:
            log.warning("the lease went to somebody else")
            self.lease.held_by_another(self._clock())

    async def _following_looked(self) -> None:
        """Tables are read as every follower reads them."""
        try:
            await self._following.look(leads=True)
        except Garbled as exc:
            log.warning("what the group has written down cannot be used: %s", exc)

    def _stop_leading(self, why: str) -> None:
        task, self._lead_task = self._lead_task, None
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            if task.done() and not task.cancelled() and (failed := task.exception()) is not None:
                log.error("leading failed: %s", failed, exc_info=failed)
                self.failures += 1
        if self._leads:
            self._leads = False
            self._command.release(why)
            log.warning("this process does not lead its group any more: %s", why)
        self._leading.end()
        self._following.led()
        if why != _OVER:
            self.lease.end()

    async def _tell(self) -> None:
        told_at = -ALIVE_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, told_at + ALIVE_S - self._clock())):
                    await self._waiting.wait()
                    await asyncio.sleep(BATCH_S)
            self._waiting.clear()
            if self._outbox.dropped != self._dropped:
                self._dropped, self._cut_off = self._outbox.dropped, True
            if self._cut_off:
                self._tell_running()
            batch = self._outbox.batch()
            try:
                await self._store.tell(self.number, batch.first, records.batch(batch.records))
            except StateAway as exc:
                self._problem, self._cut_off = str(exc), True
                await asyncio.sleep(RESTART_S)
                continue
            self._outbox.sent(batch)
            told_at = self._clock()
            if len(self._outbox):
                self._waiting.set()

    def _tell_running(self) -> None:
        """Others may have missed what began and ended meanwhile, or a Redis that was started anew may have lost it."""
        self._cut_off = False
        self._outbox.put(records.running(self._running))
        for started in self._running.values():
            self._outbox.put(records.written(started, self._group_clock.shift))

    async def _measure(self) -> None:
        samples = 0
        while True:
            asked_at = self._clock()
            try:
                theirs = await self._store.time()
            except StateAway:
                samples = 0
                await asyncio.sleep(RESTART_S)
                continue
            samples += 1
            if samples == 1:
                continue  # it took the time to connect
            if self._group_clock.measured(asked_at, self._clock(), theirs) and self._leads:
                log.warning("Redis's clock has jumped")
                self._leading.clock_jumped()
            await asyncio.sleep(MEASURE_S if samples > FIRST_SAMPLES else RESTART_S / FIRST_SAMPLES)
