"""Plays each case through the rungs that need neither an id nor a recipe, and counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from rich.console import Console
from rich.table import Table

from scalesim.proxy.core.model import AgentName, CallId
from scalesim.proxy.recognition.learned import Learner
from scalesim.proxy.recognition.links import Links

from .cases import CASES, Case, Scripted
from .forms import FORMS
from .scores import Pairs, Told, pairs, right_of_sure

THRESHOLD, SURE = 0.5, 0.8


@dataclass(frozen=True, slots=True)
class Outcome:
    case: Case
    calls: int
    truths: int
    names: int
    pairs: Pairs
    """After what was merged."""
    at_first: float
    """Pair F1 of the names as they were given when the calls came."""
    sure: int
    right: float
    mean_us: float
    """Of CPU."""
    entries: int

    @property
    def passed(self) -> bool:
        """Where nobody can be told apart, nobody may be named with confidence."""
        if self.case.nobody:
            return self.sure == 0
        return self.pairs.f1 >= self.case.aim and self.right >= 0.99


def run_suite(seed: int, console: Console, cases: Sequence[Case] = (*CASES, *FORMS)) -> list[Outcome]:
    table = Table(
        "case",
        "calls",
        "callers",
        "named",
        "precision",
        "recall",
        "pair F1",
        "at first",
        "sure",
        "right",
        "us",
        "kept",
        "",
    )
    outcomes = []
    for case in cases:
        one = play(case, seed)
        outcomes.append(one)
        table.add_row(
            case.name,
            f"{one.calls:,}",
            f"{one.truths:,}",
            f"{one.names:,}",
            f"{one.pairs.precision:.3f}",
            f"{one.pairs.recall:.3f}",
            "—" if case.nobody else f"{one.pairs.f1:.3f}",
            "—" if case.nobody else f"{one.at_first:.3f}",
            f"{one.sure / one.calls:.2f}",
            f"{one.right:.3f}",
            f"{one.mean_us:.0f}",
            f"{one.entries:,}",
            "" if one.passed else "missed",
        )
    console.print(table)
    return outcomes


def play(case: Case, seed: int) -> Outcome:
    # Each case has numbers of its own: a change in one moves no other.
    told, first, mean_us, entries = _play(list(case.calls(Random(f"{seed} {case.name}"))))
    sure, right = right_of_sure(told, SURE)
    return Outcome(
        case,
        len(told),
        len({one.truth for one in told}),
        len({one.name for one in told if one.name is not None}),
        pairs(told, THRESHOLD),
        pairs(first, THRESHOLD).f1,
        sure,
        right,
        mean_us,
        entries,
    )


def _play(calls: Sequence[Scripted]) -> tuple[list[Told], list[Told], float, int]:
    learner, links = Learner(), Links()
    moments = sorted(
        [(call.at, 1, number) for number, call in enumerate(calls)]
        + [(call.end, 0, number) for number, call in enumerate(calls)]
    )
    told: dict[int, Told] = {}
    became: dict[AgentName, AgentName] = {}
    spent = 0
    for at, begins, number in moments:
        call = calls[number]
        if begins:
            start = time.thread_time_ns()  # Others may run on this machine.
            guess = links.find(call.prompt)
            if guess is None or guess.confidence < THRESHOLD:
                own = learner.recognise(call.prompt, at, CallId(number))
                guess = max(
                    (one for one in (guess, own) if one), key=lambda one: one.confidence, default=None
                )
            if guess is not None:
                links.called(guess.agent)
            spent += time.thread_time_ns() - start
            told[number] = Told(
                call.truth, guess.agent if guess else None, guess.confidence if guess else 0.0
            )
        else:
            learner.ended(CallId(number), at, call.answer)
            if (name := told[number].name) is not None:
                links.answered(AgentName(name), call.answer)
        became.update(learner.merges())
    rows = [one._replace(name=_now(one.name, became)) for one in told.values()]
    kept = sum(learner.sizes().values()) + sum(links.sizes().values())
    return rows, list(told.values()), spent / len(calls) / 1e3, kept


def _now(name: str | None, became: dict[AgentName, AgentName]) -> str | None:
    seen = set()
    while name is not None and name in became and name not in seen:
        seen.add(name)
        name = became[AgentName(name)]
    return name
