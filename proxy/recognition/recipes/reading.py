"""What a recipe finds in a request. Never raises; what it looks at is bounded, however long the request."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from scalesim.proxy.core.durations import Reading
from scalesim.proxy.core.model import AgentName

from ..guess import CallerKind, Guess
from ..prompt import Message, Prompt
from .patterns import encoded
from .recipe import Call, Find, Place, Recipe, Which

SEARCHED = 16 * 1024
"""Characters of a message in which things are looked for: so many from its beginning, and so many to its end."""
WINDOW = 1_000
"""Characters behind a found `after` in which a value stands."""
JSON = 4 * 1024
"""Characters of a value in JSON: 25 us to parse."""
TRIED = 8
"""Messages of a role that are looked at from either end."""
MAX_NAME = 200

_NOBODY = frozenset({"", "none", "null", "unknown", "nan", "undefined", "n/a"})
"""What frameworks write where they have no name."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (as the clocks of simulated worlds)
_DECODER = json.JSONDecoder()


class Read(NamedTuple):
    """What a recipe says of a request that has the marks of one of its calls."""

    recipe: str
    call: str
    guess: Guess | None
    """None: the request has the marks, and does not say who calls. Others may."""
    from_answer: bool
    """The caller is whoever got the answer that the request repeats."""
    ends: bool
    """The activation ends with this call."""
    reading: Reading | None
    """How the answer tells how long the agent acts."""
    step: float | None
    """In steps or in minutes of the simulated world, as `Recipe.clock` has it."""


def read(recipe: Recipe, call: Call, prompt: Prompt) -> Read:
    step = None if call.step is None else _moment(call.step, prompt.messages)
    return Read(
        recipe.name,
        call.name,
        _guess(recipe, call, prompt),
        call.from_answer,
        call.ends,
        call.reading,
        step,
    )


def messages_at(place: Place, messages: Sequence[Message]) -> Iterator[int]:
    """Indices of the messages that may be meant, in the order in which they are tried."""
    role, which = place.role, place.which
    backwards = which is Which.LAST or which is Which.LATEST
    most = which if isinstance(which, int) else TRIED if which in (Which.ANY, Which.LATEST) else 1
    found = 0
    for index in range(len(messages) - 1, -1, -1) if backwards else range(len(messages)):
        sent = messages[index].role
        if role == sent or role == "message" or (role == "system" and sent == "developer"):
            found += 1
            if not isinstance(which, int) or found == which:
                yield index
            if found == most:
                return


def pieces(text: str, chars: int) -> tuple[str, ...]:
    """What is looked at of a text: all of it, or its beginning and its end."""
    return (text,) if len(text) <= 2 * chars else (text[:chars], text[-chars:])


def _guess(recipe: Recipe, call: Call, prompt: Prompt) -> Guess | None:
    source = f"recipe:{recipe.name}"
    if call.caller is not None:
        # With the recipe's name, since an agent may be called Evaluator.
        name = AgentName(f"{call.caller} ({recipe.name})")
        return Guess(name, source, call.confidence, f"every {call.name} call is its", CallerKind.OTHER)
    for find in call.who:
        text = _value(find, prompt.messages)
        if isinstance(text, str) and (agent := _name(text)) is not None:
            return Guess(agent, source, call.confidence, f"{call.name}: {find.why}")
    return None


def _name(text: str) -> AgentName | None:
    text = text.strip()
    if len(text) > MAX_NAME or text.lower() in _NOBODY or _CONTROL.search(text):
        return None
    return AgentName(text if text.isascii() else encoded(text).decode())


def _value(find: Find, messages: Sequence[Message]) -> str | Mapping[str, str] | None:
    """A text, or the groups of a pattern that has several."""
    for index in messages_at(find.place, messages):
        looked_at = pieces(messages[index].text, SEARCHED)
        if find.from_end:
            looked_at = looked_at[::-1]
        for piece in looked_at if find.after else looked_at[:1]:
            at = _behind(find, piece)
            if at >= 0:
                size = WINDOW if find.json is None else JSON
                found = _in_window(find, piece[at : at + size])
                if found is not None:
                    return found
    return None


def _behind(find: Find, piece: str) -> int:
    """Where `after` ends, -1 if it is not there."""
    at = 0
    for order, word in enumerate(find.after):
        at = piece.rfind(word) if find.from_end and order == 0 else piece.find(word, at)
        if at < 0:
            return -1
        at += len(word)
    return at


def _in_window(find: Find, window: str) -> str | Mapping[str, str] | None:
    if find.pattern is not None:
        groups = find.pattern.search(window)
        if not groups:
            return None
        return next(iter(groups.values())) if len(find.pattern.groups) == 1 else groups
    if find.json is not None:
        return _in_json(find.json, window)
    ends = [len(window) if not word else window.find(word) for word in find.until]
    closed = [end for end in ends if end >= 0]
    return window[: min(closed)] if closed else None


def _in_json(path: Sequence[str], window: str) -> str | None:
    start = len(window) - len(window.lstrip())
    try:
        value: object = _DECODER.raw_decode(window, start)[0]
    except (ValueError, RecursionError):
        return None
    for key in path:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _moment(find: Find, messages: Sequence[Message]) -> float | None:
    value = _value(find, messages)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            moment = _moment_of(value.strip(), find.format)
        else:
            day, hour, minute, second = (
                float(value.get(part, 0)) for part in ("day", "hour", "minute", "second")
            )
            moment = day * 1440 + hour * 60 + minute + second / 60
    except (ValueError, OverflowError):
        return None
    return moment if math.isfinite(moment) and abs(moment) < 1e12 else None


@lru_cache(maxsize=256)
def _moment_of(text: str, form: str) -> float:
    """Kept, since all agents of a step are told the same, and `strptime` costs 10 us."""
    if form == "number":
        return float(text)
    told = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)  # noqa: DTZ007 (no zone is told)
    # The clock of a simulated world: its zone means nothing to anybody.
    return (told.replace(tzinfo=None) - _EPOCH).total_seconds() / 60
