"""News that travels through a network of people, wave after wave.

The network is a Watts-Strogatz graph of people who know four others each, one in twenty of them somebody far away; or, with
`joined`, a Barabasi-Albert graph, in which some know very many (in it news is everywhere after three or four steps, and
half of all agents are active at once). Every wave begins at sources of its own, `apart` steps after the one before, and
reaches an agent that is h hops away h steps later. An agent that is reached makes one or two calls, and is then done; or, with
the probability `again`, comes back to it one to three steps later, and then perhaps once more. An agent that several waves
reach in the same step, or that comes back in it, is active once. News that is not connected to somebody never comes.

How often agents are active follows from the graph and the waves: `mean_gap_steps` means nothing here.

Exact distances know what is settled when a step begins: of each wave that has begun, hop - step; and whether an agent comes
back once it has been active. Of a wave that has not begun they know nothing, so without any other reason they are inf.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from scalesim.workloads.authors import Author, Template
from scalesim.workloads.graphs import Edges, barabasi_albert, hops, watts_strogatz
from scalesim.workloads.options import Option, settled
from scalesim.workloads.program import Activation, Impossible, Known, Program, Step, Wishes, adapted
from scalesim.workloads.schedules import agent_names

OPTIONS: Mapping[str, Option] = {
    "neighbours": Option(4, least=2, most=1000, whole=True),
    "rewired": Option(0.05, most=1),
    "joined": Option(0, most=1000, whole=True),
    "waves": Option(3, least=1, most=1e6, whole=True),
    "apart": Option(4, least=1, most=1e6, whole=True),
    "sources": Option(1, least=1, most=1e6, whole=True),
    "again": Option(0, most=0.95),
}
TEMPLATES = {"attitude": Template(330, 8, 12), "post": Template(144, 40, 60)}
READ = ("attitude", "post")
"""The chain of an agent that is reached; one or both of it are made."""
LATEST_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Wave:
    number: int
    begins: int
    """The step in which its sources are active."""
    far: Mapping[int, int]
    """Hops from the nearest source, by node; those that are missing are never reached."""

    def after(self, node: int, step: int) -> float:
        """Steps from this one until it reaches the node; inf if it has, or never does."""
        hop = self.far.get(node)
        return math.inf if hop is None or self.begins + hop < step else float(self.begins + hop - step)


def generate(wishes: Wishes) -> Program:
    options = settled("diffusion", OPTIONS, wishes.options)
    agents = agent_names(wishes.agents)
    edges = _graph(wishes, options)
    waves = _waves(wishes, options, edges)
    lots = [random.Random(f"{wishes.seed}/{agent}/news") for agent in agents]
    authors: dict[int, Author] = {}
    back: dict[int, int] = {}
    """The step in which a node that has been active comes back to it."""
    steps = []
    for index in range(wishes.steps):
        begun = [wave for wave in waves if wave.begins <= index]
        distances = [_until(node, index, begun, back) for node in range(wishes.agents)]
        activations = []
        for node, distance in enumerate(distances):
            if distance > 0:
                continue
            news = any(wave.after(node, index) == 0 for wave in begun)
            chain = READ[: lots[node].randint(1, len(READ))]
            back.pop(node, None)
            if lots[node].random() < options["again"]:
                back[node] = index + lots[node].randint(1, LATEST_AGAIN)
            if node not in authors:
                authors[node] = Author(agents[node], wishes, TEMPLATES, lots[node])
            calls = authors[node].chain("news" if news else "again", chain)
            acts_for = 1 + _until(node, index + 1, begun, back)
            activations.append(Activation(agents[node], calls, acts_for, trigger="path" if news else "again"))
        reached = {
            wave.number: tuple(
                agents[node] for node in range(wishes.agents) if wave.begins + wave.far.get(node, -1) == index
            )
            for wave in begun
        }
        known = Known(reached={number: nodes for number, nodes in reached.items() if nodes})
        steps.append(Step(index, tuple(activations), dict(zip(agents, distances, strict=True)), known))
    graph = tuple((agents[one], agents[other]) for one, other in edges)
    return adapted(Program("diffusion", agents, tuple(steps), graph=graph), wishes)


def _graph(wishes: Wishes, options: Mapping[str, float]) -> Edges:
    rng = random.Random(f"{wishes.seed}/graph")
    if options["joined"]:
        return barabasi_albert(wishes.agents, int(options["joined"]), rng)
    if options["neighbours"] % 2:
        raise Impossible(
            f"neighbours is {options['neighbours']:g}, and has to be even: half of them on each side"
        )
    return watts_strogatz(wishes.agents, int(options["neighbours"]), options["rewired"], rng)


def _waves(wishes: Wishes, options: Mapping[str, float], edges: Edges) -> list[Wave]:
    """Those that begin in the program. Sources repeat only when everybody has been one."""
    order = list(range(wishes.agents))
    random.Random(f"{wishes.seed}/sources").shuffle(order)
    sources = min(int(options["sources"]), wishes.agents)
    waves = []
    for index in range(int(options["waves"])):
        begins = index * int(options["apart"])
        if begins >= wishes.steps:
            break
        own = [order[(index * sources + place) % len(order)] for place in range(sources)]
        waves.append(Wave(index + 1, begins, hops(wishes.agents, edges, own)))
    return waves


def _until(node: int, step: int, begun: list[Wave], back: Mapping[int, int]) -> float:
    """Of what is settled."""
    after = min((wave.after(node, step) for wave in begun), default=math.inf)
    return min(after, float(back[node] - step)) if node in back else after
