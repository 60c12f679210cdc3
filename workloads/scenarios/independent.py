"""A town in which everybody minds their own business, after AgentSociety.

A step is 300 simulated seconds. An agent carries out a plan, step by step of the plan; it calls the model when a step of
its plan ends and not while it acts. Durations follow the actions of that simulation, rescaled so that an agent is active
every `mean_gap_steps` steps on average: 5.5 make 18 % of the agents active in a step. Each agent starts somewhere inside
an action, as if the simulation had been running for long.

Every prompt is the agent's persona, then its history, then the text of a template with what is particular to the call. Only
personas and histories are asked for again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count

from scalesim.workloads.program import Activation, Call, Message, Program, Step, Wishes, adapter_name
from scalesim.workloads.prose import prose

STEP_MINUTES = 5
ACTIONS = (
    # share of all actions, minutes from, minutes to
    (0.35, 5, 15),  # choose a place, find a person, write a message
    (0.35, 30, 60),  # travel, shopping
    (0.20, 60, 180),  # work
    (0.10, 120, 480),  # sleep
)
MESSAGE_OVERHEAD_TOKENS = 6
"""What a chat template adds to each message, roughly."""
SPECIFIC_TOKENS = 40
"""How much of a template's text is particular to the call."""


@dataclass(frozen=True, slots=True)
class Template:
    tokens: int
    least_output: int
    most_output: int


TEMPLATES = {
    "dispatcher": Template(59, 8, 12),
    "time": Template(140, 8, 12),
    "guidance": Template(377, 40, 60),
    "plan": Template(574, 150, 250),
    "evaluation": Template(330, 8, 12),
    "emotion": Template(270, 40, 60),
    "mood": Template(157, 40, 60),
    "place": Template(117, 8, 12),
    "radius": Template(178, 8, 12),
    "social": Template(302, 40, 60),
    "message": Template(144, 40, 60),
}

NEW_PLAN = ("evaluation", "emotion", "guidance", "plan", "dispatcher", "time", "mood", "place")
"""The chain of an agent whose plan is done; six to eight of it are made."""
MOVE = ("dispatcher", "place", "radius", "place", "time")
"""The chain of an agent that goes somewhere; two to five of it are made."""
TALK = ("dispatcher", "message")
MEET = ("dispatcher", "social")
WORK = ("dispatcher", "time")
LONGEST_PLAN = 6


def generate(wishes: Wishes) -> Program:
    width = len(str(wishes.agents - 1))
    agents = tuple(f"agent-{index:0{width}d}" for index in range(wishes.agents))
    schedules = {agent: _schedule(agent, wishes) for agent in agents}
    chains = {agent: _chains(agent, wishes) for agent in agents}
    steps = []
    for index in range(wishes.steps):
        distances = {agent: float(_next(schedules[agent], index) - index) for agent in agents}
        activations = tuple(
            Activation(agent, next(chains[agent]), float(_next(schedules[agent], index + 1) - index))
            for agent in agents
            if distances[agent] == 0
        )
        steps.append(Step(index, activations, distances))
    program = Program("independent", agents, tuple(steps))
    if not wishes.adapters:
        return program
    return program.with_adapters({agent: adapter_name(index) for index, agent in enumerate(agents)})


def _schedule(agent: str, wishes: Wishes) -> list[int]:
    """The steps in which the agent is active, up to and with the first one behind the end of the program."""
    rng = random.Random(f"{wishes.seed}/{agent}/schedule")
    scale = _scale(wishes.mean_gap_steps)
    longest = _gap_steps(1.0, scale)
    # A moment picked at random falls into a long action more often than into a short one, in proportion to its length.
    gap = _gap_steps(rng.random(), scale)
    while rng.random() * longest > gap:
        gap = _gap_steps(rng.random(), scale)
    active = [rng.randrange(gap)]
    while active[-1] <= wishes.steps:
        active.append(active[-1] + _gap_steps(rng.random(), scale))
    return active


def _next(active: list[int], step: int) -> int:
    return next(moment for moment in active if moment >= step)


def _gap_steps(quantile: float, scale: float) -> int:
    return max(1, round(_minutes(quantile) * scale / STEP_MINUTES))


def _minutes(quantile: float) -> float:
    """How long an action takes that is longer than the given share of all, kind by kind."""
    for share, least, most in ACTIONS:
        if quantile <= share:
            return least + (most - least) * quantile / share
        quantile -= share
    return ACTIONS[-1][2]


@cache
def _scale(mean_gap_steps: float) -> float:
    """By what durations are multiplied so that gaps, in whole steps of at least one, have the wanted mean."""
    quantiles = [(index + 0.5) / 2000 for index in range(2000)]
    low, high = 0.0, 2 * mean_gap_steps
    for _ in range(50):
        middle = (low + high) / 2
        if sum(_gap_steps(quantile, middle) for quantile in quantiles) < mean_gap_steps * len(quantiles):
            low = middle
        else:
            high = middle
    return high


def _chains(agent: str, wishes: Wishes) -> Iterator[tuple[Call, ...]]:
    """The agent's activations, one chain of calls after the other, its history growing with each call."""
    rng = random.Random(f"{wishes.seed}/{agent}/chains")
    write = _writer(agent, wishes)
    persona: Message = {"role": "system", "content": write("persona", wishes.persona_tokens)}
    history: list[Message] = []
    plan_left = rng.randint(0, LONGEST_PLAN)
    for activation in count():
        if plan_left == 0:
            kind, chain = "plan", NEW_PLAN[: rng.randint(6, 8)]
            plan_left = rng.randint(2, LONGEST_PLAN)
        else:
            kind, chain = _plan_step(rng)
            plan_left -= 1
        calls = []
        for index, name in enumerate(chain):
            template = TEMPLATES[name]
            specific = write(f"{activation}/{index}", SPECIFIC_TOKENS)
            common = _template_text(name, template.tokens - SPECIFIC_TOKENS, wishes.chars_per_token)
            task: Message = {"role": "user", "content": f"{kind} {name}: {common} {specific}"}
            drawn = rng.randint(template.least_output, template.most_output)
            output = max(1, round(drawn * wishes.output_share))
            calls.append(Call((persona, *history, task), output, name))
            if wishes.growth_tokens:
                event = write(f"{activation}/{index}/event", wishes.growth_tokens)
                history.append({"role": "user", "content": event})
        yield tuple(calls)


def _plan_step(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    lot = rng.random()
    if lot < 0.4:
        return "move", MOVE[: rng.randint(2, 5)]
    if lot < 0.6:
        return "talk", TALK
    if lot < 0.7:
        return "meet", MEET
    return "work", WORK


def _writer(agent: str, wishes: Wishes) -> Callable[[str, int], str]:
    def write(what: str, tokens: int) -> str:
        chars = math.ceil(max(1, tokens - MESSAGE_OVERHEAD_TOKENS) * wishes.chars_per_token)
        return prose(f"{wishes.seed}/{agent}/{what}", chars)

    return write


@cache
def _template_text(name: str, tokens: int, chars_per_token: float) -> str:
    return prose(f"template/{name}", math.ceil(tokens * chars_per_token))
