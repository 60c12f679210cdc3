"""Which wrong distances are told: curves of errors that grow, and adversaries. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .noise import Noise


@dataclass(frozen=True, slots=True)
class Lie:
    noise: Noise = field(default_factory=Noise)
    flips: bool = False
    """It is told only while distance is in charge, and the truth while recency is."""
    believed: bool = False
    """Whatever is told is taken for true. Else, who is believed is settled by who was right, as always."""


@dataclass(frozen=True, slots=True)
class Curve:
    option: str
    """Of `Noise`."""
    title: str
    about: str
    values: tuple[float, ...]

    def lies(self, seed: int) -> dict[float, Lie]:
        """By value."""
        return {value: Lie(Noise.of({self.option: value, "seed": seed})) for value in self.values}


CURVES = (
    Curve("sigma", "distances with errors", "s of the lognormal factor", (0, 0.25, 0.5, 1, 1.5, 2)),
    Curve(
        "early", "agents that are back early", "probability of an early return", (0, 0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    Curve("every", "updates in some steps only", "steps from one update to the next", (1, 2, 5, 10, 20)),
    Curve(
        "missing",
        "agents that are missing",
        "share of agents that nothing is told of",
        (0, 0.1, 0.3, 0.5, 0.7, 0.9),
    ),
)


HARMFUL = "reverses, believed"
"""The adversary that the guard alone stands against."""


def adversaries(seed: int) -> Mapping[str, Lie]:
    """By name. Those who are believed show the guard alone: else a source that tells the wrong order loses its authority."""
    reverse = Noise(reversed=True, seed=seed)
    return {
        "reverses": Lie(reverse),
        HARMFUL: Lie(reverse, believed=True),
        "flips": Lie(reverse, flips=True),
        "flips, believed": Lie(reverse, flips=True, believed=True),
    }


def all_lies(curves: Iterable[Curve], seed: int) -> Sequence[Lie]:
    """Each once."""
    told = [lie for curve in curves for lie in curve.lies(seed).values()]
    return tuple(dict.fromkeys([*told, *adversaries(seed).values()]))
