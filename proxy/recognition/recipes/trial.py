"""What recipes would find in recorded calls, to be read by a person: `scalesim recipes test`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ..guess import CallerKind, Guess
from ..prompt import Prompt
from .choosing import Chooser, Index
from .reading import Read
from .recipe import Recipe

SHOWN = 20
"""Callers, and beginnings of requests that no recipe knows."""
_MAX_BEGINNINGS = 10_000
_BEGINNING = 70


class Recorded(NamedTuple):
    key: str
    """The simulation, or what stands for the API key."""
    prompt: Prompt | None
    """None: not a route with a prompt."""
    answer: str
    told: str | None
    """Who called, if the client said so outright."""


@dataclass(slots=True)
class _Kind:
    calls: int = 0
    named: int = 0
    from_answer: int = 0
    steps: int = 0
    durations: int = 0


@dataclass(slots=True)
class Trial:
    recipes: dict[str, Recipe]
    calls: int = 0
    without_prompt: int = 0
    unknown: int = 0
    kinds: dict[tuple[str, str], _Kind] = field(default_factory=dict)
    callers: Counter[tuple[str, str, CallerKind]] = field(default_factory=Counter)
    """By recipe, name and kind."""
    why: dict[tuple[str, str, CallerKind], str] = field(default_factory=dict)
    beginnings: Counter[str] = field(default_factory=Counter)
    """Of requests that no recipe knows."""
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Who was told, and who was found, of agents."""

    def lines(self) -> Iterator[str]:
        yield f"{self.calls} calls; {self.unknown} of no known framework, {self.without_prompt} without a prompt"
        for name in dict.fromkeys(recipe for recipe, _ in self.kinds):
            recipe = self.recipes[name]
            checked = "" if recipe.verified else "  (unverified)"
            yield ""
            yield f"{name}: {recipe.framework}, read from {recipe.read_from.package} {recipe.read_from.version}{checked}"
            for (of, call), kind in sorted(self.kinds.items(), key=lambda one: -one[1].calls):
                if of == name:
                    yield f"  {call}: {kind.calls} calls, {', '.join(_found(kind))}"
            callers = [one for one in self.callers.most_common() if one[0][0] == name]
            yield f"  {len(callers)} callers:"
            for key, calls in callers[:SHOWN]:
                other = "" if key[2] is CallerKind.AGENT else "  (no agent)"
                yield f"    {key[1]}{other}: {calls} calls; {self.why[key]}"
            if len(callers) > SHOWN:
                yield f"    and {len(callers) - SHOWN} more"
        if self.beginnings:
            yield ""
            yield "requests that no recipe knows begin with:"
            for text, calls in self.beginnings.most_common(SHOWN):
                yield f"  {calls} calls: {text!r}"
        if self.pairs:
            yield ""
            yield (
                f"of {sum(self.pairs.values())} calls whose agent was told outright and found, pairs of calls put together: "
                f"F1 {pair_f1(self.pairs):.3f}"
            )


class TracedTrial(NamedTuple):
    """Of a recorded trace."""

    trial: Trial
    was_cut: bool
    """There are more calls than were looked at."""
    skips: int
    """Lines that could not be read."""


def try_out(index: Index, calls: Iterable[Recorded]) -> Trial:
    chooser = Chooser()
    trial = Trial({recipe.name: recipe for recipe in index.recipes})
    for call in calls:
        trial.calls += 1
        if call.prompt is None:
            trial.without_prompt += 1
            continue
        found = chooser.read(index, call.key, call.prompt)
        if found is None:
            trial.unknown += 1
            beginning = call.prompt.messages[0].text[:_BEGINNING]
            if beginning in trial.beginnings or len(trial.beginnings) < _MAX_BEGINNINGS:
                trial.beginnings[beginning] += 1
        else:
            _count(trial, found, call)
    return trial


def pair_f1(pairs: Counter[tuple[str, str]]) -> float:
    """Of (true, found) names with their counts: how well calls of one are put together and those of others kept apart."""

    def within(counts: Iterable[int]) -> int:
        return sum(count * (count - 1) // 2 for count in counts)

    true: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for (one, other), count in pairs.items():
        true[one] += count
        found[other] += count
    both, either = within(pairs.values()), within(true.values()) + within(found.values())
    return 2 * both / either if either else 1.0


def _count(trial: Trial, found: Read, call: Recorded) -> None:
    kind = trial.kinds.setdefault((found.recipe, found.call), _Kind())
    kind.calls += 1
    kind.steps += found.step is not None
    kind.durations += found.reading is not None and found.reading.acts_for(call.answer) is not None
    match found.guess:
        case Guess() as guess:
            kind.named += 1
            key = (found.recipe, str(guess.agent), guess.kind)
            trial.callers[key] += 1
            trial.why.setdefault(key, guess.why)
            if call.told is not None and guess.kind is CallerKind.AGENT:
                trial.pairs[call.told, str(guess.agent)] += 1
        case None:
            kind.from_answer += found.from_answer


def _found(kind: _Kind) -> Iterator[str]:
    if kind.named:
        yield f"{kind.named} named"
    if kind.from_answer:
        yield f"{kind.from_answer} left to the answer they repeat"
    if silent := kind.calls - kind.named - kind.from_answer:
        yield f"{silent} without a name"
    if kind.steps:
        yield f"{kind.steps} with a time"
    if kind.durations:
        yield f"{kind.durations} answers with a duration"
