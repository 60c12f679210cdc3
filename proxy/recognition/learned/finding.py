"""How the value of a place is found in a text: by plain searches, each of them bounded."""

from __future__ import annotations

from collections.abc import Iterator

from ..recipes.patterns import Literals
from .names import CHARS, name_in
from .place import Before
from .vocabulary import CUES, PHRASES

VALUE_CHARS = 200
"""A line that stands for somebody is cut here: two descriptions that begin alike for longer are rare."""

_KEY_VALUE_CHARS = 120
"""What stands after a key, in a line that has several: shorter than a line, and often cut at a comma before."""

_TRIED = 16
"""So many times a cue may stand there without a name before it is given up."""

_COMPARED = 3
"""Names in one context that are looked at, to see whether several are spoken to."""

_WITHIN = 4
"""So many times a key may be the end of another word ("nickname:") before it is given up."""


_TAILS = {words: words[1:] + " " for words in (*CUES, *PHRASES)}
"""Cues without their first letter, which may be a capital."""

_ALL = Literals(_TAILS.values())


def may_have(text: str, words: str) -> bool:
    """Cheap: in most prompts there are hardly any cues."""
    return _TAILS[words] in text


def there(text: str) -> set[str]:
    """As `may_have`, of all cues in one pass: a fifth of what it costs to look for each."""
    found = _ALL.in_(text)
    return {words for words, tail in _TAILS.items() if tail in found} if found else set()


def after(text: str, words: str, start: int) -> int:
    """Where it stands after a cue, from there on; -1 if nowhere."""
    tail = _TAILS[words]
    while (at := text.find(tail, start)) >= 0:
        if (
            at
            and text[at - 1].lower() == words[0]
            and not (at > 1 and text[at - 2].isalnum() and words[0].isalpha())
        ):
            return at + len(tail)
        start = at + 1
    return -1


def cued(text: str, words: str, before: Before) -> str | None:
    """The first name after these words in this context."""
    at, length = 0, len(words) + 1
    for _ in range(_TRIED):
        if (at := after(text, words, at)) < 0:
            return None
        if _context(text, at - length) is before and (name := _name_at(text, at)) is not None:
            return name
    return None


def cues(text: str, words: str) -> dict[Before, tuple[str, bool]]:
    """The first name in each context, and whether another one follows soon."""
    found: dict[Before, list[str]] = {}
    at, length = 0, len(words) + 1
    for _ in range(_TRIED):
        if (at := after(text, words, at)) < 0:
            break
        names = found.setdefault(_context(text, at - length), [])
        if len(names) < _COMPARED and (name := _name_at(text, at)) is not None:
            names.append(name)
    return {before: (names[0], len(set(names)) > 1) for before, names in found.items() if names}


def phrases(text: str, words: str, tries: int = _TRIED) -> Iterator[str]:
    """What stands after the words where it is no name."""
    at = 0
    for _ in range(tries):
        if (at := after(text, words, at)) < 0:
            return
        phrase = text[at : at + CHARS].partition("\n")[0].strip()
        if phrase and name_in(phrase) is None:
            yield phrase


def keyed(text: str, key: str) -> str | None:
    """What stands after the key, up to the end of the line or of the clause."""
    at = text.find(key)
    for _ in range(_WITHIN):
        if at <= 0 or not (text[at - 1].isalnum() or text[at - 1] == "_"):
            break
        at = text.find(key, at + 1)
    if at < 0:
        return None
    at += len(key)
    value = text[at : at + _KEY_VALUE_CHARS].lstrip(" ")
    for end in ("\n", ", ", "; "):
        value = value.partition(end)[0]
    return value.rstrip() or None


def below(text: str, heading: str) -> str | None:
    at = text.find(heading + "\n")
    if at < 0:
        return None
    at += len(heading) + 1
    return first_line(text[at : at + 2 * VALUE_CHARS])


def first_line(text: str) -> str | None:
    return text[: 2 * VALUE_CHARS].lstrip().partition("\n")[0][:VALUE_CHARS].rstrip() or None


def last_line(text: str) -> str | None:
    return text[-VALUE_CHARS:].rstrip().rpartition("\n")[2].strip() or None


def _name_at(text: str, at: int) -> str | None:
    return name_in(text[at : at + CHARS].partition("\n")[0])


def _context(text: str, at: int) -> Before:
    if at == 0 or text[at - 1] == "\n":
        return Before.LINE
    last = text[at - 2] if text[at - 1] == " " and at > 1 else text[at - 1]
    if last in ".!?":
        return Before.SENTENCE
    if last in "\"'`“‘«":
        return Before.QUOTE
    return Before.COLON if last == ":" else Before.LINE if last == "\n" else Before.WORD
