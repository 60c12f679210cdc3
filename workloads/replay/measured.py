"""What the steps of an engine take, by a profile that was measured of a live one. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .engine import Sizes
from .profiles import Measured

BYTES_PER_TOKEN = 1000
"""Of an engine that is only seen from outside nobody knows how large a token is: bytes are relative to this."""


@dataclass(frozen=True, slots=True)
class MeasuredCosts:
    """As `costs.Costs`, of one engine, however many devices it is spread over."""

    server: Measured
    adapted: bool = False
    """Whether calls have adapters, each its own."""

    @property
    def bytes_per_token(self) -> int:
        return BYTES_PER_TOKEN

    @property
    def link_bytes_per_s(self) -> float:
        return BYTES_PER_TOKEN / self.server.load_token_s

    @property
    def adapter_bytes(self) -> int:
        """So many that one takes on the link what it took."""
        beyond = self.server.adapter_load_s - self.server.load_overhead_s
        return max(1, round(beyond * self.link_bytes_per_s))

    def sizes(self) -> Sizes:
        """As the engine had them."""
        profile = self.server
        slots = profile.slots if self.adapted else 0
        return Sizes(
            profile.capacity_tokens,
            profile.host_tokens,
            slots,
            self.adapter_bytes if slots else 0,
            gathers=True,
            whole_nodes=True,
            writes_through=True,
        )

    @property
    def has_one_rank(self) -> bool:
        return True

    def prefill_s(self, tokens: int, attended: float, calls: int = 1, adapter_bytes: int = 0) -> float:
        """What adapters cost was measured by token and by call: their bytes are of no account, here and below."""
        profile = self.server
        token_s = profile.prefill_token_s + (profile.adapted_token_s if self.adapted else 0.0)
        own = profile.prefill_call_s * calls + token_s * tokens + profile.attended_token_s * attended
        return profile.prefill_step_s + own

    def decode_s(self, running: int, context: int, steps: int, adapter_bytes: int = 0) -> float:
        profile = self.server
        call_s = profile.decode_call_s + (profile.adapted_call_s if self.adapted else 0.0)
        first = profile.decode_step_s + call_s * running + profile.context_token_s * context
        return steps * first + profile.context_token_s * running * steps * (steps - 1) / 2

    def decode_steps(
        self, running: int, context: int, seconds: float, most: int, adapter_bytes: int = 0
    ) -> int:
        """How many steps have ended or are under way after that time; at least one, at most so many."""
        low, high = 1, most
        while low < high:
            middle = (low + high) // 2
            if self.decode_s(running, context, middle) >= seconds:
                high = middle
            else:
                low = middle + 1
        return low

    def load_s(self, size_bytes: float, loads: int = 1, adapters: int = 0) -> float:
        return size_bytes / self.link_bytes_per_s + loads * self.server.load_overhead_s

    def beside_s(self, copying_s: float, computing_s: float) -> float:
        """Layer by layer: the last one is computed with when the copy has ended, or the first when its part has."""
        if not copying_s:
            return computing_s
        parts = self.server.load_parts
        return max(copying_s + computing_s / parts, copying_s / parts + computing_s)

    def told(self) -> dict[str, object]:
        return {"measured": asdict(self.server), "adapted": self.adapted}
