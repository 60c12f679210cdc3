"""A crowd of agents that act in steps: who calls in each of them, and how long they act afterwards. The same for the same
seed."""

from __future__ import annotations

from collections import defaultdict
from random import Random

from scalesim.proxy.core.model import AgentName


class Crowd:
    """In each step about `active` of the agents call, or all if there are no more."""

    def __init__(self, agents: int, active: int, seed: int) -> None:
        self.names = [AgentName(f"agent-{number:06d}") for number in range(agents)]
        self.step = 0
        self._random = Random(seed)
        every = max(1, round(agents / active))
        self._durations = range(1, 2 * every)
        # As long as a crowd that has acted for ever still acts, so that the first step is like all others.
        left = self._random.choices(self._durations, weights=range(2 * every - 1, 0, -1), k=agents)
        self.left = dict(zip(self.names, left, strict=True))
        """Steps until each agent's first call."""
        self._due: defaultdict[int, list[AgentName]] = defaultdict(list)
        for name, steps in self.left.items():
            self._due[steps].append(name)

    def next_step(self) -> list[tuple[AgentName, float]]:
        """Who calls in it, in this order, and for how many steps each of them acts afterwards."""
        self.step += 1
        callers = self._due.pop(self.step, [])
        self._random.shuffle(callers)
        calls = [(name, self._random.choice(self._durations)) for name in callers]
        for name, duration in calls:
            self._due[self.step + duration].append(name)
        return [(name, float(duration)) for name, duration in calls]

    def distances(self) -> dict[AgentName, float]:
        """In steps, of all agents."""
        return {name: float(step - self.step) for step, names in self._due.items() for name in names}
