"""What an engine is started with: everything that makes two engines of a measurement different from each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from .links import Link

TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")


class Device(StrEnum):
    """What engines compute on."""

    CPU = "cpu"
    CUDA = "cuda"


IO_BACKENDS = {Device.CPU: "direct", Device.CUDA: "kernel"}
"""What copies prefixes between host and device: torch, or SGLang's own kernels."""
LORA_BACKENDS: dict[Device, tuple[str, ...]] = {
    Device.CPU: ("--lora-backend", "torch_native"),
    Device.CUDA: (),  # SGLang's own choice
}


def host_tier_flags(device: Device) -> list[str]:
    return [
        "--enable-hierarchical-cache",
        *("--hicache-ratio", "3", "--hicache-write-policy", "write_through"),
        *("--hicache-io-backend", IO_BACKENDS[device], "--hicache-mem-layout", "layer_first"),
    ]


class Flavour(StrEnum):
    """What is installed into SGLang. What lets it run without a GPU, and the passive meter, are in both."""

    STOCK = "stock"
    EXTENDED = "extended"


@dataclass(frozen=True, slots=True)
class AdapterRoom:
    """Room for LoRA adapters. Numbers of adapters, but for the rank."""

    slots: int
    """That a batch may use."""
    loaded: int
    """That the engine's host memory may hold."""
    rank: int
    """The largest."""
    overlap: bool = False
    """Whether adapters are moved beside computing, where the stock engine can do that."""

    def overlapped(self) -> AdapterRoom:
        """With overlapped loading, which SGLang allows only with at most two adapters in host memory for each slot."""
        return replace(self, overlap=True, loaded=min(self.loaded, 2 * self.slots))

    def flags(self, device: Device = Device.CPU) -> list[str]:
        flags = [
            *("--enable-lora", *LORA_BACKENDS[device]),
            *("--max-loras-per-batch", str(self.slots), "--max-loaded-loras", str(self.loaded)),
            *("--max-lora-rank", str(self.rank), "--lora-target-modules", *TARGET_MODULES),
        ]
        return [*flags, "--enable-lora-overlap-loading"] if self.overlap else flags


@dataclass(frozen=True, slots=True)
class EngineBuild:
    """Two lanes may share an engine, one after the other, if and only if their builds are equal."""

    flavour: Flavour
    host_tier: bool = False
    """Prefixes have a copy in host memory."""
    adapters: AdapterRoom | None = None
    """None: LoRA is off."""
    link: Link | None = None
    """None: moving memory costs what a copy costs on this machine."""
    settings: tuple[str, ...] = ()
    """Flags of SGLang's own, given as they are."""

    @property
    def name(self) -> str:
        """For files. Not unique: of what differs within one measurement only."""
        parts = [str(self.flavour)]
        if self.host_tier:
            parts.append("host")
        if self.adapters is not None and self.adapters.overlap:
            parts.append("overlap")
        parts.extend(setting.lstrip("-") for setting in self.settings)
        return "-".join(parts)

    def flags(self, device: Device = Device.CPU) -> list[str]:
        """Besides those that every engine gets."""
        return [
            *(("--radix-cache-backend", "scalesim") if self.flavour is Flavour.EXTENDED else ()),
            *(host_tier_flags(device) if self.host_tier else ()),
            *(self.adapters.flags(device) if self.adapters is not None else ()),
            *self.settings,
        ]


def build_of(wanted: EngineBuild | Flavour) -> EngineBuild:
    """A flavour alone is an engine with nothing added."""
    return wanted if isinstance(wanted, EngineBuild) else EngineBuild(wanted)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for every engine of a measurement alike."""

    adapters: AdapterRoom | None = None
    link: Link | None = None
