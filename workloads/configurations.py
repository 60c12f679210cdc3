"""The configurations that are compared, and who plays beside whom. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .program import Impossible
from .servers import Flavour


@dataclass(frozen=True, slots=True)
class Configuration:
    about: str
    flavour: Flavour
    mode: str | None
    """Of the proxy; None: there is no proxy."""
    hints: bool = False


CONFIGURATIONS: Mapping[str, Configuration] = {
    "stock": Configuration("SGLang with its defaults, no proxy", Flavour.STOCK, mode=None),
    "off": Configuration("through the proxy, nothing sent", Flavour.EXTENDED, mode="off"),
    "on": Configuration("the simulation gives distances", Flavour.EXTENDED, mode="on", hints=True),
    "on-nohints": Configuration("the proxy is told nothing but names", Flavour.EXTENDED, mode="on"),
}

EngineKey = tuple[Flavour, int]
"""The n-th engine of a flavour. Lanes of one pass never share an engine, passes do."""


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    configuration: Configuration
    engine: EngineKey


def passes(
    names: Sequence[str], most_engines: int, most_of: Mapping[Flavour, int] | None = None
) -> list[list[Lane]]:
    """Splits the configurations into passes whose lanes can be up side by side. The first, the reference, is in each.

    `most_of` limits the engines of a flavour further. Raises `Impossible`.
    """
    for name in names:
        if name not in CONFIGURATIONS:
            raise Impossible(f"there is no configuration {name!r}; there is {', '.join(CONFIGURATIONS)}")
    if not names or len(set(names)) < len(names):
        raise Impossible("name at least one configuration, and none twice")
    limits = most_of or {}

    def fits(group: Sequence[str]) -> bool:
        count = Counter(CONFIGURATIONS[name].flavour for name in group)
        return len(group) <= most_engines and all(count[flavour] <= most for flavour, most in limits.items())

    reference, *others = names
    groups = [[reference]]
    for name in others:
        if not fits([*groups[-1], name]):
            groups.append([reference])
        groups[-1].append(name)
    if not all(fits(group) for group in groups):
        raise Impossible(f"{reference} and another configuration need an engine each, side by side")
    return [_lanes(group) for group in groups if len(group) > 1 or len(names) == 1]


def _lanes(group: Sequence[str]) -> list[Lane]:
    taken: Counter[Flavour] = Counter()
    lanes = []
    for name in group:
        flavour = CONFIGURATIONS[name].flavour
        lanes.append(Lane(name, CONFIGURATIONS[name], (flavour, taken[flavour])))
        taken[flavour] += 1
    return lanes
