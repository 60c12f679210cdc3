"""A simulation's graph, and the waves that spread over it a hop a step: in which step each agent is reached.

Pure. What is told is only noted; `search` draws the conclusions, in pieces as small as wanted and the nearest first.
So an activation costs what it brings nearer, however large the graph is.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush

from .model import AgentName

WAVES = 8
"""Of one graph. Beyond it the one of which nothing was told for longest is forgotten."""

_NODE = 4
"""Edges that are looked along in the time that it takes to come to a node and go on from it."""

_COMING = 0
_REACHED = 1
_OVER = 2
"""States of a node in a wave: not reached yet (as far as we know); reached, but it has not called since; it has called
since, and the wave does not come back to it."""


class Graph:
    """Nodes are agents with edges, by name: whom we had to forget for want of room finds its edges again.

    Steps are those that have passed on the simulation's own clock, and never go back.
    """

    def __init__(self) -> None:
        self.edges = 0
        """As told: one that was told twice, or leads back to where it began, counts and changes nothing else."""
        self._nodes: dict[AgentName, int] = {}
        self._next: list[array[int]] = []
        """By node: where its edges lead."""
        self._waves: OrderedDict[str, _Wave] = OrderedDict()
        self._names: list[AgentName] = []
        """By node."""
        self._absent = bytearray()
        """By node: the state of those that left, in a new wave; 0 of all others."""
        self._changed: dict[int, None] = {}
        """Nodes of which something else is expected since it was last asked for."""

    @property
    def nodes(self) -> int:
        return len(self._nodes)

    @property
    def waves(self) -> int:
        return len(self._waves)

    @property
    def searching(self) -> bool:
        """Something that was told has consequences that `search` has not drawn yet."""
        return any(wave.searching for wave in self._waves.values())

    def __contains__(self, agent: object) -> bool:
        return agent in self._nodes

    def connect(self, one: AgentName, other: AgentName, step: float, *, directed: bool) -> None:
        """Whom a wave has reached already passes it on over the new edge as if it had always been there."""
        first, second = self._node(one), self._node(other)
        self.edges += 1
        self._lead(first, second, step)
        if not directed:
            self._lead(second, first, step)

    def activate(self, agent: AgentName, wave: str, step: float, *, called: bool) -> bool:
        """The wave reaches the agent, or begins with it. `called`: and its calls for that have begun already. Again in
        the same wave: it sets out from the agent once more, to those not reached yet. Nothing, if the agent has no edges.
        True: a wave was forgotten for it, so that other moments may count for all."""
        node = self._nodes.get(agent)
        if node is None:
            return False
        known = self._waves.get(wave)
        is_full = known is None and len(self._waves) >= WAVES
        if is_full:
            self._waves.popitem(last=False)
        if known is None:
            known = self._waves[wave] = _Wave(self._absent)
        self._waves.move_to_end(wave)
        known.reach(node, step, called=called)
        self._changed[node] = None
        return is_full

    def use(self, agent: AgentName, step: float) -> None:
        """The agent calls: a wave that was to reach it by now has done so."""
        node = self._nodes.get(agent)
        if node is not None:
            for wave in self._waves.values():
                wave.use(node, step)

    def changed(self) -> Iterator[AgentName]:
        """Of whom something else is expected than when this was last asked for."""
        changed, self._changed = self._changed, {}
        return map(self._names.__getitem__, changed)

    def leave(self, agent: AgentName) -> None:
        """No wave comes to the agent, or passes it, until an edge of it is told anew."""
        node = self._nodes.get(agent)
        if node is not None:
            self._absent[node] = _OVER
            for wave in self._waves.values():
                wave.leave(node)

    def moment(self, agent: AgentName, step: float) -> float | None:
        """The step in which the agent calls, of several waves by the one nearest to now. Infinite: it has called, and
        no wave that we know comes to it again. None: no wave has a way to it."""
        node = self._nodes.get(agent)
        if node is None:
            return None
        nearest, is_over = math.inf, False
        for wave in self._waves.values():
            if wave.states[node] == _OVER:
                is_over = True
            elif abs(wave.moments[node] - step) < abs(nearest - step):
                nearest = wave.moments[node]
        return nearest if is_over or nearest < math.inf else None

    def search(self, budget: int, step: float) -> int:
        """Draws conclusions, at most `budget` of them (edges looked along). Returns what is left of the budget, which may be
        used for something else."""
        while budget > 0:
            searching = [wave for wave in self._waves.values() if wave.searching]
            if not searching:
                break
            nearest = min(searching, key=_Wave.earliest)
            budget = nearest.search(self._next, budget, step, self._changed)
        return budget

    def dissolve(self, budget: int) -> int:
        """Forgets a part of it, for good: to forget a large graph at once takes long. Returns what is left of the budget."""
        while budget > 0 and self._waves:
            _, wave = self._waves.popitem()
            budget -= 1 + len(wave.states) // 1000
        while budget > 0 and self._nodes:
            budget -= 1
            self._nodes.popitem()
            self._names.pop()
            self._next.pop()
        return budget

    def _node(self, agent: AgentName) -> int:
        node = self._nodes.get(agent)
        if node is None:
            node = self._nodes[agent] = len(self._next)
            self._next.append(array("I"))
            self._names.append(agent)
            self._absent.append(_COMING)
            for wave in self._waves.values():
                wave.grow()
        elif self._absent[node]:
            self._absent[node] = _COMING
            for wave in self._waves.values():
                wave.come_back(node)
        return node

    def _lead(self, start: int, end: int, step: float) -> None:
        self._next[start].append(end)
        for wave in self._waves.values():
            if wave.offer(end, wave.moments[start] + 1.0, step):
                self._changed[end] = None


class _Wave:
    """One search for the fewest hops from all agents that it has reached, each from the step on in which it was."""

    __slots__ = ("_due", "_half", "_waiting", "moments", "states")

    def __init__(self, states: bytearray) -> None:
        """`states`: by node, those that left are over."""
        self.moments = [math.inf] * len(states)
        """By node: the step in which it was or will be reached; infinite where no way to it was found."""
        self.states = states[:]
        self._due: list[float] = []
        """A heap of the keys of `_waiting`."""
        self._waiting: dict[float, list[int]] = {}
        """By moment: nodes that were to be reached then when they were noted, and whose edges were not looked along."""
        self._half: tuple[int, float, int] | None = None
        """A node, its moment, and how many of its edges were looked along: hubs have too many for one piece."""

    @property
    def searching(self) -> bool:
        return self._half is not None or bool(self._due)

    def earliest(self) -> float:
        return self._due[0] if self._half is None else self._half[1]

    def grow(self) -> None:
        self.moments.append(math.inf)
        self.states.append(_COMING)

    def reach(self, node: int, step: float, *, called: bool) -> None:
        is_told_again = self.states[node] != _COMING and self.moments[node] == step
        if is_told_again:
            return
        self.moments[node], self.states[node] = step, _OVER if called else _REACHED
        self._wait(node, step)

    def use(self, node: int, step: float) -> None:
        if self.moments[node] > step:
            return
        is_late = self.states[node] == _COMING and self.moments[node] < step
        self.states[node] = _OVER
        if is_late:
            self.moments[node] = step
            self._wait(node, step)

    def leave(self, node: int) -> None:
        self.moments[node], self.states[node] = math.inf, _OVER

    def come_back(self, node: int) -> None:
        if self.moments[node] == math.inf:
            self.states[node] = _COMING

    def offer(self, node: int, moment: float, now: float) -> bool:
        """Whether the node is reached otherwise by that."""
        is_better = (
            moment < math.inf and not self.states[node] and _is_better(moment, self.moments[node], now)
        )
        if is_better:
            self.moments[node] = moment
            self._wait(node, moment)
        return is_better

    def search(self, edges: list[array[int]], budget: int, now: float, changed: dict[int, None]) -> int:
        """Looks along the edges that begin at the earliest moment. Returns what is left of the budget."""
        moments, states = self.moments, self.states
        now_due = self.earliest()
        while budget > 0 and self.searching and self.earliest() == now_due:
            node, moment, first = self._pop()
            budget -= _NODE
            if moments[node] != moment:
                continue  # another moment has been found for it, and it waits for that as well
            then, last = moment + 1.0, first + max(0, budget) + 1
            found: list[int] = []
            for other in edges[node][first:last]:
                if now <= moments[other] <= then:
                    continue  # so it is with most
                if not states[other] and _is_better(then, moments[other], now):
                    moments[other] = then
                    found.append(other)
            if found:
                self._queue(then).extend(found)
                changed.update(dict.fromkeys(found))
            if last < len(edges[node]):
                self._half = node, moment, last
                return 0
            budget -= len(edges[node]) - first
        return max(0, budget)

    def _pop(self) -> tuple[int, float, int]:
        if self._half is not None:
            half, self._half = self._half, None
            return half
        moment = self._due[0]
        nodes = self._waiting[moment]
        node = nodes.pop()
        if not nodes:
            heappop(self._due)
            del self._waiting[moment]
        return node, moment, 0

    def _wait(self, node: int, moment: float) -> None:
        self._queue(moment).append(node)

    def _queue(self, moment: float) -> list[int]:
        queue = self._waiting.get(moment)
        if queue is None:
            queue = self._waiting[moment] = []
            heappush(self._due, moment)
        return queue


def _is_better(moment: float, known: float, now: float) -> bool:
    """The earlier one, unless that has passed: news did not come by that way, and the next way counts. As long as `now`
    stands, what is replaced never comes back, or a search would not end."""
    if moment < known:
        return moment >= now or known < now or known == math.inf
    return known < now <= moment
