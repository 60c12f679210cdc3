"""Every route is described with an example of what it is sent and of what it answers, and works as that shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from scalesim.proxy.admin.operations import Operation

from .conftest import Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

JSON = "application/json"
ELSEWHERE = frozenset({"/docs", "/openapi.json"})
FIRST = ("/space", "/graph", "/adapters/{name}", "/adapters", "/prefetch")
"""What others need, and so is told first; the rest in the order of their description."""
LAST = ("/leave", "/unload")


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
            if path not in ELSEWHERE:
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
    good = [one for status, one in route.described["responses"].items() if status in ("200", "202")]
    content = good[0].get("content", {}) if good else {}
    if "text/plain" in content:
        return content["text/plain"]["example"]
    if JSON not in content:
        assert "204" in route.described["responses"]
        return None
    return resolved(described, content[JSON]["schema"])["example"]


async def test_every_route_works_as_its_example_shows(told: Proxy) -> None:
    described = (await told.client.get("/openapi.json")).json()

    async def nothing(_: Operation) -> None:
        pass

    known = told.operations.begin("prefetch", {"simulation": "town", "agent": "Ann"}, nothing)
    problems: list[str] = []
    for route in sorted(routes(described), key=lambda route: route.place):
        path = route.path
        for parameter in route.described.get("parameters", []):
            if parameter["in"] == "path":
                shown = parameter.get("examples") or parameter["schema"].get("examples")
                assert shown, f"{route}: {parameter['name']} has no example"
                value = known.id if parameter["name"] == "operation" else str(shown[0])
                path = path.replace(f"{{{parameter['name']}}}", quote(value, safe=""))
        body, shows = body_of(described, route), answer_of(described, route)
        answer = await told.client.request(route.method.upper(), path, json=body)
        if answer.status_code not in (200, 201, 202, 204):
            problems.append(f"{route}: {answer.status_code} {answer.text}")
        elif isinstance(shows, dict) and answer.content and answer.json().keys() != shows.keys():
            problems.append(f"{route}: shows {sorted(shows)}, answers {sorted(answer.json())}")
        if not route.described.get("description"):
            problems.append(f"{route} is not described")
    assert not problems, "\n".join(problems)
