"""Which numbers Prometheus gets.

Labels are simulations (the core keeps a bounded number of them), engines, and closed sets of our own words; never agents.
"""

from __future__ import annotations

import scalesim

from .desk import Desk
from .prometheus import Family


def families(desk: Desk) -> list[Family]:
    return [*_of_simulations(desk), *_of_engines(desk), *_of_the_loop(desk)]


def _of_simulations(desk: Desk) -> list[Family]:
    calls = Family("scalesim_calls_total", "counter", "Generation calls.")
    failed = Family(
        "scalesim_failed_calls_total", "counter", "Calls that the client left or the engine broke off."
    )
    running = Family("scalesim_running_calls", "gauge", "Calls that run now.")
    agents = Family("scalesim_agents", "gauge", "Known agents.")
    activations = Family("scalesim_activations_total", "counter", "Chains of calls that agents began.")
    prompt = Family("scalesim_prompt_tokens_total", "counter", "Prompt tokens of measured calls.")
    cached = Family("scalesim_cached_tokens_total", "counter", "Of those, served from the engine's cache.")
    first_prompt = Family(
        "scalesim_first_call_prompt_tokens_total",
        "counter",
        "Prompt tokens of the first calls of activations, but each agent's first activation.",
    )
    first_cached = Family(
        "scalesim_first_call_cached_tokens_total", "counter", "Of those, served from the engine's cache."
    )
    for one in desk.controller.simulations():
        counted = one.counters
        calls.add(counted.calls, simulation=one.id)
        failed.add(counted.failed_calls, simulation=one.id)
        running.add(one.running_calls, simulation=one.id)
        agents.add(one.agents, simulation=one.id)
        activations.add(counted.activations, simulation=one.id)
        prompt.add(counted.prompt_tokens, simulation=one.id)
        cached.add(counted.cached_tokens, simulation=one.id)
        first_prompt.add(counted.first_prompt_tokens, simulation=one.id)
        first_cached.add(counted.first_cached_tokens, simulation=one.id)
    return [calls, failed, running, agents, activations, prompt, cached, first_prompt, first_cached]


def _of_engines(desk: Desk) -> list[Family]:
    up = Family("scalesim_engine_up", "gauge", "1 while the engine answers control calls.")
    extended = Family("scalesim_engine_extended", "gauge", "1 if its cache can be commanded.")
    commanded = Family("scalesim_engine_commanded", "gauge", "0 once another proxy has taken over.")
    capacity = Family("scalesim_engine_capacity_tokens", "gauge", "Size of its cache.")
    pinned = Family("scalesim_engine_pinned_tokens", "gauge", "Of it, pinned.")
    for one in desk.runtime.engines():
        up.add(one.up, engine=one.engine)
        extended.add(one.capabilities is not None and one.capabilities.extended, engine=one.engine)
        commanded.add(one.commanded, engine=one.engine)
        if one.report is not None:
            capacity.add(one.report.capacity_tokens, engine=one.engine)
            pinned.add(one.report.pinned_tokens, engine=one.engine)
    return [up, extended, commanded, capacity, pinned]


def _of_the_loop(desk: Desk) -> list[Family]:
    runtime = desk.runtime
    actions = Family("scalesim_actions_total", "counter", "Actions for engines, by kind and result.")
    for (kind, result), count in sorted(runtime.actions.items()):
        actions.add(count, kind=kind, result=result)
    sent = sum(
        count for (kind, result), count in runtime.actions.items() if (kind, result) == ("order", "done")
    )
    sizes = Family("scalesim_table_entries", "gauge", "Entries of our tables; each has a limit.")
    for table, size in sorted(desk.sizes().items()):
        sizes.add(size, table=table)
    totals = desk.controller.totals()
    return [
        actions,
        Family("scalesim_plans_sent_total", "counter", "Eviction orders that engines took.").add(sent),
        Family("scalesim_ticks_total", "counter", "Rounds of the planner.").add(runtime.plans),
        Family("scalesim_planning_seconds_total", "counter", "Time they took.").add(runtime.planning_s),
        Family("scalesim_shadow_plans_total", "counter", "Plans that were only counted.").add(
            totals.shadow_plans
        ),
        Family("scalesim_survived_failures_total", "counter", "Bugs that were survived.").add(
            sum(runtime.failures.values())
        ),
        sizes,
        Family("scalesim_info", "gauge", "Always 1.").add(1, version=scalesim.__version__),
    ]
