"""Cases, played one after the other; and which are played beside one, to see what would change."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from scalesim.workloads.program import Impossible, Program
from scalesim.workloads.replay.player import play
from scalesim.workloads.replay.results import Results

from .bottleneck import Bottleneck, bottleneck
from .case import Case, Town

MOST_CASES = 200
"""Of a sweep: a wrong one should not play for days."""

Progress = Callable[[str, int], Callable[[int, float], None]]
"""Given a name and a number of calls: what is to be told how many have ended, and the time."""


@dataclass(frozen=True, slots=True)
class Played:
    name: str
    """What is changed, in words; empty: nothing."""
    case: Case
    results: Results

    @property
    def bottleneck(self) -> Bottleneck:
        return bottleneck(self.results.causes)

    @property
    def step_s(self) -> float:
        """On average."""
        assert self.results.step_s is not None, "a program has steps"
        return self.results.step_s.mean

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "town": asdict(self.case.town),
            "machine": self.case.machine.as_json(),
            "bottleneck": asdict(self.bottleneck),
            "results": self.results.as_json(),
        }


class Plays:
    """A program that the next case has as well is made once."""

    def __init__(self, progress: Progress = lambda name, calls: lambda ended, seconds: None) -> None:
        self._progress = progress
        self._made: tuple[Town, bool, Program] | None = None

    def play(self, name: str, case: Case) -> Played:
        """Raises `Impossible`."""
        setting = case.machine.setting(case.town.agents)
        program = self._program(case)
        calls = sum(1 for _ in program.calls())
        progress = self._progress(name, calls)
        results = play(program, setting, case.town.told, progress, lead_in=case.town.lead_in)
        return Played(name, case, results)

    def _program(self, case: Case) -> Program:
        adapters = bool(case.machine.adapter_rank)
        if self._made is None or self._made[:2] != (case.town, adapters):
            self._made = None  # two of them need not fit at once
            self._made = case.town, adapters, case.town.program(adapters=adapters)
        return self._made[2]


def what_ifs(case: Case) -> list[tuple[str, Case]]:
    """The same seed with one thing changed."""
    machine, town = case.machine, case.town
    more = "one more GPU" if machine.tensor_parallel == 1 else f"{machine.tensor_parallel} more GPUs"
    if machine.measured is not None:
        more = "one more engine"
    return [
        (more, replace(case, machine=replace(machine, engines=machine.engines + 1))),
        ("twice the host link", replace(case, machine=replace(machine, link=2 * machine.link))),
        (
            "half the persona",
            replace(case, town=replace(town, persona_tokens=max(1, town.persona_tokens // 2))),
        ),
    ]


def sweep(case: Case, told: Iterable[str]) -> list[tuple[dict[str, str], Case]]:
    """All combinations of what is told as `NAME=VALUE,VALUE...`, each with its values; the last name changes fastest. Raises `Impossible`."""
    axes: dict[str, Sequence[str]] = {}
    for one in told:
        name, equals, values = one.partition("=")
        listed = [value.strip() for value in values.split(",") if value.strip()]
        if not name or not equals or not listed:
            raise Impossible(f"{one!r} is not NAME=VALUE,VALUE...")
        if name in axes:
            raise Impossible(f"{name} is given twice")
        axes[name] = listed
    cases: list[tuple[dict[str, str], Case]] = []
    for values_of in itertools.product(*axes.values()):
        if len(cases) >= MOST_CASES:
            raise Impossible(f"a sweep has at most {MOST_CASES} cases")
        chosen = dict(zip(axes, values_of, strict=True))
        changed = case
        for name, value in chosen.items():
            changed = changed.told_to(name, value)
        cases.append((chosen, changed))
    return cases
