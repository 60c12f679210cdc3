"""Agents in the order in which they were last seen, of which any may leave or be seen again, at the same small cost.

The links are the agents' own. A table of them all would have to be copied as a whole again and again, while agents come and
go: with 100,000 of them that takes a hundred times longer than a plan may hold the loop for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agent import Agent


class Idle:
    """Of one simulation. An agent is in one of these at most."""

    __slots__ = ("_newest", "oldest")

    def __init__(self) -> None:
        self.oldest: Agent | None = None
        """Who was seen longest ago."""
        self._newest: Agent | None = None

    def __iter__(self) -> Iterator[Agent]:
        """The oldest first. Nobody may come, leave or be seen meanwhile."""
        agent = self.oldest
        while agent is not None:
            yield agent
            agent = agent.newer

    def __contains__(self, agent: Agent) -> bool:
        return agent.older is not None or agent.newer is not None or self.oldest is agent

    def see(self, agent: Agent) -> None:
        """It is seen now. Nothing if it is not in it."""
        if agent.newer is not None:
            self.remove(agent)
            self.add(agent)

    def add(self, agent: Agent) -> None:
        """It must not be in it."""
        newest, self._newest = self._newest, agent
        agent.older = newest
        if newest is None:
            self.oldest = agent
        else:
            newest.newer = agent

    def remove(self, agent: Agent) -> None:
        """Nothing if it is not in it."""
        if agent not in self:
            return
        older, newer = agent.older, agent.newer
        if older is None:
            self.oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        agent.older = agent.newer = None
