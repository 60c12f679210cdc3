"""Hostile requests at the port for clients: nothing breaks, nothing is left behind, and nobody is told that we failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import pytest

from scalesim.workloads.asking import Place
from scalesim.workloads.bench_proxy.processes import usage
from tests.faults.town import Process, Town, all_are_right, leaked, servers
from tests.fuzz.hostile_requests import Cases, Pieces, shown, whole

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

AT_ONCE = 16
SILENT_S = 0.3
"""Who is not answered for so long sent what is no whole request. It leaves: that is part of what is tried."""
READ_BYTES = 1 << 16
PROTOCOL_S_OWN = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
"""What RFC 9112 (6.1, 2.3) wants said of codings and versions that are not known: refusals, and no failures of ours."""
SHARE_OF_DATA = 0.8
"""Of all requests; the others go to the admin API."""
MOST_GROWTH = 0.05
MOST_GROWTH_MB = 24
"""With few requests: the interpreter has not seen all of its own code yet."""


@dataclass(slots=True)
class Found:
    statuses: Counter[int] = field(default_factory=Counter)
    """0: no answer."""
    failed: list[tuple[int, Pieces]] = field(default_factory=list)


async def answered(place: Place, request: bytes) -> int:
    """The status of the first answer; 0 if there is none."""
    reader, writer = await asyncio.open_connection(place.host, place.port)
    heard = b""
    try:
        writer.write(request)
        while True:
            async with asyncio.timeout(SILENT_S):
                data = await reader.read(READ_BYTES)
            heard += data
            if not data:
                break
    except (OSError, TimeoutError):
        pass  # refused before all of it was sent, or waiting for more of us
    finally:
        writer.transport.abort()
    _, _, after = heard.partition(b" ")
    return int(after[:3]) if heard.startswith(b"HTTP/1.") and after[:3].isdigit() else 0


async def try_all(place: Place, cases: Sequence[Pieces], found: Found) -> None:
    waiting = iter(cases)

    async def work() -> None:
        for pieces in waiting:
            status = await answered(place, whole(pieces))
            found.statuses[status] += 1
            if status >= 500 and status not in PROTOCOL_S_OWN:
                found.failed.append((status, pieces))

    async with asyncio.TaskGroup() as workers:
        for _ in range(AT_ONCE):
            workers.create_task(work())


async def test_no_request_breaks_the_proxy_nor_makes_it_grow(
    tmp_path: Path, how_many: int, seed: int
) -> None:
    cases = Cases(round(how_many * SHARE_OF_DATA), seed).made()
    with servers(tmp_path / "town") as running:
        town = Town(running)
        engine = await town.engine("--decode-s-per-token", "0", "--output-tokens", "4")
        proxy = await town.proxy(engine.url)
        found = Found()
        half = len(cases) // 2
        await try_all(proxy.place, cases[:half], found)
        before_mb = usage(proxy.pid).rss_mb
        await try_all(proxy.place, cases[half:], found)
        after_mb = usage(proxy.pid).rss_mb
        print(
            f"{len(cases)} requests, statuses {dict(found.statuses.most_common())}, {before_mb:.0f} to {after_mb:.0f} MB"
        )

        ours = [one for one in found.failed if await answered(engine.place, whole(one[1])) < 500]
        assert not ours, "\n".join(f"{status}: {shown(pieces)}" for status, pieces in ours[:5])
        await check_unharmed(proxy)
        assert found.statuses[HTTPStatus.OK] > len(cases) // 50, "most of it did not reach the engine"
        assert after_mb - before_mb < max(MOST_GROWTH_MB, before_mb * MOST_GROWTH)


async def check_unharmed(proxy: Process) -> None:
    """It lives, survived no bug, says nothing of one in its log, and serves as before."""
    assert not proxy.server.has_ended()
    log = proxy.server.log.read_text(errors="replace")
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
    await all_are_right(proxy.place, "afterwards")
    assert await leaked(proxy) == {}
