from __future__ import annotations

import httpx
import pytest

from scalesim.engine_adapters.base import EngineAdapter
from scalesim.proxy.app.engines import fleet_of, known_here
from scalesim.proxy.core.config import ControllerConfig
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import CallEnded, CallStarted, EngineRemoved, Outcome
from scalesim.proxy.core.model import AgentName, CallId, EngineId, SimulationId, Usage
from scalesim.proxy.core.placement import DEFAULT, names
from scalesim.proxy.core.placer import Caller
from scalesim.proxy.settings import Settings

A = EngineId("a")


def test_placement_asks_the_core_where_an_agent_was() -> None:
    controller = Controller(ControllerConfig())
    controller.handle(CallStarted(1.0, CallId(1), SimulationId("town"), AgentName("Ann/the smith"), A))
    assert known_here(controller, "town/Ann/the smith") == A
    assert known_here(controller, "town/Bob") is None
    assert known_here(controller, "nowhere") is None
    assert known_here(controller, "town/Ann/the smith\nllama") is None, "it may have memory for another model"


def test_an_engine_that_has_the_name_of_one_that_is_gone_has_nobodys_memory() -> None:
    controller = Controller(ControllerConfig())
    controller.handle(CallStarted(1.0, CallId(1), SimulationId("town"), AgentName("Ann"), A))
    controller.handle(CallEnded(2.0, CallId(1), Outcome.DONE, Usage(10, 0, 1)))
    controller.handle(EngineRemoved(3.0, A))
    assert known_here(controller, "town/Ann") is None
    controller.handle(CallStarted(4.0, CallId(2), SimulationId("town"), AgentName("Bob"), A))
    assert (known_here(controller, "town/Ann"), known_here(controller, "town/Bob")) == (None, A)


class Unused:
    """Engines that nobody asks anything."""

    def add_engine(self, adapter: EngineAdapter) -> None: ...

    def remove_engine(self, engine: EngineId) -> None: ...

    def forget_engine(self, engine: EngineId) -> None: ...

    def doubt(self, engine: EngineId) -> None: ...


@pytest.mark.anyio
@pytest.mark.parametrize(("rule", "kept"), [(rule, int(rule == DEFAULT)) for rule in names()])
async def test_only_the_rule_that_looks_at_memory_is_told_where_it_is(rule: str, kept: int) -> None:
    settings = Settings(engine="http://engine", placement=rule)
    async with httpx.AsyncClient() as client:
        placer = fleet_of(
            settings, Controller(ControllerConfig()), Unused(), client, lambda key, prefix: A
        ).placer
        placer.come_up(A, "a-1", 0.0)
        placer.place(Caller("town/Ann"), {A}, 0.0)
        assert placer.sizes()["placed_agents"] == kept
