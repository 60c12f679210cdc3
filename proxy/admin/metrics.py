"""Which numbers Prometheus gets.

Labels are simulations (a bounded number of them, see `labels`), engines, and closed sets of our own words; never agents, and
never what a client wrote.
"""

from __future__ import annotations

from collections.abc import Mapping

import scalesim
from scalesim.proxy.core.guard import InCharge
from scalesim.proxy.core.misses import Cause
from scalesim.proxy.core.snapshot import SimulationSnapshot
from scalesim.proxy.engines.breaker import State as Breaker
from scalesim.proxy.process import process_use

from .desk import Desk
from .labels import OTHER, SimulationLabels
from .prometheus import Family

_SUMS = (
    ("calls", "scalesim_calls_total", "Generation calls."),
    ("failed_calls", "scalesim_failed_calls_total", "Calls that the client left or the engine broke off."),
    (
        "unmeasured_calls",
        "scalesim_unmeasured_calls_total",
        "Calls of which the engine did not say what it had cached.",
    ),
    ("activations", "scalesim_activations_total", "Chains of calls that agents began."),
    ("prompt_tokens", "scalesim_prompt_tokens_total", "Prompt tokens of measured calls."),
    ("cached_tokens", "scalesim_cached_tokens_total", "Of those, served from the engine's cache."),
    (
        "first_prompt_tokens",
        "scalesim_first_call_prompt_tokens_total",
        "Prompt tokens of the first calls of activations, but each agent's first activation.",
    ),
    (
        "first_cached_tokens",
        "scalesim_first_call_cached_tokens_total",
        "Of those, served from the engine's cache.",
    ),
)
"""What only grows, of each simulation."""


class Metrics:
    """Of one proxy. It keeps which simulations are shown by name."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._labels = SimulationLabels()

    def families(self) -> list[Family]:
        desk = self._desk
        return [
            *_of_simulations(desk, self._labels),
            *_of_calls(desk),
            *_of_engines(desk),
            *_of_placement(desk),
            *_of_guards(desk),
            *_of_callers(desk),
            *_of_the_loop(desk),
            *_of_tables(desk, self._labels),
            *_of_the_process(desk),
            *_of_the_trace(desk),
            *_of_the_group(desk),
        ]


def _of_simulations(desk: Desk, labels: SimulationLabels) -> list[Family]:
    known = desk.controller.simulations()
    counted = {one.id: _sums(one) for one in known}
    others = labels.update(counted)
    named: dict[str, Mapping[str, float]] = {
        str(one): sums for one, sums in counted.items() if labels.label(one) == one
    }
    if others:
        named[OTHER] = others
    sums = [Family(name, "counter", about) for _, name, about in _SUMS]
    misses = Family(
        "scalesim_misses_total", "counter", "Calls that did not find their memory on the device, by cause."
    )
    for label, values in named.items():
        for family, (field, *_) in zip(sums, _SUMS, strict=True):
            family.add(values[field], simulation=label)
        for cause in Cause:
            if cause in values:
                misses.add(values[cause], simulation=label, cause=cause)
    agents = Family("scalesim_agents", "gauge", "Known agents.")
    running = Family("scalesim_running_calls", "gauge", "Calls that run now.")
    resting = Family(
        "scalesim_resting", "gauge", "1 while nothing is done for it, since nothing was seen of it for long."
    )
    order = Family(
        "scalesim_order_accuracy",
        "gauge",
        "How often, of two agents, a source told the one to be nearer that called first. .5 is no better than a coin.",
    )
    gathered: dict[str, list[int]] = {}
    for one in known:
        label = labels.label(one.id)
        both = gathered.setdefault(label, [0, 0])
        both[0] += one.agents
        both[1] += one.running_calls
        if label != OTHER:
            resting.add(one.resting, simulation=label)
            for source, score in one.accuracy.items():
                if score.count:
                    order.add(score.order, simulation=label, source=source)
    for label, (so_many, run) in gathered.items():
        agents.add(so_many, simulation=label)
        running.add(run, simulation=label)
    return [*sums, misses, agents, running, resting, order]


def _sums(one: SimulationSnapshot) -> dict[str, float]:
    return {field: getattr(one.counters, field) for field, *_ in _SUMS} | dict(one.counters.misses)


def _of_calls(desk: Desk) -> list[Family]:
    timings = desk.observed.timings
    added = Family(
        "scalesim_added_seconds",
        "histogram",
        "From when a call was there whole until it was sent, without its wait for a place: what the proxy adds.",
    )
    first = Family(
        "scalesim_time_to_first_token_seconds",
        "histogram",
        "From when a streamed call was there whole until its answer began.",
    )
    took = Family(
        "scalesim_call_duration_seconds",
        "histogram",
        "From when a call was there whole until it ended, by how it ended.",
    )
    waited = Family(
        "scalesim_queue_wait_seconds",
        "histogram",
        "For a place at an engine that is sent a bounded number of calls.",
    )
    again = Family(
        "scalesim_sent_again_total", "counter", "Requests that were sent again after they failed there."
    )
    for engine, one in timings.engines.items():
        first.spread(one.first_token, engine=engine)
        waited.spread(one.queue_wait, engine=engine)
        again.add(one.sent_again, engine=engine)
        for outcome, times in one.calls.items():
            took.spread(times, engine=engine, outcome=outcome)
    answers = Family("scalesim_answers_total", "counter", "Answers to clients, by their HTTP status.")
    for status, count in sorted(desk.observed.answers.items()):
        answers.add(count, code=str(status))
    return [added.spread(timings.added), first, took, waited, again, answers]


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
    actions = Family(
        "scalesim_engine_waiting_actions", "gauge", "Orders, pins and loads that wait to be sent."
    )
    queue = Family("scalesim_engine_queue_calls", "gauge", "Calls that wait in the proxy for a place.")
    memories = Family(
        "scalesim_engine_reported_memories", "gauge", "Memories of which it said where they are."
    )
    waiting = desk.observed.waiting()
    for one in desk.runtime.engines():
        actions.add(one.waiting, engine=one.engine)
        queue.add(waiting.get(one.engine, 0), engine=one.engine)
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
            memories.add(len(one.report.memories), engine=one.engine)
            for pool in one.report.pools:
                pools.add(pool.capacity_bytes, engine=one.engine, pool=pool.name)
                free.add(pool.free_bytes, engine=one.engine, pool=pool.name)
    return [
        *(up, extended, commanded, capacity, pinned, pools, free, slots, running, loads),
        *(actions, queue, memories, *_of_prefetch(desk)),
    ]


def _of_prefetch(desk: Desk) -> list[Family]:
    started = Family(
        "scalesim_prefetch_started_total", "counter", "Loads ahead of a call that were asked for."
    )
    ended = Family(
        "scalesim_prefetch_ended_total",
        "counter",
        "Those that ended: the memory is there, or the load was stopped, failed, or found no copy or no room.",
    )
    for one in desk.controller.engines():
        loads = one.loads
        started.add(loads.started, engine=one.id)
        for outcome in ("loaded", "stopped", "failed", "refused"):
            ended.add(getattr(loads, outcome), engine=one.id, outcome=outcome)
    return [started, ended]


def _of_placement(desk: Desk) -> list[Family]:
    fleet = desk.fleet
    states = Family("scalesim_engine_state", "gauge", "1 for the state that an engine is in.")
    breakers = Family(
        "scalesim_engine_breaker_open",
        "gauge",
        "1 while an engine's calls fail, so that it gets few or none.",
    )
    circuits = Family("scalesim_engine_circuit_state", "gauge", "1 for the state of its breaker.")
    calls = Family("scalesim_engine_calls", "gauge", "Calls that run on an engine or wait for it.")
    held = Family("scalesim_engine_held_tokens", "gauge", "Memory of the agents that live on an engine.")
    open_or_not = fleet.breakers.states(desk.clock())
    for one in fleet.states():
        name = one.entry.address.name
        states.add(1, engine=name, state=one.entry.state)
        circuit = open_or_not.get(name, Breaker.CLOSED)
        breakers.add(circuit is not Breaker.CLOSED, engine=name)
        for state in Breaker:
            circuits.add(circuit is state, engine=name, state=state)
        calls.add(one.running, engine=name)
        held.add(one.held_tokens, engine=name)
    placed = Family("scalesim_placed_calls_total", "counter", "Calls, by the reason for their place.")
    for why, count in fleet.placer.placed.items():
        placed.add(count, why=why)
    moved = Family(
        "scalesim_moved_agents_total", "counter", "Agents that got another home while they did not call."
    )
    return [states, breakers, circuits, calls, held, placed, moved.add(fleet.placer.moved)]


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
    load_times = Family(
        "scalesim_load_duration_seconds",
        "histogram",
        "Of loads ahead of a call that were carried out, by kind of memory.",
    )
    for kind, times in sorted(runtime.load_times.items()):
        load_times.spread(times, kind=kind)
    totals = desk.controller.totals()
    return [
        actions,
        loads,
        seconds,
        moved,
        load_times,
        Family("scalesim_plans_sent_total", "counter", "Eviction orders that engines took.").add(sent),
        Family("scalesim_ticks_total", "counter", "Rounds of the planner.").add(runtime.plans),
        Family("scalesim_planning_seconds_total", "counter", "Time they took.").add(runtime.planning_s),
        Family("scalesim_tick_duration_seconds", "histogram", "Of rounds of the planner.").spread(
            runtime.rounds
        ),
        Family("scalesim_shadow_plans_total", "counter", "Plans that were only counted.").add(
            totals.shadow_plans
        ),
        Family("scalesim_survived_failures_total", "counter", "Bugs that were survived.").add(
            sum(runtime.failures.values())
        ),
        Family("scalesim_info", "gauge", "Always 1.").add(1, version=scalesim.__version__),
    ]


def _of_tables(desk: Desk, labels: SimulationLabels) -> list[Family]:
    entries = Family("scalesim_table_entries", "gauge", "Entries of our tables; each has a limit.")
    limits = Family("scalesim_table_limit_entries", "gauge", "So many entries a table may have.")
    known = desk.observed.limits()
    for table, size in sorted({**desk.sizes(), **labels.sizes()}.items()):
        entries.add(size, table=table)
        if table in known:
            limits.add(known[table], table=table)
    return [entries, limits]


def _of_the_process(desk: Desk) -> list[Family]:
    """Named as every client library of Prometheus names them, so that dashboards for all services hold for this one too."""
    use, lag = process_use(), desk.observed.lag
    families = [
        Family("process_cpu_seconds_total", "counter", "CPU time, of user and system.").add(use.cpu_s),
        Family("process_max_fds", "gauge", "File descriptors that may be open.").add(use.max_fds),
        Family(
            "scalesim_event_loop_lag_seconds",
            "histogram",
            "How late a timer of the event loop is: what every call waits for while something holds the loop.",
        ).spread(lag.lags),
        Family(
            "scalesim_event_loop_lag_max_seconds", "gauge", "The longest of the last one to two minutes."
        ).add(lag.worst_s()),
        Family(
            "scalesim_suppressed_log_lines_total", "counter", "Log lines that came too often to be written."
        ).add(desk.observed.suppressed_lines()),
    ]
    for name, about, value in (
        ("process_resident_memory_bytes", "Resident memory.", use.resident_bytes),
        ("process_open_fds", "File descriptors that are open.", use.open_fds),
        ("process_start_time_seconds", "When it started, since 1970.", use.started_at),
    ):
        if value is not None:
            families.append(Family(name, "gauge", about).add(value))
    if desk.observed.spans is not None:
        counts = desk.observed.spans()
        spans = Family("scalesim_spans_total", "counter", "Spans of traces, by what became of them.")
        families.append(spans.add(counts.exported, result="exported").add(counts.lost, result="lost"))
        families.append(Family("scalesim_spans_waiting", "gauge", "For the collector.").add(counts.waiting))
    return families


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


def _of_the_group(desk: Desk) -> list[Family]:
    if desk.group is None:
        return []
    told = desk.group()
    leads = Family("scalesim_group_leads", "gauge", "1 if this process plans and commands the engines.")
    away = Family("scalesim_group_redis_away", "gauge", "1 while Redis does not answer.")
    outbox = Family("scalesim_group_outbox", "gauge", "Records that the others are still to be told.")
    records = Family("scalesim_group_records_total", "counter", "What this process had to tell the others.")
    dropped = Family("scalesim_group_dropped_total", "counter", "Of that, what nobody heard.")
    missed = Family("scalesim_group_missed_total", "counter", "Records of others that a leader never heard.")
    garbled = Family("scalesim_group_garbled_total", "counter", "Values in Redis that could not be read.")
    lag = Family("scalesim_group_lag_seconds", "gauge", "How old what the leader wrote down last is.")
    skew = Family("scalesim_group_skew_seconds", "gauge", "How far its idea of Redis's clock may be off.")
    if told.lag_s is not None:
        lag.add(told.lag_s)
    if told.skew_s is not None:
        skew.add(told.skew_s)
    return [
        *(leads.add(told.leads), away.add(bool(told.problem)), outbox.add(told.waiting)),
        *(records.add(told.told), dropped.add(told.dropped), missed.add(told.missed)),
        *(garbled.add(told.garbled), lag, skew),
    ]
