"""Core, runtime, adapter and engine together, over real HTTP, with a kind of memory that none of them knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import httpx
import pytest

from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.proxy.core.actions import Load
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    ActionStarted,
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    Event,
    Reported,
    Settled,
)
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Clock,
    EngineId,
    LoadState,
    MemoryId,
    Outcome,
    Part,
    SimulationId,
    Usage,
    owner_of,
)
from scalesim.proxy.runtime import Runtime
from tests.engine_adapters.bench import client_of
from tests.proxy.core.kinds import model_kind
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ENGINE = EngineId("emulated")
TOWN = SimulationId("town")
MODEL_BYTES = 4 * 1024 * 1024
CAPACITY_TOKENS = 1_000
BYTES_PER_TOKEN = 1_024


class Town:
    """Agents that call, and everything the core was told."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.runtime: Runtime
        self._client = client
        self._calls = count(1)
        self._told: list[Event] = []
        self._changed = asyncio.Event()

    def note(self, event: Event) -> None:
        self._told.append(event)
        self._changed.set()

    async def until(self, met: Callable[[list[Event]], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not met(self._told):
                self._changed.clear()
                await self._changed.wait()

    async def call(self, name: str) -> None:
        """The agent calls once, and then acts for a long time."""
        agent, call, now = AgentName(name), CallId(next(self._calls)), self.runtime.now
        self.runtime.post(CallStarted(now(), call, TOWN, agent, ENGINE))
        body = {
            "text": f"what does {name} do now?",
            "session_id": owner_of(TOWN, agent),
            "sampling_params": {"max_new_tokens": 1},
        }
        answer = (await self._client.post("/generate", json=body)).raise_for_status().json()["meta_info"]
        usage = Usage(answer["prompt_tokens"], answer["cached_tokens"], answer["completion_tokens"])
        self.runtime.post(CallEnded(now(), call, Outcome.DONE, usage))
        self.runtime.post(ActionStarted(now(), TOWN, agent, 50.0, Clock.STEPS))

    def hint(self, name: str, steps: float) -> None:
        self.runtime.post(DistanceHinted(self.runtime.now(), TOWN, Clock.STEPS, {AgentName(name): steps}))

    def loads(self, name: str) -> list[tuple[LoadState, int]]:
        """How the loads of the agent's model ended, one after the other."""
        memory = model_of(name)
        return [
            (event.result.state, event.result.moved_bytes)
            for event in self._told
            if isinstance(event, Settled)
            and isinstance(event.action, Load)
            and event.action.memory == memory
            and event.result is not None
        ]


def model_of(name: str) -> MemoryId:
    return MemoryId(model_kind.name, owner_of(TOWN, AgentName(name)))


@asynccontextmanager
async def town_on(engine: EmulatedEngine) -> AsyncIterator[Town]:
    async with serve(engine.app) as url, client_of(url) as client:
        town = Town(client)
        config = ControllerConfig(
            parts=frozenset({Part.ORDER, Part.ADAPTERS, Part.PREEMPT}), prefetch_steps=10.0, loads_in_flight=1
        )
        controller = Controller(config, kinds=[model_kind])
        adapter = SGLangAdapter(ControlCalls(ENGINE, url, client))
        town.runtime = Runtime(controller, [adapter], tick_s=0.005, report_every_s=0.02, listener=town.note)
        running = asyncio.create_task(town.runtime.run())
        await town.until(lambda told: any(isinstance(event, EngineFound) for event in told))
        try:
            yield town
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert town.runtime.failures == {}


async def test_a_nearer_load_interrupts_a_model_s_which_is_queued_again_and_finishes() -> None:
    engine = EmulatedEngine(
        capacity_tokens=CAPACITY_TOKENS,
        bytes_per_token=BYTES_PER_TOKEN,
        host_tokens=CAPACITY_TOKENS,
        device_bytes=CAPACITY_TOKENS * BYTES_PER_TOKEN + 2 * MODEL_BYTES,
        kinds={model_kind.name: MODEL_BYTES},
        # A model takes about a second, in sixteen slices.
        link_bytes_per_s=MODEL_BYTES,
    )
    async with town_on(engine) as town:
        # There is room for two models and the prefixes: those of the first two are on the device no longer.
        for name in ("Ann", "Bob", "Cid", "Dan"):
            await town.call(name)
        assert not {f"{TOWN}/Ann", f"{TOWN}/Bob"} & engine.memory.private[model_kind.name].held.keys()
        town.hint("Ann", 5.0)
        await town.until(
            lambda told: any(
                isinstance(event, Reported)
                and model_of("Ann") in event.report.loading
                and event.report.memories[model_of("Ann")].device_bytes
                for event in told
            )
        )
        town.hint("Bob", 1.0)
        await town.until(lambda _: len(town.loads("Ann")) == 2)

        assert town.loads("Bob") == [(LoadState.LOADED, MODEL_BYTES)]
        (stopped, before), (done, after) = town.loads("Ann")
        assert (stopped, done) == (LoadState.STOPPED, LoadState.LOADED)
        assert 0 < before < MODEL_BYTES
        assert before + after == MODEL_BYTES
        ends = [event.action for event in town._told if isinstance(event, Settled)]
        order = [action.memory.key for action in ends if isinstance(action, Load)]
        assert order == [f"{TOWN}/Ann", f"{TOWN}/Bob", f"{TOWN}/Ann"]

        held = engine.memory.private[model_kind.name].held
        assert {key for key in held if not engine.memory.private[model_kind.name].missing_bytes(key)} == {
            f"{TOWN}/Ann",
            f"{TOWN}/Bob",
        }
        await town.call("Bob")
        await town.call("Ann")
        counts = engine.tally.of[model_kind.name]
        assert (counts.issued, counts.stopped, counts.used, counts.late) == (3, 1, 2, 0)
        assert counts.missed == 4, "those of the first four calls"
