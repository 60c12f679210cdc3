"""Conversations that are sent again with each call, and grow: the strongest sign of the same caller.

A request whose beginning is all of an earlier request, followed by what was answered, comes from whom the earlier one came.
Kept are fingerprints only, the ones used least lately leave. What two callers sent alike tells nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from scalesim.proxy.core.model import AgentName

from ..prompt import Message

_ASKERS = frozenset({"system", "developer", "user"})
"""Who asks: all other roles answer, or report on what an answer has called for."""

_BACK = 8
"""Of a longer conversation so many of the last answers are looked for."""

_TAIL_CHARS = 32
"""So much of the last question and its answer must there be to tell conversations apart whose beginning is gone."""


class Asked(NamedTuple):
    whole: int
    question: int
    chars: int


class Turns:
    """The messages of a request, and a fingerprint of each beginning of them."""

    __slots__ = ("answers", "has_answers", "texts", "whole")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.texts: list[str] = []
        self.whole: list[int] = []
        self.answers: list[int] = []
        """Where something was answered that had been asked."""
        self.has_answers = False
        value, was_asked = 0, False
        for at, (role, text) in enumerate(messages):
            text = text.strip()
            value = hash((value, text))
            self.texts.append(text)
            self.whole.append(value)
            asks = role in _ASKERS
            if not asks:
                self.has_answers |= role == "assistant"
                if was_asked:
                    self.answers.append(at)
            was_asked = asks

    def turn(self, at: int) -> int | None:
        question, answer = self.texts[at - 1], self.texts[at]
        return hash(("turn", hash(question), answer)) if len(question) + len(answer) >= _TAIL_CHARS else None

    def question(self, at: int) -> int | None:
        question = self.texts[at]
        return (
            hash(("question", self.texts[0], question)) if at >= 1 and len(question) >= _TAIL_CHARS else None
        )


class Conversations:
    def __init__(self, most: int) -> None:
        self._most = most
        self._callers: OrderedDict[int, AgentName | None] = OrderedDict()
        """None: two callers sent the same."""

    @property
    def size(self) -> int:
        return len(self._callers)

    def find(self, turns: Turns) -> tuple[AgentName, bool] | None:
        """And whether the whole conversation is known, not only its last turn."""
        starts, whole = turns.answers, turns.whole
        if not starts:
            return None
        for at in reversed(starts[-_BACK:]):
            for key in (hash(("answered", whole[at])), hash(("asked", whole[at - 1]))):
                if (caller := self._callers.get(key)) is not None:
                    return caller, True
        at = starts[-1]
        for tail in (turns.turn(at), turns.question(at - 1)):
            if tail is not None and (caller := self._callers.get(tail)) is not None:
                return caller, False
        return None

    def asked(self, turns: Turns, caller: AgentName) -> Asked:
        """What `answered` needs, without the text."""
        whole, question = turns.whole[-1], turns.texts[-1]
        self._put(hash(("asked", whole)), caller)
        if (tail := turns.question(len(turns.texts) - 1)) is not None:
            self._put(tail, caller)
        return Asked(whole, hash(question), len(question))

    def answered(self, asked: Asked, answer: str, caller: AgentName) -> None:
        answer = answer.strip()
        self._put(hash(("answered", hash((asked.whole, answer)))), caller)
        if asked.chars + len(answer) >= _TAIL_CHARS:
            self._put(hash(("turn", asked.question, answer)), caller)

    def _put(self, key: int, caller: AgentName) -> None:
        callers = self._callers
        if key in callers:
            if callers[key] != caller:
                callers[key] = None
            callers.move_to_end(key)
        else:
            callers[key] = caller
            if len(callers) > self._most:
                callers.popitem(last=False)
