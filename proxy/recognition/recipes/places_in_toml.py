"""On which line of a TOML text something stands: the parser tells it of broken syntax alone. Pure.

The text is taken apart into its statements: headers of tables, and keys with their values. Each is parsed by itself, so strings of
several lines and what only looks like a header are no trouble.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_MOST_LINES = 400
"""Of one statement: of a longer one only the beginning is looked at."""

_Path = tuple[str | int, ...]
"""Of a value: keys, and numbers in lists from 1 on."""


def line_in(message: str, text: str) -> int | None:
    """Of what the parser said."""
    found = _AT_LINE.search(message)
    if found is not None:
        return int(found[1])
    return text.count("\n") + 1 if "end of document" in message else None


def line_of(text: str, key: str) -> int | None:
    """Of the statement in which `key` (like `calls[2].marks[1].text`) stands, or of the table in which it is missing. `text` is
    valid. None: nowhere in particular."""
    wanted = _parts(key)
    best, length = None, 0
    for line, path in _statements(text):
        common = 0
        for one, other in zip(path, wanted, strict=False):
            if one != other:
                break
            common += 1
        # Of several that come as near, the first: the header of a table, before what is in it.
        if common > length:
            best, length = line, common
    return best


def _parts(key: str) -> _Path:
    parts: list[str | int] = []
    for part in key.split("."):
        name, _, number = part.partition("[")
        parts.append(name)
        if number:
            parts.append(int(number.rstrip("]")))
    return tuple(parts)


def _statements(text: str) -> Iterator[tuple[int, _Path]]:
    """The line on which each begins, and the place of what it says."""
    table: _Path = ()
    counts: dict[_Path, int] = {}
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        if not (stripped := lines[at].strip()) or stripped.startswith("#"):
            at += 1
            continue
        end, value = _statement(lines, at)
        if stripped.startswith("["):
            table = _header(value, counts, is_list=stripped.startswith("[["))
            yield at + 1, table
        else:
            yield at + 1, (*table, *_nested(value))
        at = end


def _statement(lines: list[str], at: int) -> tuple[int, dict[str, object]]:
    """Up to where it ends, and what it says by itself."""
    for end in range(at + 1, min(at + _MOST_LINES, len(lines)) + 1):
        try:
            return end, tomllib.loads("\n".join(lines[at:end]))
        except tomllib.TOMLDecodeError:
            continue
    return at + 1, {}


def _header(value: dict[str, object], counts: dict[_Path, int], *, is_list: bool) -> _Path:
    """With the numbers of the list entries that it is in."""
    keys = _nested(value)
    path: _Path = ()
    for position, key in enumerate(keys, 1):
        path = (*path, key)
        if is_list and position == len(keys):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _nested(value: object) -> list[str]:
    """The keys of tables with one entry, one in another: all that a statement says of where it is."""
    keys: list[str] = []
    while isinstance(value, dict) and len(value) == 1:
        ((key, value),) = value.items()
        keys.append(key)
        if isinstance(value, list):
            break
    return keys
