"""Agents whose order or rhythm shows in their traffic, and nowhere else: nobody knows how long an action takes.

Some sit in circles and speak in turns, always in the same order: in each step the next few of a circle speak, sometimes none,
sometimes many, so that the order is certain and the gap is not. The others have a day: each does something at hours of its
own, the same ones every day, now and then (`late`) a step later. Hours are anywhere in the day, so a mean gap says little
of them. Both kinds are mixed by number, and active every `mean_gap_steps` steps on average.

One has to watch for a while: the order of a circle shows when it has gone round once, a day when it is over. A day has `day`
steps.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from scalesim.workloads.authors import Author
from scalesim.workloads.options import Option, settled
from scalesim.workloads.plans import TALK, TEMPLATES, Plan
from scalesim.workloads.program import Activation, Call, Program, Step, Wishes, adapted
from scalesim.workloads.schedules import Schedule, agent_names, steps_until

OPTIONS: Mapping[str, Option] = {
    "circles": Option(0.5, most=1),  # share of the agents that sit in circles
    "circle": Option(8, least=2, most=1e6, whole=True),
    "uneven": Option(1, most=1),
    "day": Option(12, least=2, most=1e6, whole=True),
    "late": Option(0.1, most=0.95),
}


def generate(wishes: Wishes) -> Program:
    options = settled("rhythm", OPTIONS, wishes.options)
    agents = agent_names(wishes.agents)
    mixed = random.Random(f"{wishes.seed}/seats").sample(range(wishes.agents), wishes.agents)
    seated = round(options["circles"] * wishes.agents)
    size = int(options["circle"])
    schedules: dict[int, Schedule] = {}
    for first in range(0, seated, size):
        schedules |= _circle(mixed[first : min(first + size, seated)], wishes, options["uneven"])
    talkers = frozenset(schedules)
    for person in mixed[seated:]:
        schedules[person] = _days(person, wishes, int(options["day"]), options["late"])
    chains = {person: _chains(agent, wishes, talks=person in talkers) for person, agent in enumerate(agents)}
    steps = []
    for index in range(wishes.steps):
        distances = {agent: steps_until(schedules[person], index) for person, agent in enumerate(agents)}
        activations = []
        for person, agent in enumerate(agents):
            if distances[agent] == 0:
                acts_for = 1 + steps_until(schedules[person], index + 1)
                trigger = "turn" if person in talkers else "routine"
                activations.append(Activation(agent, next(chains[person]), acts_for, trigger=trigger))
        steps.append(Step(index, tuple(activations), distances))
    return adapted(Program("rhythm", agents, tuple(steps)), wishes)


def _chains(agent: str, wishes: Wishes, *, talks: bool) -> Iterator[tuple[Call, ...]]:
    rng = random.Random(f"{wishes.seed}/{agent}/chains")
    author = Author(agent, wishes, TEMPLATES, rng)
    plan = Plan(rng)
    while True:
        yield author.chain(*(("turn", TALK) if talks else plan.next()))


def _circle(people: list[int], wishes: Wishes, uneven: float) -> dict[int, Schedule]:
    """In the order in which they sit. `uneven` is the share of steps in which as many speak as chance wants, from none to
    twice as many as in the others."""
    rng = random.Random(f"{wishes.seed}/{people[0]}/circle")
    schedules: dict[int, list[int]] = {person: [] for person in people}
    mean = len(people) / wishes.mean_gap_steps
    turn = rng.randrange(len(people))
    owed = rng.random()
    """Turns that should have been taken by now, and were not for want of a whole one."""
    step = 0
    while any(not active or active[-1] < wishes.steps for active in schedules.values()):
        owed += mean * (rng.uniform(0, 2) if rng.random() < uneven else 1)
        # Nobody speaks twice in a step.
        taken = min(int(owed), len(people))
        owed -= taken
        for _ in range(taken):
            schedules[people[turn]].append(step)
            turn = (turn + 1) % len(people)
        step += 1
    return dict(schedules)


def _days(person: int, wishes: Wishes, day: int, late: float) -> Schedule:
    rng = random.Random(f"{wishes.seed}/{person}/day")
    hours = sorted(rng.sample(range(day), _often(rng, day, wishes.mean_gap_steps)))
    active: list[int] = []
    midnight = -rng.randrange(day)
    while not active or active[-1] <= wishes.steps:
        for hour in hours:
            step = midnight + hour + (rng.random() < late)
            if step >= 0 and (not active or step > active[-1]):
                active.append(step)
        midnight += day
    return active


def _often(rng: random.Random, day: int, mean_gap_steps: float) -> int:
    """A whole number of times a day, by chance one of the two nearest ones."""
    times = day / mean_gap_steps
    return max(1, min(day, int(times) + (rng.random() < times - int(times))))
