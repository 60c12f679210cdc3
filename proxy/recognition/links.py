"""Answers that come back: a request that repeats a piece of an earlier answer comes from whom the answer went to.

A piece is an answer or a field of it in JSON, whole and of at least 24 characters. It links where it stands as a message by
itself: as what the assistant said, or as what is asked last within words that several callers have in common (others may be
told what somebody said, but then their own words are around it). Kept are fingerprints of the last answers only. What was said
to several links to the one of them that has not called since.

Where nearly all requests with the same words around turn out to repeat answers, they are a step of the framework: each answer is
sent on once. There short pieces link too, and of several callers the one that was answered first comes first. A recipe may know
the same of its framework.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from scalesim.proxy.core.model import AgentName

from .guess import Guess
from .prompt import Prompt

MIN_CHARS = 24
SHORT_CHARS = 2
"""Of a piece where it is known that requests repeat answers."""
_MAX_PIECES = 24
_MAX_CHARS = 16_384
_LAST_MESSAGES = 3
_MAX_CALLERS = 64
_DEPTH = 3
_SHARED_BY = 2
_MAX_FRAMES = 1024
_REPEATS_FROM, _REPEATS_AT_MOST, _MISS = 16, 32, 4
"""Requests within the same words that are found to repeat an answer, until it is known that such requests do; one that repeats
none weighs as much as four."""
_WHY_CHARS = 60

_ONE = 0.95
_ONE_LEFT = 0.9
_FEW, _FEW_LEFT = 4, 0.6
_FIRST = 0.9
"""Of whoever was answered first, where each answer is repeated once: in real runs with 8 answers for 20 agents at once, 118
of 120 were right."""
_UNTRIED = 0.45
"""Of the first caller that a piece links to within some words: they may be its own."""


@dataclass(slots=True, eq=False)
class _Frame:
    """The words around pieces."""

    callers: dict[AgentName, None] = field(default_factory=dict)
    """To whom pieces linked: two of them tell that the words are nobody's."""
    score: int = 0
    """Goes up with each piece that linked, and down with each that did not."""

    @property
    def is_common(self) -> bool:
        return len(self.callers) >= _SHARED_BY

    @property
    def repeats(self) -> bool:
        return self.is_common and self.score >= _REPEATS_FROM

    def linked(self, caller: AgentName) -> None:
        if not self.is_common:
            self.callers[caller] = None
        self.score = min(self.score + 1, _REPEATS_AT_MOST)

    def missed(self) -> None:
        self.score = max(self.score - _MISS, 0)


class Links:
    def __init__(self, *, max_pieces: int = 40_000, max_callers: int = 20_000) -> None:
        self._max_pieces, self._max_callers = max_pieces, max_callers
        self._said: OrderedDict[int, dict[AgentName, int]] = OrderedDict()
        """To whom a piece was said, with the number of the answer to each."""
        self._answers: OrderedDict[AgentName, int] = OrderedDict()
        """The number of the last answer of each caller that has not called since."""
        self._frames: OrderedDict[int, _Frame] = OrderedDict()
        self._some_repeat = False
        """Some frame was seen to repeat answers: from now on short pieces are kept."""
        self._number = 0

    def sizes(self) -> dict[str, int]:
        return {
            "linked_pieces": len(self._said),
            "linked_callers": len(self._answers),
            "linked_frames": len(self._frames),
        }

    def find(self, prompt: Prompt, *, repeats: bool = False) -> Guess | None:
        """`repeats`: it is known that such a request repeats an answer, and that each answer is repeated once."""
        messages = prompt.messages
        last = len(messages) - 1
        for at in range(last, max(-1, last - _LAST_MESSAGES), -1):
            message = messages[at]
            if at != last and message.role != "assistant":
                continue
            found = (
                self._given(message.text) if message.role == "assistant" else self._asked(prompt, at, repeats)
            )
            if found is not None:
                name, sure = found
                return Guess(name, "answer", sure, f"repeats what it was answered: {_shown(message.text)}")
        return None

    def called(self, caller: AgentName) -> None:
        """A request of it begins: what it was answered before it has done with."""
        self._answers.pop(caller, None)

    def answered(self, caller: AgentName, text: str, *, repeated: bool = False) -> None:
        """`repeated`: requests that `find` knows to repeat it may come."""
        self._number += 1
        self._answers[caller] = self._number
        self._answers.move_to_end(caller)
        if len(self._answers) > self._max_callers:
            self._answers.popitem(last=False)
        least = SHORT_CHARS if repeated or self._some_repeat else MIN_CHARS
        for key in map(hash, _pieces(text, least)):
            to = self._said.get(key)
            if to is None:
                self._said[key] = {caller: self._number}
                if len(self._said) > self._max_pieces:
                    self._said.popitem(last=False)
            else:
                self._said.move_to_end(key)
                to[caller] = self._number
                if len(to) > _MAX_CALLERS:
                    del to[min(to, key=to.__getitem__)]

    def _asked(self, prompt: Prompt, at: int, repeats: bool) -> tuple[AgentName, float] | None:
        """Of what is asked last, which counts only within words that are nobody's own."""
        text = prompt.messages[at].text
        if repeats:
            return self._given(text, repeats=True)
        found = self._given(text)
        frame = self._frame(prompt, at, is_new=found is not None)
        if frame is None:
            return None
        if found is not None:
            frame.linked(found[0])
            self._some_repeat = self._some_repeat or frame.repeats
            if not frame.is_common:
                return found[0], min(found[1], _UNTRIED)
        elif len(text) >= MIN_CHARS:
            frame.missed()
        return self._given(text, repeats=True) if frame.repeats else found

    def _given(self, text: str, *, repeats: bool = False) -> tuple[AgentName, float] | None:
        """To whom, and how sure."""
        text, least = text.strip(), SHORT_CHARS if repeats else MIN_CHARS
        if not least <= len(text) <= _MAX_CHARS:
            return None
        if (to := self._said.get(hash(text))) is None:
            return None
        if len(to) == 1:
            return next(iter(to)), _ONE
        waiting = [one for one, number in to.items() if self._answers.get(one) == number]
        if not waiting:
            return None
        # Whoever was answered first calls first: in the real runs that were recorded it was always so.
        name = min(waiting, key=to.__getitem__)
        if len(waiting) == 1:
            return name, _ONE_LEFT
        if repeats:
            return name, _FIRST
        return name, _FEW_LEFT if len(waiting) <= _FEW else _UNTRIED

    def _frame(self, prompt: Prompt, at: int, *, is_new: bool) -> _Frame | None:
        """Made where nothing is known of it, if it `is_new`."""
        if not (self._frames or is_new):
            return None
        key = hash(tuple([message.text for number, message in enumerate(prompt.messages) if number != at]))
        frame = self._frames.get(key)
        if frame is not None:
            self._frames.move_to_end(key)
        elif is_new:
            frame = self._frames[key] = _Frame()
            if len(self._frames) > _MAX_FRAMES:
                self._frames.popitem(last=False)
        return frame


def _shown(text: str) -> str:
    flat = " ".join(text[: 2 * _WHY_CHARS].split())[:_WHY_CHARS]
    return flat if flat.isprintable() else "".join([letter for letter in flat if letter.isprintable()])


def _pieces(text: str, least: int) -> Iterable[str]:
    """Each once. Nothing of an answer that is longer than what is looked for."""
    text = text.strip()
    if not least <= len(text) <= _MAX_CHARS:
        return ()
    if text[0] not in "{[":
        return (text,)
    found = {text: None}
    try:
        parsed: object = orjson.loads(text)
    except ValueError:
        parsed = None
    for value in _strings(parsed, _DEPTH):
        if len(found) == _MAX_PIECES:
            break
        if len(piece := value.strip()) >= least:
            found[piece] = None
    return found


def _strings(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, dict):
        for one in value.values():
            yield from _strings(one, depth - 1)
    elif depth and isinstance(value, list):
        for one in value:
            yield from _strings(one, depth - 1)
