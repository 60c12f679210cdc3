"""What holds a play up: the cause that most of the engines' time had, what it means, and what would help. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scalesim.workloads.replay.causes import Cause

TOLD: Mapping[Cause, tuple[str, str, str]] = {
    Cause.CHAINS: (
        "the simulation's own chains",
        "calls wait for the calls before them, and steps for their slowest chain",
        "no more hardware: shorter chains and answers, a smaller model, more agents side by side",
    ),
    Cause.DECODE: (
        "decoding",
        "many calls decode together, and what they hold is read for each token",
        "more GPUs, or such with faster memory; shorter answers and prompts",
    ),
    Cause.PREFILL: (
        "prefill",
        "prompts are computed that were never computed before",
        "more or faster GPUs; prompts that share more of their beginning",
    ),
    Cause.AGAIN: (
        "memory for prefixes",
        "prompts are computed again, because neither the device nor the host had kept them",
        "host memory (--host-gb), more GPUs, shorter personas and histories",
    ),
    Cause.LINK: (
        "the link to host memory",
        "steps wait for copies of prefixes and adapters",
        "a faster link, more room on the device, distances that are known earlier",
    ),
    Cause.POOL: (
        "the device's room for running calls",
        "calls wait because prompts and answers of others fill it",
        "more GPUs, or such with more memory; shorter prompts",
    ),
    Cause.SLOTS: (
        "adapter slots",
        "calls wait because the adapters of others are in all slots",
        "more slots (--slots), more engines, adapters of a smaller rank",
    ),
    Cause.LIMIT: (
        "the limit on running calls",
        "calls wait because as many run as the engine lets",
        "a higher limit (max_running of the engine's profile), more engines",
    ),
    Cause.SPREAD: (
        "how calls are spread over engines",
        "an engine had nothing to do while calls waited on another, or computed what another has",
        "another rule (--placement); more agents to each engine",
    ),
}


@dataclass(frozen=True, slots=True)
class Bottleneck:
    cause: str
    share: float
    """Of the engines' time."""
    name: str
    means: str
    helps: str


def bottleneck(causes: Mapping[str, float]) -> Bottleneck:
    cause = Cause(max(causes, key=causes.__getitem__))
    return Bottleneck(cause.value, causes[cause.value], *TOLD[cause])
