"""The result of a comparison, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from .configurations import Configuration
from .estimators import Estimators
from .interactions import Interactions
from .matching import Match
from .program import Wishes
from .results import Bounds, Speedup, Summary, TokenCounts, mean, percentile

SCHEMA = 1
LEAST_TEXT_MATCH = 0.99
"""Below, something is wrong with the answers, explained or not."""


@dataclass(frozen=True, slots=True)
class Comparison:
    command: str
    commit: str
    machine: str
    scenario: str
    wishes: Wishes
    repeats: int
    model: str
    capacity_tokens: int
    capacity: str
    """The same in words: how it came about."""
    configurations: Mapping[str, Configuration]
    """With those that are summed up, and perhaps others."""
    summaries: Mapping[str, Summary]
    speedup: Mapping[str, float]
    """Over the first of the summaries, the reference."""
    texts: Match
    bounds: Bounds | None
    notes: tuple[str, ...] = ()
    engine: str = "sglang"
    calls_by_trigger: Mapping[str, int] = field(default_factory=dict)
    """Of one play: what made agents call."""
    spread: Mapping[str, Speedup] = field(default_factory=dict)
    """The same with what its repeats were, and what engines took."""
    estimators: Estimators = field(default_factory=Estimators)
    interactions: Interactions | None = None
    """None: nobody meets anybody in this scenario."""

    @property
    def reference(self) -> str:
        return next(iter(self.summaries))

    @property
    def errors(self) -> int:
        return sum(summary.errors for summary in self.summaries.values())

    @property
    def ok(self) -> bool:
        return self.errors == 0 and self.texts.all_explained and self.texts.share >= LEAST_TEXT_MATCH

    def as_json(self) -> dict[str, object]:
        bounds = self.bounds
        return {
            "schema": SCHEMA,
            "command": self.command,
            "commit": self.commit,
            "seed": self.wishes.seed,
            "machine": self.machine,
            "scenario": self.scenario,
            "agents": self.wishes.agents,
            "steps": self.wishes.steps,
            "configs": {name: summary.report() for name, summary in self.summaries.items()},
            "speedup_over_stock": dict(self.speedup),
            "text_match": self.texts.share,
            "text_differences_explained": self.texts.all_explained,
            "reference": self.reference,
            "speedup_spread": {name: one._asdict() for name, one in self.spread.items()},
            "estimators": self.estimators.as_json(self.summaries),
            "persona_tokens": self.wishes.persona_tokens,
            "growth_tokens": self.wishes.growth_tokens,
            "output_share": self.wishes.output_share,
            "chars_per_token": self.wishes.chars_per_token,
            "options": dict(self.wishes.options),
            "calls_by_trigger": dict(self.calls_by_trigger),
            "interactions": None if self.interactions is None else self.interactions.as_json(),
            "told": {name: told for name in self.summaries if (told := self.configurations[name].told)},
            "noise": {
                name: asdict(noise) for name in self.summaries if (noise := self.configurations[name].noise)
            },
            "repeats": self.repeats,
            "engine": self.engine,
            "model": self.model,
            "capacity_tokens": self.capacity_tokens,
            "capacity": self.capacity,
            "speedup_bound": None
            if bounds is None
            else {
                "prefill_share": bounds.prefill_share,
                "missed_share_of_prefill": bounds.missed_share,
                "unlimited_cache": bounds.unlimited,
                "belady": bounds.belady,
            },
            "texts": {
                "compared": self.texts.compared,
                "equal": self.texts.equal,
                "differences": [
                    {
                        "step": difference.key[0],
                        "agent": difference.key[1],
                        "index": difference.key[2],
                        "token": difference.token,
                        "explained": difference.explained,
                        "reference": difference.reference,
                        "other": difference.other,
                    }
                    for difference in self.texts.differences
                ],
            },
            "notes": list(self.notes),
        }

    def print(self, console: Console) -> None:
        triggers = [self._triggers()] if len(self.triggers) > 1 else []
        touches = [self._touches()] if self.estimators.touches else []
        tables = (self._speed(), self._cache(), self._estimators(), *touches, *triggers)
        console.print(Group(*tables, Text(self.caption())))

    @property
    def triggers(self) -> list[str]:
        """What made agents call again."""
        return sorted({trigger for one in self.summaries.values() for trigger in one.ttft_by_trigger})

    # Tables of their own, as one of all columns is wider than a terminal.

    def _speed(self) -> Table:
        table = table_of(
            f"{self.scenario}: {self.wishes.agents} agents, {self.wishes.steps} steps, seed {self.wishes.seed}",
            *(
                "wall s",
                "speed-\nup",
                "step s\nmean",
                "step s\np95",
                "TTFT s\nmean",
                "TTFT s\np95",
            ),
            "errors",
        )
        for name, summary in self.summaries.items():
            table.add_row(
                name,
                number(mean([play.wall_s for play in summary.plays]), 1),
                number(self.speedup.get(name), 2),
                number(mean(summary.steps_s), 1),
                number(percentile(summary.steps_s, 0.95), 1),
                number(mean(summary.ttft_s), 2),
                number(percentile(summary.ttft_s, 0.95), 2),
                str(summary.errors),
            )
        return table

    def _cache(self) -> Table:
        table = table_of(
            "share of prefix tokens found in the cache, and where the engine's time went",
            *("all\ncalls", "Belady", "first\ncalls", "Belady", "decode", "prefill", "other"),
        )
        for name, summary in self.summaries.items():
            shares = summary.time_share() or {}
            table.add_row(
                name,
                number(summary.all_calls.hit_rate, 3),
                number(summary.all_calls.belady_hit_rate, 3),
                number(summary.first_calls.hit_rate, 3),
                number(summary.first_calls.belady_hit_rate, 3),
                *(number(shares.get(kind), 2) for kind in ("decode", "prefill", "other")),
            )
        return table

    def _estimators(self) -> Table:
        table = table_of(
            "how right distances were told, and hits as shares of the bounds",
            *("pairs in order", "all\ncalls", "of\nBelady", "first\ncalls", "of\nBelady", "of the\nlaw"),
        )
        for name, row in self.estimators.rows(self.summaries).items():
            summary = self.summaries.get(name)
            table.add_row(
                name,
                "\n".join(f"{source} {order:.3f}" for source, order in summary.order.items()) or "-"
                if summary is not None
                else "-",
                *(
                    number(share, 3)
                    for share in (
                        *(row.all_calls, row.all_of_belady),
                        *(row.first_calls, row.first_of_belady, row.first_of_law),
                    )
                ),
            )
        return table

    def _touches(self) -> Table:
        table = table_of(
            "first calls whose memory was on the device before they came",
            *("touches", "resident", "link's bound", "of the bound", "MRU, no loads"),
        )
        for name, one in self.estimators.touches.items():
            share = one.as_json()["share_of_bound"]
            table.add_row(
                name,
                str(one.found.touches),
                number(one.found.share, 3),
                number(one.bound.share, 3),
                number(share if isinstance(share, float) else None, 3),
                number(one.mru.share, 3),
            )
        return table

    def _triggers(self) -> Table:
        table = table_of(
            "first calls, by what made the agent call",
            *(
                heading
                for trigger in self.triggers
                for heading in (f"{trigger}\nhits", "\nBelady", "\nTTFT s")
            ),
        )
        for name, summary in self.summaries.items():
            cells = []
            ttft_s = summary.ttft_by_trigger
            for trigger in self.triggers:
                counts = summary.by_trigger.get(trigger, TokenCounts())
                cells += [
                    number(counts.hit_rate, 3),
                    number(counts.belady_hit_rate, 3),
                    number(mean(ttft_s.get(trigger, [])), 2),
                ]
            table.add_row(name, *cells)
        return table

    def caption(self) -> str:
        """What the numbers mean, and what bounds the speedup."""
        lines = [
            f"Speed-up: wall time of {self.reference} over that of the configuration, played beside it.",
            *self._what_repeats_say(),
            *(f"{name}: {self.configurations[name].about}." for name in self.summaries),
            f"Room in the cache: {self.capacity}.",
            "Hits: prompt tokens found in the cache, over those that an unlimited cache would have had. First calls are"
            " those of an agent's activations after its first. Belady: what an eviction that knows the future would have"
            " hit with the same room, on the same sequence.",
            "In brackets: what nobody played, worked out on the first play of "
            f"{self.reference}. mru gives up first what was used last; law knows who is active and how long agents stay away"
            " as a rule, and not the future.",
            *self.what_interactions_say(),
            self.what_texts_say(),
            _what_bounds(self.reference, self.bounds),
            *self.notes,
        ]
        return "\n".join(lines)

    def _what_repeats_say(self) -> list[str]:
        others = [(name, one) for name, one in self.spread.items() if name != self.reference]
        told = "; ".join(
            f"{name} {one.least:.2f} to {one.most:.2f}"
            + (f", of the engine alone {one.engine:.2f}" if one.engine is not None else "")
            for name, one in others
        )
        return [f"Of single repeats: {told}."] if told else []

    def what_interactions_say(self) -> list[str]:
        return [] if self.interactions is None else [str(self.interactions)]

    def what_texts_say(self) -> str:
        texts = self.texts
        unexplained = sum(not one.explained for one in texts.differences)
        return (
            f"Texts: {texts.equal} of {texts.compared} answers equal the first ones of {self.reference}"
            + (
                "."
                if not texts.differences
                else "; every difference begins at a near-tie."
                if texts.all_explained
                else f"; {unexplained} DIFFERENCES ARE NOT EXPLAINED by a near-tie."
            )
        )


def _what_bounds(reference: str, bounds: Bounds | None) -> str:
    if bounds is None:
        return (
            "What bounds the speedup: only the recomputing of prefixes that were evicted can be saved; decoding, the text of"
            " the templates and each agent's first visit stay. This engine does not tell how its time divides."
        )
    return (
        f"What bounds the speedup: {reference} spends {bounds.prefill_share:.0%} of its time in prefill, and "
        f"{bounds.missed_share:.0%} of the tokens it prefills are prefixes that were evicted. Saving all of them makes it about "
        f"{bounds.unlimited:.2f}x as fast, saving what Belady could {bounds.belady:.2f}x; decoding, the text of the templates "
        "and each agent's first visit stay."
    )


def table_of(title: str, *headings: str) -> Table:
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
