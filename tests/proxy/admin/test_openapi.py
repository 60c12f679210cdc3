"""Every route is described with an example of what it is sent and of what it answers, and works as that shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from scalesim.proxy.admin.operations import Operation

from .conftest import Proxy
from .offices import town

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

JSON = "application/json"
ELSEWHERE = frozenset({"/docs", "/openapi.json"})
ENDLESS = frozenset({"/admin/v1/live"})
OFFICE = tuple(f"/admin/v1/{of}" for of in ("configuration", "recipes", "traces", "keys"))
"""What looks after the proxy itself, and has files."""
GOOD = ("200", "201", "202", "204")
FIRST = ("/space", "/graph", "/adapters/{name}", "/adapters", "/prefetch")
"""What others need, and so is told first; the rest in the order of their description."""
LAST = ("/leave", "/unload", "/rotate")


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    described: dict[str, Any]

    @property
    def place(self) -> tuple[int, int, float]:
        """Things are told, then read, then taken away: what lies deepest first, and agents after what they have."""
        told = next((place for place, end in enumerate(FIRST) if self.path.endswith(end)), len(FIRST))
        if self.method == "delete" or self.path.endswith(LAST):
            return 2, 0, -self.path.count("/") + self.path.endswith("/leave") / 2
        return int(self.method == "get"), told, 0

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


def routes(described: dict[str, Any]) -> Iterator[Route]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if path not in ELSEWHERE | ENDLESS:
                yield Route(method, path, operation)


def resolved(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return described["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema


def body_of(described: dict[str, Any], route: Route) -> object | None:
    """The example of what it is sent; None where it is sent nothing. Fails where there is none."""
    content = route.described.get("requestBody", {}).get("content", {}).get(JSON)
    if content is None:
        return None
    if "example" in content:
        return content["example"]
    schema = content["schema"]
    choices = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return resolved(described, choices[0])["example"]


def answer_of(described: dict[str, Any], route: Route) -> object | None:
    """The example of what it answers when all is well; None where that has no body. Fails where there is none."""
    content = next(one for status, one in route.described["responses"].items() if status in GOOD).get(
        "content", {}
    )
    if "text/plain" in content:
        return content["text/plain"]["example"]
    if JSON not in content:
        assert "204" in route.described["responses"] or content, f"{route} does not say what it answers"
        return None
    return resolved(described, content[JSON]["schema"])["example"]


def path_of(route: Route, **told: str) -> str:
    """With the examples of its parameters, or what is `told` in place of them."""
    path = route.path
    for parameter in route.described.get("parameters", []):
        if parameter["in"] == "path":
            name = parameter["name"]
            shown = parameter.get("examples") or parameter["schema"].get("examples")
            assert shown or name in told, f"{route}: {name} has no example"
            path = path.replace(f"{{{name}}}", quote(told[name] if name in told else str(shown[0]), safe=""))
    return path


def faults_of(described: dict[str, Any], route: Route, answer: httpx.Response) -> list[str]:
    shows = answer_of(described, route)
    faults = []
    if str(answer.status_code) not in GOOD:
        faults.append(f"{route}: {answer.status_code} {answer.text}")
    elif isinstance(shows, dict) and answer.content:
        # OpenAPI as FastAPI writes it leaves out nulls of an example.
        answered = answer.json()
        said = {name for name, value in answered.items() if value is not None}
        if not said <= shows.keys() <= answered.keys():
            faults.append(f"{route}: shows {sorted(shows)}, answers {sorted(answered)}")
    if not route.described.get("description"):
        faults.append(f"{route} is not described")
    return faults


async def test_every_route_works_as_its_example_shows(told: Proxy) -> None:
    described = (await told.client.get("/openapi.json")).json()

    async def nothing(_: Operation) -> None:
        pass

    known = told.operations.begin("prefetch", {"simulation": "town", "agent": "Ann"}, nothing)
    faults: list[str] = []
    for route in sorted(routes(described), key=lambda route: route.place):
        if not route.path.startswith(OFFICE):
            path, body = path_of(route, operation=known.id), body_of(described, route)
            faults += faults_of(
                described, route, await told.client.request(route.method.upper(), path, json=body)
            )
    assert not faults, "\n".join(faults)


async def test_every_route_of_the_office_works_as_its_example_shows(tmp_path: Path) -> None:
    for folder in ("recipes", "traces"):
        (tmp_path / folder).mkdir()
    files = {
        "recipes_folder": str(tmp_path / "recipes"),
        "traces_folder": str(tmp_path / "traces"),
        "keys_file": str(tmp_path / "keys.toml"),
    }
    async with town(tmp_path, "", **files) as one:
        server = str(one.admin.base_url).removesuffix("/admin/v1/")
        described = (await one.admin.get(f"{server}/openapi.json")).json()
        faults: list[str] = []
        for route in sorted(routes(described), key=lambda route: route.place):
            if route.path.startswith(OFFICE):
                path, body = path_of(route, recipe="mytown"), body_of(described, route)
                params = {"let_all_in": "true"} if route.method == "delete" and "/keys/" in path else {}
                faults += faults_of(
                    described,
                    route,
                    await one.admin.request(route.method.upper(), server + path, json=body, params=params),
                )
    assert not faults, "\n".join(faults)
