"""Text to token ids and back, without a vocabulary file: the same text gives the same ids on every machine.

Ids from `FIRST_WORD` on are made-up words, which is what the engine answers with, so an answer that comes back in the
next prompt has the ids it was generated with. All other text gets ids by checksum, and is not decoded.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Tokens = array[int]
else:
    Tokens = array  # not subscriptable before Python 3.12
"""Always of typecode q: slices and comparisons of arrays run in C."""

VOCABULARY = 65_536
END, START, NEWLINE = 0, 1, 2
FIRST_WORD = 16
WORDS = 4_096

_SPECIAL = {"<|im_end|>": END, "<|im_start|>": START, "\n": NEWLINE}
_SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvz" for vowel in "aeio"]
_WORDS = [first + second for first in _SYLLABLES for second in _SYLLABLES]
_FIRST_OTHER = FIRST_WORD + WORDS
_PIECES = re.compile(r"<\|im_start\|>|<\|im_end\|>|\n|\w{1,12}|[^\w\s]")
_KNOWN = {**_SPECIAL, **{word: FIRST_WORD + index for index, word in enumerate(_WORDS)}}


@lru_cache(maxsize=65_536)
def _id_of(piece: str) -> int:
    known = _KNOWN.get(piece)
    if known is not None:
        return known
    return _FIRST_OTHER + zlib.crc32(piece.encode("utf-8", "surrogatepass")) % (VOCABULARY - _FIRST_OTHER)


@lru_cache(maxsize=1_024)
def encode(text: str) -> Tokens:
    """The result is shared between callers: do not change it."""
    return array("q", map(_id_of, _PIECES.findall(text)))


def word(token: int) -> str:
    """What a token looks like alone; empty for those that are no text."""
    if FIRST_WORD <= token < _FIRST_OTHER:
        return _WORDS[token - FIRST_WORD]
    return "\n" if token == NEWLINE else ""


def decode(tokens: Iterable[int]) -> str:
    return " ".join(filter(None, map(word, tokens)))


def render_chat(messages: Sequence[Mapping[str, object]]) -> Tokens:
    """`<|im_start|>role⏎content<|im_end|>⏎` for each message, and the head of the answer."""
    prompt = array("q")
    for message in messages:
        prompt.append(START)
        prompt += encode(str(message.get("role", "user")))
        prompt.append(NEWLINE)
        prompt += encode(_text_of(message.get("content")))
        prompt.append(END)
        prompt.append(NEWLINE)
    prompt.append(START)
    prompt += encode("assistant")
    prompt.append(NEWLINE)
    return prompt


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""
