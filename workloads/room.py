"""How large the engine's cache is made for a program. Pure; sizes are estimates from the length of texts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .program import Impossible, Message, Program, Wishes

MESSAGE_OVERHEAD_TOKENS = 6
"""What a chat template adds to each message, roughly."""


@dataclass(frozen=True, slots=True)
class Room:
    prefix_tokens: int
    """An agent's persona and history, mean over the agents in the middle of the run."""
    agents: int
    share: float
    running_tokens: int
    """What the running calls of a step hold besides: the text of their template, and their output."""
    largest_call_tokens: int
    step: str = "an average step"
    """Which one that is."""

    @property
    def capacity_tokens(self) -> int:
        wanted = round(self.share * self.agents * self.prefix_tokens) + self.running_tokens
        # An engine refuses a prompt that is larger than its cache, with a little to spare.
        return max(wanted, self.largest_call_tokens + 256)

    def __str__(self) -> str:
        return (
            f"{self.capacity_tokens:,} tokens = {self.share:g} of {self.agents} agents x {self.prefix_tokens:,} prefix tokens"
            f" + {self.running_tokens:,} for the template and output of the calls that run in {self.step}"
        )


def room(program: Program, wishes: Wishes, share: float, *, busiest: bool = False) -> Room:
    """`share` of the agents' prefixes fit, besides what the calls of an average step hold, or of the busiest one: where
    memory is loaded ahead of calls, those that run must not push each other out. Raises `Impossible`."""
    if not 0 < share <= 100:
        raise Impossible(f"room is {share:g}, and has to be a share of the agents' prefixes above 0")

    def tokens(*messages: Message) -> int:
        chars = sum(len(message["content"]) for message in messages)
        return math.ceil(chars / wishes.chars_per_token) + MESSAGE_OVERHEAD_TOKENS * len(messages)

    prefixes = {}
    own = []
    together: dict[int, dict[str, int]] = {}
    largest = 0
    for step, activation, _, call in program.calls():
        prefix, task = tokens(*call.messages[:-1]), tokens(call.messages[-1]) + call.max_tokens
        own.append(task)
        in_step = together.setdefault(step.index, {})
        in_step[activation.agent] = max(task, in_step.get(activation.agent, 0))
        largest = max(largest, prefix + task)
        if step.index <= len(program.steps) // 2:
            prefixes[activation.agent] = prefix
    prefix_tokens = sum(prefixes.values()) / len(prefixes) if prefixes else wishes.persona_tokens
    if busiest:
        running = max((sum(tasks.values()) for tasks in together.values()), default=0)
        return Room(round(prefix_tokens), len(program.agents), share, running, largest, "the busiest step")
    active = sum(len(step.activations) for step in program.steps) / len(program.steps)
    mean_own = sum(own) / len(own) if own else 0
    return Room(round(prefix_tokens), len(program.agents), share, round(active * mean_own), largest)
