from __future__ import annotations

from scalesim.proxy.app.engines import known_here
from scalesim.proxy.core.config import ControllerConfig
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import CallStarted
from scalesim.proxy.core.model import AgentName, CallId, EngineId, SimulationId

A = EngineId("a")


def test_placement_asks_the_core_where_an_agent_was() -> None:
    controller = Controller(ControllerConfig())
    controller.handle(CallStarted(1.0, CallId(1), SimulationId("town"), AgentName("Ann/the smith"), A))
    assert known_here(controller, "town/Ann/the smith") == A
    assert known_here(controller, "town/Bob") is None
    assert known_here(controller, "nowhere") is None
    assert known_here(controller, "town/Ann/the smith\nllama") is None, "it may have memory for another model"
