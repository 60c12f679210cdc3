"""What came of a play: times, hits, bytes. Pure; the same play gives the same numbers, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class StepTime:
    step: int
    seconds: float
    calls: int
    active_agents: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Of moments in seconds."""

    mean: float
    p50: float
    p95: float
    worst: float


def spread(values: Sequence[float]) -> Spread | None:
    """None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    at = len(ordered) - 1
    return Spread(sum(ordered) / len(ordered), ordered[at // 2], ordered[at * 95 // 100], ordered[at])


@dataclass(frozen=True, slots=True)
class Shares:
    """Of what all engines spent from the first call to the last; they add up to 1."""

    decode: float
    prefill: float
    load: float
    """Steps waited for copies from host memory."""
    wait: float
    """There was nothing to do: others still ran, or a step was over."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Shares of tokens of prompts, but for the adapters."""

    all_calls: float
    """Were not computed: they were on the device, or copied."""
    first_calls: float | None
    """The same of the first calls of activations after an agent's first; None: there were none."""
    on_device: float
    """Were on the device when the call began."""
    from_host: float
    """Were copied because the call waited."""
    ahead: float
    """Had been brought before the call came; they are among those on the device."""
    adapters: float | None
    """Of the calls with an adapter, those that found it in a slot."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes from host memory to devices."""

    demand: int
    """Because calls waited."""
    ahead: int
    """Before calls came."""
    wasted: int
    """Brought ahead, and gone before any call needed it."""
    link_share: float
    """Of the time that the links were busy, mean over engines."""


@dataclass(frozen=True, slots=True)
class Control:
    """What the proxy did."""

    plans: int
    orders: int
    loads: int
    loaded: int
    stopped: int
    refused: int
    moves: int
    """Calls on another engine than their agent's last one."""


@dataclass(frozen=True, slots=True)
class Results:
    setting: dict[str, object]
    seconds: float
    """Of virtual time, from the first call to the last answer."""
    calls: int
    prompt_tokens: int
    computed_tokens: int
    output_tokens: int
    steps: tuple[StepTime, ...]
    step_s: Spread | None
    ttft_s: Spread | None
    call_s: Spread | None
    queued_s: Spread | None
    """From a call's arrival to the step that begins it."""
    shares: Shares
    hits: Hits
    moved: Moved
    control: Control | None
    """None: there was no proxy."""
    evicted_tokens: int
    most_running: int
    causes: dict[str, float]
    """Shares of the engines' time by what would have to be more for it to go faster, see `causes.Cause`; they add up to 1."""
    engines: tuple[dict[str, float], ...] = field(default_factory=tuple)

    def as_json(self) -> dict[str, object]:
        return asdict(self)
