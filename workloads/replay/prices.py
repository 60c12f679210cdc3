"""What an engine of the replay has to know of its machine: worked out from a device and a model, or measured."""

from __future__ import annotations

from typing import Protocol


class Limits(Protocol):
    """How an engine goes about it."""

    @property
    def chunk_tokens(self) -> int: ...

    @property
    def max_running(self) -> int: ...

    @property
    def block_tokens(self) -> int: ...

    @property
    def report_every_s(self) -> float: ...

    @property
    def control_s(self) -> float: ...


class Prices(Protocol):
    """What its steps and loads take."""

    @property
    def server(self) -> Limits: ...

    @property
    def bytes_per_token(self) -> int: ...

    @property
    def link_bytes_per_s(self) -> float: ...

    def prefill_s(self, tokens: int, attended: float, calls: int = 1) -> float:
        """One step that computes so many tokens of the prompts of so many calls. `attended`: with how many others, summed
        over all of them."""
        ...

    def decode_s(self, running: int, context: int, steps: int) -> float: ...

    def decode_steps(self, running: int, context: int, seconds: float, most: int) -> int: ...

    def load_s(self, size_bytes: float, loads: int = 1) -> float: ...

    def beside_s(self, copying_s: float, computing_s: float) -> float:
        """A step of prefill and the copies that its calls wait for, together."""
        ...

    def told(self) -> dict[str, object]:
        """For the JSON of a play."""
        ...
