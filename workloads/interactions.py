"""Which calls interactions triggered, and how rightly these were foreseen, with positions and without. Pure.

What a simulation tells before a step is told to the proxy's core in this process, in virtual time; then the agents of the step
call. Who calls in it should be nearer than those who call later: by what is known as the step begins, and by what was known
as the step before it began, when there was still time to load memory. So this says what positions are worth, whatever
engine is played on.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import CallEnded, CallStarted, Event, Idled, Ticked
from scalesim.proxy.core.model import AgentName, CallId, Clock, EngineId, Outcome, SimulationId
from scalesim.proxy.core.snapshot import AgentSnapshot

from .program import Program, Step, Told
from .telling import Teller

INTERACTION = "interaction"
"""The trigger of calls that a meeting makes."""
AHEAD = (0, 1)
"""Steps between what is known and what is foreseen."""
STEP_S = 10.0
_TOWN = SimulationId("town")
_NO_ENGINE = EngineId("none")


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Of activations with one trigger. Each counts alike."""

    activations: int
    order: float | None
    """Of the pairs of one that is active in a step and one that is later: the share in the right order when the step begins.
    Equal counts half; of whom nothing is known counts as far. None: there are no pairs."""
    order_a_step_ahead: float | None
    """By what was known when the step before began, of those that were not active in that one."""

    def as_json(self) -> dict[str, object]:
        return {
            "activations": self.activations,
            "order": self.order,
            "order_a_step_ahead": self.order_a_step_ahead,
        }


@dataclass(frozen=True, slots=True)
class Interactions:
    """Of one program."""

    share_of_calls: float
    share_of_activations: float
    foreseen: Mapping[Told, Mapping[str, Foreseen]]
    """By what is told, and by what made agents call."""

    def as_json(self) -> dict[str, object]:
        return {
            "share_of_calls": self.share_of_calls,
            "share_of_activations": self.share_of_activations,
            "foreseen": {
                told.value: {trigger: one.as_json() for trigger, one in by_trigger.items()}
                for told, by_trigger in self.foreseen.items()
            },
        }

    def __str__(self) -> str:
        foreseen = [
            f"; told {told.value}, {_shown(one.order)} of the pairs of agents stand in the right order before those alone,"
            f" {_shown(one.order_a_step_ahead)} a step ahead"
            for told, by_trigger in self.foreseen.items()
            if (one := by_trigger.get(INTERACTION)) is not None
        ]
        return (
            f"Interactions trigger {self.share_of_calls:.0%} of the calls, {self.share_of_activations:.0%} of the"
            f" activations{''.join(foreseen)}."
        )


def interactions(program: Program) -> Interactions | None:
    """None where agents have no positions, so that nobody meets."""
    if program.space is None:
        return None
    return Interactions(
        _share(program.calls_by_trigger()),
        _share(_activations(program)),
        {told: _foresee(program, told) for told in (Told.SPATIAL, Told.PLAN)},
    )


def _activations(program: Program) -> Counter[str]:
    """By trigger."""
    return Counter(activation.trigger for step in program.steps for activation in step.activations)


def _share(counts: Mapping[str, int]) -> float:
    return counts.get(INTERACTION, 0) / max(1, sum(counts.values()))


def _foresee(program: Program, told: Told) -> dict[str, Foreseen]:
    """By trigger."""
    town = _Town(program, told)
    seen: dict[int, dict[str, list[float]]] = {ahead: defaultdict(list) for ahead in AHEAD}
    """By steps ahead and by trigger: of each activation, the share of its pairs in the right order."""
    began: list[tuple[Step, Mapping[str, float]]] = []
    """The last steps, the latest first, and what was known of each when it began."""
    for step in program.steps:
        began = [(step, town.tell(step)), *began[: max(AHEAD)]]
        for ahead, (then, known) in enumerate(began):
            others = [known[agent] for agent, steps in then.distances.items() if steps > ahead]
            for activation in step.activations:
                if others and then.distances[activation.agent] == ahead:
                    seen[ahead][activation.trigger].append(_right(known[activation.agent], others))
        town.play(step)
    return {
        trigger: Foreseen(count, *(_mean(seen[ahead][trigger]) for ahead in AHEAD))
        for trigger, count in sorted(_activations(program).items())
    }


def _right(nearer: float, others: list[float]) -> float:
    return (sum(other > nearer for other in others) + others.count(nearer) / 2) / len(others)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _shown(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"


def _steps(agent: AgentSnapshot | None) -> float:
    """All that is told here is told in steps."""
    if agent is None or agent.distance is None or agent.clock is not Clock.STEPS:
        return math.inf
    return agent.distance


class _Town:
    """A controller without engines, that is told what a simulation like this knows."""

    def __init__(self, program: Program, told: Told) -> None:
        self._controller = Controller(ControllerConfig())
        self._teller = Teller(program, told, _TOWN)
        self._at = 0.0
        self._calls = 0
        self._post_all(self._teller.begin(self._at))

    def tell(self, step: Step) -> dict[str, float]:
        """What is known when the step begins. By agent, how far its next activation then is: inf, if nobody knows."""
        at = self._at
        self._post_all(self._teller.begin_step(at, step))
        self._post_all(self._teller.tell(at, step))
        self._post(Ticked(at))
        while self._controller.behind:
            self._post(Idled(at))
        told = {str(agent.name): agent for agent in self._controller.agents(_TOWN)}
        return {name: _steps(told.get(name)) for name in step.distances}

    def play(self, step: Step) -> None:
        """Of each chain, a call that stands for all of them: it ends with what the agent knows of the time after it."""
        calls = []
        for activation in step.activations:
            call = CallId(self._calls)
            self._calls += 1
            calls.append((call, activation))
            self._post(CallStarted(self._at, call, _TOWN, AgentName(activation.agent), _NO_ENGINE))
        self._at += STEP_S
        for call, activation in calls:
            acts_for = self._teller.acts_for(step, activation)
            self._post(CallEnded(self._at, call, Outcome.DONE, acts_for=acts_for))

    def _post_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._post(event)

    def _post(self, event: Event) -> None:
        self._controller.handle(event)
