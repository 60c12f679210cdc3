"""What parts are told of the settings, at the start and whenever they were read again."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from scalesim.proxy.access.rates import Rate
from scalesim.proxy.core.controller import ControllerConfig
from scalesim.proxy.core.durations import RULES, Reading
from scalesim.proxy.data_plane.joining import JoinRules
from scalesim.proxy.data_plane.retrying import RetryRules
from scalesim.proxy.engines.breaker import BreakerRules
from scalesim.proxy.recording.traces import TraceRules
from scalesim.proxy.settings import Settings


class QueueLimits(TypedDict):
    capacity: int | None
    max_waiting: int
    max_wait_s: float | None


class UpstreamLimits(TypedDict):
    connect_timeout_s: float
    max_connections: int
    first_byte_timeout_s: float | None
    between_chunks_timeout_s: float | None
    total_timeout_s: float | None


class Rates(TypedDict):
    key_rate: Rate | None
    address_rate: Rate | None


def controller_config(settings: Settings) -> ControllerConfig:
    return ControllerConfig(
        mode=settings.mode,
        reading=None if settings.answers is None else Reading(RULES, settings.answers),
        policy=settings.policy,
        plan_limit=settings.plan_limit,
        pin_share=settings.pin_share,
        parts=settings.parts,
        guard=settings.guard,
        prefetch_steps=settings.prefetch_steps,
        prefetch_s=settings.prefetch_s,
        idle_after_s=settings.idle_after_s,
        loads_in_flight=settings.loads_in_flight,
        load_budget_bytes=int(settings.load_budget_mb * 1_000_000),
    )


def queue_limits(settings: Settings) -> QueueLimits:
    return QueueLimits(
        capacity=settings.engine_concurrency or None,
        max_waiting=settings.queue_limit,
        max_wait_s=settings.queue_wait_s or None,
    )


def upstream_limits(settings: Settings) -> UpstreamLimits:
    return UpstreamLimits(
        connect_timeout_s=settings.connect_timeout_s,
        max_connections=settings.max_connections,
        first_byte_timeout_s=settings.first_byte_timeout_s or None,
        between_chunks_timeout_s=settings.chunk_timeout_s or None,
        total_timeout_s=settings.total_timeout_s or None,
    )


def retry_rules(settings: Settings) -> RetryRules:
    return RetryRules(attempts=settings.retry_attempts, longest_wait_s=settings.retry_wait_s)


def breaker_rules(settings: Settings) -> BreakerRules:
    return BreakerRules(
        failures_in_a_row=settings.breaker_failures,
        rest_s=settings.breaker_rest_s,
        longest_rest_s=settings.breaker_longest_rest_s,
    )


def join_rules(settings: Settings) -> JoinRules:
    return JoinRules(
        grace_s=settings.join_grace_s,
        kept_s=settings.answers_kept_s,
        most_bytes=int(settings.answers_kept_mb * 1_000_000),
    )


def rates(settings: Settings) -> Rates:
    def rate(per_s: float) -> Rate | None:
        return None if per_s == 0 else Rate(per_s, max(1.0, per_s * settings.burst_s))

    return Rates(key_rate=rate(settings.key_rate), address_rate=rate(settings.address_rate))


def trace_rules(settings: Settings) -> TraceRules:
    return TraceRules(
        folder=None if settings.traces_folder is None else Path(settings.traces_folder),
        full_text=settings.traces_full_text,
        max_bytes=settings.record_max_bytes,
        files=settings.record_files,
    )
