"""One prompt, read as far as it is needed: the places that it offers for an identity, each found the same way in every prompt.

Whether the values of a place tell callers apart is not judged here. Bounded: of a long prompt its first and its last characters
are read, of its lines the first and the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..prompt import Message, Prompt
from .finding import below, cued, cues, first_line, keyed, last_line, may_have, phrases, there
from .place import Place, Where
from .vocabulary import ADDRESSED, CUES, MASTERS, PHRASES

MAX_CHARS = 16_384
"""Of a longer prompt so many characters of its beginning are read and so many of its end."""

_MESSAGE_CHARS = 8_192
"""Of a longer message half of it from each end: one long document must not hide what stands beside it."""

_FIRST_MESSAGES = 4
"""Who calls is said at the beginning of a conversation, or in the last message: in those in between others speak."""

_LINES = 16
"""Of each message so many lines from each end are read for keys and headings in a lesson."""

_PART_CHARS = 1024
"""And so many characters from each end: the cost of a lesson."""

_LONG_LINE = 200
"""Characters from which on a line is read by its clauses, as if each were a line."""

_CLAUSES, _CLAUSED_CHARS = 12, 2048
"""Of a long line so many clauses within so many characters."""

_BULLETS = ("* ", "- ", "• ")
_KEY_CHARS = 40
"""A longer text before a colon is a sentence, and no key."""

_HEADING_CHARS = 60
"""A longer line that ends in a colon introduces what was said, not what stands below."""

_ENDING_CHARS, _BEGINNING_CHARS = 24, 24
"""So much tells kinds of calls apart: a question's last words, a template's first."""

_ROLE_CHARS = 40
"""A role is said soon after "You are"; what comes later is about others."""

_ADDRESSED = 4
"""So often somebody may be addressed before it is said as what: later it is others who speak."""

_EDGES: dict[str, tuple[Callable[[str], str | None], int]] = {
    **{f"first line of message {index + 1}": (first_line, index) for index in range(_FIRST_MESSAGES)},
    "last line of message 1": (last_line, 0),
    "first line of the last message": (first_line, -1),
    "last line": (last_line, -1),
}
"""How it is read, and of which message."""

_EDGE_PLACES = {key: Place(Where.EDGE, key) for key in _EDGES}

_MASTERS = re.compile(rf"\b(?:{'|'.join(map(re.escape, MASTERS))})\b")


class Found(NamedTuple):
    place: Place
    value: str
    is_torn: bool = False
    """Somebody else is spoken to at a later place of the same form."""


class Read:
    __slots__ = ("_cues", "_messages", "text")

    def __init__(self, prompt: Prompt) -> None:
        messages = prompt.messages
        if len(messages) == 1 and len(messages[0].text) <= _MESSAGE_CHARS:
            text = messages[0].text
        else:
            text = "\n".join([message.text for message in messages])
            if len(text) > _MESSAGE_CHARS:
                text = "\n".join([_bounded(message.text, _MESSAGE_CHARS) for message in messages])
                if len(text) > 2 * MAX_CHARS:
                    text = _bounded(text, 2 * MAX_CHARS)
        self.text = text
        self._messages: Sequence[Message] = messages
        self._cues: set[str] | None = None
        """Those that are there, once they were looked for."""

    def value(self, place: Place) -> str | None:
        match place.where:
            case Where.CUE:
                return cued(self.text, place.key, place.before)
            case Where.PHRASE:
                return next(phrases(self.text, place.key), None)
            case Where.KEY:
                return keyed(self.text, place.key)
            case Where.AFTER:
                return below(self.text, place.key)
            case Where.EDGE:
                return self._edge(place.key)

    def places(self) -> Iterator[Found]:
        """All that there are, each once: for learning."""
        text = self.text
        self._cues = cues_there = there(text)
        for cue in CUES:
            if cue in cues_there:
                for before, (name, is_torn) in cues(text, cue).items():
                    yield Found(Place(Where.CUE, cue, before), name, is_torn)
        for cue in PHRASES:
            if cue in cues_there and (phrase := next(phrases(text, cue), None)):
                yield Found(Place(Where.PHRASE, cue), phrase)
        for key, place in _EDGE_PLACES.items():
            if value := self._edge(key):
                yield Found(place, value)
        seen: set[str] = set()
        for line in self._lines():
            # Most lines are sentences.
            if ": " in line or "=" in line or line.startswith(_BULLETS) or len(line) > _LONG_LINE:
                for piece in _pieces(line):
                    if (words := _key_of(piece)) and words not in seen and (value := keyed(text, words)):
                        seen.add(words)
                        yield Found(Place(Where.KEY, words), value)
            if len(line) <= _HEADING_CHARS and (line[-1] in ":>" or line[0] in "#=[*") and line not in seen:
                seen.add(line)
                if value := below(text, line):
                    yield Found(Place(Where.AFTER, line), value)

    def ending(self) -> str:
        """Calls of one kind mostly end alike: what is asked for stands last."""
        return self._messages[-1].text[-_ENDING_CHARS:]

    def beginning(self) -> str:
        return self._messages[0].text[:64].lstrip().partition("\n")[0][:_BEGINNING_CHARS]

    def master(self) -> str | None:
        """The role of a caller that is no agent, where one is addressed as such and nobody by name."""
        for cue in ADDRESSED:
            if not (may_have(self.text, cue) if self._cues is None else cue in self._cues):
                continue
            for phrase in phrases(self.text, cue, _ADDRESSED):
                if found := _MASTERS.search(phrase[:_ROLE_CHARS].lower()):
                    return found.group()
        return None

    def _edge(self, key: str) -> str | None:
        messages = self._messages
        line, index = _EDGES[key]
        return line(messages[index].text) if index < len(messages) else None

    def _lines(self) -> Iterator[str]:
        """The first and the last of each of the first messages and of the last one."""
        last = len(self._messages) - 1
        for number, message in enumerate(self._messages):
            if number < _FIRST_MESSAGES or number == last:
                text = message.text
                if len(text) <= 2 * _PART_CHARS:
                    lines = text.split("\n")
                    if len(lines) > 2 * _LINES:
                        lines = [*lines[:_LINES], *lines[-_LINES:]]
                else:
                    lines = [
                        *text[:_PART_CHARS].split("\n")[:_LINES],
                        *text[-_PART_CHARS:].split("\n")[-_LINES:],
                    ]
                for line in lines:
                    if stripped := line.strip():
                        yield stripped


def _bounded(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars // 2]}\n{text[-(chars // 2) :]}"


def _pieces(line: str) -> list[str]:
    if len(line) <= _LONG_LINE:
        return [line]
    return line[:_CLAUSED_CHARS].replace("; ", ", ").split(", ")[:_CLAUSES]


def _key_of(piece: str) -> str | None:
    """With its colon, or the first word of a list's item."""
    if (at := piece.find(": ", 1, _KEY_CHARS)) > 0 or (at := piece.find("=", 1, _KEY_CHARS)) > 0:
        return piece[: at + 1].lstrip(" -*\t{[(")
    if piece.startswith(_BULLETS) and (at := piece.find(" ", 2, _KEY_CHARS)) > 0:
        return piece[: at + 1]
    return None
