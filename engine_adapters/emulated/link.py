"""The link between host memory and the device: one transfer at a time, and whoever is waited for goes first."""

from __future__ import annotations

import asyncio

SLICE_BYTES = 256 * 1024
"""A load ahead moves at least so much at a time: a demand load waits for one slice at most."""
SLICE_S = 1e-3
"""As much as the link moves in this time, if that is more: no timer is fine enough for the slices of a fast link, and what
each costs of computing would be most of what a load takes."""


class Link:
    """With `bytes_per_s` 0 it costs nothing, whatever the overhead."""

    def __init__(self, bytes_per_s: float = 0.0, overhead_s: float = 0.0) -> None:
        if bytes_per_s < 0 or overhead_s < 0:
            raise ValueError(
                f"link_bytes_per_s {bytes_per_s} and link_overhead_s {overhead_s} must be from 0 on"
            )
        self.bytes_per_s = bytes_per_s
        self.overhead_s = overhead_s
        self._lane = asyncio.Lock()
        self._demands = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def slice_bytes(self) -> int:
        return max(SLICE_BYTES, int(self.bytes_per_s * SLICE_S))

    def seconds(self, size_bytes: int, loads: int) -> float:
        """So many bytes, of which so many loads begin."""
        if not self.bytes_per_s or not size_bytes:
            return 0.0
        return size_bytes / self.bytes_per_s + loads * self.overhead_s

    async def demand(self, seconds: float) -> None:
        """A step of the engine waits for this transfer, and for the slice that is under way."""
        self._demands += 1
        self._quiet.clear()
        try:
            async with self._lane:
                await asyncio.sleep(seconds)
        finally:
            self._demands -= 1
            if not self._demands:
                self._quiet.set()

    async def no_demand(self) -> None:
        """Returns when no step waits for the link; a slice may begin if it does so at once."""
        while not self._quiet.is_set():
            await self._quiet.wait()

    async def slice(self, seconds: float) -> None:
        async with self._lane:
            await asyncio.sleep(seconds)
