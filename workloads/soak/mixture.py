"""Who asks what in a soak, seeded: plain and streamed calls, long prompts, clients that leave or read slowly, wrong requests. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

from scalesim.workloads.asking import Manner
from scalesim.workloads.checked_calls import CheckedCall, Ending, Kind, checked_call, posted
from scalesim.workloads.prose import prose

SIMULATIONS = 4
UNTOLD = 5
"""Of so many agents one does not say of which simulation it is."""
TOKENS = (4, 24)
"""Of an answer, from and to."""
LONG_TEXT = prose("soak", 64_000)


class Sort(Enum):
    JSON = "JSON"
    STREAM = "SSE"
    LONG = "64 KB prompt"
    LEAVES_BEFORE = "leaves before the first byte"
    LEAVES_AMID = "leaves after the first byte"
    SLOW = "reads slowly"
    WRONG = "wrong request"


SHARES = {
    Sort.JSON: 34,
    Sort.STREAM: 34,
    Sort.LONG: 6,
    Sort.LEAVES_BEFORE: 7,
    Sort.LEAVES_AMID: 7,
    Sort.SLOW: 6,
    Sort.WRONG: 6,
}
"""In percent of the calls."""
MANNERS = {
    Sort.LEAVES_BEFORE: Manner.LEAVES_BEFORE,
    Sort.LEAVES_AMID: Manner.LEAVES_AMID,
    Sort.SLOW: Manner.READS_SLOWLY,
}
WRONG_BODIES = (
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"model": "emulated"}',
    b'{"model": "emulated", "messages": 7}',
    b'{"model": "emulated", "messages": [{"role": "user", "content": "x"}], "max_tokens": -1}',
    b'{"model": "emulated", "messages": [{"role": "user", "content": "x"}], "n": 1000}',
)


@dataclass(frozen=True, slots=True)
class Turn:
    sort: Sort
    agent: int | None
    """Who calls; nobody in a wrong request."""
    call: CheckedCall
    manner: Manner
    leaves_after_s: float


def turns(host: str, seed: int, client: int, agents: int) -> Iterator[Turn]:
    """Of one client, which speaks for all of so many agents, without an end."""
    random = Random(f"{seed} {client}")
    sorts, weights = list(SHARES), list(SHARES.values())
    while True:
        sort = random.choices(sorts, weights)[0]
        agent = random.randrange(agents)
        yield Turn(
            sort,
            None if sort is Sort.WRONG else agent,
            _call(host, random, sort, agent),
            MANNERS.get(sort, Manner.PLAIN),
            random.uniform(0.0, 0.05),
        )


def _call(host: str, random: Random, sort: Sort, agent: int) -> CheckedCall:
    # Always the same of one agent: else it would be two.
    headers = {"x-simulation-id": f"soak-{agent % SIMULATIONS}"} if agent % UNTOLD else {}
    if sort is Sort.WRONG:
        return CheckedCall(posted(host, random.choice(WRONG_BODIES), headers), "", False)
    text = prose(f"{agent} {random.randrange(1_000_000)}", 200)
    streams = sort in (Sort.STREAM, Sort.SLOW, Sort.LEAVES_AMID) or random.random() < 0.3
    if sort is Sort.JSON:
        streams = False
    if sort is Sort.LONG:
        text = f"{text} {LONG_TEXT[agent % 1000 * 8 :]}"
    tokens = random.randint(*TOKENS) if sort is not Sort.SLOW else 4 * TOKENS[1]
    return checked_call(host, f"agent {agent}", text, tokens, streams=streams, headers=headers)


def is_as_it_should_be(turn: Turn, ending: Ending) -> bool:
    match turn.sort:
        case Sort.WRONG:
            return ending.kind is Kind.REFUSED and 400 <= ending.status < 500
        case Sort.LEAVES_BEFORE | Sort.LEAVES_AMID:
            return ending.kind is Kind.LEFT
        case _:
            return ending.kind is Kind.RIGHT
