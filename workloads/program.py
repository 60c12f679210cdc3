"""What a simulation asks of an engine, decided before anything is played.

A program is a list of steps. In a step, the activated agents each run a chain of calls, one after the other; the step
ends when all chains have ended. Prompts never depend on answers, so a program can be played in any configuration and
asks the same of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Impossible(ValueError):
    """What was asked for cannot be played; the message says why."""


Message = Mapping[str, str]
"""One message of a chat: `role` and `content`."""


@dataclass(frozen=True, slots=True)
class Call:
    messages: tuple[Message, ...]
    max_tokens: int
    """Exactly this many are generated, where the engine honours `ignore_eos`."""
    template: str
    """What the call is for, e.g. `plan`."""
    says: str | None = None
    """What its answer begins with, where the engine can be made to say it: letters, digits and spaces."""


class Told(StrEnum):
    """What a simulation tells of when its agents call next."""

    EXACT = "exact"
    """How soon each does, in truth; only a program that is played knows that."""
    PLAN = "plan"
    """How long each is still busy with what it does."""
    SPATIAL = "spatial"
    """That, and where each is and goes: people who come near each other talk."""
    PATH = "path"
    """Who knows whom, and whom a message has reached."""
    ANSWERS = "answers"
    """Which step begins; how long agents act is to be read in what they are answered."""
    TICKS = "ticks"
    """Which step begins, and nothing of agents but names."""
    NONE = "none"
    """Nothing but names."""


@dataclass(frozen=True, slots=True)
class Activation:
    """The chain of calls that an agent makes before it acts again."""

    agent: str
    calls: tuple[Call, ...]
    acts_for_steps: float
    """Steps from this one to the agent's next activation; inf if there is none."""
    adapter: str | None = None
    """The LoRA adapter of all its calls; None: the model as it is."""
    trigger: str = "plan"
    """What made the agent call: `plan`, where a step of its plan is done; else the scenario says what there is."""
    planned_steps: float | None = None
    """Steps that the agent will be busy with what it does next, as far as it knows itself; None: it does not know."""


Place = tuple[float, float]
"""In tiles."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a real simulation knows when a step begins: its present state, and nothing of the future."""

    actions: Mapping[str, float] = field(default_factory=dict)
    """By agent: steps until what it is busy with is done, by its plan."""
    positions: Mapping[str, Place] = field(default_factory=dict)
    destinations: Mapping[str, Place] = field(default_factory=dict)
    """Of everybody who has a position; their own position, if they stay."""
    speeds: Mapping[str, float] = field(default_factory=dict)
    """Of everybody who has a position, in tiles per step; 0 if they stay."""
    met: tuple[tuple[str, str], ...] = ()
    """Who talked with whom in the step before."""
    reached: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """By wave: whom it reaches in this step. Those of its first step are its sources."""


NOTHING_KNOWN = Known()


@dataclass(frozen=True, slots=True)
class Space:
    """Who comes as near as `radius` tiles to somebody talks, and not again with the same one before `cooldown` steps."""

    radius: float
    speed: float
    """Of somebody who walks, in tiles per step."""
    cooldown: float


@dataclass(frozen=True, slots=True)
class Hints:
    """What is told of a step in place of the exact distances."""

    distances: Mapping[str, float] = field(default_factory=dict)
    """As those of the step; agents that are missing here are not told of."""
    acts_for_steps: Mapping[str, float] = field(default_factory=dict)
    """By agent that is active in the step: what it says with its last call; those that are missing say nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    index: int
    activations: tuple[Activation, ...]
    distances: Mapping[str, float]
    """Of every agent: steps until its next activation, 0 in this step, inf if there is none. It looks past the end of
    the program, so that the last steps are like any other."""
    known: Known = NOTHING_KNOWN
    hints: Hints | None = None
    """None: where exact distances are to be told, they are."""


@dataclass(frozen=True, slots=True)
class Program:
    scenario: str
    agents: tuple[str, ...]
    steps: tuple[Step, ...]
    adapters: Mapping[str, str] = field(default_factory=dict)
    """By agent: the adapter of each that has one."""
    space: Space | None = None
    """Where agents have positions."""
    graph: tuple[tuple[str, str], ...] | None = None
    """Where messages travel: who tells each other, each pair once."""

    def tells(self) -> tuple[Told, ...]:
        """What a simulation like this has to tell."""
        plans = any(step.known.actions for step in self.steps)
        there = {
            Told.PLAN: plans,
            Told.ANSWERS: plans,
            Told.SPATIAL: self.space is not None,
            Told.PATH: self.graph is not None,
        }
        return tuple(told for told in Told if there.get(told, True))

    def must_tell(self, told: Told) -> None:
        """Raises `Impossible` if a simulation like this does not have that to tell."""
        if told not in self.tells():
            there = ", ".join(one.value for one in self.tells())
            raise Impossible(f"{self.scenario} has no {told.value!r} to tell; it has {there}")

    def own(self) -> Told:
        """The most that a simulation like this knows of itself, which is never exact distances."""
        there = self.tells()
        return next((told for told in (Told.SPATIAL, Told.PATH, Told.PLAN) if told in there), Told.TICKS)

    def calls_by_trigger(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for _, activation, _, _ in self.calls():
            counts[activation.trigger] += 1
        return dict(sorted(counts.items()))

    def calls(self) -> Iterator[tuple[Step, Activation, int, Call]]:
        """Every call with its step, its activation and its index in it, in the order of the program."""
        for step in self.steps:
            for activation in step.activations:
                for index, call in enumerate(activation.calls):
                    yield step, activation, index, call

    def with_adapters(self, adapters: Mapping[str, str]) -> Program:
        """The same calls, made with these adapters."""
        steps = tuple(
            replace(
                step,
                activations=tuple(
                    replace(activation, adapter=adapters.get(activation.agent))
                    for activation in step.activations
                ),
            )
            for step in self.steps
        )
        return replace(self, steps=steps, adapters=adapters)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a scenario is asked for."""

    agents: int = 24
    steps: int = 12
    seed: int = 1
    persona_tokens: int = 2000
    growth_tokens: int = 64
    """By which an agent's history grows with each call."""
    mean_gap_steps: float = 5.5
    calls_per_activation: int = 0
    """Exactly so many in each, by the templates of its chain in turn; 0: as many as the scenario's chains have."""
    output_share: float = 1.0
    """Of the tokens that the scenario's templates generate: papers seldom tell them, and with them the weight of decoding
    against that of prefilling."""
    chars_per_token: float = 4.0
    """Of the engine's tokenizer on this text; see `prose.SAMPLE`."""
    adapters: bool = False
    """Whether each agent has a LoRA adapter of its own; see `adapter_name`."""
    sketched: bool = False
    """Messages have only a name as their content, and in `tokens` how long they would be: for plays that read no text."""
    options: Mapping[str, float] = field(default_factory=dict)
    """The scenario's own; each knows its names, and refuses others."""

    def __post_init__(self) -> None:
        for name, value, least in (
            ("agents", self.agents, 1),
            ("steps", self.steps, 1),
            ("persona_tokens", self.persona_tokens, 1),
            ("growth_tokens", self.growth_tokens, 0),
            ("mean_gap_steps", self.mean_gap_steps, 1),
            ("calls_per_activation", self.calls_per_activation, 0),
            ("output_share", self.output_share, 0.01),
            ("chars_per_token", self.chars_per_token, 0.1),
        ):
            if not value >= least:
                raise Impossible(f"{name} is {value}, and has to be at least {least}")


def gap_of(active: float) -> float:
    """In steps, between activations of an agent, if that share of all are active in a step. Raises `Impossible`."""
    if not 0 < active <= 1:
        raise Impossible(f"active is {active:g}, and has to be above 0 and at most 1")
    return 1 / active


def adapter_name(index: int) -> str:
    """Of the index-th agent of a program."""
    return f"ad-{index}"


def adapted(program: Program, wishes: Wishes) -> Program:
    """With an adapter for each agent, where they are wished for."""
    if not wishes.adapters:
        return program
    return program.with_adapters({agent: adapter_name(index) for index, agent in enumerate(program.agents)})
