"""What came of a play, measured or replayed, as far as the two can be compared. Pure."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass

from scalesim.workloads.replay.results import Results
from scalesim.workloads.results import Play

MOST_POINTS_APART = 2.0
"""Of hit rates."""
MOST_STEP_ERROR = 0.10
"""Of the times of steps, or twice what they vary from play to play, where that is more."""


@dataclass(frozen=True, slots=True)
class Run:
    """Shares are of prompt tokens."""

    steps_s: tuple[float, ...]
    all_calls: float
    first_calls: float | None
    """Of activations after an agent's first; None: nobody came again."""
    from_host: float
    ttft_s: float
    """Mean."""
    adapters: float | None
    """Of calls with an adapter, those that found it in a slot when they came; None: without adapters."""
    spent: dict[str, float]
    """Seconds of the engine: prefill, decode, load. Empty where it does not say."""


def of_play(play: Play) -> Run:
    calls, first = play.calls, play.first_calls
    prompt = sum(call.prompt_tokens for call in calls)
    prompt_first = sum(call.prompt_tokens for call in first)
    lookups = play.adapter_lookups
    return Run(
        steps_s=tuple(step.wall_s for step in play.steps),
        all_calls=sum(call.cached_tokens for call in calls) / max(1, prompt),
        first_calls=sum(call.cached_tokens for call in first) / prompt_first if prompt_first else None,
        from_host=sum(call.host_tokens for call in calls) / max(1, prompt),
        ttft_s=statistics.mean(call.ttft_s for call in calls if call.ttft_s is not None),
        adapters=lookups.get("hit", 0.0) / sum(lookups.values()) if lookups else None,
        spent={kind: (play.step_seconds or {}).get(kind, 0.0) for kind in ("prefill", "decode", "load")}
        if play.step_seconds is not None
        else {},
    )


def of_replay(results: Results) -> Run:
    assert results.ttft_s is not None, "there were calls"
    shares, seconds = results.shares, results.seconds
    return Run(
        steps_s=tuple(step.seconds for step in results.steps),
        all_calls=results.hits.all_calls,
        first_calls=results.hits.first_calls,
        from_host=results.hits.from_host,
        ttft_s=results.ttft_s.mean,
        adapters=results.hits.adapters,
        spent={
            "prefill": shares.prefill * seconds,
            "decode": shares.decode * seconds,
            "load": shares.load * seconds,
        },
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario in one configuration."""

    scenario: str
    configuration: str
    measured: tuple[Run, ...]
    predicted: Run

    @property
    def points_apart(self) -> float:
        """Hit rates of all calls."""
        return 100 * abs(self.predicted.all_calls - statistics.mean(self._all_calls))

    @property
    def first_points_apart(self) -> float | None:
        """Those of first calls. None: nobody came again."""
        if not self._first_calls or self.predicted.first_calls is None:
            return None
        return 100 * abs(self.predicted.first_calls - statistics.mean(self._first_calls))

    @property
    def points_vary(self) -> float | None:
        """From play to play: the standard deviation. None of one play."""
        return 100 * statistics.stdev(self._all_calls) if len(self.measured) > 1 else None

    @property
    def first_points_vary(self) -> float | None:
        return 100 * statistics.stdev(self._first_calls) if len(self._first_calls) > 1 else None

    @property
    def _all_calls(self) -> list[float]:
        return [run.all_calls for run in self.measured]

    @property
    def _first_calls(self) -> list[float]:
        return [run.first_calls for run in self.measured if run.first_calls is not None]

    @property
    def step_error(self) -> float:
        """Mean over the steps of how far the prediction is from the mean of the plays, relative to that."""
        return statistics.mean(
            [
                abs(predicted - statistics.mean(seen)) / statistics.mean(seen)
                for predicted, seen in zip(self.predicted.steps_s, self._by_step(), strict=True)
                if statistics.mean(seen) > 0
            ]
        )

    @property
    def whole_error(self) -> float:
        """Of all steps together; above 0: predicted too long."""
        seen = statistics.mean([sum(run.steps_s) for run in self.measured])
        return sum(self.predicted.steps_s) / seen - 1

    @property
    def deviation(self) -> float | None:
        """From play to play: the standard deviation of a step relative to its mean, mean over the steps. None of one play."""
        if len(self.measured) < 2:
            return None
        return statistics.mean(
            [
                statistics.stdev(seen) / statistics.mean(seen)
                for seen in self._by_step()
                if statistics.mean(seen) > 0
            ]
        )

    @property
    def hits_fit(self) -> bool:
        """Both kinds."""
        return max(self.points_apart, self.first_points_apart or 0.0) <= MOST_POINTS_APART

    @property
    def steps_fit(self) -> bool:
        return self.step_error <= max(MOST_STEP_ERROR, 2 * (self.deviation or 0.0))

    def as_json(self) -> dict[str, object]:
        return {
            "scenario": self.scenario,
            "configuration": self.configuration,
            "points_apart": self.points_apart,
            "first_points_apart": self.first_points_apart,
            "points_vary": self.points_vary,
            "first_points_vary": self.first_points_vary,
            "hits_fit": self.hits_fit,
            "step_error": self.step_error,
            "whole_error": self.whole_error,
            "deviation": self.deviation,
            "steps_fit": self.steps_fit,
            "predicted": asdict(self.predicted),
            "measured": [asdict(run) for run in self.measured],
        }

    def _by_step(self) -> list[tuple[float, ...]]:
        return list(zip(*(run.steps_s for run in self.measured), strict=True))
