"""Who writes an agent's prompts: its persona, then its history, then the text of a template with what is particular to the
call. Only personas and histories are asked for again."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from .program import Call, Message, Wishes
from .prose import prose

MESSAGE_OVERHEAD_TOKENS = 6
"""What a chat template adds to each message, roughly."""
SPECIFIC_TOKENS = 40
"""How much of a template's text is particular to the call."""


@dataclass(frozen=True, slots=True)
class Template:
    tokens: int
    least_output: int
    most_output: int


class Author:
    """Writes the chains of one agent, activation by activation; the history grows with each call."""

    def __init__(
        self, agent: str, wishes: Wishes, templates: Mapping[str, Template], rng: random.Random
    ) -> None:
        """`rng` says how long answers are."""
        self._agent = agent
        self._wishes = wishes
        self._templates = templates
        self._rng = rng
        self._persona: Message = {"role": "system", "content": self._write("persona", wishes.persona_tokens)}
        self._history: list[Message] = []
        self._activations = 0

    def chain(self, kind: str, names: Sequence[str]) -> tuple[Call, ...]:
        """The agent's next activation: one call per template, which `kind` tells apart from other uses of it."""
        calls = []
        for index, name in enumerate(names):
            template = self._templates[name]
            specific = self._write(f"{self._activations}/{index}", SPECIFIC_TOKENS)
            common = _template_text(name, template.tokens - SPECIFIC_TOKENS, self._wishes.chars_per_token)
            task: Message = {"role": "user", "content": f"{kind} {name}: {common} {specific}"}
            drawn = self._rng.randint(template.least_output, template.most_output)
            output = max(1, round(drawn * self._wishes.output_share))
            calls.append(Call((self._persona, *self._history, task), output, name))
            if self._wishes.growth_tokens:
                event = self._write(f"{self._activations}/{index}/event", self._wishes.growth_tokens)
                self._history.append({"role": "user", "content": event})
        self._activations += 1
        return tuple(calls)

    def _write(self, what: str, tokens: int) -> str:
        chars = math.ceil(max(1, tokens - MESSAGE_OVERHEAD_TOKENS) * self._wishes.chars_per_token)
        return prose(f"{self._wishes.seed}/{self._agent}/{what}", chars)


@cache
def _template_text(name: str, tokens: int, chars_per_token: float) -> str:
    return prose(f"template/{name}", math.ceil(tokens * chars_per_token))
