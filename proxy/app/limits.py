"""How large each table may become whose size is published, as far as that is one number.

Whoever sees a table near its limit knows that the oldest of it is about to be forgotten, or that whoever comes is refused.
"""

from __future__ import annotations

from scalesim.engine_adapters.front import HOMES
from scalesim.proxy import action_log
from scalesim.proxy.access.key_file import MAX_KEYS as MAX_KEYS_STORED
from scalesim.proxy.access.rates import TABLE_LIMIT as RATES_LIMIT
from scalesim.proxy.admin import live, operations
from scalesim.proxy.core import asks, hosting, loads, pins, residency, story
from scalesim.proxy.core.adapters import LEAVING_LIMIT
from scalesim.proxy.core.config import ControllerConfig
from scalesim.proxy.core.durations import MAX_RULES
from scalesim.proxy.dashboard import meter
from scalesim.proxy.data_plane.identity import MAX_FIELDS
from scalesim.proxy.data_plane.joining import JoinRules
from scalesim.proxy.data_plane.upstream.upstream import MAX_WAITING as MOST_WAITING_FOR_A_CONNECTION
from scalesim.proxy.dispatch import FLIGHTS_LIMIT, WAITING_LIMIT
from scalesim.proxy.engines.registry import MOST_ENGINES
from scalesim.proxy.recognition.ladder import MAX_CALLERS, SCOPES
from scalesim.proxy.recognition.recipes.choosing import MAX_KEYS
from scalesim.proxy.recording.recorder import MAX_CALLS
from scalesim.proxy.settings import Settings

FOLLOWS = {
    "agents": ("pinned_owners", "positions", "graph_nodes", "needy_owners", "agenda_agents", "noted_agents", "placed_agents"),
    "adapters": ("unwanted_adapters", "operator_adapter_pins"),
    "live_listeners": ("live_agents", "live_touched"),
    "edges": ("waves", "being_forgotten"),
    "simulations": ("gap_classes", "turn_agents", "accuracy_agents", "queue_simulations", "labelled_simulations"),
    "engines": (
        *("breakers", "placed_engines", "leaving_engines", "retry_budgets", "warm_up_engines", "timed_engines"),
        "previews",
        *("served_models", "served_adapters", "guard_memories", "guard_running", "guard_ordered"),
        *("computed_memories", "hosted_adapters", "confirmed_adapters"),
    ),
    "calls": ("calls_in_flight", "queue_running", "queue_waiters", "recognition_running", "settled_waiting"),
    "client_connections": ("requests_in_flight", "aborts_in_flight", "client_addresses"),
    "connections_open": ("connections_idle",),
    "warm_up_bytes": ("warm_up_owners", "warm_up_templates"),
    "recipes": ("recipe_shapes",),
    "recognition_scopes": (
        *("linked_pieces", "linked_callers", "linked_frames", "learned_places", "learned_values", "learned_callers"),
        *("learned_conversations", "learned_merged", "learned_labels", "learned_families", "learned_running"),
    ),
}  # fmt: skip
"""Tables that have no number of their own: each holds so much, at most, for each entry of the one before it."""
COUNTS = ("warm_up_evictions", "client_keys", "recipes")
"""What is told beside the tables and is none: a sum, and what the operator wrote (of recipes, 64 files at the most)."""


def limits(settings: Settings, core: ControllerConfig, engines: int) -> dict[str, float]:
    """By table. `engines`: how many there are now; what is kept for each of them counts so many times."""
    joins = JoinRules()
    of_each_engine = {
        "ordered_owners": core.plan_limit,
        "actions_waiting": 2 * WAITING_LIMIT,  # two lines
        "load_tasks": FLIGHTS_LIMIT,
        "warm_ups": FLIGHTS_LIMIT,
        "loads_in_flight": core.loads_in_flight + 1,  # and one that is computed again
        "loads_waiting": loads.TABLE_LIMIT,
        "loads_resting": loads.TABLE_LIMIT,
        "loads_elsewhere": loads.TABLE_LIMIT,
        "reported_memories": residency.MEMORY_LIMIT,
        "hosting_queue": hosting.QUEUE_LIMIT,
        "hosting_failures": hosting.FAILURE_LIMIT,
        "queue_waiting": settings.queue_limit,
        "connections_open": settings.max_connections,
        "homes_behind_fronts": HOMES,
        "calls_waiting_for_a_connection": MOST_WAITING_FOR_A_CONNECTION,
    }
    return {
        "simulations": core.simulation_limit,
        "agents": core.total_agent_limit,
        "calls": core.call_limit,
        "engines": MOST_ENGINES,
        "registered_engines": MOST_ENGINES,
        "adapters": core.adapter_limit,
        "leaving_adapters": LEAVING_LIMIT,
        "answer_rules": MAX_RULES * core.simulation_limit,
        "edges": core.edge_limit,
        "stories": story.STORY_LIMIT,
        "story_adapters": story.ADAPTER_LIMIT,
        "client_connections": settings.client_connections,
        "identity_fields": MAX_FIELDS,
        "joined_running": joins.most_calls,
        "joined_answers": joins.most_calls,
        "joined_alone": joins.most_alone,
        "joined_bytes": settings.answers_kept_mb * 1_000_000,
        "joined_waiters": joins.most_calls * joins.most_clients,
        "rates_of_keys": RATES_LIMIT,
        "rates_of_addresses": RATES_LIMIT,
        "recognition_scopes": SCOPES,
        "recognised_callers": MAX_CALLERS,
        "recipe_keys": MAX_KEYS,
        "warm_up_bytes": settings.warm_up_store_mb * 1_000_000,
        "trace_calls_waiting": MAX_CALLS,
        "operations": operations.KEPT,
        "operations_running": operations.RUNNING,
        "logged_actions": action_log.KEPT,
        "logged_actions_under_way": action_log.UNDER_WAY,
        "operator_pins": pins.LIMIT,
        "asked_agents": asks.LIMIT,
        "asked_adapters": asks.LIMIT,
        "live_listeners": live.LISTENERS,
        "watched_calls": meter.CALLS,
        "watched_loads": meter.LOADS,
        "stored_keys": MAX_KEYS_STORED,
        **{table: limit * max(1, engines) for table, limit in of_each_engine.items()},
    }
