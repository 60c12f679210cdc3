"""Answers that say how long the agent will be busy, as those of simulations that plan in text do. Pure."""

from __future__ import annotations

from dataclasses import replace

from .plans import STEP_MINUTES
from .program import Activation, Program


def spoken(program: Program) -> Program:
    """The same program, in which the longest answer of each activation says how long the agent acts, where it knows. No other
    answer has room for it where answers are short."""
    steps = tuple(
        replace(step, activations=tuple(_spoken(activation) for activation in step.activations))
        for step in program.steps
    )
    return replace(program, steps=steps)


def _spoken(activation: Activation) -> Activation:
    if activation.planned_steps is None:
        return activation
    says = f"takes {round(activation.planned_steps * STEP_MINUTES)} minutes"
    longest = max(range(len(activation.calls)), key=lambda index: activation.calls[index].max_tokens)
    calls = tuple(
        replace(call, says=says) if index == longest else call for index, call in enumerate(activation.calls)
    )
    return replace(activation, calls=calls)
