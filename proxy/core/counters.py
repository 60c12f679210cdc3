"""What is counted. Plain sums that only grow."""

from __future__ import annotations

from dataclasses import dataclass, field

from .misses import Cause
from .model import Outcome, Usage


@dataclass(slots=True)
class Counters:
    """Of one simulation."""

    calls: int = 0
    failed_calls: int = 0
    """Ended as anything but `Outcome.DONE`."""
    unmeasured_calls: int = 0
    """Ended without the engine saying how much of the prompt it had cached; in none of the sums below."""
    activations: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    first_prompt_tokens: int = 0
    """Of the first calls of activations only, the first activation of each agent left out: it can find nothing."""
    first_cached_tokens: int = 0
    misses: dict[Cause, int] = field(default_factory=dict)
    """Calls of known agents that did not find their memory on the device."""
    said: int = 0
    """Calls in whose answer it stood how long the agent acts."""

    def count_end(self, outcome: Outcome, usage: Usage | None, first: bool) -> None:
        if outcome is not Outcome.DONE:
            self.failed_calls += 1
        if usage is None or usage.cached is None:
            self.unmeasured_calls += 1
            return
        self.prompt_tokens += usage.prompt
        self.cached_tokens += usage.cached
        if first:
            self.first_prompt_tokens += usage.prompt
            self.first_cached_tokens += usage.cached

    def count_miss(self, cause: Cause) -> None:
        self.misses[cause] = self.misses.get(cause, 0) + 1


@dataclass(slots=True)
class Totals:
    """Of the whole controller."""

    unknown_calls: int = 0
    """`CallEnded` without a `CallStarted` that counted."""
    repeated_calls: int = 0
    """`CallStarted` with an id that was already running."""
    lost_calls: int = 0
    """Taken as ended because more run than the limit allows."""
    refused: int = 0
    """Things told that were ignored: no number, or no room because everything there is in use."""
    dropped_agents: int = 0
    dropped_simulations: int = 0
    plans: int = 0
    shadow_plans: int = 0
    corrected_plans: int = 0
    """Plans in which the policy broke an invariant, so that the controller changed them."""
    orders: int = 0
    renewals: int = 0
    pins: int = 0
    unpins: int = 0
    loads: int = 0
    """Memory ahead of its call, of any kind."""
    shadow_loads: int = 0
    """That would have been asked for if the simulations in shadow were on, each time it came to be wanted."""
    stops: int = 0
    fetches: int = 0
    """Adapters that an engine was told of."""
    drops: int = 0
    """Adapters that an engine was rid of."""
    failed_actions: int = 0
    healed: int = 0
    """Reports that showed an engine in another state than we believed."""
