"""The link between host and device memory that a measurement emulates, the same for every configuration. Pure.

On a CPU both memories are the same chips, and a load is a copy that takes next to nothing. A link makes a load take
`overhead + bytes / bandwidth` seconds. Where the stock engine waits for a load, it waits that long; where it computes
beside a load, it computes. There are two profiles:

`paper` makes a load weigh what it weighed in the paper, where HiCache spent .44 of its time in decode, .20 in prefill and
.36 blocked by loads (figure 13, 500 agents) and was about as fast as stock (figure 8), which we hold to .95 to 1.10 of it.
An adapter took far longer there than the wire needs, so most of its cost is overhead. `python -m workloads
calibrate-link`, with the settings of the benchmark, finds the numbers: it plays stock and hicache; the seconds stock is
blocked are those of adapters alone, those of hicache are of adapters and prefixes. From that follows how long both would
have to take (`link_search`); it plays again with a link that does that, until both targets are met.

`h100` is the wire of an H100 (PCIe Gen5, 64 GB/s) and nothing else: an adapter of rank 64 takes 5 ms, and a token of the
paper's model (57,344 bytes) takes 0.9 us. Both times are kept: a token of our model has fewer bytes, so the bandwidth is
scaled down with them, and an adapter's overhead is what is left of the 5 ms. Nothing is scaled to the speed at which this
machine computes: beside a slow processor the wire of an H100 costs almost nothing, and this profile shows that.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from .program import Impossible

H100_BYTES_PER_S = 64e9
H100_ADAPTER_S = 0.005
"""One adapter of rank 64 on all linear layers of a model of 7 billion parameters: 323 MB."""
PAPER_BYTES_PER_TOKEN = 57_344
"""Of Qwen2.5-7B, keys and values of all layers, 16 bit."""


@dataclass(frozen=True, slots=True)
class Link:
    name: str
    bandwidth_bytes_per_s: float
    adapter_overhead_s: float
    """Of each adapter that is moved, whatever its size."""
    prefix_overhead_s: float
    """Of each move of a part of a prefix."""

    def __post_init__(self) -> None:
        if not self.name or ":" in self.name:
            raise Impossible(f"a link's name is {self.name!r}, and has to be a word without colons")
        if not 0 < self.bandwidth_bytes_per_s < math.inf:
            raise Impossible(f"the link's bandwidth is {self.bandwidth_bytes_per_s:g} bytes/s, not above 0")
        for name, value in (
            ("adapter", self.adapter_overhead_s),
            ("prefix", self.prefix_overhead_s),
        ):
            if not 0 <= value < math.inf:
                raise Impossible(f"the link's overhead for each {name} is {value:g} s, not from 0 on")

    def setting(self) -> str:
        """As engines read it: NAME:BYTES_PER_S:ADAPTER_OVERHEAD_S:PREFIX_OVERHEAD_S."""
        return (
            f"{self.name}:{self.bandwidth_bytes_per_s:.9g}:{self.adapter_overhead_s:.9g}"
            f":{self.prefix_overhead_s:.9g}"
        )

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"emulated, {self.name}: {self.bandwidth_bytes_per_s / 1e6:,.4g} MB/s, and {self.adapter_overhead_s * 1e3:.4g} ms"
            f" for each adapter, {self.prefix_overhead_s * 1e3:.4g} ms for each move of a prefix"
        )


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the model that is served."""

    bytes_per_token: int
    adapter_bytes: int


PAPER = Link("paper", bandwidth_bytes_per_s=25e6, adapter_overhead_s=0.35, prefix_overhead_s=0.01)
"""For the town and the model of `make bench-memory`, found by `make calibrate-link`."""


def h100(sizes: Sizes) -> Link:
    bandwidth = H100_BYTES_PER_S * sizes.bytes_per_token / PAPER_BYTES_PER_TOKEN
    return Link("h100", bandwidth, max(0.0, H100_ADAPTER_S - sizes.adapter_bytes / bandwidth), 0.0)


def link(setting: str, sizes: Sizes) -> Link | None:
    """`off`, the name of a profile, or NAME:BYTES_PER_S:ADAPTER_OVERHEAD_S:PREFIX_OVERHEAD_S. Raises `Impossible`."""
    match setting.split(":"):
        case ["off"]:
            return None
        case ["paper"]:
            return PAPER
        case ["h100"]:
            return h100(sizes)
        case [name, *numbers] if len(numbers) == 3:
            try:
                bandwidth, adapter, prefix = (float(number) for number in numbers)
            except ValueError as exc:
                raise Impossible(f"the link {setting!r} holds what is not a number: {exc}") from exc
            return Link(name, bandwidth, adapter, prefix)
    raise Impossible(
        f"there is no link {setting!r}; there is off, paper, h100, or"
        " NAME:BYTES_PER_S:ADAPTER_OVERHEAD_S:PREFIX_OVERHEAD_S"
    )
