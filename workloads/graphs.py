"""Graphs of who knows whom, and how far news is on its way. Pure; the same random numbers make the same graph.

Edges are pairs of different numbers, the smaller first, in order; each pair once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import combinations

Edges = tuple[tuple[int, int], ...]


def watts_strogatz(nodes: int, neighbours: int, rewired: float, rng: random.Random) -> Edges:
    """A ring in which everybody knows the nearest `neighbours` (an even number), and each edge leads somewhere else with
    the probability `rewired`. With few nodes everybody knows everybody."""
    if nodes <= neighbours + 1:
        return tuple(combinations(range(nodes), 2))
    known = [
        {(node + side * away) % nodes for away in range(1, neighbours // 2 + 1) for side in (-1, 1)}
        for node in range(nodes)
    ]
    for away in range(1, neighbours // 2 + 1):
        for node in range(nodes):
            if rng.random() < rewired and len(known[node]) < nodes - 1:
                other = rng.randrange(nodes)
                while other == node or other in known[node]:
                    other = rng.randrange(nodes)
                former = (node + away) % nodes
                known[node].remove(former)
                known[former].remove(node)
                known[node].add(other)
                known[other].add(node)
    return _edges(known)


def barabasi_albert(nodes: int, joined: int, rng: random.Random) -> Edges:
    """One after the other comes and gets to know `joined` of those that are there, the more likely the more they know. With
    few nodes everybody knows everybody."""
    if nodes <= joined + 1:
        return tuple(combinations(range(nodes), 2))
    known: list[set[int]] = [set() for _ in range(nodes)]
    # Everybody as often as others know them. The first to come gets to know all that are there.
    ends = list(range(joined))
    for node in range(joined, nodes):
        chosen: set[int] = set()
        while len(chosen) < joined:
            chosen.add(rng.choice(ends))
        for other in sorted(chosen):
            known[node].add(other)
            known[other].add(node)
            ends += [node, other]
        if node == joined:
            ends = ends[joined:]
    return _edges(known)


def hops(nodes: int, edges: Iterable[tuple[int, int]], sources: Sequence[int]) -> dict[int, int]:
    """By node: over how many edges news comes to it from the nearest source. Those that it never reaches are missing."""
    known: list[list[int]] = [[] for _ in range(nodes)]
    for one, other in edges:
        known[one].append(other)
        known[other].append(one)
    far = dict.fromkeys(sources, 0)
    queue = deque(sources)
    while queue:
        node = queue.popleft()
        for other in known[node]:
            if other not in far:
                far[other] = far[node] + 1
                queue.append(other)
    return far


def _edges(known: Sequence[set[int]]) -> Edges:
    return tuple(
        (node, other) for node, others in enumerate(known) for other in sorted(others) if node < other
    )
