"""Which numbers Prometheus gets.

Labels are simulations (the core keeps a bounded number of them), engines, and closed sets of our own words; never agents.
"""

from __future__ import annotations

import scalesim
from scalesim.proxy.core.guard import InCharge
from scalesim.proxy.engines.breaker import State as Breaker

from .desk import Desk
from .prometheus import Family


def families(desk: Desk) -> list[Family]:
    return [
        *_of_simulations(desk),
        *_of_engines(desk),
        *_of_placement(desk),
        *_of_guards(desk),
        *_of_callers(desk),
        *_of_the_loop(desk),
        *_of_the_trace(desk),
    ]


def _of_simulations(desk: Desk) -> list[Family]:
    calls = Family("scalesim_calls_total", "counter", "Generation calls.")
    failed = Family(
        "scalesim_failed_calls_total", "counter", "Calls that the client left or the engine broke off."
    )
    running = Family("scalesim_running_calls", "gauge", "Calls that run now.")
    agents = Family("scalesim_agents", "gauge", "Known agents.")
    resting = Family(
        "scalesim_resting", "gauge", "1 while nothing is done for it, since nothing was seen of it for long."
    )
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
    misses = Family(
        "scalesim_misses_total", "counter", "Calls that did not find their memory on the device, by cause."
    )
    order = Family(
        "scalesim_order_accuracy",
        "gauge",
        "How often, of two agents, a source told the one to be nearer that called first. .5 is no better than a coin.",
    )
    for one in desk.controller.simulations():
        for source, score in one.accuracy.items():
            if score.count:
                order.add(score.order, simulation=one.id, source=source)
        counted = one.counters
        calls.add(counted.calls, simulation=one.id)
        failed.add(counted.failed_calls, simulation=one.id)
        running.add(one.running_calls, simulation=one.id)
        agents.add(one.agents, simulation=one.id)
        resting.add(one.resting, simulation=one.id)
        activations.add(counted.activations, simulation=one.id)
        prompt.add(counted.prompt_tokens, simulation=one.id)
        cached.add(counted.cached_tokens, simulation=one.id)
        first_prompt.add(counted.first_prompt_tokens, simulation=one.id)
        first_cached.add(counted.first_cached_tokens, simulation=one.id)
        for cause, count in counted.misses.items():
            misses.add(count, simulation=one.id, cause=cause)
    return [
        *(calls, failed, running, agents, resting, activations),
        *(prompt, cached, first_prompt, first_cached, misses, order),
    ]


def _of_engines(desk: Desk) -> list[Family]:
    up = Family("scalesim_engine_up", "gauge", "1 while the engine answers control calls.")
    extended = Family("scalesim_engine_extended", "gauge", "1 if its cache can be commanded.")
    commanded = Family("scalesim_engine_commanded", "gauge", "0 once another proxy has taken over.")
    capacity = Family("scalesim_engine_capacity_tokens", "gauge", "Size of its cache.")
    pinned = Family("scalesim_engine_pinned_tokens", "gauge", "Of it, pinned.")
    pools = Family("scalesim_engine_pool_bytes", "gauge", "Device memory for which kinds of memory compete.")
    free = Family("scalesim_engine_pool_free_bytes", "gauge", "Of it, held by nobody.")
    slots = Family("scalesim_engine_adapter_slots", "gauge", "Adapters that a batch may use.")
    running = Family("scalesim_engine_running_adapters", "gauge", "Adapters of the calls that it computes.")
    loads = Family("scalesim_engine_loads_in_flight", "gauge", "Loads ahead of a call that are under way.")
    for one in desk.runtime.engines():
        loads.add(one.loads, engine=one.engine)
        if one.capabilities is not None and one.capabilities.adapter_slots is not None:
            slots.add(one.capabilities.adapter_slots, engine=one.engine)
        up.add(one.up, engine=one.engine)
        extended.add(one.capabilities is not None and one.capabilities.extended, engine=one.engine)
        commanded.add(one.commanded, engine=one.engine)
        if one.report is not None:
            capacity.add(one.report.capacity_tokens, engine=one.engine)
            pinned.add(one.report.pinned_tokens, engine=one.engine)
            running.add(len(one.report.running_adapters), engine=one.engine)
            for pool in one.report.pools:
                pools.add(pool.capacity_bytes, engine=one.engine, pool=pool.name)
                free.add(pool.free_bytes, engine=one.engine, pool=pool.name)
    return [up, extended, commanded, capacity, pinned, pools, free, slots, running, loads]


def _of_placement(desk: Desk) -> list[Family]:
    fleet = desk.fleet
    states = Family("scalesim_engine_state", "gauge", "1 for the state that an engine is in.")
    breakers = Family(
        "scalesim_engine_breaker_open",
        "gauge",
        "1 while an engine's calls fail, so that it gets few or none.",
    )
    calls = Family("scalesim_engine_calls", "gauge", "Calls that run on an engine or wait for it.")
    held = Family("scalesim_engine_held_tokens", "gauge", "Memory of the agents that live on an engine.")
    open_or_not = fleet.breakers.states(desk.clock())
    for one in fleet.states():
        name = one.entry.address.name
        states.add(1, engine=name, state=one.entry.state)
        breakers.add(open_or_not.get(name, Breaker.CLOSED) is not Breaker.CLOSED, engine=name)
        calls.add(one.running, engine=name)
        held.add(one.held_tokens, engine=name)
    placed = Family("scalesim_placed_calls_total", "counter", "Calls, by the reason for their place.")
    for why, count in fleet.placer.placed.items():
        placed.add(count, why=why)
    moved = Family(
        "scalesim_moved_agents_total", "counter", "Agents that got another home while they did not call."
    )
    return [states, breakers, calls, held, placed, moved.add(fleet.placer.moved)]


def _of_guards(desk: Desk) -> list[Family]:
    distance = Family(
        "scalesim_guard_distance_in_charge",
        "gauge",
        "1 if distance decides what leaves the cache; 0: recency.",
    )
    calls = Family("scalesim_guard_calls_total", "counter", "Calls that its guard played.")
    hits = Family(
        "scalesim_guard_hits_total",
        "counter",
        "Of those, found in memory if recency, distance, or whoever is in charge decides.",
    )
    switches = Family("scalesim_guard_switches_total", "counter", "Times that somebody else took charge.")
    for one in desk.controller.engines():
        if one.guard is not None:
            distance.add(one.guard.in_charge is InCharge.DISTANCE, engine=one.id)
            calls.add(one.guard.calls, engine=one.id)
            hits.add(one.guard.hits_lru, engine=one.id, cache="lru")
            hits.add(one.guard.hits_distance, engine=one.id, cache="distance")
            hits.add(one.guard.hits_guarded, engine=one.id, cache="guarded")
            switches.add(one.guard.switches, engine=one.id)
    return [distance, calls, hits, switches]


def _of_the_loop(desk: Desk) -> list[Family]:
    runtime = desk.runtime
    actions = Family("scalesim_actions_total", "counter", "Actions for engines, by kind and result.")
    for (kind, result), count in sorted(runtime.actions.items()):
        actions.add(count, kind=kind, result=result)
    loads = Family("scalesim_loads_total", "counter", "Loads ahead of a call that ended, by kind of memory.")
    seconds = Family("scalesim_load_seconds_total", "counter", "Time they took, from when they were sent.")
    moved = Family("scalesim_load_bytes_total", "counter", "What they moved to devices.")
    for (kind, state), total in sorted(runtime.loads.items()):
        loads.add(total.count, kind=kind, state=state)
        seconds.add(total.seconds, kind=kind, state=state)
        moved.add(total.moved_bytes, kind=kind, state=state)
    sent = sum(
        count for (kind, result), count in runtime.actions.items() if (kind, result) == ("order", "done")
    )
    sizes = Family("scalesim_table_entries", "gauge", "Entries of our tables; each has a limit.")
    for table, size in sorted(desk.sizes().items()):
        sizes.add(size, table=table)
    totals = desk.controller.totals()
    return [
        actions,
        loads,
        seconds,
        moved,
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


def _of_callers(desk: Desk) -> list[Family]:
    named = Family("scalesim_named_calls_total", "counter", "Calls whose caller is known, by who named it.")
    for source, count in sorted(desk.callers.named.items()):
        named.add(count, source=source)
    unsure = Family(
        "scalesim_unnamed_calls_total",
        "counter",
        "Calls of nobody, by who named one without being sure enough (empty: nobody did).",
    )
    for source, count in sorted(desk.callers.unsure.items()):
        unsure.add(count, source=source)
    return [named, unsure]


def _of_the_trace(desk: Desk) -> list[Family]:
    told = desk.recording()
    if told is None:
        return []
    calls = Family("scalesim_trace_calls_total", "counter", "Calls, by whether they were recorded.")
    calls.add(told.calls, result="recorded").add(told.lost, result="lost")
    written = Family("scalesim_trace_bytes_total", "counter", "What was written of the trace.")
    failing = Family("scalesim_trace_failing", "gauge", "1 while nothing can be written.")
    return [calls, written.add(told.written_bytes), failing.add(bool(told.problem))]
