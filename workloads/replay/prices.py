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

    @property
    def has_one_rank(self) -> bool:
        """An engine on several devices loads no adapters ahead: each rank would see the end of a copy at its own time."""
        ...

    def prefill_s(self, tokens: int, attended: float, calls: int = 1, adapter_bytes: int = 0) -> float:
        """One step that computes so many tokens of the prompts of so many calls. `attended`: with how many others, summed
        over all of them; `adapter_bytes`: of all adapters that its calls run on, here and below."""
        ...

    def decode_s(self, running: int, context: int, steps: int, adapter_bytes: int = 0) -> float: ...

    def decode_steps(
        self, running: int, context: int, seconds: float, most: int, adapter_bytes: int = 0
    ) -> int: ...

    def load_s(self, size_bytes: float, loads: int = 1, adapters: int = 0) -> float:
        """`loads` that begin, of which so many are of adapters."""
        ...

    def beside_s(self, copying_s: float, computing_s: float) -> float:
        """A step of prefill and the copies that its calls wait for, together."""
        ...

    def told(self) -> dict[str, object]:
        """For the JSON of a play."""
        ...
