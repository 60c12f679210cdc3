"""The robustness curves as JSON and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from .comparison import number, table_of
from .program import Wishes
from .robustness_lies import Curve, Lie, adversaries
from .robustness_results import CALLS_PER_HIT, Measured, Pair, as_json, of_belady, thinned

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Robustness:
    command: str
    commit: str
    machine: str
    scenario: str
    wishes: Wishes
    capacity_tokens: int
    capacity: str
    fits: int
    """Memories that fit: C of the promise."""
    curves: tuple[Curve, ...]
    recency: Measured
    told: Mapping[Lie, Pair]
    """Of all curves and adversaries."""

    @property
    def worst(self) -> tuple[str, Measured]:
        """Of all plays with the guard, the one that came nearest to breaking its promise."""
        return min(self._guarded(), key=lambda named: named[1].slack.hits)

    @property
    def ok(self) -> bool:
        """Whether the guard kept its promise in every play."""
        return self.worst[1].slack.hits >= 0

    def points(self, curve: Curve) -> list[tuple[float, Pair]]:
        return [(value, self.told[lie]) for value, lie in curve.lies(self.wishes.seed).items()]

    @property
    def adversaries(self) -> dict[str, Pair]:
        return {name: self.told[lie] for name, lie in adversaries(self.wishes.seed).items()}

    def _guarded(self) -> Iterator[tuple[str, Measured]]:
        for curve in self.curves:
            for value, pair in self.points(curve):
                yield f"{curve.option} {value:g}", pair.guarded
        for name, pair in self.adversaries.items():
            yield name, pair.guarded

    def as_json(self) -> dict[str, object]:
        name, worst = self.worst
        return {
            "schema": SCHEMA,
            "command": self.command,
            "commit": self.commit,
            "seed": self.wishes.seed,
            "machine": self.machine,
            "scenario": self.scenario,
            **{key: value for key, value in asdict(self.wishes).items() if key != "seed"},
            "capacity_tokens": self.capacity_tokens,
            "capacity": self.capacity,
            "memories_that_fit": self.fits,
            "calls": len(self.recency.lead),
            "lru": as_json(self.recency, self.recency),
            "curves": {
                curve.option: {
                    "about": curve.about,
                    "points": [{"value": value, **self._pair(pair)} for value, pair in self.points(curve)],
                }
                for curve in self.curves
            },
            "adversaries": {
                name: {
                    **self._pair(pair),
                    "hits_over_lru": {
                        "every_calls": thinned(pair.guarded.lead)[0],
                        "guarded": thinned(pair.guarded.lead)[1],
                        "unguarded": thinned(pair.unguarded.lead)[1],
                    },
                }
                for name, pair in self.adversaries.items()
            },
            "promise": {
                "kept": self.ok,
                "after_n_calls": f"hits >= hits of lru - {self.fits} - n / {CALLS_PER_HIT}",
                "worst_slack": {
                    "hits": worst.slack.hits,
                    "after_calls": worst.slack.after_calls,
                    "of": name,
                },
            },
        }

    def _pair(self, pair: Pair) -> dict[str, object]:
        guarded, unguarded = pair.guarded, pair.unguarded
        state = {
            "switches": guarded.switches,
            "in_charge_at_the_end": "distance" if guarded.by_distance else "lru",
        }
        return {
            "guarded": as_json(guarded, self.recency) | state,
            "unguarded": as_json(unguarded, self.recency),
        }

    def print(self, console: Console) -> None:
        tables = [
            self._table(
                f"{curve.title}: {curve.about}", {f"{value:g}": pair for value, pair in self.points(curve)}
            )
            for curve in self.curves
        ]
        console.print(Group(*tables, self._table("adversaries", self.adversaries), Text(self.caption())))

    def _table(self, title: str, rows: Mapping[str, Pair]) -> Table:
        table = table_of(
            title,
            *("guard:\nover LRU", "of\nBelady", "worst\nslack", "switches"),
            *("none:\nover LRU", "of\nBelady", "worst\nslack"),
        )
        for name, pair in rows.items():
            table.add_row(
                name, *self._cells(pair.guarded), str(pair.guarded.switches), *self._cells(pair.unguarded)
            )
        return table

    def _cells(self, measured: Measured) -> tuple[str, str, str]:
        own, recency = measured.first_calls.cached, self.recency.first_calls.cached
        return (
            number(own / recency if recency else None, 2),
            number(of_belady(measured.first_calls), 3),
            number(measured.slack.hits, 1),
        )

    def caption(self) -> str:
        name, worst = self.worst
        kept = "kept in every play" if self.ok else "BROKEN"
        lru = of_belady(self.recency.first_calls)
        return "\n".join(
            (
                f"{self.scenario}: {self.wishes.agents} agents, {self.wishes.steps} steps, seed {self.wishes.seed},"
                f" {len(self.recency.lead)} calls. Room in the cache: {self.capacity}.",
                "Prefix tokens that first calls of an agent's later activations found, over those that they find by"
                " recency alone, and as a share of what an eviction that knows the future finds"
                f" (recency alone: {number(lru, 3)}).",
                f"The guard's promise, after every n calls hits >= hits by recency - {self.fits} - n / {CALLS_PER_HIT}, was"
                f" {kept}. The least slack was {worst.slack.hits:.1f} hits, after {worst.slack.after_calls} calls of"
                f" {name!r}.",
            )
        )
