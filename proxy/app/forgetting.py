"""What parts of the shell keep for agents and engines goes when the core forgets them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from scalesim.proxy.core.actions import FetchAdapter
from scalesim.proxy.core.adapters import registered_name
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import (
    AdapterAssigned,
    AdapterForgotten,
    AdapterRegistered,
    AgentLeft,
    EngineRemoved,
    Event,
    Settled,
    SimulationEnded,
    Ticked,
)
from scalesim.proxy.core.model import EngineId, Owner, owner_of
from scalesim.proxy.warm_up import PrefixStore

NEAR_EVERY_S = 5.0
"""Between two looks at who is near: the texts of all others are given up."""


class GivesUp(Protocol):
    def give_up(self, owner: Owner) -> None: ...


class Forgetting:
    """Takes out of the store what the core has forgotten, or expects too far off to need, and what ran on adapters that
    are not current any more: to send it would make an engine fetch them again. `agent_left` and each of `engine_left` are
    told who is not there any more."""

    def __init__(
        self,
        store: PrefixStore,
        warm_up: GivesUp,
        controller: Controller,
        *,
        agent_left: Callable[[Owner], None] = lambda owner: None,
        engine_left: Iterable[Callable[[EngineId], None]] = (),
    ) -> None:
        self._store = store
        self._warm_up = warm_up
        self._controller = controller
        self._agent_left = agent_left
        self._engine_left = tuple(engine_left)
        self._looked_at = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case AgentLeft(simulation=simulation, agent=agent):
                owner = owner_of(simulation, agent)
                self._store.forget(owner)
                self._agent_left(owner)
            case EngineRemoved(engine=engine):
                for told in self._engine_left:
                    told(engine)
            case SimulationEnded(simulation=simulation):
                self._store.forget_simulation(simulation)
            case AdapterAssigned(simulation=simulation, agent=agent):
                owner = owner_of(simulation, agent)
                if self._store.keep_adapter(owner, self._controller.adapter_of(simulation, agent)):
                    self._warm_up.give_up(owner)
            case AdapterRegistered(name=name) | AdapterForgotten(name=name):
                self._forget_versions(name)
            case Settled(action=FetchAdapter(adapter=adapter), name_taken=True):
                self._forget_versions(registered_name(adapter))
            case Ticked(at=at) if at - self._looked_at >= NEAR_EVERY_S:
                self._looked_at = at
                near = {owner for one in self._controller.engines() for owner, _ in one.wanted.order}
                if near:  # else the policy has no order, and nothing says who is far
                    self._store.keep_only(near)

    def _forget_versions(self, name: str) -> None:
        """All but the current one, if there is one."""
        known = self._controller.adapter(name)
        current = None if known is None else known.key
        for owner in self._store.forget_adapters(lambda one: one != current and registered_name(one) == name):
            self._warm_up.give_up(owner)
