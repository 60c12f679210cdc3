"""What is published, as Prometheus' own parser reads it: names, units and labels by convention, and all of it bounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from scalesim.proxy.app.limits import COUNTS, FOLLOWS

from .conftest import AGENTS, observed

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LABELS = {
    *(
        "simulation",
        "engine",
        "source",
        "cause",
        "state",
        "pool",
        "kind",
        "result",
        "outcome",
        "why",
        "cache",
    ),
    *("table", "version", "code", "le"),
}
"""Each from a closed or a bounded set. `engine` and `pool` are the operators' words."""
UNITS = re.compile(r"(_seconds|_bytes|_tokens|_ratio|_total|_entries|_info)+$")
COUNTED = {"calls", "agents", "loads", "actions", "memories", "spans", "adapters", "slots", "fds"}
STATES = {
    *("scalesim_resting", "scalesim_engine_up", "scalesim_engine_extended", "scalesim_engine_commanded"),
    *("scalesim_engine_state", "scalesim_engine_circuit_state", "scalesim_engine_breaker_open"),
    *("scalesim_guard_distance_in_charge", "scalesim_trace_failing"),
    *("scalesim_order_accuracy", "scalesim_engine_loads_in_flight"),
}
"""Gauges of 0 and 1, a share, and one that says what it counts in its middle."""


def families_of(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


async def test_prometheus_reads_all_of_it(exposed: str) -> None:
    families = families_of(exposed)
    helped = re.findall(r"^# HELP (\S+)", exposed, re.MULTILINE)
    assert {name.removesuffix("_total") for name in helped} <= {
        name.removesuffix("_total") for name in families
    }
    assert len(helped) == len(set(helped)), "each family once"
    seen = [
        (sample.name, frozenset(sample.labels.items())) for one in families.values() for sample in one.samples
    ]
    assert len(seen) == len(set(seen)), "each series once"


async def test_names_say_the_unit_and_labels_are_known(exposed: str) -> None:
    for family in families_of(exposed).values():
        assert family.documentation.endswith("."), family.name
        assert family.name.startswith(("scalesim_", "process_")), family.name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), family.name
        elif family.name not in STATES:
            assert UNITS.search(family.name) or family.name.rpartition("_")[2] in COUNTED, family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        for sample in family.samples:
            assert sample.labels.keys() <= LABELS, sample


async def test_no_agent_is_named(exposed: str) -> None:
    assert not any(name in exposed for agent in AGENTS for name in agent.split())


async def test_histograms_are_whole(exposed: str) -> None:
    histograms = [one for one in families_of(exposed).values() if one.type == "histogram"]
    assert {one.name.removeprefix("scalesim_") for one in histograms} == {
        *("added_seconds", "time_to_first_token_seconds", "call_duration_seconds", "queue_wait_seconds"),
        *("tick_duration_seconds", "load_duration_seconds", "event_loop_lag_seconds"),
    }
    for one in histograms:
        buckets: dict[tuple[tuple[str, str], ...], list[float]] = {}
        counts: dict[tuple[tuple[str, str], ...], float] = {}
        for sample in one.samples:
            labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
            if sample.name.endswith("_bucket"):
                buckets.setdefault(labels, []).append(sample.value)
            elif sample.name.endswith("_count"):
                counts[labels] = sample.value
        assert buckets.keys() == counts.keys()
        for labels, below in buckets.items():
            assert below == sorted(below)
            assert below[-1] == counts[labels]


async def test_calls_are_timed(exposed: str) -> None:
    counts = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for one in families_of(exposed).values()
        for sample in one.samples
        if sample.name.endswith("_count") and sample.value
    }
    # Twelve of agents, one of nobody, one that is no JSON.
    assert counts["scalesim_call_duration_seconds_count", "done"] == 14
    assert counts["scalesim_time_to_first_token_seconds_count", None] == 6
    assert counts["scalesim_added_seconds_count", None] == 14
    assert counts["scalesim_queue_wait_seconds_count", None] == 14
    assert counts["scalesim_tick_duration_seconds_count", None] > 0


async def test_every_table_has_a_limit_or_follows_one_that_has(exposed: str) -> None:
    families = families_of(exposed)
    tables = {sample.labels["table"]: sample.value for sample in families["scalesim_table_entries"].samples}
    limits = {
        sample.labels["table"]: sample.value for sample in families["scalesim_table_limit_entries"].samples
    }
    following = {table for those in FOLLOWS.values() for table in those}
    assert tables.keys() - limits.keys() - following - set(COUNTS) == set(), "neither"
    assert limits.keys() & following == set(), "both"
    assert limits.keys() - tables.keys() == set(), "limits of what is not published"
    assert FOLLOWS.keys() - limits.keys() - {"recipes"} == set(), "what they follow has a limit"
    assert {table for table, limit in limits.items() if tables[table] > limit} == set()


async def test_a_call_of_openais_client_is_not_kept_for_an_id_that_was_made_for_it(tmp_path: Path) -> None:
    async with observed(tmp_path) as proxy:
        await proxy.client.post(
            f"{proxy.addresses.data}/v1/chat/completions",
            json={"model": "emulated", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2},
            headers={"x-stainless-retry-count": "0"},
        )
        assert 'scalesim_table_entries{table="joined_answers"} 0' in await proxy.metrics()
