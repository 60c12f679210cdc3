"""The project's emulated engine in place of SGLang: it computes nothing, so hundreds of agents play in minutes.

What its steps take is what a model of 7 G parameters takes on an H100 by the figures of its makers (15.2 GFLOP per prompt
token at half of 989 TFLOP/s; per step of decoding 15 GB of weights and 9 GB of prefixes over 3.35 TB/s), all of it `pace`
times as fast. Answers are a quarter as long and each of their tokens takes four times as long: what a client and a proxy do
for a token is not emulated, and would be most of the time otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .builds import EngineBuild, Flavour, build_of
from .in_time import Wire
from .links import H100_BYTES_PER_S, PAPER_BYTES_PER_TOKEN
from .program import Impossible
from .servers import Installation

PREFILL_S_PER_TOKEN = 31e-6
DECODE_S_PER_STEP = 8e-3
PACE = 5.0
ANSWER_SHARE = 0.25
MOST_RUNNING = 64
BYTES_PER_TOKEN = PAPER_BYTES_PER_TOKEN
HOST_SHARE = 16
"""Times as large as the cache is host memory, where there is one: large enough for every agent."""
COUNT = """
import sys
from scalesim.engine_adapters.emulated.tokens import encode
print(len(encode(sys.stdin.read())))
"""
ABOUT_STOCK = "the emulated engine alone: the longest unused leaves first"


@dataclass(frozen=True, slots=True)
class EmulatedInstallation(Installation):
    """It is part of this project: all it needs is the interpreter that runs this."""

    engine_env: Path = Path(sys.executable)
    pace: float = PACE
    """Times as fast as the model."""

    def __post_init__(self) -> None:
        if not 0 < self.pace <= 1000:
            raise Impossible(f"pace is {self.pace:g}, and has to be above 0 and at most 1000")

    @property
    def engine_parts(self) -> list[Path]:
        return [self.engine_python]

    @property
    def prefill_s_per_token(self) -> float:
        return PREFILL_S_PER_TOKEN / self.pace

    @property
    def decode_s_per_step(self) -> float:
        return DECODE_S_PER_STEP / ANSWER_SHARE / self.pace

    @property
    def wire(self) -> Wire:
        """As fast as that of an H100, at this pace."""
        return Wire(H100_BYTES_PER_S * self.pace / BYTES_PER_TOKEN)

    def engine_command(self, build: EngineBuild | Flavour, port: int, capacity_tokens: int) -> list[str]:
        """Raises `Impossible` for what is not emulated here."""
        build = build_of(build)
        if build != EngineBuild(build.flavour, host_tier=build.host_tier):
            raise Impossible(f"an engine {build.name!r} is not emulated")
        return [
            *(str(self.engine_python), "-m", "scalesim.engine_adapters.emulated"),
            *("--host", self.host, "--port", str(port), "--capacity-tokens", str(capacity_tokens)),
            *("--prefill-s-per-token", f"{self.prefill_s_per_token:.6g}"),
            *("--decode-s-per-token", f"{self.decode_s_per_step:.6g}"),
            *("--max-running", str(MOST_RUNNING)),
            *(self._host_flags(capacity_tokens) if build.host_tier else ()),
            *(("--stock",) if build.flavour is Flavour.STOCK else ()),
        ]

    def _host_flags(self, capacity_tokens: int) -> tuple[str, ...]:
        return (
            *("--host-tokens", str(HOST_SHARE * capacity_tokens), "--bytes-per-token", str(BYTES_PER_TOKEN)),
            *("--link-bytes-per-s", f"{self.wire.tokens_per_s * BYTES_PER_TOKEN:.6g}"),
        )

    def engine_environment(self, build: EngineBuild | Flavour) -> dict[str, str]:
        return {}

    def count_command(self) -> Sequence[str]:
        return [str(self.engine_python), "-c", COUNT]

    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers has to know."""
        return (
            f"The engine is emulated: {self.prefill_s_per_token * 1e6:.3g} us of prefill per token and"
            f" {self.decode_s_per_step * 1e3:.3g} ms per step of decoding, {self.pace:g} times as fast as a model of 7 G"
            f" parameters on an H100, with answers of {ANSWER_SHARE:.0%} of their length at {1 / ANSWER_SHARE:g} times the time"
            " per token. What is neither decode nor prefill is our own: client, proxy and HTTP, which nobody has sped up.",
            "Its answers are made up from the prompt. That they are equal says that prefixes were matched rightly, and nothing"
            " of a model.",
            "Each configuration plays the whole program in one go, so that nothing is loaded while another one plays.",
        )
