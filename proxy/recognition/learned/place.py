"""What a place is: it is known by what is constant around it, and what stands there is its value."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .names import AROUND
from .vocabulary import CUE_WEIGHTS, NAMED_KEYS, OTHER_CUE


class Where(StrEnum):
    # That of an enumeration is written in Python, and places are keys of tables.
    __hash__ = str.__hash__

    CUE = "the name after the first"
    PHRASE = "what stands after the first"
    KEY = "the value of"
    AFTER = "the line after"
    EDGE = "the"


class Before(StrEnum):
    """What a cue follows: others that are quoted in a prompt are spoken to in another context than who is asked."""

    # That of an enumeration is written in Python, and places are keys of tables.
    __hash__ = str.__hash__

    NOTHING = ""
    LINE = "at the beginning of a line"
    SENTENCE = "after a sentence"
    QUOTE = "in quotes"
    COLON = "after a colon"
    WORD = "in a sentence"


_LIKELY = {Before.LINE: 0.5, Before.SENTENCE: 0.3, Before.WORD: 0.2}
"""Added to a cue's weight: less than between two cues, since the same cue is only told apart by it."""

_WEIGHTS = {Where.PHRASE: 1.5, Where.KEY: 0.5, Where.AFTER: 0.8, Where.EDGE: 0.7}
"""A description after "You are" before anything whose words say nothing."""


class Place(NamedTuple):
    where: Where
    key: str
    before: Before = Before.NOTHING

    @property
    def weight(self) -> float:
        """How much it looks like a place for an identity before anything is known of its values."""
        if self.where is Where.CUE:
            return CUE_WEIGHTS.get(self.key, OTHER_CUE) + _LIKELY.get(self.before, 0.0)
        return _WEIGHTS[self.where]

    @property
    def says(self) -> int:
        """2: somebody is spoken to here by name, so the words alone say who calls. 1: who it is about stands here by its own
        words. 0: only how the values come can tell."""
        match self.where:
            case Where.CUE:
                return 2 if self.key in CUE_WEIGHTS and self.before is not Before.COLON else 1
            case Where.KEY | Where.AFTER:
                words = self.key.strip(AROUND + "-# =•").lower()
                for around in "'{(":
                    words = words.rpartition(around)[2]
                return int(words in NAMED_KEYS)
            case Where.PHRASE | Where.EDGE:
                return 0

    @property
    def order(self) -> tuple[str, str, str]:
        """For sorting: the same in every process."""
        return self.where.value, self.key, self.before.value

    def __str__(self) -> str:
        if self.before is not Before.NOTHING:
            return f"{self.where.value} “{self.key}” {self.before.value}"
        return (
            f"{self.where.value} {self.key}"
            if self.where is Where.EDGE
            else f"{self.where.value} “{self.key}”"
        )
