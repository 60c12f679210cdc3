"""Which settings may change while the proxy runs. All others need a restart: what was made of them lives as long as the process.

By what takes the new values; `app/reloading.py` has one function for each.
"""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, frozenset[str]] = {
    "engines": frozenset({"engine", "engines", "fronts"}),
    "aliases": frozenset({"aliases"}),
    "leaving": frozenset({"engine_drain_s", "drain_s"}),
    "queues": frozenset({"engine_concurrency", "queue_limit", "queue_wait_s"}),
    "retries": frozenset({"retry_attempts", "retry_wait_s"}),
    "breakers": frozenset({"breaker_failures", "breaker_rest_s", "breaker_longest_rest_s"}),
    "joins": frozenset({"join_grace_s", "answers_kept_s", "answers_kept_mb"}),
    "bodies": frozenset({"max_body_mb"}),
    "connections to engines": frozenset(
        {
            "connect_timeout_s",
            "first_byte_timeout_s",
            "chunk_timeout_s",
            "total_timeout_s",
            "max_connections",
        }
    ),
    "connections of clients": frozenset({"client_connections", "address_connections"}),
    "rates": frozenset({"key_rate", "address_rate", "burst_s"}),
    "keys": frozenset({"client_keys", "simulation_keys", "admin_keys"}),
    "core": frozenset(
        {
            "mode",
            "answers",
            "pin_share",
            "prefetch_steps",
            "prefetch_s",
            "idle_after_s",
        }
    ),
    "recognition": frozenset({"recognise", "threshold"}),
    "recipes": frozenset({"recipes_folder"}),
    "traces": frozenset({"traces_folder", "traces_full_text", "record_max_bytes", "record_files"}),
    "log": frozenset({"log_level"}),
}
LIVE = frozenset[str]().union(*GROUPS.values())
