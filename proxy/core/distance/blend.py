"""The most authoritative of what is known: calling now, then what was told last, then what was learned.

A distance that was told is the simulation's own sum of all that may happen. Else an agent calls when the first thing
happens that makes it call: the end of its action (as the simulation told it, or else the LLM), a wave that comes its
way, or somebody it meets. What was learned stands in for the first two, and is no reason to overlook a meeting.

Of those whom a simulation tells the same, as when all are to call in its next step, learned turns say who comes first.

Where a source was measured to tell the order of a simulation better than one with more authority, it goes before it.
"""

from __future__ import annotations

import math

from ..agent import Agent
from ..estimate import Estimate, Source, distance_s
from . import answers, gap, hinted, path, plan, spatial, turns

_LEARNED = (Source.TURNS, Source.GAP)
_ACTIVATION = Source.ACTIVATION


def estimate(agent: Agent, at: float) -> Estimate | None:
    if agent.goes_on(at):
        return Estimate(agent.simulation.moment(at), 0.0, _ACTIVATION)
    simulation = agent.simulation
    known, turn = _told(agent, at), turns.estimate(agent, at)
    if known is None:
        known = _happens(agent, at) or turn or gap.estimate(agent, at)
        if simulation.space is not None:
            known = _nearer(known, spatial.estimate(agent, at), agent, at)
    if known is None:
        return None
    authority = simulation.authority
    if known.source in authority.before:
        known = _better(known, agent, at)
    error, spread = authority.errors.get(known.source), known.spread
    if error is not None and spread == 0.0 and error[0] is known.moment.clock:
        spread = error[1]
    if turn is None and spread == known.spread:
        return known
    last = math.inf if turn is None else turn.moment.value
    return Estimate(known.moment, spread, known.source, last, known.until)


def known_of(agent: Agent, at: float) -> list[Estimate]:
    """What each source says of an agent that is not in an activation: one estimate a source. Of what may happen only the
    first is said, since the others are not expected to make it call."""
    happens = _nearer(_happens(agent, at), spatial.estimate(agent, at), agent, at)
    all_of_them = (_told(agent, at), happens, turns.estimate(agent, at), gap.estimate(agent, at))
    return [known for known in all_of_them if known is not None]


def _told(agent: Agent, at: float) -> Estimate | None:
    if agent.hinted is not None and (agent.action is None or agent.action.number < agent.hinted.number):
        return hinted.estimate(agent, at)
    return None


def _happens(agent: Agent, at: float) -> Estimate | None:
    acts = None
    if agent.action is not None or agent.said is not None:
        acts = plan.estimate(agent, at) or answers.estimate(agent, at)
    if agent.simulation.graph is None:
        return acts
    return _nearer(acts, path.estimate(agent, at), agent, at)


def _better(known: Estimate, agent: Agent, at: float) -> Estimate:
    """What the best source says that goes before that of `known`, if any of these knows the agent."""
    before = agent.simulation.authority.before
    others = {one.source: one for one in known_of(agent, at)}
    for source in before[known.source]:
        if source in others:
            better = others[source]
            meeting = spatial.estimate(agent, at) if source in _LEARNED else None
            if meeting is not None and source not in before.get(Source.SPATIAL, ()):
                return _nearer(better, meeting, agent, at) or better
            return better
    return known


def _nearer(one: Estimate | None, other: Estimate | None, agent: Agent, at: float) -> Estimate | None:
    """By distance, and not by moment: what is overdue for long is far."""
    if one is None or other is None:
        return one or other
    simulation = agent.simulation
    return one if distance_s(one, simulation, at) <= distance_s(other, simulation, at) else other
