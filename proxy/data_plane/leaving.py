"""Clients that leave: who works for one stops as soon as it has.

The server that we run says so by a plain call, under `LEAVING` in the scope of a request; all others by ASGI's `receive`, for
which a task has to wait beside each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from .asgi import ClientGone, Receive, Scope

LEAVING = "scalesim.leaving"
"""Where the scope holds the `Leaving` of its client, if the server has one."""

Result = TypeVar("Result")


class Leaving:
    """Of one client, while it waits for one answer."""

    __slots__ = ("_at_work", "_has_left")

    def __init__(self) -> None:
        self._has_left = False
        self._at_work: asyncio.Task[object] | None = None

    def tell(self) -> None:
        """It has left."""
        self._has_left = True
        if self._at_work is not None:
            self._at_work.cancel()

    async def while_there(self, work: Awaitable[Result]) -> Result:
        """As the function of that name. One at a time."""
        task = asyncio.current_task()
        assert task is not None
        self._at_work = task
        if self._has_left:
            task.cancel()  # thrown where the work first waits, so that it ends as it always does
        try:
            return await work
        except asyncio.CancelledError:
            # Somebody else may have cancelled it besides.
            if self._has_left and task.uncancel() == 0:
                raise ClientGone from None
            raise
        finally:
            self._at_work = None


async def while_there(scope: Scope, receive: Receive, work: Awaitable[Result]) -> Result:
    """What `work` gives. As soon as the client has left it is cancelled, and `ClientGone` raised. To be used once the body was
    read."""
    leaving: Leaving | None = scope.get(LEAVING)
    if leaving is not None:
        return await leaving.while_there(work)
    leaving = Leaving()
    watcher = asyncio.create_task(_tell_when_gone(receive, leaving))
    try:
        return await leaving.while_there(work)
    finally:
        watcher.cancel()


async def _tell_when_gone(receive: Receive, leaving: Leaving) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    leaving.tell()
