"""One checked call, by a client that comes for it alone."""

from __future__ import annotations

from scalesim.workloads.asking import Asker, Place
from scalesim.workloads.checked_calls import CheckedCall, Ending


async def ask_once(place: Place, call: CheckedCall, patience_s: float) -> Ending:
    async with Asker(place) as asker:
        return await asker.ask(call, patience_s)
