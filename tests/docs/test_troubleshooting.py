"""What docs/troubleshooting.md says is printed or answered really is, and no type of refusal is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from .pages import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
pytestmark = pytest.mark.slow  # all of the program is read
REST = ["proxy/admin", "proxy/dashboard"]
"""They answer in problems, not in the form of OpenAI's errors."""


def rows(heading: str) -> list[list[str]]:
    """The cells of all tables below a heading, without their heads."""
    section = re.split(r"^## ", PAGE.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    heads = {number - 1 for number, line in enumerate(lines) if set("".join(line)) <= set("|- ")}
    return [line for number, line in enumerate(lines) if number not in heads and number - 1 not in heads]


def sources() -> Iterator[Path]:
    for folder in ("proxy", "engine_adapters"):
        yield from sorted((ROOT / folder).rglob("*.py"))


@cache
def said() -> frozenset[str]:
    """Every text in the program; of one with values in it, the pieces around them."""
    found: set[str] = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(re.split(r"%[sdgr]|%\.?\d*[gf]", node.value))
    return frozenset(found)


def kinds() -> set[str]:
    """Types of what the proxy answers to clients: where an error is described, and where one is written outright."""
    found: set[str] = set()
    for path in sources():
        if str(path.relative_to(ROOT)).startswith(tuple(REST)):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.ClassDef(body=body):
                    for line in body:
                        match line:
                            case ast.Assign(
                                targets=[ast.Name(id="kind")], value=ast.Constant(value=str(kind))
                            ):
                                found.add(kind)
                case ast.Call(
                    func=ast.Name(id="_Refused" | "_answer"), args=[_, ast.Constant(value=str(kind)), *_]
                ):
                    found.add(kind)
    return found


@pytest.mark.parametrize("heading", ["The proxy does not start", "By what the log says"])
def test_every_line_that_is_told_of_is_one_that_is_printed(heading: str) -> None:
    cells = [row[0] for row in rows(heading)]
    assert len(cells) >= 5
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    assert not [text for text in quoted if not any(text.strip() in one for one in said())]


def test_every_type_of_refusal_is_told_of_and_no_other() -> None:
    told = {row[0].strip("`") for row in rows("By the type of a refusal")}
    assert told == kinds()


def test_a_line_that_nobody_prints_is_noticed() -> None:
    assert not any("the moon is full" in one for one in said())
    assert "engine_full" in kinds()
