"""A simulation on a machine, as one thing that can be played, and changed figure by figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, get_type_hints

from scalesim.workloads.noise import Noise, noisy
from scalesim.workloads.options import settled
from scalesim.workloads.program import Impossible, Program, Told, Wishes, gap_of
from scalesim.workloads.scenarios import scenario

from .machine import Machine


@dataclass(frozen=True, slots=True)
class Town:
    """The simulation: which scenario, how large, what it tells."""

    scenario: str = "independent"
    agents: int = 1000
    steps: int = 10
    lead_in: int = 10
    """Steps before these, of which nothing is told: what they left in memory is there all the same."""
    seed: int = 1
    persona_tokens: int = 2000
    growth_tokens: int = 64
    mean_gap_steps: float = 5.5
    calls_per_activation: int = 0
    told: Told = Told.EXACT
    options: Mapping[str, float] = field(default_factory=dict)
    """The scenario's own."""
    noise: Mapping[str, float] = field(default_factory=dict)
    """Errors in exact distances."""

    def program(self, *, adapters: bool) -> Program:
        """Raises `Impossible`."""
        wishes, noise = self._settled(adapters=adapters)
        program = scenario(self.scenario).generate(wishes)
        program.must_tell(self.told)
        return program if noise is None else noisy(program, noise)

    def refuse_what_cannot_be(self) -> None:
        """Raises `Impossible` for figures out of their bounds, at once; that a scenario has nothing of what is to be `told` shows
        only when it is made."""
        self._settled(adapters=False)

    def _settled(self, *, adapters: bool) -> tuple[Wishes, Noise | None]:
        if self.steps < 1 or self.lead_in < 0:
            raise Impossible(f"steps is {self.steps} after a lead_in of {self.lead_in}; there has to be one")
        if self.noise and self.told is not Told.EXACT:
            raise Impossible("only exact distances can have errors")
        settled(self.scenario, scenario(self.scenario).OPTIONS, self.options)
        wishes = Wishes(
            self.agents,
            self.lead_in + self.steps,
            self.seed,
            self.persona_tokens,
            self.growth_tokens,
            self.mean_gap_steps,
            self.calls_per_activation,
            adapters=adapters,
            sketched=self.told is not Told.ANSWERS,
            options=self.options,
        )
        return wishes, Noise.of(self.noise) if self.noise else None


@dataclass(frozen=True, slots=True)
class Case:
    town: Town = field(default_factory=Town)
    machine: Machine = field(default_factory=Machine)

    def changed(self, **figures: Any) -> Self:
        """With figures of the town or of the machine by name."""
        town = {name: value for name, value in figures.items() if name in _TOWN}
        machine = {name: value for name, value in figures.items() if name in _MACHINE}
        assert len(town) + len(machine) == len(figures), "each is a figure of one of them"
        return replace(self, town=replace(self.town, **town), machine=replace(self.machine, **machine))

    def told_to(self, name: str, text: str) -> Self:
        """With one figure as somebody wrote it; what is no figure of a case is an option of its scenario. Raises `Impossible`."""
        known = name.replace("-", "_")
        if known == "active":
            return self.changed(mean_gap_steps=gap_of(_number(name, text)))
        if known in _FIGURES:
            return self.changed(**{known: _parsed(known, text)})
        options = scenario(self.town.scenario).OPTIONS
        if name not in options:
            there = ", ".join(sorted(("active", *_FIGURES, *options)))
            raise Impossible(f"there is no {name!r} to change; there is {there}")
        return self.changed(options={**self.town.options, name: _number(name, text)})


_TOWN = get_type_hints(Town)
_MACHINE = get_type_hints(Machine)
_FIGURES = {name: kind for name, kind in {**_TOWN, **_MACHINE}.items() if name not in ("options", "noise")}
assert len(fields(Town)) + len(fields(Machine)) == len(_FIGURES) + 2, "no name is in both"


def _parsed(name: str, text: str) -> object:
    kind = _FIGURES[name]
    if kind in (str, str | None):
        return text
    if kind is Told:
        try:
            return Told(text)
        except ValueError:
            raise Impossible(f"told is {text!r}, and has to be one of {', '.join(Told)}") from None
    number = _number(name, text)
    if kind in (int, int | None):
        if number != int(number):
            raise Impossible(f"{name} is {text}, and has to be a whole number")
        return int(number)
    return number


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < float("inf"):
        raise Impossible(f"{name} is {text!r}, and has to be a number")
    return number
