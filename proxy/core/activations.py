"""When agents' activations begin and end, and what is learned of each."""

from __future__ import annotations

from .agent import Agent
from .distance import gap
from .distance.blend import known_of
from .model import Clock
from .periods import Hours
from .population import Population
from .story import Stories

_ENDED = 16
"""Activations that are ended in one piece."""


class Activations:
    def __init__(self, population: Population, stories: Stories) -> None:
        self._population = population
        self._stories = stories
        self.behind = False
        """More pauses are over than `end_pauses` looked at."""

    def call_started(self, agent: Agent, at: float) -> bool:
        """A call of the agent starts. True if it opens an activation that is not the agent's first."""
        simulation = agent.simulation
        self._hand_over(agent, at)
        opens = not agent.in_activation(at)
        if opens:
            self._begin(agent, at)
        elif not agent.running:
            simulation.learn_pause(at - agent.ended_at)
        if simulation.graph is not None:
            simulation.graph.use(agent.name, simulation.steps.passed)
            self._population.note(simulation)
        if simulation.space is not None:
            simulation.space.use(agent.name, simulation.now(simulation.space.rules.clock, at))
        agent.acts_next, agent.asked = False, None
        agent.barrier = simulation.barriers.count
        agent.running += 1
        agent.used_at = at
        simulation.idle.remove(agent)
        simulation.called_again(agent.name)
        return opens and agent.activations > 1

    def call_ended(self, agent: Agent, at: float) -> None:
        agent.running -= 1
        agent.used_at = agent.ended_at = at
        if not agent.running:
            if not agent.is_kept:
                agent.simulation.idle.add(agent)
            if agent.acts_next:
                agent.end_activation()
                self.judge(agent, at)
            else:
                agent.simulation.pausing[agent.name] = agent.simulation.lulling[agent.name] = agent
        agent.mark(called=True)

    def end_pauses(self, at: float) -> None:
        """Ends activations whose agents have not called for the learned pause, or since a barrier, and finds out who does not go
        on: a piece of them."""
        left = _ENDED
        for simulation in self._population.simulations.values():
            while left > 0 and simulation.pausing:
                agent = next(iter(simulation.pausing.values()))
                if agent.in_activation(at):
                    break
                self._end(agent, at)
                left -= 1
            while left > 0 and simulation.lulling:
                agent = next(iter(simulation.lulling.values()))
                if agent.goes_on(at):
                    break
                del simulation.lulling[agent.name]
                agent.mark(called=True)
                left -= 1
        self.behind = left == 0

    def judge(self, agent: Agent, at: float) -> None:
        """Something new is known of the agent: notes what every source says, to be compared with what comes."""
        self._stories.expects(agent, at)
        accuracy = agent.simulation.accuracy
        # What was told during an activation may be meant for it, and is taken at its word when it ends.
        if accuracy.follows(agent.name) and not agent.in_activation(at):
            accuracy.predicted(agent.name, [(known.source, known.moment) for known in known_of(agent, at)])

    def _hand_over(self, agent: Agent, at: float) -> None:
        """Ends activations by the call that starts, where the simulation makes one at a time or waits for all of a step."""
        simulation = agent.simulation
        handovers = simulation.handovers
        others = None if agent.called is None else handovers.calls - agent.called
        handovers.called(others, overlaps=simulation.running > agent.running)
        simulation.barriers.called(handovers.calls, agent.called, at, running=simulation.running > 0)
        agent.called = handovers.calls
        ends_after = handovers.ends_after
        if ends_after is None:
            return
        if agent.name in simulation.pausing and others is not None and others > ends_after:
            self._end(agent, at)
        simulation.called_again(agent.name)
        while simulation.pausing:
            oldest = next(iter(simulation.pausing.values()))
            if oldest.called is None or agent.called - oldest.called <= ends_after:
                break
            self._end(oldest, at)

    def _begin(self, agent: Agent, at: float) -> None:
        """What was expected of the agent is measured by what came, and so is what follows for others learned."""
        simulation = agent.simulation
        turns, authority = simulation.turns, simulation.authority
        clock, learned = simulation.clock, (authority.before, turns.holding, simulation.gaps.known)
        self._ask_again(agent, at)
        if simulation.accuracy.began(agent.name, lambda clock: simulation.now(clock, at)):
            authority.weigh(simulation.accuracy)
        turns.began(agent.name, at)
        if simulation.clock is not clock:
            simulation.forget_gaps()
        agent.begin_activation(at)
        is_other_day = self._keep_hours(agent)
        now_learned = authority.before, turns.holding, simulation.gaps.known
        if is_other_day or simulation.clock is not clock or now_learned != learned:
            self._population.learn_anew(simulation)
        elif turns.tells:
            self._population.mark_all_of(simulation)

    def _keep_hours(self, agent: Agent) -> bool:
        """True if the day of its simulation is another one now."""
        began = agent.began
        if began is None or began.clock is Clock.SECONDS:
            return False
        agent.hours = agent.hours or Hours()
        return agent.simulation.period.began(agent.hours, int(began.value))

    def _ask_again(self, agent: Agent, at: float) -> None:
        """What gaps tell of an agent changes while it is away: what they tell now is compared with what comes."""
        simulation = agent.simulation
        accuracy = simulation.accuracy
        if not accuracy.has(agent.name):
            return
        for name in accuracy.sample:
            known = gap.estimate(simulation.agents[name], at)
            if known is not None:
                accuracy.predicted(name, [(known.source, known.moment)])

    def _end(self, agent: Agent, at: float) -> None:
        agent.end_activation()
        self.judge(agent, at)
        agent.mark(called=True)
