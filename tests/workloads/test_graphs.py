from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.workloads.graphs import Edges, barabasi_albert, hops, watts_strogatz

sizes = st.integers(1, 40)
seeds = st.integers(0, 1000)
graphs = st.one_of(
    st.builds(
        lambda nodes, half, rewired, seed: (
            nodes,
            watts_strogatz(nodes, 2 * half, rewired, random.Random(seed)),
        ),
        *(sizes, st.integers(1, 3), st.floats(0, 1), seeds),
    ),
    st.builds(
        lambda nodes, joined, seed: (nodes, barabasi_albert(nodes, joined, random.Random(seed))),
        *(sizes, st.integers(1, 4), seeds),
    ),
)


def test_a_ring_without_rewiring_joins_everybody_to_the_nearest() -> None:
    assert watts_strogatz(6, 2, 0, random.Random(1)) == ((0, 1), (0, 5), (1, 2), (2, 3), (3, 4), (4, 5))
    ring = watts_strogatz(9, 4, 0, random.Random(1))
    assert set(Counter(node for edge in ring for node in edge).values()) == {4}


@pytest.mark.parametrize("nodes", [1, 2, 4, 5])
def test_in_a_small_circle_everybody_knows_everybody(nodes: int) -> None:
    pairs = nodes * (nodes - 1) // 2
    assert len(watts_strogatz(nodes, 4, 0.5, random.Random(1))) == pairs
    assert len(barabasi_albert(nodes, 4, random.Random(1))) == pairs


def test_one_edge_in_twenty_is_rewired() -> None:
    ring = set(watts_strogatz(1000, 4, 0, random.Random(1)))
    rewired = set(watts_strogatz(1000, 4, 0.05, random.Random(1)))
    assert len(rewired) == len(ring) == 2000
    assert len(ring - rewired) == pytest.approx(100, abs=30)


def test_who_comes_last_knows_as_many_as_wanted_and_who_came_first_knows_many() -> None:
    graph = barabasi_albert(200, 2, random.Random(1))
    assert len(graph) == 2 * (200 - 2)
    known = Counter(node for edge in graph for node in edge)
    assert known[199] == 2
    assert min(known.values()) >= 1
    assert max(known.values()) > 15


@given(graphs)
def test_edges_are_pairs_of_different_nodes_in_order_and_each_once(graph: tuple[int, Edges]) -> None:
    nodes, edges = graph
    assert list(edges) == sorted(set(edges))
    assert all(0 <= one < other < nodes for one, other in edges)


@settings(max_examples=30, deadline=None)
@given(graphs, st.lists(st.integers(0, 39), min_size=1, max_size=3))
def test_hops_are_the_fewest_edges_from_the_nearest_source(
    graph: tuple[int, Edges], wanted: list[int]
) -> None:
    nodes, edges = graph
    sources = [node % nodes for node in wanted]
    fewest = [0.0 if node in sources else math.inf for node in range(nodes)]
    for _ in range(nodes):
        for one, other in edges:
            fewest[one], fewest[other] = (
                min(fewest[one], fewest[other] + 1),
                min(fewest[other], fewest[one] + 1),
            )
    far = hops(nodes, edges, sources)
    assert [far.get(node, math.inf) for node in range(nodes)] == fewest
