"""Waves on a graph, against a plain search over all of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.graph import WAVES, Graph
from scalesim.proxy.core.model import AgentName

Edge = tuple[int, int]


def name(number: int) -> AgentName:
    return AgentName(f"agent-{number}")


def graph_of(edges: Iterable[Edge], *, directed: bool = False) -> Graph:
    graph = Graph()
    for one, other in edges:
        graph.connect(name(one), name(other), 0.0, directed=directed)
    return graph


def activate(
    graph: Graph, *agents: int, step: float = 0.0, wave: str = "", called: bool = True, budget: int = 10**6
) -> None:
    for agent in agents:
        graph.activate(name(agent), wave, step, called=called)
    settle(graph, step, budget)


def settle(graph: Graph, step: float, budget: int = 10**6) -> None:
    while graph.searching:
        graph.search(budget, step)


def moments(graph: Graph, agents: Iterable[int], step: float = 0.0) -> list[float | None]:
    return [graph.moment(name(agent), step) for agent in agents]


def plain(edges: Sequence[Edge], sources: dict[int, float], *, directed: bool) -> dict[int, float]:
    """The earliest step in which each can be reached, relaxed until nothing changes."""
    reached = dict(sources)
    both = [*edges, *(() if directed else [(other, one) for one, other in edges])]
    for _ in range(len(both) + 1):
        for one, other in both:
            if one in reached and reached[one] + 1.0 < reached.get(other, math.inf):
                reached[other] = reached[one] + 1.0
    return reached


LINE = [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_agents_are_expected_as_many_steps_later_as_they_are_hops_away() -> None:
    graph = graph_of(LINE)
    activate(graph, 0, step=5.0)
    assert moments(graph, range(5), 5.0) == [math.inf, 6.0, 7.0, 8.0, 9.0]


def test_who_is_reached_calls_now_and_once_it_has_called_is_not_expected_again() -> None:
    graph = graph_of(LINE)
    activate(graph, 1, step=5.0, called=False)
    assert graph.moment(name(1), 5.0) == 5.0
    graph.use(name(1), 5.0)
    activate(graph, 2, 0, step=6.0)
    assert moments(graph, (1, 3), 6.0) == [math.inf, 7.0]


def test_of_several_sources_the_nearest_counts_each_from_its_own_step_on() -> None:
    graph = graph_of([*LINE, (4, 5), (5, 6)])
    activate(graph, 0, step=0.0)
    activate(graph, 6, step=1.0)
    assert moments(graph, range(1, 6), 1.0) == [1.0, 2.0, 3.0, 3.0, 2.0]


def test_to_whom_no_way_leads_is_unknown() -> None:
    graph = graph_of([(0, 1), (2, 3)])
    activate(graph, 0)
    assert moments(graph, (2, 3, 9)) == [None, None, None]


def test_a_directed_edge_leads_one_way() -> None:
    graph = graph_of([(1, 0), (1, 2)], directed=True)
    activate(graph, 0)
    assert moments(graph, (1, 2)) == [None, None]
    activate(graph, 1)
    assert moments(graph, (2,)) == [1.0]


def test_loops_and_repeated_edges_count_and_change_nothing_else() -> None:
    graph = graph_of([(0, 1), (1, 0), (0, 1), (1, 1), (1, 2)])
    activate(graph, 0)
    assert moments(graph, range(3)) == [math.inf, 1.0, 2.0]
    assert (graph.nodes, graph.edges) == (3, 5)


def test_an_agent_without_edges_is_no_source() -> None:
    graph = graph_of(LINE)
    activate(graph, 9)
    assert (graph.waves, graph.searching) == (0, False)


def test_the_same_activation_told_twice_is_one() -> None:
    graph = graph_of(LINE)
    activate(graph, 0, called=False)
    graph.use(name(0), 0.0)
    graph.activate(name(0), "", 0.0, called=False)
    assert not graph.searching
    assert graph.moment(name(0), 0.0) == math.inf


def test_another_wave_reaches_all_again() -> None:
    graph = graph_of(LINE)
    activate(graph, 0, step=0.0, wave="rumour")
    for step in range(1, 5):
        graph.use(name(step), float(step))
    assert moments(graph, range(5), 9.0) == [math.inf] * 5
    activate(graph, 4, step=9.0, wave="denial")
    assert moments(graph, range(5), 9.0) == [13.0, 12.0, 11.0, 10.0, math.inf]


def test_an_agent_that_is_activated_again_calls_again_and_nobody_else() -> None:
    graph = graph_of(LINE)
    activate(graph, 0, step=0.0)
    for step in range(1, 5):
        graph.use(name(step), float(step))
    activate(graph, 2, step=9.0, called=False)
    assert moments(graph, range(5), 9.0) == [math.inf, math.inf, 9.0, math.inf, math.inf]


def test_a_wave_that_did_not_come_is_expected_by_the_next_way() -> None:
    graph = graph_of([(0, 1), (1, 2), (2, 3), (9, 1)])
    activate(graph, 0, step=0.0)
    activate(graph, 9, step=7.0)
    assert moments(graph, (1, 2, 3), 7.0) == [8.0, 9.0, 10.0], "1, 2 and 3 are overdue"


def test_news_that_should_have_come_long_ago_does_not_hide_news_that_is_coming() -> None:
    graph = graph_of([(0, 1), (5, 6)])
    activate(graph, 0, step=0.0)
    activate(graph, 5, step=9.0)
    graph.connect(name(0), name(6), 9.0, directed=False)
    assert graph.moment(name(6), 9.0) == 10.0


def test_a_call_before_the_wave_comes_is_not_of_the_wave() -> None:
    graph = graph_of(LINE)
    activate(graph, 0, step=0.0)
    graph.use(name(3), 1.0)
    assert graph.moment(name(3), 1.0) == 3.0


def test_a_call_that_comes_late_passes_the_wave_on_late() -> None:
    graph = graph_of(LINE)
    activate(graph, 0, step=0.0)
    graph.use(name(1), 4.0)
    settle(graph, 4.0)
    assert moments(graph, (1, 2, 3), 4.0) == [math.inf, 5.0, 6.0]


def test_an_edge_that_is_told_later_is_as_good_as_one_told_before() -> None:
    graph = graph_of(LINE)
    activate(graph, 0, step=3.0)
    graph.connect(name(0), name(4), 3.0, directed=False)
    graph.connect(name(4), name(7), 3.0, directed=False)
    settle(graph, 3.0)
    assert moments(graph, (4, 3, 7), 3.0) == [4.0, 5.0, 5.0]


def test_no_wave_passes_who_has_left_until_it_gets_an_edge_again() -> None:
    graph = graph_of(LINE)
    graph.leave(name(2))
    activate(graph, 0)
    assert moments(graph, range(5)) == [math.inf, 1.0, math.inf, None, None]
    graph.connect(name(2), name(1), 0.0, directed=False)
    settle(graph, 0.0)
    assert moments(graph, range(5)) == [math.inf, 1.0, 2.0, 3.0, 4.0]


def test_of_too_many_waves_the_one_told_of_least_recently_is_forgotten() -> None:
    graph = graph_of(LINE)
    for number in range(WAVES):
        activate(graph, 0, wave=f"wave-{number}")
    activate(graph, 4, wave="wave-0")
    activate(graph, 0, wave="one-more")
    assert graph.waves == WAVES
    assert graph.moment(name(3), 0.0) == 1.0, "wave-1 went, wave-0 stayed"


def test_of_several_waves_the_one_nearest_to_now_counts() -> None:
    graph = graph_of(LINE)
    activate(graph, 0, step=0.0, wave="first")
    activate(graph, 0, step=6.0, wave="second")
    assert [graph.moment(name(3), step) for step in (0.0, 4.0, 7.0)] == [3.0, 3.0, 9.0]


@pytest.mark.parametrize("budget", [1, 2, 7])
def test_a_hub_is_searched_in_pieces(budget: int) -> None:
    graph = graph_of([(0, other) for other in range(1, 30)])
    graph.activate(name(0), "", 0.0, called=False)
    pieces = 0
    while graph.searching:
        graph.search(budget, 0.0)
        pieces += 1
    assert moments(graph, range(1, 30)) == [1.0] * 29
    assert pieces >= 29 // budget


def test_a_piece_looks_along_no_more_edges_than_it_may() -> None:
    graph = graph_of([(one, one + 1) for one in range(1000)])
    graph.activate(name(0), "", 0.0, called=False)
    graph.search(30, 0.0)
    known = [moment for moment in moments(graph, range(1, 1001)) if moment is not None]
    assert known == [float(hop) for hop in range(1, len(known) + 1)], "the nearest first"
    assert 5 <= len(known) <= 30


NODES = st.integers(0, 11)
EDGES = st.lists(st.tuples(NODES, NODES), max_size=30)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    told=st.lists(st.tuples(NODES, NODES) | NODES, max_size=40),
    directed=st.booleans(),
    budget=st.integers(1, 9),
)
def test_edges_and_activations_in_any_order_come_to_the_hops_of_a_plain_search(
    told: list[Edge | int], directed: bool, budget: int
) -> None:
    graph = Graph()
    edges: list[Edge] = []
    sources: dict[int, float] = {}
    for one in told:
        if isinstance(one, tuple):
            graph.connect(name(one[0]), name(one[1]), 0.0, directed=directed)
            edges.append(one)
        elif name(one) in graph:
            graph.activate(name(one), "", 0.0, called=False)
            sources[one] = 0.0
        graph.search(budget, 0.0)
    settle(graph, 0.0, budget)
    expected = plain(edges, sources, directed=directed)
    assert moments(graph, range(12)) == [expected.get(node) for node in range(12)]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    edges=EDGES,
    starts=st.dictionaries(st.integers(0, 6), NODES, max_size=3),
    directed=st.booleans(),
    tells=st.booleans(),
)
def test_a_wave_that_keeps_its_word_is_known_ahead_in_every_step(
    edges: list[Edge], starts: dict[int, int], directed: bool, tells: bool
) -> None:
    """Whether the simulation tells every activation, or only the sources and the others are seen by their calls."""
    graph = graph_of(edges, directed=directed)
    sources: dict[int, float] = {}
    gone: set[int] = set()
    for number in range(14):
        step = float(number)
        due = {node for node, moment in plain(edges, sources, directed=directed).items() if moment == step}
        for node in sorted(due - gone):
            graph.use(name(node), step)
            if tells:
                graph.activate(name(node), "", step, called=True)
        gone |= due
        start = starts.get(number)
        if start is not None and start not in gone and name(start) in graph:
            graph.activate(name(start), "", step, called=True)
            sources[start] = step
            gone.add(start)
        settle(graph, step)
        expected = plain(edges, sources, directed=directed)
        assert moments(graph, range(12), step) == [
            math.inf if node in gone else expected.get(node) for node in range(12)
        ]


def test_for_a_wave_too_many_another_one_is_forgotten_and_says_so() -> None:
    graph = graph_of(LINE)
    forgot = [graph.activate(name(0), f"wave-{number}", 0.0, called=False) for number in range(WAVES + 2)]
    assert forgot == [False] * WAVES + [True] * 2
    assert not graph.activate(name(0), f"wave-{WAVES}", 0.0, called=False)


def test_a_graph_is_given_up_in_pieces() -> None:
    graph = graph_of(LINE)
    activate(graph, 0)
    assert (graph.dissolve(3), graph.nodes, graph.waves) == (0, 3, 0)
    assert (graph.dissolve(4), graph.nodes) == (1, 0)


COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), NODES, NODES),
        st.tuples(st.just("activate"), NODES, st.integers(0, 2)),
        st.tuples(st.just("use"), NODES, st.just(0)),
        st.tuples(st.just("leave"), NODES, st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("search"), st.integers(1, 20), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(commands=COMMANDS)
def test_every_search_ends_whatever_was_told_and_nobody_is_expected_before_the_news_can_come(
    commands: list[tuple[str, int, int]],
) -> None:
    graph, step = Graph(), 0.0
    edges: list[Edge] = []
    sources: dict[int, float] = {}
    for what, first, second in commands:
        match what:
            case "connect":
                graph.connect(name(first), name(second), step, directed=False)
                edges.append((first, second))
            case "activate":
                graph.activate(name(first), str(second), step, called=False)
                if name(first) in graph:
                    sources.setdefault(first, step)
            case "use":
                graph.use(name(first), step)
            case "leave":
                graph.leave(name(first))
            case "wait":
                step += first
            case "search":
                before = moments(graph, range(12), step)
                assert len(list(graph.changed())) <= 12
                graph.search(first, step)
                others = {node for node in range(12) if moments(graph, [node], step) != [before[node]]}
                assert others <= {int(agent.removeprefix("agent-")) for agent in graph.changed()}
    for _ in range(1000):
        graph.search(50, step)
    assert not graph.searching
    earliest = plain(edges, sources, directed=False)
    for node, moment in enumerate(moments(graph, range(12), step)):
        assert moment is None or moment >= earliest.get(node, math.inf)
