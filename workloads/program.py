"""What a simulation asks of an engine, decided before anything is played.

A program is a list of steps. In a step, the activated agents each run a chain of calls, one after the other; the step
ends when all chains have ended. Prompts never depend on answers, so a program can be played in any configuration and
asks the same of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace


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


@dataclass(frozen=True, slots=True)
class Activation:
    """The chain of calls that an agent makes before it acts again."""

    agent: str
    calls: tuple[Call, ...]
    acts_for_steps: float
    """Steps from this one to the agent's next activation; inf if there is none."""
    adapter: str | None = None
    """The LoRA adapter of all its calls; None: the model as it is."""


@dataclass(frozen=True, slots=True)
class Step:
    index: int
    activations: tuple[Activation, ...]
    distances: Mapping[str, float]
    """Of every agent: steps until its next activation, 0 in this step, inf if there is none. It looks past the end of
    the program, so that the last steps are like any other."""


@dataclass(frozen=True, slots=True)
class Program:
    scenario: str
    agents: tuple[str, ...]
    steps: tuple[Step, ...]
    adapters: Mapping[str, str] = field(default_factory=dict)
    """By agent: the adapter of each that has one."""

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
    output_share: float = 1.0
    """Of the tokens that the scenario's templates generate: papers seldom tell them, and with them the weight of decoding
    against that of prefilling."""
    chars_per_token: float = 4.0
    """Of the engine's tokenizer on this text; see `prose.SAMPLE`."""
    adapters: bool = False
    """Whether each agent has a LoRA adapter of its own; see `adapter_name`."""

    def __post_init__(self) -> None:
        for name, value, least in (
            ("agents", self.agents, 1),
            ("steps", self.steps, 1),
            ("persona_tokens", self.persona_tokens, 1),
            ("growth_tokens", self.growth_tokens, 0),
            ("mean_gap_steps", self.mean_gap_steps, 1),
            ("output_share", self.output_share, 0.01),
            ("chars_per_token", self.chars_per_token, 0.1),
        ):
            if not value >= least:
                raise Impossible(f"{name} is {value}, and has to be at least {least}")


def adapter_name(index: int) -> str:
    """Of the index-th agent of a program."""
    return f"ad-{index}"
