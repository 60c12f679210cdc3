"""On which line of a TOML text something stands: the parser tells it of broken syntax alone. Pure, and in a time that grows as the text does.

The text is taken apart into its statements: headers of tables, and keys with their values. Each is parsed by itself, so strings of
several lines and what only looks like a header are no trouble.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from scalesim.proxy.toml_text import TOKENS, NotToml, loads

_Path = tuple[str | int, ...]
"""Of a value: keys, and numbers in lists from 1 on."""


@dataclass(slots=True)
class _Statement:
    line: int
    """On which it begins, from 1 on."""
    text: str = ""
    entries: list[int] = field(default_factory=list)
    """Of a list: the lines on which its entries begin."""


def line_of(text: str, key: str) -> int | None:
    """Of the statement in which `key` (like `calls[2].marks[1].text`) stands, or of the table in which it is missing. `text` is
    valid. None: nowhere in particular."""
    wanted = _parts(key)
    best, length = None, 0
    for statement, path in _placed(text):
        common = 0
        for one, other in zip(path, wanted, strict=False):
            if one != other:
                break
            common += 1
        # Of several that come as near, the first: the header of a table, before what is in it.
        if common > length:
            best, length = statement, common
    if best is None:
        return None
    entry = wanted[length] if length < len(wanted) else None
    if isinstance(entry, int) and entry <= len(best.entries):
        return best.entries[entry - 1]
    return best.line


def _parts(key: str) -> _Path:
    parts: list[str | int] = []
    for part in key.split("."):
        name, _, number = part.partition("[")
        parts.append(name)
        if number:
            parts.append(int(number.rstrip("]")))
    return tuple(parts)


def _placed(text: str) -> Iterator[tuple[_Statement, _Path]]:
    """Each with the place of what it says."""
    table: _Path = ()
    counts: dict[_Path, int] = {}
    for statement in _statements(text):
        try:
            keys = _nested(loads(statement.text))
        except NotToml:
            continue
        if statement.text.startswith("["):
            table = _header(keys, counts, is_list=statement.text.startswith("[["))
            yield statement, table
        else:
            yield statement, (*table, *keys)


def _statements(text: str) -> Iterator[_Statement]:
    depth, line, begun_at = 0, 1, 0
    statement: _Statement | None = None
    entry_follows = False
    for found in TOKENS.finditer(text):
        token = found[0]
        if token == "\n" and depth == 0 and statement is not None:
            statement.text = text[begun_at : found.start()]
            yield statement
            statement = None
        elif token != "\n" and not token.startswith("#"):
            if statement is None:
                statement, begun_at = _Statement(line), found.start()
            if entry_follows and token not in "]}":
                statement.entries.append(line)
            if token in "]}":
                depth -= 1
            entry_follows = (token, depth) in (("[", 0), (",", 1))
            if token in "[{":
                depth += 1
        line += token.count("\n")
    if statement is not None:
        statement.text = text[begun_at:]
        yield statement


def _header(keys: list[str], counts: dict[_Path, int], *, is_list: bool) -> _Path:
    """With the numbers of the list entries that it is in."""
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
    return keys
