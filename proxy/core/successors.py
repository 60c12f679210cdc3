"""Who usually begins after whom: of each agent the few most frequent successors, and how often each came of late."""

from __future__ import annotations

from dataclasses import dataclass

from .model import AgentName

LIMIT = 3
_WEIGHT = 0.25
"""Of the newest successor: the share of one that always comes is .58 after three times, .90 after eight."""


@dataclass(slots=True, eq=False)
class Successors:
    """The most frequent first. Shares start at 0, so that what was seen seldom is not sure, and what is forgotten counts
    for whoever is not here: they sum to less than 1."""

    names: tuple[AgentName, ...] = ()
    shares: tuple[float, ...] = ()

    def came(self, name: AgentName) -> None:
        shares = {known: share * (1 - _WEIGHT) for known, share in zip(self.names, self.shares, strict=True)}
        if name not in shares and len(shares) == LIMIT:
            del shares[self.names[-1]]
        shares[name] = shares.get(name, 0.0) + _WEIGHT
        self.names = tuple(sorted(shares, key=shares.__getitem__, reverse=True))
        self.shares = tuple(shares[known] for known in self.names)

    def likeliest(self, share: float) -> AgentName | None:
        """The most frequent one, if it came in at least that share of all times."""
        return self.names[0] if self.names and self.shares[0] >= share else None
