"""The LoRA adapters that an engine knows: its host memory, who uses which, and SGLang's answers to load and unload."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..sglang_plugin.ledger import Rank
from .asks import BadRequest

Json = dict[str, Any]

MAX_EVER = 65_536
"""Adapters whose path is remembered after they left; the one longest unused is forgotten first."""
NOT_ENABLED = "LoRA is not enabled. Please set `--enable-lora` to enable LoRA."


@dataclass(frozen=True, slots=True)
class Adapter:
    id: str
    """New with each load: prefixes that were cached under an earlier one are not found again."""
    name: str
    path: str

    @property
    def state(self) -> int:
        """Stands for its weights: other paths give other answers, and one path under two names the same."""
        return zlib.crc32(self.path.encode())


class Adapters:
    """`limit`: how many host memory may hold; the one that ranks lowest then leaves, once no call uses it.

    `forget` is told of each that left, to give up its slot and its prefixes. As with SGLang, a call that names an
    adapter which was loaded at any time brings it back.
    """

    def __init__(
        self, limit: int | None, *, rank: Callable[[str, Any], Rank], forget: Callable[[Adapter], None]
    ) -> None:
        self.limit = limit
        self.registered: OrderedDict[str, Adapter] = OrderedDict()
        """Used longest ago first."""
        self._ever: OrderedDict[str, str] = OrderedDict()
        self._users: Counter[str] = Counter()
        self._rank = rank
        self._forget = forget
        self._update = asyncio.Lock()
        self._released = asyncio.Event()

    async def load(self, name: str, path: str) -> tuple[int, Json]:
        async with self._update:
            try:
                await self._add(name, path)
            except ValueError as exc:
                return self._result(str(exc))
            return self._result()

    async def unload(self, name: str) -> tuple[int, Json]:
        """Answers once no call uses it."""
        async with self._update:
            if name not in self.registered:
                return self._result(
                    f"LoRA with name {name} does not exist. Loaded LoRAs: {self.registered.keys()}"
                )
            await self._remove(name)
            return self._result()

    @asynccontextmanager
    async def lent(self, name: str) -> AsyncIterator[Adapter]:
        """While one call uses it. Raises `BadRequest` for an adapter that was never loaded."""
        adapter = await self._acquire(name)
        try:
            yield adapter
        finally:
            self._release(adapter)

    async def _acquire(self, name: str) -> Adapter:
        if name not in self.registered:
            async with self._update:
                if name not in self.registered:
                    if (path := self._ever.get(name)) is None:
                        raise BadRequest(
                            f"Got LoRA adapter that has never been loaded: {name}\n"
                            f"All loaded adapters: {self._ever.keys()}."
                        )
                    await self._add(name, path)
        self.registered.move_to_end(name)
        adapter = self.registered[name]
        self._users[adapter.id] += 1
        return adapter

    def _release(self, adapter: Adapter) -> None:
        self._users[adapter.id] -= 1
        if not self._users[adapter.id]:
            del self._users[adapter.id]
            self._released.set()

    async def _add(self, name: str, path: str) -> None:
        if name in self.registered:
            raise ValueError(f"Failed to load LoRA adapter {name} because it is already loaded")
        if _is_missing(path):
            raise ValueError(f"Failed to load LoRA adapter {name}: no such file or directory: '{path}'")
        self.registered[name] = Adapter(uuid.uuid4().hex, name, path)
        self._ever[name] = path
        self._ever.move_to_end(name)
        if len(self._ever) > MAX_EVER:
            self._ever.popitem(last=False)
        while self.limit is not None and len(self.registered) > self.limit:
            others = [(self._rank(other, age), other) for age, other in enumerate(self.registered)]
            await self._remove(min(pair for pair in others if pair[1] != name)[1])

    async def _remove(self, name: str) -> None:
        adapter = self.registered.pop(name)
        while self._users[adapter.id]:
            self._released.clear()
            await self._released.wait()
        del self._users[adapter.id]
        self._forget(adapter)

    def _result(self, error: str = "") -> tuple[int, Json]:
        loaded = {name: adapter.path for name, adapter in self.registered.items()}
        answer = {"success": not error, "error_message": error, "loaded_adapters": loaded}
        return (400 if error else 200), answer

    def sizes(self) -> dict[str, int]:
        return {"adapters_registered": len(self.registered), "adapters_ever": len(self._ever)}


def _is_missing(path: str) -> bool:
    """Nothing is read from it. What is not absolute might be a name on a hub."""
    return Path(path).is_absolute() and not Path(path).exists()
