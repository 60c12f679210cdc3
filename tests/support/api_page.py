"""The tables of the admin REST in docs/api.md, from its OpenAPI description. `python -m tests.support.api_page` writes them."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.proxy.admin.offices import town

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
BEGIN, END = "<!-- routes -->\n", "<!-- end of routes -->\n"
_JSON = "application/json"


async def described(folder: Path) -> dict[str, Any]:
    """As a running proxy tells it."""
    async with town(folder) as running:
        answer = await running.admin.get(str(running.admin.base_url.join("/openapi.json")))
        found: dict[str, Any] = answer.json()
        return found


def tables(description: dict[str, Any]) -> str:
    by_tag: dict[str, list[str]] = {}
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            for tag in route.get("tags", ["other"]):
                by_tag.setdefault(tag, []).append(_row(description, method, path, route))
    return "\n".join(line for tag, rows in sorted(by_tag.items()) for line in _section(tag, rows))


def with_tables(page: str, description: dict[str, Any]) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{tables(description)}{END}{rest.partition(END)[2]}"


def _section(tag: str, rows: list[str]) -> Iterator[str]:
    yield f"### {tag[:1].upper()}{tag[1:]}\n"
    yield "| route | what it does | sent, for example |"
    yield "|---|---|---|"
    yield from rows
    yield ""


def _row(description: dict[str, Any], method: str, path: str, route: dict[str, Any]) -> str:
    asked = [one["name"] for one in route.get("parameters", []) if one["in"] == "query"]
    query = f"<br>`?{'`, `'.join(asked)}`" if asked else ""
    about = " ".join(route.get("description", route.get("summary", "")).split()).replace("|", "\\|")
    return (
        f"| `{method.upper()} {path.replace(':path', '')}`{query} | {about} | {_sent(description, route)} |"
    )


def _sent(description: dict[str, Any], route: dict[str, Any]) -> str:
    content = route.get("requestBody", {}).get("content", {}).get(_JSON)
    if content is None:
        return ""
    example = content.get("example")
    if example is None:
        schema = content["schema"]
        choices = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
        name = choices[0].get("$ref", "").rpartition("/")[2]
        example = (description["components"]["schemas"][name] if name else choices[0]).get("example")
    return "" if example is None else f"`{json.dumps(example).replace('|', chr(92) + '|')}`"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(described(Path(folder)))
    PAGE.write_text(with_tables(PAGE.read_text(), found))


if __name__ == "__main__":
    main()
