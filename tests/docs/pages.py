"""The pages of the documentation as data: their links, headings and blocks of code, each block with its mark.

A block of commands (```sh) or of Python is run by a test as it is printed, unless the line above it is a comment that says otherwise:

    <!-- serves -->             the last command goes on until it is ended: it has to become ready
    <!-- not run: needs ... --> or "takes ...": what a test has not, like a GPU, a cluster, or hours
    <!-- run by: tests/... -->  that test runs it as it is printed

`<!-- all run by: tests/... -->` says the last of every block of a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = frozenset({"sh", "bash"})
RUNNABLE = COMMANDS | {"python"}
LANGUAGES = RUNNABLE | {"toml", "json", "yaml", "text"}
_MARK = re.compile(r"<!-- (serves|not run: .+?|run by: \S+) -->")
_ALL = re.compile(r"<!-- all run by: (\S+) -->")
_PARSER = MarkdownIt("commonmark").enable("table")


class Way(StrEnum):
    RUN = "run"
    SERVES = "serves"
    NOT_RUN = "not run"
    RUN_BY = "run by"


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    """From 1, of its fence."""
    language: str
    text: str
    way: Way = Way.RUN
    why: str = ""
    """The reason why it is not run, or the test that runs it."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    path: Path
    blocks: tuple[Block, ...]
    links: tuple[str, ...]
    """Of pictures too, as they are written."""
    anchors: frozenset[str]

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))


def pages() -> list[Page]:
    """README, CONTRIBUTING, CHANGELOG, and all of docs/."""
    return [page_at(path) for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))]


def page_at(path: Path) -> Page:
    text = path.read_text()
    tokens = list(_flat(_PARSER.parse(text)))
    inherited = _ALL.search(text)
    lines = text.splitlines()
    blocks = [
        _block(path, token, lines, inherited[1] if inherited else None)
        for token in tokens
        if token.type in ("fence", "code_block")
    ]
    links = [str(token.attrs[key]) for token in tokens for key in ("href", "src") if key in token.attrs]
    # Pictures for a light and for a dark background can only be said in HTML.
    links += re.findall(
        r'(?:src|srcset|href)="([^"]+)"', "".join(t.content for t in tokens if "html" in t.type)
    )
    return Page(path, tuple(blocks), tuple(links), frozenset(_anchors(tokens)))


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])


def _block(path: Path, token: Token, lines: list[str], runner: str | None) -> Block:
    assert token.map is not None
    begin = token.map[0]
    language = token.info.split()[0] if token.info.split() else ""
    way, why = (Way.RUN, "") if runner is None else (Way.RUN_BY, runner)
    if begin and (mark := _MARK.fullmatch(lines[begin - 1].strip())):
        said, _, why = mark[1].partition(": ")
        way = Way(said)
    return Block(path, begin + 1, language, token.content, way, why)


def _anchors(tokens: list[Token]) -> Iterator[str]:
    """As GitHub makes them of headings."""
    seen: dict[str, int] = {}
    for before, token in pairwise(tokens):
        if before.type != "heading_open":
            continue
        text = "".join(one.content for one in token.children or [] if one.type in ("text", "code_inline"))
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        again = seen.get(slug, 0)
        seen[slug] = again + 1
        yield f"{slug}-{again}" if again else slug
