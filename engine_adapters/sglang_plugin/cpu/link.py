"""The host link of an accelerator, emulated: on a CPU a load from host memory is a memcpy and costs nothing.

`SCALESIM_LINK=NAME:BANDWIDTH_BYTES_PER_S:ADAPTER_OVERHEAD_S:PREFIX_OVERHEAD_S` turns it on, alike for every
configuration of a comparison; without it copies take the time they take. Streams and events of `torch.cpu`, which do
nothing, are given time: what is copied to the device on a stream is there when the link has moved its bytes, one
transfer after the other. Whoever waits for it sleeps, exactly where SGLang makes the GPU wait: the step in which an
adapter is fetched, and the layer whose cache is not there yet. Only the streams that copies are made on run beside the
processor; on all others work is done when it is asked for, so a copy there, or a wait, holds up its caller at once.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VARIABLE = "SCALESIM_LINK"


@dataclass(frozen=True, slots=True)
class Profile:
    name: str
    bytes_per_s: float
    """inf: no link is emulated."""
    adapter_overhead_s: float
    """Per adapter, on top of its bytes: engines copy it tensor by tensor."""
    prefix_overhead_s: float
    """Per load of a prefix."""

    @property
    def free(self) -> bool:
        return self.bytes_per_s == float("inf") and not self.adapter_overhead_s + self.prefix_overhead_s


NO_LINK = Profile("none", float("inf"), 0.0, 0.0)


def profile_of(environ: dict[str, str] | os._Environ[str]) -> Profile:
    """Raises `ValueError` that names the variable: a benchmark without its link would be taken for one with it."""
    told = environ.get(VARIABLE, "")
    if not told:
        return NO_LINK
    name, *numbers = told.split(":")
    try:
        rate, adapter, prefix = (float(number) for number in numbers)
    except ValueError as exc:
        raise ValueError(
            f"{VARIABLE}: {told!r} is not NAME:BYTES_PER_S:ADAPTER_OVERHEAD_S:PREFIX_OVERHEAD_S"
        ) from exc
    if not (rate > 0 and adapter >= 0 and prefix >= 0):
        raise ValueError(f"{VARIABLE}: {told!r} holds a rate that is not above 0, or an overhead below 0")
    return Profile(name, rate, adapter, prefix)


class Link:
    """One direction, host to device; transfers follow each other."""

    def __init__(
        self,
        profile: Profile,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.profile = profile
        self._clock = clock
        self._sleep = sleep
        self._busy_until = 0.0

    def move(self, size_bytes: int, overhead_s: float) -> float:
        """Queues a transfer; returns when it will be done, on the link's clock."""
        begins = max(self._clock(), self._busy_until)
        self._busy_until = begins + overhead_s + size_bytes / self.profile.bytes_per_s
        return self._busy_until

    def is_past(self, moment: float) -> bool:
        return self._clock() >= moment

    def wait(self, moment: float) -> None:
        while (left := moment - self._clock()) > 0:
            self._sleep(left)


def install(link: Link) -> None:
    """Replaces the streams and events of `torch.cpu`, and makes copies to the device take the link's time."""
    import torch

    class Stream:
        """`done` is when all that was queued on it is there; nothing is ever queued on one that runs not `beside`."""

        beside = False

        def __init__(self, *_args: Any, **_options: Any) -> None:
            self.done = 0.0

        def wait_stream(self, stream: Stream) -> None:
            self._after(stream.done)

        def wait_event(self, event: Event) -> None:
            self._after(event.done)

        def record_event(self, event: Event | None = None) -> Event:
            event = event or Event()
            event.record(self)
            return event

        def synchronize(self) -> None:
            link.wait(self.done)

        def move(self, size_bytes: int, overhead_s: float) -> None:
            self._after(link.move(size_bytes, overhead_s))

        def _after(self, moment: float) -> None:
            if self.beside:
                self.done = max(self.done, moment)
            else:
                link.wait(moment)

    class Event:
        """`enable_timing` is refused, as by the event it replaces: SGLang then goes without times of its own."""

        def __init__(self) -> None:
            self.done = 0.0

        def record(self, stream: Stream | None = None) -> None:
            self.done = (stream or current()).done

        def query(self) -> bool:
            return link.is_past(self.done)

        def synchronize(self) -> None:
            link.wait(self.done)

        def wait(self, stream: Stream | None = None) -> None:
            (stream or current()).wait_event(self)

    class Selected:
        def __init__(self, stream: Stream | None) -> None:
            self._stream = stream
            self._before: list[Stream] = []

        def __enter__(self) -> None:
            self._before.append(stack[-1])
            stack[-1] = self._stream or stack[-1]

        def __exit__(self, *_exc: object) -> None:
            stack[-1] = self._before.pop()

    def current(*_device: Any) -> Stream:
        return stack[-1]

    stack = [Stream()]
    torch.cpu.Stream, torch.cpu.Event, torch.cpu.StreamContext = Stream, Event, Selected  # type: ignore[misc, assignment]
    torch.cpu.stream, torch.cpu.current_stream = Selected, current  # type: ignore[assignment]
    _let_copies_run_beside()
    _charge_prefixes(link, current)
    _charge_adapters(link, current)


def _let_copies_run_beside() -> None:
    from sglang.srt.lora.lora_overlap_loader import LoRAOverlapLoader
    from sglang.srt.mem_cache.l2_transfer import L2TransferEngine

    from ..adapters import AdapterSlots

    def wrap(owner: type, stream_name: str) -> None:
        original = owner.__init__  # type: ignore[misc]

        @functools.wraps(original)
        def init(self: Any, *args: Any, **kw: Any) -> None:
            original(self, *args, **kw)
            getattr(self, stream_name).beside = True

        owner.__init__ = init  # type: ignore[misc]

    wrap(L2TransferEngine, "host_to_device_stream")
    wrap(LoRAOverlapLoader, "load_stream")
    wrap(AdapterSlots, "load_stream")


def _charge_prefixes(link: Link, current: Callable[[], Any]) -> None:
    from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost

    original = MHATokenToKVPoolHost.load_to_device_per_layer

    @functools.wraps(original)
    def load(
        self: Any,
        device_pool: Any,
        host_indices: Any,
        device_indices: Any,
        layer_id: int,
        *args: Any,
        **kw: Any,
    ) -> Any:
        result = original(self, device_pool, host_indices, device_indices, layer_id, *args, **kw)
        keys, values = self.k_buffer[layer_id], self.v_buffer[layer_id]
        token_bytes = sum(layer[0].numel() * layer.element_size() for layer in (keys, values))
        overhead_s = link.profile.prefix_overhead_s if layer_id == 0 else 0.0
        current().move(len(host_indices) * token_bytes, overhead_s)
        return result

    MHATokenToKVPoolHost.load_to_device_per_layer = load


def _charge_adapters(link: Link, current: Callable[[], Any]) -> None:
    from sglang.srt.lora.mem_pool import LoRAMemoryPool

    from ..adapters import size_bytes

    original = LoRAMemoryPool.load_lora_weight_to_buffer

    @functools.wraps(original)
    def load(self: Any, uid: Any, buffer_id: int, lora_adapter: Any, *args: Any, **kw: Any) -> Any:
        result = original(self, uid, buffer_id, lora_adapter, *args, **kw)
        if uid is not None:
            current().move(size_bytes(lora_adapter), link.profile.adapter_overhead_s)
        return result

    LoRAMemoryPool.load_lora_weight_to_buffer = load
