"""What the plays of a comparison are worth: from records of calls to the numbers of the report. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .belady import Cut, RecordedCall, minimum, unlimited
from .engines import LoadCounters
from .matching import Match, match
from .records import CallKey, CallRecord, StepPlayed


@dataclass(frozen=True, slots=True)
class Play:
    """One configuration, playing the program once."""

    configuration: str
    pass_index: int
    repeat: int
    steps: tuple[StepPlayed, ...]
    step_seconds: Mapping[str, float] | None = None
    """The engine's time by kind of step; None where it does not count."""
    adapter_lookups: Mapping[str, float] = field(default_factory=dict)
    """By what calls found: hit, loading or miss."""
    loads: LoadCounters = field(default_factory=dict)
    """Ahead of calls, by kind of memory."""
    lead_in: tuple[StepPlayed, ...] = ()
    """Steps before these, which are not measured; what they left in the cache is there all the same."""
    accuracy: Mapping[str, object] = field(default_factory=dict)
    """By source of distances, as the proxy measured it. Empty where it was told nothing, or does not say."""

    def about(self) -> dict[str, object]:
        return {"config": self.configuration, "pass": self.pass_index, "repeat": self.repeat}

    @property
    def wall_s(self) -> float:
        return sum(step.wall_s for step in self.steps)

    @property
    def engine_s(self) -> float | None:
        """In which the engine worked. None without a meter."""
        return None if self.step_seconds is None else sum(self.step_seconds.values())

    @property
    def calls(self) -> list[CallRecord]:
        """Those that are measured."""
        return [record for step in self.steps for record in step.calls]

    @property
    def lead_in_calls(self) -> list[CallRecord]:
        return [record for step in self.lead_in for record in step.calls]

    @property
    def first_calls(self) -> list[CallRecord]:
        """Of activations after the agent's first, in the play and its lead-in."""
        keys = first_calls_of([record.key for record in (*self.lead_in_calls, *self.calls)])
        return [record for record in self.calls if record.key in keys]

    @property
    def every_call(self) -> list[CallRecord]:
        """With those of the lead-in: they must be right as well."""
        return [record for step in (*self.lead_in, *self.steps) for record in step.calls]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Prompt tokens: in all, found in the cache, and to be found by MIN and by a cache that never gives anything up."""

    prompt: int = 0
    cached: int = 0
    belady: int = 0
    unlimited: int = 0
    resident: int = 0
    """Of those found, the ones that were on the device before the call came."""

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.belady + other.belady,
            self.unlimited + other.unlimited,
            self.resident + other.resident,
        )

    @property
    def hit_rate(self) -> float | None:
        return self.cached / self.unlimited if self.unlimited else None

    @property
    def belady_hit_rate(self) -> float | None:
        return self.belady / self.unlimited if self.unlimited else None

    @property
    def resident_rate(self) -> float | None:
        return self.resident / self.unlimited if self.unlimited else None


class Counted(NamedTuple):
    all_calls: TokenCounts
    first_calls: TokenCounts
    """Of activations after the agent's first."""
    by_trigger: Mapping[str, TokenCounts]
    """Of the same, by what made the agent call."""


def first_calls_of(calls: Sequence[CallKey]) -> frozenset[CallKey]:
    """Of activations after the agent's first."""
    debut: dict[str, int] = {}
    for step, agent, _ in calls:
        debut[agent] = min(step, debut.get(agent, step))
    return frozenset(
        (step, agent, index) for step, agent, index in calls if index == 0 and step > debut[agent]
    )


@dataclass(frozen=True, slots=True)
class Sequel:
    """The answered calls of a play and of its lead-in, as a cache saw them."""

    calls: tuple[CallRecord, ...]
    recorded: Cut
    """The same ones."""
    measured: tuple[bool, ...]
    """Those of the lead-in count only by what they left in the cache."""
    first: tuple[bool, ...]
    """First calls of activations after the agent's first."""


def sequel(
    calls: Sequence[CallRecord],
    prompts: Mapping[CallKey, Sequence[int]],
    lead_in: Sequence[CallRecord] = (),
) -> Sequel:
    """Calls with an error are left out."""
    measured = {call.key for call in calls}
    first = first_calls_of([call.key for call in (*lead_in, *calls)])
    answered = tuple(call for call in (*lead_in, *calls) if call.error is None)
    recorded = Cut(
        [
            RecordedCall(
                # The engine holds a call's prompt from its prefill on, not while the call waits in the queue.
                start=call.first_token_s if call.first_token_s is not None else call.started_s,
                end=call.ended_s,
                prompt=prompts[call.key],
                output_tokens=call.output_tokens,
                first=call.key in first,
            )
            for call in answered
        ]
    )
    return Sequel(
        answered,
        recorded,
        tuple(call.key in measured for call in answered),
        tuple(one.first for one in recorded),
    )


def count_tokens(
    calls: Sequence[CallRecord],
    prompts: Mapping[CallKey, Sequence[int]],
    capacity: int,
    lead_in: Sequence[CallRecord] = (),
) -> Counted:
    """Calls with an error do not count, and those of the lead-in only by what they left in the cache."""
    played = sequel(calls, prompts, lead_in)
    best, there_is = minimum(played.recorded, capacity).tokens, unlimited(played.recorded).tokens
    everything = TokenCounts()
    by_trigger: dict[str, TokenCounts] = {}
    for index, call in enumerate(played.calls):
        if not played.measured[index]:
            continue
        counts = TokenCounts(
            len(played.recorded[index].prompt),
            call.cached_tokens,
            best[index],
            there_is[index],
            call.cached_tokens - call.host_tokens,
        )
        everything += counts
        if played.first[index]:
            by_trigger[call.trigger] = by_trigger.get(call.trigger, TokenCounts()) + counts
    return Counted(everything, sum(by_trigger.values(), TokenCounts()), by_trigger)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Linear between the two nearest values; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = math.ceil(position)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def compare_texts(plays: Sequence[Play], reference: str) -> Match:
    """The plays of all other configurations against the first one of the reference; of its own repeats if it is alone."""
    first = next(play for play in plays if play.configuration == reference)
    others = [play for play in plays if play.configuration != reference]
    matches = [match(first.every_call, play.every_call) for play in others or plays if play is not first]
    return Match(
        sum(one.compared for one in matches),
        sum(one.equal for one in matches),
        tuple(difference for one in matches for difference in one.differences),
    )


class Speedup(NamedTuple):
    """Of one configuration over the reference, in the same passes and repeats."""

    wall: float
    least: float
    most: float
    """Of its repeats, each for itself."""
    engine: float | None
    """By what the engines took, without client, proxy and HTTP. None without a meter."""


def speedups(plays: Sequence[Play], reference: str) -> dict[str, float]:
    """Of each configuration: the reference's wall time in the same passes and repeats over its own."""
    return {name: speedup.wall for name, speedup in spread_of_speedups(plays, reference).items()}


def spread_of_speedups(plays: Sequence[Play], reference: str) -> dict[str, Speedup]:
    """Of each configuration that took any time."""
    by_place = {(play.configuration, play.pass_index, play.repeat): play for play in plays}
    result = {}
    for name in dict.fromkeys(play.configuration for play in plays):
        pairs = [
            (by_place[reference, play.pass_index, play.repeat], play)
            for play in plays
            if play.configuration == name and play.wall_s > 0
        ]
        if not pairs:
            continue
        single = [referred.wall_s / own.wall_s for referred, own in pairs]
        wall = sum(referred.wall_s for referred, _ in pairs) / sum(own.wall_s for _, own in pairs)
        result[name] = Speedup(wall, min(single), max(single), _engine_speedup(pairs))
    return result


def _engine_speedup(pairs: Sequence[tuple[Play, Play]]) -> float | None:
    referred = [one.engine_s for one, _ in pairs]
    own = [one.engine_s for _, one in pairs]
    theirs = [seconds for seconds in referred if seconds is not None]
    ours = [seconds for seconds in own if seconds is not None]
    if len(theirs) < len(referred) or len(ours) < len(own) or not sum(ours) > 0:
        return None
    return sum(theirs) / sum(ours)


@dataclass(frozen=True, slots=True)
class Summary:
    """One configuration over all its plays."""

    plays: tuple[Play, ...]
    all_calls: TokenCounts
    """Zeros, and so no rates, where the engine does not tell how it tokenizes."""
    first_calls: TokenCounts
    by_trigger: Mapping[str, TokenCounts] = field(default_factory=dict)
    """First calls again, by what made the agent call."""

    @property
    def errors(self) -> int:
        return sum(call.error is not None for play in self.plays for call in play.every_call)

    @property
    def steps_s(self) -> list[float]:
        return [step.wall_s for play in self.plays for step in play.steps]

    @property
    def ttft_s(self) -> list[float]:
        return [call.ttft_s for play in self.plays for call in play.calls if call.ttft_s is not None]

    @property
    def activations_by_trigger(self) -> dict[str, float]:
        """Of one play, the mean over all."""
        counts = Counter(call.trigger for play in self.plays for call in play.calls if call.index == 0)
        return {trigger: count / len(self.plays) for trigger, count in sorted(counts.items())}

    @property
    def ttft_by_trigger(self) -> dict[str, list[float]]:
        """Of first calls of activations after the agent's first, as far as they were answered."""
        found: dict[str, list[float]] = {}
        for play in self.plays:
            for call in play.first_calls:
                if call.ttft_s is not None:
                    found.setdefault(call.trigger, []).append(call.ttft_s)
        return dict(sorted(found.items()))

    @property
    def order(self) -> dict[str, float]:
        """By source of distances: the share of pairs of agents that it told in the right order, mean over the plays, each
        as heavy as the beginnings it was measured by. Sources of which nothing has come yet are not named."""
        found: dict[str, tuple[float, float]] = {}
        for play in self.plays:
            for source, told in play.accuracy.items():
                order, count = (
                    (told.get("order"), told.get("count")) if isinstance(told, Mapping) else (None, None)
                )
                if isinstance(order, int | float) and isinstance(count, int | float) and count > 0:
                    right, of = found.get(source, (0.0, 0.0))
                    found[source] = (right + order * count, of + count)
        return {source: right / of for source, (right, of) in sorted(found.items())}

    @property
    def engine_s(self) -> float | None:
        """In which the engine worked, mean over the plays. None without a meter."""
        seconds = [play.engine_s for play in self.plays if play.engine_s is not None]
        return mean(seconds) if len(seconds) == len(self.plays) else None

    def time_share(self) -> dict[str, float] | None:
        """Of the wall time: decoding, prefilling, waiting for loads, and the rest. None without a meter."""
        if any(play.step_seconds is None for play in self.plays):
            return None
        wall_s = sum(play.wall_s for play in self.plays)
        shares = {
            kind: sum((play.step_seconds or {}).get(kind, 0.0) for play in self.plays) / wall_s
            for kind in ("decode", "prefill", "load")
        }
        return {**shares, "other": max(0.0, 1 - sum(shares.values()))}

    def report(self) -> dict[str, object]:
        """`wall_s` and `calls` are those of one play, the mean over all; `errors` are those of all plays."""
        calls = [call for play in self.plays for call in play.calls]
        steps_s, ttft_s = self.steps_s, self.ttft_s
        report: dict[str, object] = {
            "wall_s": mean([play.wall_s for play in self.plays]),
            "calls": round(len(calls) / len(self.plays)),
            "activations_by_trigger": self.activations_by_trigger,
            "errors": self.errors,
            "step_s": {"mean": mean(steps_s), "p95": percentile(steps_s, 0.95)},
            "ttft_s": {"mean": mean(ttft_s), "p50": percentile(ttft_s, 0.5), "p95": percentile(ttft_s, 0.95)},
            "prefix_hit_rate": self.all_calls.hit_rate,
            "first_call_hit_rate": self.first_calls.hit_rate,
            "first_call_resident_rate": self.first_calls.resident_rate,
            "order_accuracy": self.order,
            "belady": {
                "prefix_hit_rate": self.all_calls.belady_hit_rate,
                "first_call_hit_rate": self.first_calls.belady_hit_rate,
            },
            "prompt_tokens": sum(call.prompt_tokens for call in calls) / max(1, len(self.plays)),
            "cached_tokens": sum(call.cached_tokens for call in calls) / max(1, len(self.plays)),
            "output_tokens": sum(call.output_tokens for call in calls) / max(1, len(self.plays)),
            "first_calls": {
                trigger: {
                    "calls": len(values) / len(self.plays),
                    "hit_rate": self.by_trigger.get(trigger, TokenCounts()).hit_rate,
                    "belady_hit_rate": self.by_trigger.get(trigger, TokenCounts()).belady_hit_rate,
                    "ttft_s": {"mean": mean(values), "p95": percentile(values, 0.95)},
                }
                for trigger, values in self.ttft_by_trigger.items()
            },
            "plays": [
                {"pass": play.pass_index, "repeat": play.repeat, "wall_s": play.wall_s}
                | ({"accuracy": play.accuracy} if play.accuracy else {})
                for play in self.plays
            ],
        }
        if (shares := self.time_share()) is not None:
            report["time_share"] = shares
            report["engine_s"] = self.engine_s
        return report


def summaries(
    plays: Sequence[Play], prompts: Mapping[CallKey, Sequence[int]] | None, capacity: int
) -> dict[str, Summary]:
    """By configuration, in the order they were first played in."""
    result = {}
    for name in dict.fromkeys(play.configuration for play in plays):
        own = tuple(play for play in plays if play.configuration == name)
        counted = (
            []
            if prompts is None
            else [count_tokens(play.calls, prompts, capacity, play.lead_in_calls) for play in own]
        )
        by_trigger: dict[str, TokenCounts] = {}
        for one in counted:
            for trigger, tokens in one.by_trigger.items():
                by_trigger[trigger] = by_trigger.get(trigger, TokenCounts()) + tokens
        result[name] = Summary(
            own,
            sum((one.all_calls for one in counted), TokenCounts()),
            sum((one.first_calls for one in counted), TokenCounts()),
            dict(sorted(by_trigger.items())),
        )
    return result


@dataclass(frozen=True, slots=True)
class Bounds:
    """How fast the reference could be if nothing changed but what it finds in its cache, and by that count only."""

    prefill_share: float
    missed_share: float
    """Of the prompt tokens it computed: those that an unlimited cache would have had."""
    unlimited: float
    belady: float


def bounds(reference: Summary) -> Bounds | None:
    """A token costs the same wherever it stands, in this estimate."""
    shares, tokens = reference.time_share(), reference.all_calls
    if shares is None or tokens.prompt <= tokens.cached:
        return None
    computed = tokens.prompt - tokens.cached
    missed = max(0, tokens.unlimited - tokens.cached) / computed
    missed_by_belady = max(0, tokens.belady - tokens.cached) / computed
    prefill = min(1.0, shares["prefill"])
    return Bounds(prefill, missed, 1 / (1 - prefill * missed), 1 / (1 - prefill * missed_by_belady))
