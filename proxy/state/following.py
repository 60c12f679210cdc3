"""What a member does that does not lead: it looks at what the leader wrote, and asks for no more than what changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from scalesim.proxy.core.events import Event
from scalesim.proxy.core.keeping import Keeping
from scalesim.proxy.core.plain import Garbled

from .facts import ADAPTERS, ENGINES, OPERATORS, PLACES, Facts
from .head import Head, head_of
from .store import StateAway, Store
from .tables import Version

log = logging.getLogger(__name__)

LOOK_S = 0.1
_OWN_FIRST_S = 5.0
"""For so long what an operator told this member goes before what the leader wrote without it."""


class Following:
    def __init__(
        self,
        store: Store,
        facts: Facts,
        keeping: Callable[[], Keeping],
        post: Callable[[Event], None],
        clock: Callable[[], float],
        number: int,
        engines_told: Callable[[], None],
    ) -> None:
        """`keeping`: of the core as it is; `post`: to the core; `number`: of this member; `engines_told`: the facts have others."""
        self.head: Head | None = None
        """What was seen last."""
        self.problem = ""
        """Why nothing could be read last."""
        self._leads = False
        """The tables are this member's to write."""
        self._looking = asyncio.Lock()
        self._store = store
        self._facts = facts
        self._keeping = keeping
        self._post = post
        self._clock = clock
        self._number = number
        self._engines_told = engines_told
        self._seen: bytes | None = None
        self._told = (0, 0.0)
        """The number of the last record here that an operator told, and when."""

    def told(self, number: int) -> None:
        self._told = number, self._clock()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
                self.problem = ""
            except (StateAway, Garbled) as exc:
                self.problem = str(exc)
            await asyncio.sleep(LOOK_S)

    async def look(self, *, leads: bool = False) -> None:
        """Raises `StateAway` and `Garbled`. `leads`: and from now on until `led` no table is read, as this member writes them."""
        async with self._looking:
            try:
                await self._look(all_of_it=leads)
            except Garbled:
                self._leads = self._leads or leads
                raise
            self._leads = self._leads or leads

    def led(self) -> None:
        """This member leads no more."""
        self._leads = False

    async def _look(self, *, all_of_it: bool) -> None:
        """`all_of_it`: also what operators told here that the leader has not heard; whoever comes to lead hears that again."""
        value = await self._store.head()
        if value is None or value == self._seen:
            return
        head = head_of(value)
        if self._leads or head.leader == self._number:
            self.head, self._seen = head, value
            return
        number, told_at = self._told
        heard = all_of_it or head.next.get(self._number, 0) > number or self._clock() - told_at > _OWN_FIRST_S
        for name, version in head.tables.items():
            if name in self._facts.tables and (heard or name not in OPERATORS):
                await self._refresh(name, version)
        self.head = head
        if heard:
            self._seen = value

    async def _refresh(self, name: str, version: Version) -> None:
        table = self._facts.tables[name]
        if version == table.version and not table.is_unsure:
            return
        changed: dict[str, bytes | None] = {}
        has_gap = table.is_unsure or table.version.life != version.life
        changes = None if has_gap else await self._store.changes(name, table.version)
        if changes is not None:
            for one in changes:
                changed.update(table.apply(one))
        else:
            whole: dict[str, bytes] = {}
            async for piece in self._store.whole(self._store.keys.table(name)):
                whole.update((field.decode(), value) for field, value in piece.items())
            changed = table.replace(version, whole)
        if name == ADAPTERS:
            self.restore_adapters()
        elif name == PLACES:
            self._facts.moved(changed)
        elif name == ENGINES:
            self._engines_told()
        for event in self._facts.events(name, changed, self._clock()):
            self._post(event)

    def restore_adapters(self) -> None:
        try:
            known = self._facts.adapters()
            if known is not None:
                self._keeping().restore_adapters(known)
        except Garbled:
            self._facts.unread += 1
            log.warning("the adapters that the group knows could not be read, and stay as they were")
