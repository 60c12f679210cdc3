"""What calls run on: devices, models, room, and who decides what stays."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from scalesim.proxy.core import placement
from scalesim.workloads.program import Impossible
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.costs import Costs
from scalesim.workloads.replay.engine import Sizes
from scalesim.workloads.replay.measured import MeasuredCosts
from scalesim.workloads.replay.profiles import UNSEEN_S, Measured
from scalesim.workloads.replay.proxy import PLAN_EVERY_S
from scalesim.workloads.replay.world import Setting

HOST_RATIO = 2.0
"""Of host memory for prefixes to the device's: what SGLang's hierarchical cache takes where nobody says, and the machine has so much."""
MOST_SLOTS = 125
SLOT_SHARE = 0.25
"""Of the agents: the paper's cap on residents is the smaller of the two."""
OF_THE_PROFILE = ("gpu", "model", "server", "tensor_parallel", "host_gb", "slots")
"""Figures in place of which an engine that was measured has its own."""


@dataclass(frozen=True, slots=True)
class Machine:
    gpu: str = "h100"
    model: str = "qwen2.5-7b"
    engines: int = 1
    tensor_parallel: int = 1
    """Devices of each engine."""
    link: float = 1.0
    """Times as fast as that of the profile."""
    host_gb: float | None = None
    """Of each engine, for prefixes; None: `HOST_RATIO`. 0: what leaves the device is computed again."""
    adapter_rank: int = 0
    """Of the LoRA adapter that each agent has; 0: none has one."""
    slots: int | None = None
    """Adapters on a device at once; None: `SLOT_SHARE` of the agents, and no more than `MOST_SLOTS`."""
    policy: str = "nearest_first"
    placement: str = placement.DEFAULT
    plan_every_s: float = PLAN_EVERY_S
    server: str = "sglang"
    """What a step takes beside its kernels: one of `profiles.names("engine")`."""
    measured: str | None = None
    """The file of an engine that `calibrate` measured, in place of device, model and server. None: these."""

    @property
    def devices(self) -> int:
        return self.engines * self.tensor_parallel

    def as_json(self) -> dict[str, object]:
        told = asdict(self)
        unknown = OF_THE_PROFILE if self.measured is not None else ("measured",)
        return {name: value for name, value in told.items() if name not in unknown}

    def setting(self, agents: int) -> Setting:
        """Raises `Impossible`."""
        if not self.link > 0:
            raise Impossible(f"link is {self.link:g}, and has to be above 0")
        if self.adapter_rank < 0:
            raise Impossible(f"adapter_rank is {self.adapter_rank}, and has to be at least 0")
        if self.slots is not None and self.slots < 1:
            raise Impossible(f"slots is {self.slots}, and has to be at least 1")
        if self.host_gb is not None and not 0 <= self.host_gb <= 1e6:
            raise Impossible(f"host_gb is {self.host_gb:g}, and has to be from 0 to 1e+06")
        if self.measured is not None:
            return self._as_measured(self.measured)
        gpu = profiles.gpu(self.gpu)
        gpu = replace(gpu, link_bytes_per_s=gpu.link_bytes_per_s * self.link)
        costs = Costs(gpu, profiles.model(self.model), profiles.server(self.server), self.tensor_parallel)
        slots = self._slots(agents)
        adapter_bytes = costs.model.adapter_bytes(self.adapter_rank)
        capacity = costs.capacity_tokens(slots, adapter_bytes)
        host = (
            int(capacity * HOST_RATIO)
            if self.host_gb is None
            else int(self.host_gb * 1e9) // costs.bytes_per_token
        )
        sizes = Sizes(capacity, host, slots, adapter_bytes)
        return Setting(costs, sizes, self.policy, self.engines, self.placement, self.plan_every_s)

    def _slots(self, agents: int) -> int:
        if not self.adapter_rank:
            return 0
        return self.slots or max(1, min(int(agents * SLOT_SHARE), MOST_SLOTS))

    def _as_measured(self, path: str) -> Setting:
        """Engines as that one was: what it would be with other figures, its profile does not say."""
        usual = Machine()
        for name in OF_THE_PROFILE:
            if (value := getattr(self, name)) != getattr(usual, name):
                raise Impossible(
                    f"{name} is {value}, and {path} has that of the engine that was measured, which cannot be changed"
                )
        profile = profiles.measured(path)
        adapted = self.adapter_rank > 0
        if profile.host_tokens and profile.load_token_s <= UNSEEN_S:
            raise Impossible(
                f"{path} has host_tokens, and load_token_s is {profile.load_token_s:g}: no load from host memory was measured"
            )
        if adapted and not profile.slots:
            raise Impossible(f"slots is 0 in {path}: what adapters (adapter_rank) take was not measured")
        if adapted and not profile.adapter_load_s:
            raise Impossible(
                f"adapter_load_s is 0 in {path}: no load of an adapter (adapter_rank) was measured"
            )
        costs = MeasuredCosts(_linked(profile, self.link), adapted)
        return Setting(
            costs,
            costs.sizes(),
            self.policy,
            self.engines,
            self.placement,
            self.plan_every_s,
            profile.front_s,
            profile.after_s,
        )


def _linked(profile: Measured, link: float) -> Measured:
    """Over a link so many times as fast. What begins a load takes as long as it did."""
    beyond_s = max(0.0, profile.adapter_load_s - profile.load_overhead_s)
    return replace(
        profile,
        load_token_s=profile.load_token_s / link,
        adapter_load_s=profile.adapter_load_s - beyond_s + beyond_s / link,
    )
