"""The admin API, asked by schemathesis for all that its own description allows, and for what it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import anyio
import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation

from scalesim.workloads.bench_proxy.processes import usage
from tests.faults.town import Town, servers, until
from tests.fuzz.test_data_port import MOST_GROWTH, MOST_GROWTH_MB, SHARE_OF_DATA, check_unharmed

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

TIMEOUT_S = 60.0
ENGINES_SAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""Statuses that its description has for some operations: what an engine refused, or where there is no room."""


class Fuzzer:
    """Synchronous, as schemathesis is: to be run in a thread."""

    def __init__(self, admin_url: str, seed: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.failed: list[str] = []
        self._url = admin_url
        self._seed = seed
        self._http = requests.Session()
        self._http.trust_env = False
        self._schema = schemathesis.openapi.from_url(f"{admin_url}/openapi.json")

    def run(self, most: int) -> None:
        operations = [one.ok() for one in self._schema.get_all_operations()]
        for operation in operations:
            for mode in GenerationMode:
                self._try(operation, mode, max(1, most // (2 * len(operations))))

    def _try(self, operation: APIOperation, mode: GenerationMode, count: int) -> None:
        described = {int(status) for status in operation.responses.status_codes if status.isdigit()}
        with suppress(Unsatisfiable):  # an operation that takes nothing cannot be asked wrongly
            seeded(self._seed)(_tried(operation, mode, count, lambda case: self._ask(case, described)))()

    def _ask(self, case: Case, described: set[int]) -> None:
        asked = case.as_transport_kwargs(base_url=self._url)
        with self._http.request(**asked, timeout=TIMEOUT_S, stream=True) as answer:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                _ = answer.content  # else it would go on for ever
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 500 and not (
            answer.status_code in ENGINES_SAY and answer.status_code in described
        ):
            self.failed.append(f"{answer.status_code} {answer.text[:200]}: {case.as_curl_command()[:600]}")


def _tried(
    operation: APIOperation, mode: GenerationMode, count: int, ask: Callable[[Case], None]
) -> Callable[[], None]:
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def tried(case: Case) -> None:
        ask(case)

    return tried


async def _put_back(admin_url: str, engine_url: str) -> None:
    """The proxy's engine alone: operators may remove it, and register what only looks like one."""
    async with httpx.AsyncClient(base_url=admin_url, trust_env=False, timeout=TIMEOUT_S) as admin:
        for one in (await admin.get("/admin/v1/engines")).json()["engines"]:
            if one["url"] != engine_url:
                await admin.delete(f"/admin/v1/engines/{quote(one['engine'], safe='')}?drain=false")
        answer = await admin.post("/admin/v1/engines", json={"name": "engine-0", "url": engine_url})
        assert answer.status_code in (HTTPStatus.OK, HTTPStatus.CREATED), answer.text

        async def ready() -> int:
            return (await admin.get("/ready")).status_code

        await until(ready, lambda status: status == HTTPStatus.OK, "an engine that is up")


async def test_no_request_breaks_the_admin_api_nor_makes_the_proxy_grow(
    tmp_path: Path, how_many: int, seed: int
) -> None:
    with servers(tmp_path / "town") as running:
        town = Town(running)
        engine = await town.engine()
        proxy = await town.proxy(engine.url)
        assert proxy.admin_url is not None
        fuzzer = Fuzzer(proxy.admin_url, seed)
        half = round(how_many * (1 - SHARE_OF_DATA)) // 2
        await anyio.to_thread.run_sync(fuzzer.run, half)
        before_mb = usage(proxy.pid).rss_mb
        await anyio.to_thread.run_sync(fuzzer.run, half)
        after_mb = usage(proxy.pid).rss_mb
        asked = fuzzer.statuses.total()
        print(
            f"{asked} requests, statuses {dict(fuzzer.statuses.most_common())}, {before_mb:.0f} to {after_mb:.0f} MB"
        )
        assert not fuzzer.failed, "\n".join(fuzzer.failed[:5])
        await _put_back(proxy.admin_url, engine.url)
        await check_unharmed(proxy)
        assert after_mb - before_mb < max(MOST_GROWTH_MB, before_mb * MOST_GROWTH)
