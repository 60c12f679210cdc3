"""What the steps of an engine take, and what fits on it, by the figures of its machine and its model. Pure.

A step takes what its kernels take, and a fixed overhead. The weights are read once while every token is computed with: whichever is
slower counts. Decoding then reads all that the running calls hold. Several devices share that evenly, and exchange activations
twice a layer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from scalesim.workloads.program import Impossible

from .profiles import Gpu, Model, Server


@dataclass(frozen=True, slots=True)
class Costs:
    gpu: Gpu
    model: Model
    server: Server
    devices: int = 1
    """That an engine is spread over (tensor parallelism)."""

    def __post_init__(self) -> None:
        if self.devices < 1 or self.model.heads % self.devices:
            raise Impossible(
                f"tensor parallelism is {self.devices}, and has to divide the {self.model.heads} heads of {self.model.name}"
            )

    # Room

    @property
    def bytes_per_token(self) -> int:
        """On all devices together. Heads of keys and values are copied where there are fewer than devices."""
        copies = max(1, self.devices // self.model.kv_heads)
        return self.model.bytes_per_token * copies

    def capacity_tokens(self, slots: int = 0, adapter_bytes: int = 0) -> int:
        """Of the prefix cache, in whole blocks. Raises `Impossible` if nothing is left for it."""
        room = self.gpu.memory_bytes * self.devices * self.server.memory_share
        left = room - self.model.weight_bytes - slots * adapter_bytes
        block = self.server.block_tokens
        tokens = int(left // self.bytes_per_token) // block * block
        if tokens < block:
            raise Impossible(
                f"{self.model.name} and {slots} adapter slots take all of {self.devices} x {self.gpu.name}: "
                f"{self.model.weight_bytes / 1e9:.1f} GB and {slots * adapter_bytes / 1e9:.1f} GB of {room / 1e9:.1f} GB"
            )
        return tokens

    # Time

    def prefill_s(self, tokens: int, attended: float, calls: int = 1) -> float:
        """One step that computes so many tokens of prompts, of however many calls. `attended`: with how many others, summed over
        all of them."""
        model = self.model
        flops = 2.0 * model.parameters * tokens + 4.0 * model.layers * model.heads * model.head_dim * attended
        computing = flops / (self.gpu.flops * self.server.compute_share * self.devices)
        return self._fixed_s + max(computing, self._weights_s) + self._exchange_s(tokens)

    def decode_s(self, running: int, context: int, steps: int) -> float:
        """So many steps, each of which makes one token for each of the running calls; these hold `context` tokens in
        the beginning."""
        return (
            steps * self._decode_step_s(running, context) + self._growth_s(running) * steps * (steps - 1) / 2
        )

    def decode_steps(self, running: int, context: int, seconds: float, most: int) -> int:
        """How many steps have ended or are under way after that time; at least one, at most so many."""
        low, high = 1, most
        while low < high:
            middle = (low + high) // 2
            if self.decode_s(running, context, middle) >= seconds:
                high = middle
            else:
                low = middle + 1
        return low

    @property
    def link_bytes_per_s(self) -> float:
        """Each device loads its part over a link of its own."""
        return self.gpu.link_bytes_per_s * self.devices

    def load_s(self, size_bytes: float, loads: int = 1) -> float:
        return size_bytes / self.link_bytes_per_s + loads * self.server.load_overhead_s

    def beside_s(self, copying_s: float, computing_s: float) -> float:
        """One after the other: what overlaps is left out."""
        return copying_s + computing_s

    def told(self) -> dict[str, object]:
        return {
            "gpu": asdict(self.gpu),
            "model": asdict(self.model),
            "server": asdict(self.server),
            "devices": self.devices,
        }

    def _decode_step_s(self, running: int, context: int) -> float:
        model = self.model
        computing = (
            2.0 * model.parameters * running / (self.gpu.flops * self.server.compute_share * self.devices)
        )
        attending = context * self.bytes_per_token / self._bytes_per_s
        return self._fixed_s + max(computing, self._weights_s) + attending + self._exchange_s(running)

    def _growth_s(self, running: int) -> float:
        """By which a step takes longer than the one before."""
        return running * self.bytes_per_token / self._bytes_per_s

    @property
    def _bytes_per_s(self) -> float:
        return self.gpu.memory_bytes_per_s * self.server.bandwidth_share * self.devices

    @property
    def _weights_s(self) -> float:
        return self.model.weight_bytes / self._bytes_per_s

    @property
    def _fixed_s(self) -> float:
        return self.server.step_overhead_s

    def _exchange_s(self, tokens: int) -> float:
        """Two all-reduces a layer; a ring moves 2 (n - 1) / n of the activations."""
        if self.devices == 1:
            return 0.0
        moved = (
            2.0 * (self.devices - 1) / self.devices * tokens * self.model.hidden * self.model.bytes_per_value
        )
        return 2 * self.model.layers * (self.server.peer_latency_s + moved / self.gpu.peer_bytes_per_s)
