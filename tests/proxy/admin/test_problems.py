from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from scalesim.proxy.admin import problems
from scalesim.proxy.admin.problem_types import MEANINGS, PATH, ProblemType

from .conftest import Proxy

pytestmark = pytest.mark.anyio


def broken() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.get("/broken")
    async def fail() -> None:
        raise RuntimeError("a secret of our insides")

    return app


async def test_a_bug_is_told_as_a_problem_that_keeps_our_insides() -> None:
    transport = httpx.ASGITransport(broken(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "/broken failed; the log of the proxy says why",
    }


def test_a_long_list_is_cut_and_counted() -> None:
    assert problems.some(["a", "b"]) == "'a', 'b'"
    assert problems.some([str(number) for number in range(25)]).endswith("'19' and 5 more")


async def test_each_type_leads_to_what_it_means(proxy: Proxy) -> None:
    refused = await proxy.client.get("/admin/v1/simulations/atlantis")
    told = await proxy.client.get(refused.json()["type"])
    assert told.json() == {
        "type": "/admin/v1/problems/unknown-simulation",
        "meaning": MEANINGS[ProblemType.UNKNOWN_SIMULATION],
    }
    listed = (await proxy.client.get(PATH)).json()["problems"]
    assert [one["type"] for one in listed] == [one.uri for one in ProblemType]
    unknown = await proxy.client.get(f"{PATH}/bad-luck")
    assert (unknown.status_code, unknown.json()["type"]) == (404, f"{PATH}/unknown-problem")


def test_each_type_is_described() -> None:
    assert MEANINGS.keys() == set(ProblemType)
