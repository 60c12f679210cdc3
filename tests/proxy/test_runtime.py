from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from scalesim.engine_adapters.base import (
    AdapterNameTaken,
    EngineRefused,
    EngineUnreachable,
    Fence,
    FenceLost,
    Front,
)
from scalesim.proxy import runtime as runtime_module
from scalesim.proxy.core.actions import Action, FetchAdapter, Load, Order, Pin, Renew, StopLoad
from scalesim.proxy.core.config import ControllerConfig
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import (
    CallEnded,
    CallStarted,
    EngineFound,
    EngineLost,
    EngineRemoved,
    Event,
    Idled,
    Reported,
    Settled,
    SimulationEnded,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.model import (
    AdapterName,
    AgentName,
    CallId,
    Capabilities,
    EngineId,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    Outcome,
    Owner,
    SimulationId,
)
from scalesim.proxy.core.snapshot import EngineSnapshot
from scalesim.proxy.dispatch import WAITING_LIMIT
from scalesim.proxy.runtime import DEADLINE_S, Runtime
from tests.support.fake_adapter import FakeAdapter
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.anyio

ENGINE = EngineId("gpu")
TOWN = SimulationId("town")
EXTENDED = Capabilities("sglang", "0.5", True, frozenset({"order", "pin", "residency"}), "boot-1", 1000)
STOCK = Capabilities("sglang", "0.5", False, reason="the plugin is not installed")


class Noted:
    """A list one can wait on."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def until(self, met: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not met():
                self.changed.clear()
                await self.changed.wait()


class StandIn(Noted):
    """A core that notes events and answers them from a script."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.script: dict[type, list[Action]] = {}
        self.broken_on: type | None = None
        self.broken_dirty = False
        self.known: list[EngineSnapshot] = []
        self._dirty = False

        self.pieces = 0
        """That it leaves for later, at each tick."""
        self._left = 0

    @property
    def behind(self) -> bool:
        return self._left > 0

    @property
    def planning(self) -> bool:
        return self._left > 1

    @property
    def dirty(self) -> bool:
        if self.broken_dirty:
            raise RuntimeError("a bug in the core")
        return self._dirty

    def handle(self, event: Event) -> list[Action]:
        self.events.append(event)
        self.changed.set()
        self._dirty = not isinstance(event, (Ticked, Idled))
        self._left = self.pieces if isinstance(event, Ticked) else self._left - isinstance(event, Idled)
        if type(event) is self.broken_on:
            raise RuntimeError("a bug in the core")
        return self.script.pop(type(event), [])

    def engines(self) -> list[EngineSnapshot]:
        return self.known

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Engine(Noted):
    """An adapter whose engine does what the test says."""

    def __init__(self, engine: EngineId = ENGINE) -> None:
        super().__init__()
        self.engine = engine
        self.base_url = "http://gpu"
        self.front: Front | None = None
        self.models_error: Exception | None = None
        self.is_a: Capabilities | None = EXTENDED
        self.probes = 0
        self.reports = 0
        self.carried_out: list[tuple[Action, Fence]] = []
        self.begun = 0
        self.error: Exception | None = None
        self.report_error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def probe(self) -> Capabilities:
        self.probes += 1
        self.changed.set()
        if self.is_a is None:
            raise EngineUnreachable(ENGINE, "connection refused")
        return self.is_a

    async def carry_out(self, action: Action, fence: Fence) -> None:
        self.begun += 1
        self.changed.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.carried_out.append((action, fence))
        self.changed.set()

    async def report(self) -> EngineReport:
        self.reports += 1
        self.changed.set()
        if self.is_a is None:
            raise EngineUnreachable(ENGINE, "connection refused")
        if self.report_error is not None:
            raise self.report_error
        return EngineReport(self.is_a.boot_id or "", True, frozenset(), 0, 1000)

    async def models(self) -> Sequence[object]:
        if self.models_error is not None:
            raise self.models_error
        return [{"id": "llama"}]

    async def abort(self, request_id: str) -> None:
        raise NotImplementedError

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, str]:
        raise NotImplementedError

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        raise NotImplementedError

    @property
    def actions(self) -> list[Action]:
        return [action for action, _ in self.carried_out]


@asynccontextmanager
async def started(core: StandIn, engine: Engine, **options: Any) -> AsyncIterator[Runtime]:
    """A loop so quick that tests need not wait for it. Its engine is looked at before the body runs."""
    quick: dict[str, Any] = {
        "tick_s": 0.001,
        "report_every_s": 0.002,
        "probe_every_s": 0.002,
        "fence_token": 7,
    }
    runtime = Runtime(core, [engine], **(quick | options))
    running = asyncio.create_task(runtime.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await runtime.looked()
        yield runtime
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()


def order(*names: str) -> Order:
    return Order(ENGINE, tuple((Owner(name), float(place)) for place, name in enumerate(names)))


def pin(name: str) -> Pin:
    return Pin(ENGINE, (Owner(name),))


def tell(runtime: Runtime, core: StandIn, *actions: Action) -> None:
    core.script[StepTicked] = list(actions)
    runtime.post(StepTicked(runtime.now(), TOWN))


async def test_an_event_is_followed_by_a_plan() -> None:
    core = StandIn()
    async with started(core, Engine(), renew_s=60) as runtime:
        await core.until(lambda: not core.dirty)
        plans = len(core.all(Ticked))
        runtime.post(StepTicked(runtime.now(), TOWN))
        await core.until(lambda: len(core.all(Ticked)) == plans + 1)
    assert runtime.plans == len(core.all(Ticked))


async def test_a_burst_of_events_is_answered_by_one_plan() -> None:
    core = StandIn()
    async with started(core, Engine(), renew_s=60, report_every_s=60) as runtime:
        await core.until(lambda: not core.dirty)
        core.events.clear()
        for _ in range(100):
            runtime.post(StepTicked(runtime.now(), TOWN))
        await core.until(lambda: core.all(Ticked))
    assert len(core.all(Ticked)) == 1


async def test_what_a_plan_leaves_is_worked_out_with_turns_for_everybody_else() -> None:
    core = StandIn()
    core.pieces = 3
    core.script[Idled] = [order("Ann")]
    engine = Engine()
    turns = 0
    async with started(core, engine, tick_s=60, renew_s=60, report_every_s=60):
        while len(core.all(Idled)) < 3:
            await asyncio.sleep(0)
            turns += 1
        await engine.until(lambda: engine.carried_out)
    assert turns >= 3
    assert len(core.all(Idled)) == 3
    assert len(core.all(Ticked)) == 1


async def test_plans_keep_the_least_time_between_them() -> None:
    core = StandIn()
    async with started(core, Engine(), tick_s=60, report_every_s=60) as runtime:
        await core.until(lambda: core.all(Ticked))
        runtime.post(StepTicked(runtime.now(), TOWN))
        for _ in range(20):
            await asyncio.sleep(0)
    assert len(core.all(Ticked)) == 1


async def test_a_plan_is_made_now_and_then_without_any_event() -> None:
    core = StandIn()
    async with started(core, Engine(), renew_s=0.002, report_every_s=60):
        await core.until(lambda: not core.dirty)
        plans = len(core.all(Ticked))
        await core.until(lambda: len(core.all(Ticked)) > plans + 2)


async def test_actions_are_carried_out_in_order_and_told_as_settled() -> None:
    core, engine = StandIn(), Engine()
    actions: list[Action] = [order("Ann"), pin("Ann"), Renew(ENGINE), pin("Bob")]
    async with started(core, engine) as runtime:
        tell(runtime, core, *actions)
        await core.until(lambda: len(core.all(Settled)) == 4)
    assert engine.actions == actions
    assert [(event.action, event.error) for event in core.all(Settled)] == [
        (action, None) for action in actions
    ]
    assert runtime.actions == {("order", "done"): 1, ("pin", "done"): 2, ("renew", "done"): 1}


async def test_every_action_carries_a_higher_fence() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        tell(runtime, core, pin("Ann"), pin("Bob"), pin("Cleo"))
        await core.until(lambda: len(core.all(Settled)) == 3)
    assert [fence for _, fence in engine.carried_out] == [Fence(7, 0), Fence(7, 1), Fence(7, 2)]


def test_a_proxy_that_is_started_later_has_the_higher_fence_token() -> None:
    assert Runtime(StandIn(), []).fence_token > 1_600_000_000_000  # milliseconds since 1970


async def test_of_the_orders_that_wait_only_the_latest_is_sent() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.open.clear()
        tell(runtime, core, order("Ann"))
        await engine.until(lambda: engine.begun == 1)
        tell(runtime, core, order("Bob"), pin("Bob"))
        tell(runtime, core, order("Cleo"))
        tell(runtime, core, order("Dora"), pin("Dora"))
        engine.open.set()
        await core.until(lambda: len(core.all(Settled)) == 6)
    assert engine.actions == [order("Ann"), order("Dora"), pin("Bob"), pin("Dora")]
    failed = [event.action for event in core.all(Settled) if event.error is not None]
    assert failed == [order("Bob"), order("Cleo")]


async def test_an_engine_that_hangs_costs_the_deadline_and_nothing_else() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine, deadline_s=0.01) as runtime:
        engine.open.clear()
        tell(runtime, core, pin("Ann"))
        await core.until(lambda: core.all(Settled))
        engine.open.set()
        tell(runtime, core, pin("Bob"))
        await core.until(lambda: len(core.all(Settled)) == 2)
    assert [event.error for event in core.all(Settled)] == ["pin: no answer within 0.01 s", None]


def test_a_busy_engine_is_waited_for_longer_than_its_plugin_waits() -> None:
    routes = Path("engine_adapters/sglang_plugin/routes.py").read_text()  # needs SGLang to be imported
    (plugin_waits_s,) = re.findall(r"^ANSWER_TIMEOUT_S = ([0-9.]+)$", routes, re.MULTILINE)
    assert float(plugin_waits_s) + 2.0 < DEADLINE_S


async def test_the_features_of_an_engine_outlive_its_loss() -> None:
    core, engine = StandIn(), Engine()
    engine.is_a = None
    async with started(core, engine) as runtime:
        assert runtime.features(ENGINE) == frozenset()
        engine.is_a = EXTENDED
        await core.until(lambda: core.all(EngineFound))
        assert runtime.features(ENGINE) == EXTENDED.features
        engine.is_a = None
        await core.until(lambda: core.all(EngineLost))
        assert runtime.features(ENGINE) == EXTENDED.features
        engine.is_a = STOCK
        await core.until(lambda: len(core.all(EngineFound)) == 2)
        assert runtime.features(ENGINE) == STOCK.features


async def test_an_engine_that_hangs_does_not_hold_up_the_end() -> None:
    core, engine = StandIn(), Engine()
    async with asyncio.timeout(PATIENCE_S):
        async with started(core, engine, deadline_s=60) as runtime:
            engine.open.clear()
            tell(runtime, core, pin("Ann"))
            await engine.until(lambda: engine.begun == 1)


async def test_an_engine_that_hangs_does_not_hold_up_events() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.open.clear()
        tell(runtime, core, pin("Ann"))
        await engine.until(lambda: engine.begun == 1)
        before = len(core.all(SimulationEnded))
        for _ in range(1000):  # without a single await: nothing else can run in between
            runtime.post(SimulationEnded(runtime.now(), TOWN))
        assert len(core.all(SimulationEnded)) == before + 1000
        assert len(core.all(Settled)) == 0


async def test_too_many_waiting_actions_fail_instead_of_piling_up() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.open.clear()
        tell(runtime, core, pin("first"))
        await engine.until(lambda: engine.begun == 1)
        tell(runtime, core, *(pin(str(number)) for number in range(WAITING_LIMIT + 3)))
        await core.until(lambda: len(core.all(Settled)) == 3)
        assert runtime.sizes()["actions_waiting"] == WAITING_LIMIT
        assert runtime.engines()[0].waiting == WAITING_LIMIT
    assert {event.error for event in core.all(Settled)} == {"too many actions wait for this engine"}


async def test_a_refused_action_is_told_with_the_reason() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.error = EngineRefused(ENGINE, "over the budget")
        tell(runtime, core, pin("Ann"))
        await core.until(lambda: core.all(Settled))
        assert runtime.engines()[0].problem == "pin: gpu: over the budget"
        engine.error = None
        tell(runtime, core, pin("Ann"))
        await core.until(lambda: len(core.all(Settled)) == 2)
        assert runtime.engines()[0].problem == ""
    assert core.all(Settled)[0].error == "gpu: over the budget"
    assert runtime.engines()[0].up


async def test_an_adapter_with_a_bug_is_survived_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.error = KeyError("a bug in the adapter")
        tell(runtime, core, pin("Ann"))
        await core.until(lambda: core.all(Settled))
        engine.error = None
        tell(runtime, core, pin("Bob"))
        await core.until(lambda: len(core.all(Settled)) == 2)
    assert [event.error is None for event in core.all(Settled)] == [False, True]
    assert "a bug in the adapter" in caplog.text
    assert runtime.failures == {"adapter of gpu on pin": 1}


async def test_a_core_with_a_bug_is_survived_and_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core = StandIn()
    async with started(core, Engine()) as runtime:
        core.broken_on = SimulationEnded
        for _ in range(100):
            runtime.post(SimulationEnded(runtime.now(), TOWN))
        tell(runtime, core)
        await core.until(lambda: not core.dirty)
    assert runtime.failures == {"core on SimulationEnded": 100}
    assert caplog.text.count("RuntimeError: a bug in the core") == 7


async def test_a_post_survives_a_core_that_fails_after_the_event_too() -> None:
    core = StandIn()
    runtime = Runtime(core, [])
    core.broken_dirty = True
    runtime.post(SimulationEnded(runtime.now(), TOWN))
    assert runtime.failures == {"core on SimulationEnded": 1}


def test_a_guarded_part_gives_what_it_gives_and_nothing_where_it_breaks() -> None:
    runtime = Runtime(StandIn(), [])
    halved = runtime.guarded("half", lambda whole: 1 / whole)
    assert (halved(2), halved(0)) == (0.5, None)
    assert runtime.failures == {"half": 1}


def test_who_looks_on_is_told_each_event_until_it_has_seen_enough() -> None:
    runtime, heard = Runtime(StandIn(), []), list[Event]()
    end = runtime.overhear(heard.append)
    broken = runtime.overhear(lambda event: {}[event])
    first, second = Ticked(1.0), Ticked(2.0)
    runtime.post(first)
    end()
    broken()
    runtime.post(second)
    assert heard == [first]
    assert runtime.failures == {"somebody who looks on": 1}


async def test_a_part_of_the_loop_that_breaks_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesim.proxy.runtime.RESTART_S", 0.001)
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.report_error = ValueError("a bug in the adapter")
        await engine.until(lambda: engine.probes >= 3)
        engine.report_error = None
        core.events.clear()
        await core.until(lambda: core.all(Reported))
    assert runtime.failures["watcher of gpu"] >= 2


async def test_the_engine_is_found_and_looked_at() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        await core.until(lambda: len(core.all(Reported)) >= 2)
        status = runtime.engines()[0]
    assert [event.capabilities for event in core.all(EngineFound)] == [EXTENDED]
    assert status.up
    assert status.commanded
    assert status.capabilities == EXTENDED
    assert status.report is not None
    assert engine.probes == 1


async def test_a_stock_engine_is_probed_instead_of_asked_for_reports() -> None:
    core, engine = StandIn(), Engine()
    engine.is_a = STOCK
    async with started(core, engine) as runtime:
        await engine.until(lambda: engine.probes >= 3)
        assert runtime.engines()[0].problem == "the plugin is not installed"
    assert engine.reports == 0
    assert len(core.all(EngineFound)) == 1


async def test_a_stock_engine_that_comes_back_with_the_plugin_is_found_anew() -> None:
    core, engine = StandIn(), Engine()
    engine.is_a = STOCK
    async with started(core, engine):
        engine.is_a = EXTENDED
        await core.until(lambda: len(core.all(EngineFound)) == 2)
    assert core.all(EngineFound)[1].capabilities == EXTENDED


async def test_an_engine_that_is_not_there_is_looked_for_until_it_is() -> None:
    core, engine = StandIn(), Engine()
    engine.is_a = None
    async with started(core, engine) as runtime:
        await engine.until(lambda: engine.probes >= 3)
        assert not runtime.engines()[0].up
        assert runtime.engines()[0].problem == "gpu: connection refused"
        engine.is_a = EXTENDED
        await core.until(lambda: core.all(EngineFound))
    assert core.all(EngineLost) == []  # it was never there


async def test_an_engine_that_dies_is_lost_once_and_found_again() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.is_a = None
        await core.until(lambda: core.all(EngineLost))
        probes = engine.probes
        await engine.until(lambda: engine.probes >= probes + 3)
        assert not runtime.engines()[0].up
        engine.is_a = EXTENDED
        await core.until(lambda: len(core.all(EngineFound)) == 2)
    assert [event.why for event in core.all(EngineLost)] == ["gpu: connection refused"]


async def test_an_action_without_an_answer_makes_the_watcher_look_at_once() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine, report_every_s=60) as runtime:
        engine.is_a, engine.error = None, EngineUnreachable(ENGINE, "connection reset")
        tell(runtime, core, pin("Ann"))
        await core.until(lambda: core.all(EngineLost))
    assert core.all(Settled)[0].error == "gpu: connection reset"


async def test_what_waits_for_a_lost_engine_fails() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.open.clear()
        tell(runtime, core, pin("Ann"), pin("Bob"))
        engine.is_a = None
        await core.until(lambda: core.all(Settled))
        tell(runtime, core, pin("Cleo"))
        await core.until(lambda: len(core.all(Settled)) == 2)
    assert [(event.action, event.error) for event in core.all(Settled)] == [
        (pin("Bob"), "the engine is lost"),
        (pin("Cleo"), "the engine is not commanded now"),
    ]


async def test_an_engine_that_was_started_anew_is_lost_and_found() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine):
        engine.is_a = replace(EXTENDED, boot_id="boot-2")
        await core.until(lambda: len(core.all(EngineFound)) == 2)
    kinds = [type(event) for event in core.events if isinstance(event, EngineFound | EngineLost)]
    assert kinds == [EngineFound, EngineLost, EngineFound]
    assert core.all(EngineLost)[0].why == "it was started anew"


async def test_of_a_front_end_it_is_told_that_something_behind_it_has_changed() -> None:
    core, engine = StandIn(), Engine()
    engine.front = cast(Front, object())
    async with started(core, engine):
        engine.is_a = replace(EXTENDED, boot_id="boot-2")
        await core.until(lambda: len(core.all(EngineFound)) == 2)
    assert core.all(EngineLost)[0].why == "what is behind it has changed"


async def test_an_engine_without_reports_is_kept() -> None:
    core, engine = StandIn(), Engine()
    engine.report_error = EngineRefused(ENGINE, "no residency")
    async with started(core, engine):
        await engine.until(lambda: engine.reports >= 2)
    assert core.all(EngineLost) == []


async def test_a_proxy_that_lost_the_fence_says_so_once_and_stops_commanding(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.error = FenceLost(ENGINE, "token 9 is higher than 7")
        tell(runtime, core, order("Ann"), pin("Ann"))
        await core.until(lambda: len(core.all(Settled)) == 2)
        engine.error = None
        tell(runtime, core, order("Bob"))
        await core.until(lambda: len(core.all(Settled)) == 3)
        status = runtime.engines()[0]
    assert engine.carried_out == []
    assert status.up
    assert not status.commanded
    assert "another proxy" in status.problem
    assert [record.levelno for record in caplog.records if "token 9" in record.message] == [logging.ERROR]
    last_found = core.all(EngineFound)[-1].capabilities
    assert not last_found.extended
    assert last_found.features == frozenset()


async def test_a_lost_fence_stays_lost_when_the_engine_comes_back() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        engine.error = FenceLost(ENGINE, "token 9 is higher than 7")
        tell(runtime, core, order("Ann"))
        await core.until(lambda: len(core.all(EngineFound)) == 2)
        engine.is_a = replace(EXTENDED, boot_id="boot-2")
        await core.until(lambda: len(core.all(EngineFound)) == 3)
        assert not runtime.engines()[0].commanded
    assert core.all(EngineFound)[-1].capabilities.features == frozenset()


async def test_with_the_real_core_a_plan_reaches_the_engine_and_again_after_its_restart() -> None:
    core, engine = Controller(ControllerConfig()), FakeAdapter(engine=ENGINE)
    runtime = Runtime(core, [engine], tick_s=0.001, report_every_s=0.002, probe_every_s=0.002)
    running = asyncio.create_task(runtime.run())
    runtime.post(CallStarted(runtime.now(), CallId(1), TOWN, AgentName("Ann"), ENGINE))
    wanted = Order(ENGINE, ((Owner("town/Ann"), 0.0),))

    def orders(adapter: FakeAdapter) -> int:
        return sum(action == wanted for action, _ in adapter.actions)

    await engine.until(lambda adapter: orders(adapter) == 1)
    engine.capabilities = replace(engine.capabilities, boot_id="boot-2")
    await engine.until(lambda adapter: orders(adapter) == 2)
    running.cancel()
    await asyncio.wait([running])
    assert runtime.failures == {}


def load(name: str, kind: str = "kv_prefix") -> Load:
    return Load(ENGINE, MemoryId(kind, name), 1.0, 30.0)


@asynccontextmanager
async def loading(
    core: StandIn, *actions: Load
) -> AsyncIterator[tuple[Runtime, FakeAdapter, asyncio.Task[None]]]:
    """A loop with loads that stay open."""
    engine = FakeAdapter(engine=ENGINE)
    engine.holds_loads = True
    runtime = Runtime(core, [engine], tick_s=0.001, report_every_s=0.002, probe_every_s=0.002)
    running = asyncio.create_task(runtime.run())
    async with asyncio.timeout(PATIENCE_S):
        await runtime.looked()
        tell(runtime, core, *actions)
        await engine.until(lambda adapter: len(adapter.held) == len(actions))
        yield runtime, engine, running
        running.cancel()
        await asyncio.wait([running])


async def test_how_a_load_ended_is_told_and_counted() -> None:
    core = StandIn()
    async with loading(core, load("Ann"), load("Bob"), load("a", "lora")) as (runtime, engine, _):
        assert runtime.engines()[0].loads == runtime.sizes()["load_tasks"] == 3
        engine.release(MemoryId("kv_prefix", "Bob"), LoadResult(LoadState.LOADED, 64))
        engine.release(MemoryId("kv_prefix", "Ann"), LoadResult(LoadState.LOADED, 36))
        engine.release(MemoryId("lora", "a"), LoadResult(LoadState.NO_ROOM))
        await core.until(lambda: len(core.all(Settled)) == 3)
        results = {event.action.memory.key: (event.error, event.result) for event in core.all(Settled)}
        assert results["Bob"] == (None, LoadResult(LoadState.LOADED, 64))
        loaded = runtime.loads["kv_prefix", "loaded"]
        assert (loaded.count, loaded.moved_bytes) == (2, 100)
        assert loaded.seconds > 0
        assert runtime.loads["lora", "no_room"].count == 1
        assert runtime.actions == {("load", "done"): 3}
        assert runtime.sizes()["load_tasks"] == 0


async def test_a_load_that_is_stopped_before_it_was_sent_is_told_and_counted_as_stopped() -> None:
    core, engine = StandIn(), Engine()
    stop = StopLoad(ENGINE, load("Ann").memory)
    async with started(core, engine) as runtime:
        engine.open.clear()
        tell(runtime, core, order("Ann"), load("Ann"))
        await engine.until(lambda: engine.begun == 1)
        tell(runtime, core, stop)
        await core.until(lambda: len(core.all(Settled)) == 2)
        told = [(event.action, event.error, event.result) for event in core.all(Settled)]
        assert told == [(load("Ann"), None, LoadResult(LoadState.STOPPED)), (stop, None, None)]
        assert runtime.loads["kv_prefix", "stopped"].count == 1
        engine.open.set()
        await core.until(lambda: len(core.all(Settled)) == 3)
    assert engine.actions == [order("Ann")]


async def test_loads_end_before_their_engine_is_told_as_lost() -> None:
    core = StandIn()
    async with loading(core, load("Ann"), load("Bob")) as (runtime, engine, _):
        engine.down = "connection refused"
        await core.until(lambda: core.all(EngineLost))
        assert runtime.sizes()["load_tasks"] == 0
        engine.down = None
        await core.until(lambda: len(core.all(EngineFound)) == 2)
        told = [event for event in core.events if isinstance(event, Settled | EngineLost)]
        assert [type(event) for event in told] == [Settled, Settled, EngineLost]
        assert {event.error for event in core.all(Settled)} == {"the engine is lost"}
        assert runtime.loads["kv_prefix", "dropped"].count == 2
        tell(runtime, core, load("Cleo"))
        await engine.until(lambda adapter: set(adapter.held) == {MemoryId("kv_prefix", "Cleo")})


async def test_the_end_of_the_loop_leaves_no_load_behind() -> None:
    core = StandIn()
    before = asyncio.all_tasks()
    async with loading(core, load("Ann"), load("Bob")) as (runtime, engine, running):
        running.cancel()
        await asyncio.wait([running])
        assert engine.held == {}
        assert len(core.all(Settled)) == 2
        tell(runtime, core, load("Cleo"))
        assert runtime.failures == {}
        assert asyncio.all_tasks() == before


async def test_a_load_that_finds_the_fence_lost_ends_all_others() -> None:
    core, engine = StandIn(), Engine()
    engine.error = FenceLost(ENGINE, "token 9 is higher than 7")
    async with started(core, engine) as runtime:
        engine.open.clear()
        tell(runtime, core, load("Ann"), load("Bob"))
        await engine.until(lambda: engine.begun == 2)
        engine.open.set()
        await core.until(lambda: len(core.all(EngineFound)) == 2)
        assert not runtime.engines()[0].commanded
    assert len(core.all(Settled)) == 2


async def test_a_listener_hears_every_event_but_those_of_calls_and_cannot_break_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Event] = []

    def listener(event: Event) -> None:
        heard.append(event)
        raise RuntimeError("a bug in the listener")

    runtime = Runtime(StandIn(), [], listener=listener)
    runtime.post(SimulationEnded(1.0, TOWN))
    runtime.post(CallStarted(2.0, CallId(1), TOWN, AgentName("Ann"), ENGINE))
    assert heard == [SimulationEnded(1.0, TOWN)]
    assert runtime.failures == {"listener": 1}
    assert "a bug in the listener" in caplog.text


async def test_the_core_is_told_that_the_name_of_an_adapter_is_taken() -> None:
    core, engine = StandIn(), Engine()
    fetch = FetchAdapter(ENGINE, AdapterName("poet"), "/adapters/poet")
    async with started(core, engine) as runtime:
        engine.error = AdapterNameTaken(ENGINE, "it is loaded from /other")
        tell(runtime, core, fetch)
        await core.until(lambda: core.all(Settled))
    (settled,) = core.all(Settled)
    assert (settled.action, settled.name_taken) == (fetch, True)


# Engines that come and go

OTHER = EngineId("other")


class Told(Noted):
    """Who wants to know how engines are."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[object, ...]] = []

    def answered(self, engine: EngineId, boot_id: str | None, capacity_tokens: int | None, at: float) -> None:
        self._say("answered", engine, boot_id, capacity_tokens)

    def silent(self, engine: EngineId, at: float, why: str) -> None:
        self._say("silent", engine, why)

    def listed(self, engine: EngineId, cards: Sequence[object]) -> None:
        self._say("listed", engine, *cards)

    def unlisted(self, engine: EngineId, why: str) -> None:
        self._say("unlisted", engine, why)

    def _say(self, *what: object) -> None:
        self.said.append(what)
        self.changed.set()


async def test_an_engine_that_comes_while_the_loop_runs_is_found_and_commanded() -> None:
    core, engine, other = StandIn(), Engine(), Engine(OTHER)
    async with started(core, engine) as runtime:
        runtime.add_engine(other)
        await core.until(lambda: len(core.all(EngineFound)) == 2)
        tell(runtime, core, Pin(OTHER, (Owner("Ann"),)))
        await other.until(lambda: other.actions)
        with pytest.raises(ValueError, match="other"):
            runtime.add_engine(Engine(OTHER))
    assert other.actions == [Pin(OTHER, (Owner("Ann"),))]
    assert engine.actions == []


async def test_an_engine_that_is_removed_is_lost_once_and_nothing_of_it_is_left() -> None:
    core, engine, other = StandIn(), Engine(), Engine(OTHER)
    async with started(core, engine) as runtime:
        before = asyncio.all_tasks()
        runtime.add_engine(other)
        await core.until(lambda: len(core.all(EngineFound)) == 2)
        other.open.clear()
        tell(runtime, core, *(Pin(OTHER, (Owner(name),)) for name in ("Ann", "Bob")))
        load = Load(OTHER, MemoryId("kv_prefix", "Ann"), 1.0, 5.0)
        runtime.doubt(OTHER)
        tell(runtime, core, load)
        await other.until(lambda: other.begun)
        runtime.remove_engine(OTHER)
        runtime.remove_engine(OTHER)
        runtime.forget_engine(OTHER)
        probes, reports = other.probes, other.reports
        reported = engine.reports
        await engine.until(lambda: engine.reports > reported + 5)
        assert [one.engine for one in runtime.engines()] == [ENGINE]
        assert asyncio.all_tasks() - before == set(), "its tasks have ended"
        assert runtime.sizes() == {"actions_waiting": 0, "settled_waiting": 0, "load_tasks": 0}
        assert runtime.features(OTHER) == frozenset()
    assert (other.probes, other.reports) == (probes, reports), "it is not asked any more"
    about = [one for one in core.events if isinstance(one, EngineLost | EngineRemoved)]
    assert [(type(one), one.engine) for one in about] == [(EngineLost, OTHER), (EngineRemoved, OTHER)]
    assert {one.action for one in core.all(Settled)} == {Pin(OTHER, (Owner("Bob"),)), load}


async def test_a_name_that_was_removed_can_be_taken_again() -> None:
    core, engine = StandIn(), Engine()
    async with started(core, engine) as runtime:
        runtime.add_engine(Engine(OTHER))
        runtime.remove_engine(OTHER)
        second = Engine(OTHER)
        runtime.add_engine(second)
        await core.until(lambda: len(core.all(EngineFound)) == 2)
        tell(runtime, core, Pin(OTHER, (Owner("Ann"),)))
        await second.until(lambda: second.actions)


async def test_who_wants_to_know_hears_what_an_engine_serves_before_it_is_up_and_then_how_it_is() -> None:
    core, engine, told = StandIn(), Engine(), Told()
    async with started(core, engine, health=lambda: told):
        await told.until(lambda: len(told.said) >= 3)
        engine.is_a = None
        await told.until(lambda: told.said[-1][0] == "silent")
        engine.is_a = replace(EXTENDED, boot_id="boot-2")
        await told.until(lambda: told.said[-1] == ("answered", ENGINE, "boot-2", 1000))
    assert told.said[:2] == [("listed", ENGINE, {"id": "llama"}), ("answered", ENGINE, "boot-1", 1000)]
    assert ("silent", ENGINE, "gpu: connection refused") in told.said
    again = told.said[told.said.index(("silent", ENGINE, "gpu: connection refused")) :]
    assert ("listed", ENGINE, {"id": "llama"}) in again, "it may serve something else by now"


async def test_what_an_engine_serves_is_asked_again_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "MODELS_EVERY_S", 0.004)
    core, engine, told = StandIn(), Engine(), Told()
    async with started(core, engine, health=lambda: told):
        await told.until(lambda: sum(one[0] == "listed" for one in told.said) >= 3)
    assert core.all(EngineLost) == []


async def test_an_engine_that_does_not_say_what_it_serves_is_found_all_the_same() -> None:
    core, engine, told = StandIn(), Engine(), Told()
    engine.models_error = EngineRefused(ENGINE, "/v1/models: HTTP 404")
    async with started(core, engine, health=lambda: told):
        await told.until(lambda: len(told.said) >= 2)
        engine.models_error = EngineUnreachable(ENGINE, "HTTP 500")
        engine.is_a = replace(EXTENDED, boot_id="boot-2")
        await told.until(lambda: told.said[-1][:3] == ("answered", ENGINE, "boot-2"))
        engine.models_error = None
        engine.is_a = replace(EXTENDED, boot_id="boot-3")
        await told.until(lambda: ("listed", ENGINE, {"id": "llama"}) in told.said)
    assert told.said[0] == ("unlisted", ENGINE, "gpu: /v1/models: HTTP 404")
    assert sum(one[0] == "unlisted" for one in told.said) == 1, "who is not reached does not refuse"


class Lease:
    def __init__(self) -> None:
        self.is_held = False
        self.lost: list[int | None] = []
        """Tokens that engines had seen."""

    def may_command(self) -> bool:
        return self.is_held

    def outranked(self, token: int | None) -> None:
        self.lost.append(token)


async def test_without_the_lease_engines_are_watched_and_the_core_knows_of_none() -> None:
    core, engine, lease = StandIn(), Engine(), Lease()
    async with started(core, engine, lease=lambda: lease) as runtime:
        await engine.until(lambda: engine.reports > 1)
        [status] = runtime.engines()
        assert (status.up, status.commanded, status.problem) == (True, False, "")
        assert runtime.features(ENGINE) == EXTENDED.features, "calls want their owners all the same"
        tell(runtime, core, order("Ann"))
        await core.until(lambda: core.all(Settled))
    assert engine.carried_out == []
    assert core.all(EngineFound) == core.all(EngineLost) == core.all(Reported) == []


async def test_who_takes_the_lease_commands_with_its_token_and_who_loses_it_stops_at_once() -> None:
    core, engine, lease = StandIn(), Engine(), Lease()
    async with started(core, engine, lease=lambda: lease) as runtime:
        lease.is_held = True
        runtime.take(900)
        assert len(core.all(EngineFound)) == 1
        tell(runtime, core, order("Ann"))
        await engine.until(lambda: engine.carried_out)
        await core.until(lambda: core.all(Reported))
        engine.open.clear()
        tell(runtime, core, order("Bob"))
        await engine.until(lambda: engine.begun == 2)
        tell(runtime, core, pin("Bob"))
        lease.is_held = False
        runtime.release("the lease has ended")
        assert len(core.all(EngineLost)) == 1
        engine.open.set()
        await core.until(lambda: len(core.all(Settled)) == 3)
        engine.is_a = replace(EXTENDED, boot_id="boot-2")
        before = engine.reports
        await engine.until(lambda: engine.reports > before + 2)
    assert [fence.token for _, fence in engine.carried_out] == [900, 900]
    assert pin("Bob") not in engine.actions
    assert len(core.all(EngineFound)) == 1


async def test_who_comes_to_lead_forgets_engines_that_another_knew_and_that_are_not_there() -> None:
    core, lease, other = StandIn(), Lease(), Controller(ControllerConfig())
    for number, (engine, ends) in enumerate({"here": True, "gone": True, "leaving": False}.items()):
        name = ENGINE if engine == "here" else EngineId(engine)
        other.handle(CallStarted(0.0, CallId(number), TOWN, AgentName(engine), name))
        if ends:
            other.handle(CallEnded(1.0, CallId(number), Outcome.DONE))
    core.known = other.engines()
    async with started(core, Engine(), lease=lambda: lease) as runtime:
        lease.is_held = True
        runtime.take(900)
        assert [event.engine for event in core.all(EngineRemoved)] == ["gone"]


async def test_an_engine_that_is_not_there_is_forgotten_once_the_last_call_there_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime_module, "STRANGERS_EVERY_S", 0.001)
    core, lease, other = StandIn(), Lease(), Controller(ControllerConfig())
    other.handle(CallStarted(0.0, CallId(1), TOWN, AgentName("Ann"), EngineId("gone")))
    core.known = other.engines()
    async with started(core, Engine(), lease=lambda: lease, renew_s=0.001) as runtime:
        lease.is_held = True
        runtime.take(900)
        await core.until(lambda: runtime.plans > 5)
        assert core.all(EngineRemoved) == [], "a call runs there"
        other.handle(CallEnded(1.0, CallId(1), Outcome.DONE))
        core.known = other.engines()
        await core.until(lambda: core.all(EngineRemoved))
        runtime.release("the lease has ended")
        found = len(core.all(EngineRemoved))
        plans = runtime.plans
        await core.until(lambda: runtime.plans > plans + 5)
        assert len(core.all(EngineRemoved)) == found, "only who commands looks"
    assert {event.engine for event in core.all(EngineRemoved)} == {"gone"}


async def test_an_engine_that_was_removed_is_forgotten_when_whoever_removed_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Calls may be on their way there that the core does not know of yet."""
    monkeypatch.setattr(runtime_module, "STRANGERS_EVERY_S", 0.001)
    core, other = StandIn(), Controller(ControllerConfig())
    other.handle(EngineFound(0.0, OTHER, EXTENDED))
    async with started(core, Engine(), renew_s=0.001) as runtime:
        runtime.add_engine(Engine(OTHER))
        core.known = other.engines()
        runtime.remove_engine(OTHER)
        plans = runtime.plans
        await core.until(lambda: runtime.plans > plans + 5)
        assert core.all(EngineRemoved) == []
        core.known = []
        runtime.forget_engine(OTHER)
        assert len(core.all(EngineRemoved)) == 1
        core.known = other.engines()
        await core.until(lambda: len(core.all(EngineRemoved)) > 1)


async def test_a_higher_fence_than_that_of_the_lease_is_told_to_whoever_holds_it() -> None:
    core, engine, lease = StandIn(), Engine(), Lease()
    async with started(core, engine, lease=lambda: lease) as runtime:
        lease.is_held = True
        runtime.take(7)
        engine.error = FenceLost(ENGINE, "token 9 is higher than 7", 9)
        tell(runtime, core, order("Ann"))
        await core.until(lambda: core.all(Settled))
        assert lease.lost == [9]
        assert runtime.engines()[0].commanded, "who holds the lease decides what follows"
