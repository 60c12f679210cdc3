"""What the paper published, read from the data file beside this."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Published:
    """Numbers by figure. Where a mapping has systems as its keys, these are `sglang`, `hicache` and `scalesim`."""

    source: str
    load_per_step: Mapping[int, float]
    """Seconds by number of agents."""
    active_percent: Sequence[float]
    """Step by step."""
    speedup: Mapping[str, Mapping[str, Mapping[int, float]]]
    """Over SGLang, by scenario, system and number of agents."""
    step_s: Mapping[str, Mapping[int, float]]
    """By system and number of agents, as the next two."""
    ttft_s: Mapping[str, Mapping[int, float]]
    shares: Mapping[str, Mapping[int, tuple[float, float, float, float]]]
    """Decode, prefill, load, other; each of the whole step of HiCache."""
    sparsity: Mapping[int, Mapping[int, float]]
    """Speedup over SGLang by number of agents, and of those that are active on average."""
    machines: Mapping[str, float]
    """Speedup over SGLang by what it runs on."""


def read() -> Published:
    return parsed((resources.files(__package__) / "published.toml").read_text())


def parsed(text: str) -> Published:
    """Raises `ValueError` where a list is not as long as what it belongs to."""
    told: dict[str, Any] = tomllib.loads(text)
    speedup, step, ttft, shares = (told[name] for name in ("speedup", "step_time", "ttft", "shares"))
    return Published(
        source=told["source"],
        load_per_step=_by(told["load_per_step"]["agents"], told["load_per_step"]["seconds"]),
        active_percent=tuple(told["active_share"]["percent"]),
        speedup={
            scenario: {system: _by(speedup["agents"], values) for system, values in systems.items()}
            for scenario, systems in speedup.items()
            if scenario != "agents"
        },
        step_s=_systems(step),
        ttft_s=_systems(ttft),
        shares={
            system: {agents: _four(one) for agents, one in _by(shares["agents"], shares[system]).items()}
            for system in ("hicache", "scalesim")
        },
        sparsity={
            int(agents): _by(one["active"], one["scalesim"]) for agents, one in told["sparsity"].items()
        },
        machines=_by(told["machines"]["names"], told["machines"]["scalesim"]),
    )


def _systems(told: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    return {system: _by(told["agents"], values) for system, values in told.items() if system != "agents"}


def _by(keys: Sequence[Any], values: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(keys, values, strict=True))


def _four(shares: Sequence[float]) -> tuple[float, float, float, float]:
    decode, prefill, load, other = shares
    return decode, prefill, load, other
