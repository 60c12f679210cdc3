"""What it costs to find out who calls, where the client does not say: the whole ladder, on prompts of two sizes."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from scalesim.proxy.core.model import CallId
from scalesim.proxy.recognition.guess import Told
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recognition.recipes.shelf import Shelf

CHARS = (4 * 1024, 64 * 1024)
CALLS = 4_000
"""Of each kind and size, the first ones included, in which most is learned."""
AGENTS = 200
_NOBODY = Told(None, "", None, "", 0.0)
_ROUTE = "/v1/chat/completions"
_WORDS = [
    "the",
    "a",
    "market",
    "square",
    "walks",
    "to",
    "and",
    "from",
    "with",
    "bread",
    "some",
    "of",
    "her",
    "his",
    "friends",
    "then",
    "later",
    "again",
    "slowly",
]

Prompts = Callable[[Random, int, str], list[dict[str, str]]]
"""Of a call, by the agent's number and with this text in it."""


@dataclass(frozen=True, slots=True)
class Recognition:
    calls_us: Sequence[float]
    """CPU time of each call, for its request and for what its answer taught: nothing in it waits."""
    named: float
    """Share of the calls whose caller was found."""


def recognition(seed: int) -> Mapping[tuple[str, int], Recognition]:
    """By the kind of traffic and the characters of a prompt."""
    return {(kind, chars): _of(prompts, chars, seed) for kind, prompts in KINDS.items() for chars in CHARS}


def _of(prompts: Prompts, chars: int, seed: int) -> Recognition:
    random = Random(seed)
    ladder = Ladder()
    ladder.index = Shelf().index
    costs, named = [], 0
    gc.collect()
    for number in range(CALLS):
        body = {"messages": prompts(random, number % AGENTS, _text(random, chars))}
        call, answer = CallId(number), f"I go to the {random.randrange(10**6)}th market, and buy bread there."
        began = time.thread_time_ns()
        found = ladder.recognise(call, float(number), _NOBODY, _ROUTE, body)
        if found.wants_answer:
            ladder.ended(call, number + 0.5, answer)
        costs.append((time.thread_time_ns() - began) / 1e3)
        named += found.agent is not None
    return Recognition(costs, named / CALLS)


def _text(random: Random, chars: int) -> str:
    """Lines of about 80 characters."""
    lines = []
    while chars > 0:
        line = " ".join(random.choices(_WORDS, k=14))
        lines.append(line)
        chars -= len(line) + 1
    return "\n".join(lines)


def _of_a_recipe(random: Random, agent: int, text: str) -> list[dict[str, str]]:
    """As OASIS sends it."""
    system = f"# OBJECTIVE\nBe social.\n\n# SELF-DESCRIPTION\nYour name is Agent {agent}.\n# RESPONSE METHOD\nTools."
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": f"Please perform social media actions now.\n{text}"},
    ]


def _to_be_learned(random: Random, agent: int, text: str) -> list[dict[str, str]]:
    """Who is spoken to stands behind what all are told."""
    return [
        {"role": "system", "content": "You take part in the life of a town. Answer with what you do next."},
        {
            "role": "user",
            "content": f"The town has a market.\nYour name is Agent {agent}, and you live here.\n{text}\nNow?",
        },
    ]


def _of_nobody(random: Random, agent: int, text: str) -> list[dict[str, str]]:
    """Each prompt is another one."""
    return [{"role": "user", "content": text}]


KINDS: Mapping[str, Prompts] = {
    "recipe": _of_a_recipe,
    "learned": _to_be_learned,
    "nobody": _of_nobody,
}
