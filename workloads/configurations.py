"""The configurations that are compared, and who plays beside whom. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .builds import Conditions, EngineBuild, Flavour
from .noise import Noise
from .program import Impossible, Program, Told


@dataclass(frozen=True, slots=True)
class Configuration:
    about: str
    flavour: Flavour
    mode: str | None
    """Of the proxy; None: there is no proxy."""
    told: Told | None = None
    """What the simulation tells the proxy besides the names of its agents; None: it says nothing at all."""
    named: bool = True
    """Calls say which agent makes them. Without it they are as an engine would get them."""
    noise: Noise | None = None
    """Errors in exact distances."""
    host_tier: bool = False
    overlap: bool = False
    """Of adapter loads, where there are adapters."""
    settings: tuple[str, ...] = ()
    """Flags of SGLang's own, besides those that follow from the rest."""
    parts: tuple[str, ...] | None = None
    """Of the proxy's memory control; None: its own default."""

    def build(self, conditions: Conditions) -> EngineBuild:
        adapters = conditions.adapters
        if adapters is not None:
            adapters = adapters.overlapped() if self.overlap else adapters
        return EngineBuild(self.flavour, self.host_tier, adapters, conditions.link, self.settings)


ALL_PARTS = ("order", "pin", "prefixes", "adapters", "preempt", "ready_first", "warm_up")
"""The proxy's words for the parts of its memory control."""
IN_TURNS = tuple(part for part in ALL_PARTS if part != "warm_up")
"""Those where lanes take turns step by step: a warm-up would get the others' turns for nothing."""


ANSWERS = "answers"


def _told(about: str, told: Told | None) -> Configuration:
    return Configuration(about, Flavour.EXTENDED, mode="on", told=told, parts=IN_TURNS)


CONFIGURATIONS: Mapping[str, Configuration] = {
    "stock": Configuration("SGLang with its defaults, no proxy", Flavour.STOCK, mode=None),
    "off": Configuration("through the proxy, nothing sent", Flavour.EXTENDED, mode="off"),
    "on": _told("the simulation gives distances", Told.EXACT),
    "on-nohints": _told("the proxy is told nothing but names", None),
    "on-noids": replace(_told("the proxy is told nothing at all, not even names", None), named=False),
    "ticks": _told("the proxy is told when a step begins", Told.TICKS),
    "plan": _told("the simulation tells how long each agent is busy", Told.PLAN),
    "spatial": _told("the simulation tells plans, and where each agent is and goes", Told.SPATIAL),
    "path": _told("the simulation tells who knows whom, and whom news reached", Told.PATH),
    ANSWERS: _told("the proxy is told when a step begins, and reads answers", Told.ANSWERS),
}
USUAL = ("stock", "off", "on", "on-nohints")
"""Those that are played when nobody names any."""
OWN = "own"
AHEAD = "ahead"
NOISY = "noisy"
NAMES = (*CONFIGURATIONS, OWN, AHEAD, NOISY)
"""All that `configurations_for` may know."""


def configurations_for(program: Program, noise: Noise | None = None) -> dict[str, Configuration]:
    """With those that depend on what is played: `own`, `ahead`, and with `noise` also `noisy`."""
    told, exact = program.own(), CONFIGURATIONS["on"]
    own = replace(exact, about=f"what a simulation like this knows: {told.value}", told=told)
    known = {
        **CONFIGURATIONS,
        OWN: own,
        AHEAD: replace(
            own,
            about=f"as {OWN}, and prefixes come back from host memory before the call",
            host_tier=True,
        ),
    }
    if noise is not None:
        known[NOISY] = replace(exact, about="as on, with errors in the distances", noise=noise)
    return known


EngineKey = tuple[EngineBuild, int]
"""The n-th engine of a build. Lanes of one pass never share an engine, passes do."""

NO_CONDITIONS = Conditions()


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    configuration: Configuration
    engine: EngineKey


def passes(
    names: Sequence[str],
    most_engines: int,
    most_of: Mapping[Flavour, int] | None = None,
    configurations: Mapping[str, Configuration] = CONFIGURATIONS,
    conditions: Conditions = NO_CONDITIONS,
) -> list[list[Lane]]:
    """Splits the configurations into passes whose lanes can be up side by side. The first, the reference, is in each.

    `most_of` limits the engines of a flavour further. Raises `Impossible`.
    """
    for name in names:
        if name not in configurations:
            raise Impossible(f"there is no configuration {name!r}; there is {', '.join(configurations)}")
    if not names or len(set(names)) < len(names):
        raise Impossible("name at least one configuration, and none twice")
    limits = most_of or {}

    def fits(group: Sequence[str]) -> bool:
        count = Counter(configurations[name].flavour for name in group)
        return len(group) <= most_engines and all(count[flavour] <= most for flavour, most in limits.items())

    reference, *others = names
    groups = [[reference]]
    for name in others:
        if not fits([*groups[-1], name]):
            groups.append([reference])
        groups[-1].append(name)
    if not all(fits(group) for group in groups):
        raise Impossible(f"{reference} and another configuration need an engine each, side by side")
    chosen = {name: configurations[name] for name in names}
    return [_lanes(group, chosen, conditions) for group in groups if len(group) > 1 or len(names) == 1]


def _lanes(
    group: Sequence[str], configurations: Mapping[str, Configuration], conditions: Conditions
) -> list[Lane]:
    taken: Counter[EngineBuild] = Counter()
    lanes = []
    for name in group:
        build = configurations[name].build(conditions)
        lanes.append(Lane(name, configurations[name], (build, taken[build])))
        taken[build] += 1
    return lanes
