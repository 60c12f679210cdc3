"""Requests that nobody would send on purpose, and some that somebody would: no name is wrong and sure, no table grows for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

import pytest

from scalesim.proxy.recognition.guess import THRESHOLD, Rung
from scalesim.proxy.recognition.ladder import Ladder

from .recipes import forms
from .test_ladder import Proxy, told

LIKE_PATTERNS = (".*", "(a+)+$", "Ann|Anna", "[A-Z]{3}", "\\w+ (?P<name>x)", "Ann", "Anna", "^", "a.c")
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 2_000}}


def learning() -> Proxy:
    return Proxy(Ladder(rungs=frozenset({Rung.ANSWERS, Rung.LEARNED})))


def asked(name: str, step: int, *more: object) -> dict[str, object]:
    persona = f"Your name is {name}. You live by the harbour and you like your work."
    news = f"Day {step}: the news of the day is number {step * 7919 % 1000}. What do you do?"
    return {"messages": [{"role": "system", "content": persona}, *more, {"role": "user", "content": news}]}


def test_names_like_patterns_are_names() -> None:
    proxy = Proxy()
    for name in LIKE_PATTERNS:
        assert proxy.say(forms.oasis(name, ["Bob", "Cid"])[0]).agent == name


def test_names_like_patterns_are_never_mixed_up() -> None:
    """What does not look like a name may be nobody's; marks at the ends of one may be lost."""
    proxy = learning()
    called: dict[str, set[str | None]] = {name: set() for name in LIKE_PATTERNS}
    for step in range(24):
        for name in LIKE_PATTERNS:
            found = proxy.call(asked(name, step))
            if step >= 12:
                called[name].add(found.agent)
    assert all(len(names) == 1 for names in called.values()), called
    known = [name for names in called.values() for name in names if name is not None]
    assert len(set(known)) == len(known)
    assert {"Ann", "Anna", "Ann|Anna"} <= set(known)


def test_pictures_and_what_tools_said_hide_nobody() -> None:
    proxy = learning()
    for step in range(12):
        for name in ("Ann Lee", "Ben Ito", "Cem Oz"):
            tool = {"role": "tool", "tool_call_id": "1", "content": "QUJD" * 20_000}
            calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
            seen = {"role": "user", "content": [PICTURE, {"type": "text", "text": "What is it?"}]}
            found = proxy.call(asked(name, step, seen, calls, tool))
            assert found.agent in (name, None)
            assert found.agent == name or step < 6


def odd_bodies(random: Random) -> Iterator[Mapping[str, object]]:
    yield {"messages": [{"role": "user", "content": "\ud800 half a letter \udfff"}]}
    yield {"messages": [{"role": "user", "content": "You are " * 200_000}]}
    yield {"messages": [{"role": "user", "content": "x" * 3_000_000}]}
    yield {"messages": [{"role": "user", "content": "\n".join("key: value" for _ in range(50_000))}]}
    yield {"messages": [{"role": 7, "content": {"text": "?"}}, None, [], {"role": "user"}]}
    yield {"messages": {"role": "user", "content": "no list"}}
    yield {"messages": [{"role": "user", "content": "Your name is\0\x1b[31m \u202eevil\u202c."}]}
    yield {
        "messages": [
            {"role": "user", "content": "".join(map(chr, random.choices(range(1, 0xD000), k=4_000)))}
        ]
    }


@pytest.mark.slow
@pytest.mark.parametrize("proxy", [Proxy(), learning()], ids=["recipes", "learned"])
def test_odd_bodies_name_nobody_and_harm_no_town(proxy: Proxy) -> None:
    random = Random(1)
    for step in range(12):
        for body in odd_bodies(random):
            assert proxy.call(body, told(client="odd")).agent is None
        for name in ("Ann Lee", "Ben Ito", "Cem Oz"):
            found = proxy.call(asked(name, step), told(client="town"))
            assert found.agent in (name, None)
            assert found.agent == name or step < 6


@pytest.mark.slow
def test_prompts_that_come_once_name_nobody_fill_no_table_and_harm_no_town() -> None:
    proxy, random = learning(), Random(1)
    sizes: list[int] = []
    wrong = named = 0
    for number in range(12_000):
        words = " ".join(f"{random.getrandbits(40):x}" for _ in range(12))
        found = proxy.call({"messages": [{"role": "user", "content": words}]}, told(client="crowd"))
        named += found.agent is not None and found.confidence >= THRESHOLD
        if number % 100 == 0:
            name = f"Agent {number // 100 % 5}"
            found = proxy.call(asked(name, number), told(client="town"))
            wrong += found.agent not in (name, None)
        if number % 4_000 == 3_999:
            sizes.append(sum(proxy.ladder.sizes().values()))
    assert (wrong, named) == (0, 0)
    assert proxy.call(asked("Agent 3", 1), told(client="town")).agent == "Agent 3"
    # What is kept of so many of them does not depend on how many more came.
    assert sizes[2] - sizes[1] <= (sizes[1] - sizes[0]) * 1.1
