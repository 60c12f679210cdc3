"""Who writes an agent's prompts: its persona, then its history, then the text of a template with what is particular to the
call. Only personas and histories are asked for again."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice

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
        self._persona = self._message("system", "persona", wishes.persona_tokens)
        self._history: list[Message] = []
        self._activations = 0

    def chain(self, kind: str, names: Sequence[str]) -> tuple[Call, ...]:
        """The agent's next activation: one call per template, which `kind` tells apart from other uses of it."""
        wanted, calls = self._wishes.calls_per_activation, []
        for index, name in enumerate(islice(cycle(names), wanted) if wanted else names):
            template = self._templates[name]
            task = self._task(kind, name, f"{self._activations}/{index}")
            drawn = self._rng.randint(template.least_output, template.most_output)
            output = max(1, round(drawn * self._wishes.output_share))
            calls.append(Call((self._persona, *self._history, task), output, name))
            if self._wishes.growth_tokens:
                event = f"{self._activations}/{index}/event"
                self._history.append(self._message("user", event, self._wishes.growth_tokens))
        self._activations += 1
        return tuple(calls)

    def _task(self, kind: str, name: str, which: str) -> Message:
        tokens = self._templates[name].tokens
        if self._wishes.sketched:
            return self._message("user", f"{kind} {name} {which}", tokens)
        specific = self._write(which, SPECIFIC_TOKENS)
        common = _template_text(name, tokens - SPECIFIC_TOKENS, self._wishes.chars_per_token)
        return {"role": "user", "content": f"{kind} {name}: {common} {specific}"}

    def _message(self, role: str, what: str, tokens: int) -> Message:
        if self._wishes.sketched:
            return {"role": role, "content": f"{self._agent}/{what}", "tokens": str(tokens)}
        return {"role": role, "content": self._write(what, tokens)}

    def _write(self, what: str, tokens: int) -> str:
        chars = math.ceil(max(1, tokens - MESSAGE_OVERHEAD_TOKENS) * self._wishes.chars_per_token)
        return prose(f"{self._wishes.seed}/{self._agent}/{what}", chars)


@cache
def _template_text(name: str, tokens: int, chars_per_token: float) -> str:
    return prose(f"template/{name}", math.ceil(tokens * chars_per_token))
