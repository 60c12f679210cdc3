"""What was seen of one call, and its line in a file of raw records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

CallKey = tuple[int, str, int]
"""(step, agent, index of the call in its activation): which call of a program it is, whatever played it."""


@dataclass(frozen=True, slots=True)
class TokenSeen:
    """One generated token and the two likeliest candidates for its place, with their natural logarithms, likeliest first."""

    text: str
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """Times in seconds since the beginning of the play."""

    agent: str
    step: int
    index: int
    template: str
    started_s: float
    ended_s: float
    first_token_s: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    host_tokens: int = 0
    """Of the cached ones, those that the call had to bring from host memory itself."""
    output_tokens: int = 0
    text: str = ""
    tokens: tuple[TokenSeen, ...] = ()
    token_ids: tuple[int, ...] = ()
    """Empty where the engine does not give them."""
    error: str | None = None
    trigger: str = "plan"
    """What made the agent call, see `program.Activation`."""

    @property
    def key(self) -> CallKey:
        return self.step, self.agent, self.index

    @property
    def ttft_s(self) -> float | None:
        return None if self.first_token_s is None else self.first_token_s - self.started_s


@dataclass(frozen=True, slots=True)
class StepPlayed:
    wall_s: float
    """From before the hints until the last chain ended."""
    calls: tuple[CallRecord, ...]


def write_calls(path: Path, plays: Iterable[tuple[Mapping[str, object], Iterable[CallRecord]]]) -> None:
    """One JSON line per call; what is said of a play stands in each of its lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for about, calls in plays:
            file.writelines(
                json.dumps({**about, **asdict(call)}, ensure_ascii=False) + "\n" for call in calls
            )
