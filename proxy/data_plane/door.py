"""A listener's connections: how many there may be, and a look at all of them now and then for those that keep us waiting.

One look a second for all costs less than a timer for each request, and nobody needs to be thrown out to the millisecond.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from scalesim.proxy.access.connections import Connections

LOOKS_EVERY_S = 1.0


class Guest(Protocol):
    def waited(self, passed_s: float) -> None:
        """So much time went by since the last look; it closes itself if that was too much."""
        ...


class Door:
    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._inside: dict[Guest, str] = {}

    def sizes(self) -> dict[str, int]:
        """How much is held right now."""
        return {"client_connections": len(self.connections), "client_addresses": self.connections.origins}

    def enter(self, guest: Guest, origin: str) -> str | None:
        """Why it is refused; None: it is in, until it tells `leave`."""
        refusal = self.connections.open(origin)
        if refusal is None:
            self._inside[guest] = origin
        return refusal

    def leave(self, guest: Guest) -> None:
        """Nothing happens if it is not in."""
        origin = self._inside.pop(guest, None)
        if origin is not None:
            self.connections.close(origin)

    def look(self, passed_s: float) -> None:
        for guest in list(self._inside):
            guest.waited(passed_s)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOKS_EVERY_S)
            # Not by the clock: while the loop was held, nobody could have been heard.
            self.look(LOOKS_EVERY_S)
