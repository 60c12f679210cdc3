"""Reads TOML that somebody sent. The parser of the standard library takes minutes for a key of many parts, and raises more than it says.

Pure, and in a time that hardly grows faster than the text does; texts are to be bounded by whoever takes them.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

TOKENS = re.compile(
    r'''"""(?:\\.|[^\\]|\\\Z)*?(?:"{3,5}|\Z)|\'\'\'.*?(?:\'{3,5}|\Z)|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?'''
    r"""|\#[^\n]*|[\[\]{},\n]|[^\s"'\#\[\]{},]+""",
    re.DOTALL,
)
"""Strings and comments whole, also those that nobody ended; brackets, commas and ends of lines; whatever is between."""
MAX_PARTS = 16
"""Of a key: `a.b.c` has three. The parser's time grows with their square."""
_BREAKS = frozenset("[]{},\n")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


class NotToml(ValueError):
    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line
        """From 1 on; None: not known."""


def loads(text: str) -> dict[str, Any]:
    """Raises `NotToml`. What it says shows nothing of the values."""
    _check_keys(text)
    try:
        return tomllib.loads(text)
    except RecursionError as exc:
        raise NotToml("it is nested too deep", None) from exc
    except ValueError as exc:
        raise NotToml(str(exc), _line_in(str(exc), text)) from exc


def _check_keys(text: str) -> None:
    """Raises `NotToml`."""
    line, dots = 1, 0
    for found in TOKENS.finditer(text):
        token = found[0]
        first = token[0]
        if first in _BREAKS:
            dots = 0
        elif first not in "\"'#":
            dots += token.count(".")
            if dots >= MAX_PARTS:
                raise NotToml(f"a key has more than {MAX_PARTS} parts (at line {line}, column 1)", line)
        line += token.count("\n")


def _line_in(message: str, text: str) -> int | None:
    """Of what the parser said."""
    found = _AT_LINE.search(message)
    if found is not None:
        return int(found[1])
    return text.count("\n") + 1 if "end of document" in message else None
