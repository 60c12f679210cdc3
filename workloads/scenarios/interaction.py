"""A town in which people walk about and talk to whom they meet, after Generative Agents.

Everything is as in `independent`, and besides, agents have positions (`town` says how they move and meet). A step is 300
simulated seconds here too, so that both scenarios can be compared: 30 ticks of movement, 10 s each, pass in it. An agent is
active in a step for one of two reasons. Either the action it is busy with is over when the step begins (`plan`), or it
meets somebody while the ticks of the step pass (`interaction`). Those two have a conversation of 4 to 16 calls in turns,
and then each changes its plan. Nobody is active twice in a step.

What is simplified: calls of two agents run side by side here, so of a conversation both sides are asked for at the same
time, and twice as many of its calls run as in a simulation that waits for each answer. An agent's history grows by its own
half of a conversation. Whom a meeting stops in the middle of an action calls in this step, whatever the tick.

`mean_gap_steps` is that between all activations of an agent: plans are so much slower that meetings and they make up that
mean, within a tenth, as long as the town is not much busier than the original.

What a real simulation knows when a step begins (`Step.known`) is where everybody is and goes, who has just talked, and how long
each is still busy by its plan. It does not know what the step itself brings: where those go whose action is over now, nor who meets whom.
Sleepers have positions like anybody, and are never spoken to. Exact distances know all of that.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from scalesim.workloads.authors import Author, Template
from scalesim.workloads.options import Option, settled
from scalesim.workloads.plans import TEMPLATES, scale_of
from scalesim.workloads.program import Activation, Known, Program, Space, Step, Wishes, adapted
from scalesim.workloads.schedules import agent_names, steps_until
from scalesim.workloads.town import TICKS_PER_STEP, TILES_PER_TICK, Meeting, Passed, Rules, Scene, Town

DEFAULT = Rules()
OPTIONS: Mapping[str, Option] = {
    "radius": Option(DEFAULT.radius, least=0.5, most=100),
    "tiles": Option(DEFAULT.tiles_per_person, least=4, most=1e6),
    "cooldown": Option(DEFAULT.cooldown_ticks, least=1, most=1e5, whole=True),
}
UTTERANCE = Template(302, 20, 40)
SLOWER = 0.12
"""By what share plans are slower because meetings come between them, in the original town; measured over 30 steps of 26
towns. It grows with the meetings, so with the radius and with the people per tile."""
MOST_MEETINGS = 4.0
"""Times those of the original town; above, people are busy with those they have met already."""
SPEED = TICKS_PER_STEP * TILES_PER_TICK


def generate(wishes: Wishes) -> Program:
    options = settled("interaction", OPTIONS, wishes.options)
    rules = Rules(options["radius"], options["tiles"], int(options["cooldown"]))
    agents = agent_names(wishes.agents)
    passed, active = _live(wishes, rules)
    authors: dict[int, Author] = {}
    steps = []
    met: tuple[Meeting, ...] = ()
    for one in passed[: wishes.steps]:
        index = one.step
        activations = []
        for deed in one.deeds:
            if deed.person not in authors:
                authors[deed.person] = _author(agents[deed.person], wishes)
            activations.append(
                Activation(
                    agents[deed.person],
                    authors[deed.person].chain(deed.kind, deed.chain),
                    1 + steps_until(active[deed.person], index + 1),
                    trigger="interaction" if deed.meets else "plan",
                    planned_steps=float(deed.lasts_steps),
                )
            )
        distances = {agent: steps_until(active[number], index) for number, agent in enumerate(agents)}
        steps.append(Step(index, tuple(activations), distances, _known(agents, one.before, met)))
        met = one.meetings
    space = Space(rules.radius, SPEED, rules.cooldown_ticks / TICKS_PER_STEP)
    return adapted(Program("interaction", agents, tuple(steps), space=space), wishes)


def _live(wishes: Wishes, rules: Rules) -> tuple[list[Passed], list[list[int]]]:
    """The steps of the town, on until everybody has been active behind the end of the program; and who is active when."""
    busier = (rules.radius / DEFAULT.radius) * (DEFAULT.tiles_per_person / rules.tiles_per_person)
    slower = 1 + SLOWER * min(busier, MOST_MEETINGS)
    town = Town(wishes.agents, wishes.seed, scale_of(wishes.mean_gap_steps * slower), rules)
    passed: list[Passed] = []
    active: list[list[int]] = [[] for _ in range(wishes.agents)]
    missing = set(range(wishes.agents))
    while len(passed) < wishes.steps or missing:
        one = town.pass_step()
        passed.append(one)
        for deed in one.deeds:
            active[deed.person].append(one.step)
        if one.step >= wishes.steps:
            missing -= {deed.person for deed in one.deeds}
    return passed, active


def _author(agent: str, wishes: Wishes) -> Author:
    rng = random.Random(f"{wishes.seed}/{agent}/answers")
    return Author(agent, wishes, {**TEMPLATES, "utterance": UTTERANCE}, rng)


def _known(agents: tuple[str, ...], scene: Scene, met: tuple[Meeting, ...]) -> Known:
    return Known(
        actions=dict(zip(agents, map(float, scene.left_steps), strict=True)),
        positions=dict(zip(agents, scene.positions, strict=True)),
        destinations=dict(zip(agents, scene.destinations, strict=True)),
        speeds={
            agent: SPEED if place != destination else 0.0
            for agent, place, destination in zip(agents, scene.positions, scene.destinations, strict=True)
        },
        met=tuple((agents[one], agents[other]) for one, other in (meeting.pair for meeting in met)),
    )
