"""Where a text may be cut so that what lies between two cuts is few tokens, without a tokenizer. Pure.

How many tokens a text has is learned from what the engine counted for the agent's calls. An average says nothing of a
part, so text is measured in *units* that follow tokens more closely than characters do: one for an ASCII letter or a
space, two for every other byte. English has about four letters to a token; of digits, signs and random letters every
one or two are a token, of other scripts every two or three bytes. So a slice that is cut to AIM_TOKENS by the average stays
within LIMIT_TOKENS even where its text is twice as dense as the rest.
"""

from __future__ import annotations

LIMIT_TOKENS = 256
"""A prefill step cannot be interrupted: this is how long a call may have to wait for one of ours."""
AIM_TOKENS = LIMIT_TOKENS // 2
UNKNOWN_TOKENS_PER_UNIT = 0.5
"""Before anything was counted. It is the densest that text is expected to be."""
LEAST_TOKENS_PER_UNIT = 0.15
"""Below this a prompt is something odd (one word a thousand times), and the next one need not be."""
MOST_TOKENS_PER_UNIT = 1.0
"""No token is less than a byte; what counts more is what the template adds to a short prompt."""

_LIGHT = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "


def units_in(text: bytes) -> int:
    return len(text) + len(text.translate(None, _LIGHT))


def tokens_per_unit(tokens: int, units: int | None) -> float:
    """`units` None: what was counted is not only text, so it says nothing."""
    if not units or tokens <= 0:
        return UNKNOWN_TOKENS_PER_UNIT
    return min(MOST_TOKENS_PER_UNIT, max(LEAST_TOKENS_PER_UNIT, tokens / units))


def next_cut(text: bytes, start: int, per_unit: float) -> int:
    """The end of the slice that begins at `start`: beyond it by about AIM_TOKENS, between two characters."""
    aim = max(1, int(AIM_TOKENS / per_unit))
    length = aim
    while (found := units_in(text[start : start + length])) > aim and length > 1:
        length = max(1, min(length - 1, length * aim // found))
    end = start + length
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return min(end, len(text))
