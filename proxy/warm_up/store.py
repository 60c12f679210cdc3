"""The texts of prefixes: in this process alone, compressed, bounded in bytes. They are never logged, and sent nowhere
but to an engine that serves the agent's own calls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

from scalesim.proxy.core.model import AdapterName, AgentName, Owner, SimulationId, owner_of

from .prefixes import Learned, Prefix
from .prompts import prompt_of

_OWNER_BYTES = 512
"""What an owner takes beside its templates and its name."""


class PrefixStore:
    """What it holds never exceeds `max_bytes`; the owner longest unused goes first. With 0 nothing is kept."""

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes: {max_bytes} is below 0")
        self.max_bytes = max_bytes
        self.evictions = 0
        """Owners that went for want of room, since the start."""
        self._owners: OrderedDict[Owner, Learned] = OrderedDict()
        self._sizes: dict[Owner, int] = {}
        self._with_texts: set[Owner] = set()
        self._bytes = 0

    def remember(
        self,
        owner: Owner,
        path: str,
        body: Mapping[str, object],
        prompt_tokens: int,
        adapter: AdapterName | None = None,
    ) -> None:
        """A call of `owner` was answered, on `adapter`. `body` is what the engine was sent, an assigned adapter included.

        Never raises for whatever the body holds: what cannot be warmed up is not kept.
        """
        prompt = prompt_of(path, body)
        if prompt is None:
            return
        learned = self._owners.get(owner)
        if learned is None:
            learned = self._owners[owner] = Learned()
        self._owners.move_to_end(owner)
        learned.note(prompt, prompt_tokens, adapter)
        self._measure(owner)
        while self._bytes > self.max_bytes:
            self.evictions += 1
            self.forget(next(iter(self._owners)))

    def prefixes_of(self, owner: Owner) -> list[Prefix]:
        """Those expected to come back, the ones used last first; empty for an owner that is not known (any more)."""
        learned = self._owners.get(owner)
        if learned is None:
            return []
        self._owners.move_to_end(owner)
        return learned.prefixes()

    def keep_only(self, near: Collection[Owner]) -> None:
        """Drops the texts of all who are not near. What was learned of them stays, so one call brings a text back."""
        for owner in [owner for owner in self._with_texts if owner not in near]:
            self._owners[owner].drop_texts()
            self._measure(owner)

    def keep_adapter(self, owner: Owner, adapter: AdapterName | None) -> bool:
        """Its calls run on that one from now on (None: the base model). Whether something had run on another; that is
        forgotten."""
        return owner in self._owners and self._forget_adapters(owner, lambda one: one != adapter)

    def forget_adapters(self, stale: Callable[[AdapterName], bool]) -> list[Owner]:
        """Forgets what ran on adapters that nobody shall use any more, and says whose it was."""
        return [
            owner
            for owner in list(self._owners)
            if self._forget_adapters(owner, lambda one: one is not None and stale(one))
        ]

    def forget(self, owner: Owner) -> None:
        """Unknown owners are no error."""
        if self._owners.pop(owner, None) is not None:
            self._bytes -= self._sizes.pop(owner)
            self._with_texts.discard(owner)

    def forget_simulation(self, simulation: SimulationId) -> None:
        start = owner_of(simulation, AgentName(""))
        for owner in [owner for owner in self._owners if owner.startswith(start)]:
            self.forget(owner)

    def sizes(self) -> Mapping[str, int]:
        return {
            "warm_up_owners": len(self._owners),
            "warm_up_templates": sum(one.templates() for one in self._owners.values()),
            "warm_up_bytes": self._bytes,
            "warm_up_evictions": self.evictions,
        }

    def _forget_adapters(self, owner: Owner, stale: Callable[[AdapterName | None], bool]) -> bool:
        learned = self._owners[owner]
        if not learned.forget_adapters(stale):
            return False
        if learned.templates():
            self._measure(owner)
        else:
            self.forget(owner)
        return True

    def _measure(self, owner: Owner) -> None:
        learned = self._owners[owner]
        if learned.has_texts():
            self._with_texts.add(owner)
        else:
            self._with_texts.discard(owner)
        now = _OWNER_BYTES + 4 * len(owner) + learned.size_bytes()
        self._bytes += now - self._sizes.get(owner, 0)
        self._sizes[owner] = now
