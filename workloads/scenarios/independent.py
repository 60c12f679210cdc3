"""A town in which everybody minds their own business, after AgentSociety.

A step is 300 simulated seconds. An agent carries out a plan, step by step of the plan; it calls the model when a step of
its plan ends and not while it acts. Durations follow the actions of that simulation, rescaled so that an agent is active
every `mean_gap_steps` steps on average: 5.5 make 18 % of the agents active in a step. Each agent starts somewhere inside
an action, as if the simulation had been running for long.

Every prompt is the agent's persona, then its history, then the text of a template with what is particular to the call. Only
personas and histories are asked for again.

Nothing ever comes between: what an agent knows of its action is when it is active next.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from scalesim.workloads.authors import Author
from scalesim.workloads.options import Option, settled
from scalesim.workloads.plans import TEMPLATES, Plan, gap_steps, scale_of, under_way
from scalesim.workloads.program import Activation, Call, Known, Program, Step, Wishes, adapted
from scalesim.workloads.schedules import Schedule, agent_names, steps_until

OPTIONS: Mapping[str, Option] = {}


def generate(wishes: Wishes) -> Program:
    settled("independent", OPTIONS, wishes.options)
    agents = agent_names(wishes.agents)
    schedules = {agent: _schedule(agent, wishes) for agent in agents}
    chains = {agent: _chains(agent, wishes) for agent in agents}
    steps = []
    for index in range(wishes.steps):
        distances = {agent: steps_until(schedules[agent], index) for agent in agents}
        activations = []
        for agent in agents:
            if distances[agent] == 0:
                acts_for = 1 + steps_until(schedules[agent], index + 1)
                activations.append(Activation(agent, next(chains[agent]), acts_for, planned_steps=acts_for))
        steps.append(Step(index, tuple(activations), distances, Known(actions=distances)))
    return adapted(Program("independent", agents, tuple(steps)), wishes)


def _schedule(agent: str, wishes: Wishes) -> Schedule:
    rng = random.Random(f"{wishes.seed}/{agent}/schedule")
    scale = scale_of(wishes.mean_gap_steps)
    active = [rng.randrange(gap_steps(under_way(rng, scale), scale))]
    while active[-1] <= wishes.steps:
        active.append(active[-1] + gap_steps(rng.random(), scale))
    return active


def _chains(agent: str, wishes: Wishes) -> Iterator[tuple[Call, ...]]:
    rng = random.Random(f"{wishes.seed}/{agent}/chains")
    author = Author(agent, wishes, TEMPLATES, rng)
    plan = Plan(rng)
    while True:
        kind, names = plan.next()
        yield author.chain(kind, names)
