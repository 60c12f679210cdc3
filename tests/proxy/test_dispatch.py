from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from scalesim.engine_adapters.base import (
    ADAPTER_S,
    LOAD_GRACE_S,
    AdapterNameTaken,
    EngineAdapter,
    EngineRefused,
    Fence,
    FenceLost,
)
from scalesim.proxy.core.actions import (
    Action,
    DropAdapter,
    FetchAdapter,
    Load,
    Order,
    Pin,
    Renew,
    StopLoad,
)
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AdapterName,
    EngineId,
    LoadResult,
    LoadState,
    MemoryId,
    Owner,
)
from scalesim.proxy.dispatch import FLIGHTS_LIMIT, LOADS_LIMIT, WAITING_LIMIT, Dispatch, Outcome
from tests.support.fake_adapter import FakeAdapter
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.anyio

ENGINE = EngineId("fake")


class Slow(FakeAdapter):
    """Orders, or fetches, hang while a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs: tuple[type[Action], ...] = ()
        self.go_on = asyncio.Event()
        self.begun: list[Action] = []
        self.raises: Exception | None = None

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        self.begun.append(action)
        self._changed.set()
        if self.raises is not None:
            raise self.raises
        if isinstance(action, self.hangs):
            await self.go_on.wait()
        return await super().carry_out(action, fence)

    def did(self) -> list[Action]:
        return [action for action, _ in self.actions]


class Fenced(FakeAdapter):
    """An engine that somebody commands with `token`."""

    def __init__(self, token: int) -> None:
        super().__init__()
        self.token = token

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        if fence.token < self.token:
            raise FenceLost(self.engine, f"token {self.token} is higher than {fence.token}", self.token)
        self.token = fence.token
        return await super().carry_out(action, fence)


class Warmer:
    """A warm-up that takes no time."""

    def __init__(self) -> None:
        self.loads: list[Load] = []
        self.stops: list[StopLoad] = []

    async def load(self, adapter: EngineAdapter, action: Load) -> LoadResult:
        self.loads.append(action)
        if action.memory.key == "town/Nobody":
            raise EngineRefused(adapter.engine, "no")
        return LoadResult(LoadState.LOADED, 7)

    def stop(self, action: StopLoad) -> None:
        self.stops.append(action)

    def sizes(self) -> Mapping[str, int]:
        return {}


class Desk:
    """A dispatch and what it told."""

    def __init__(self, adapter: FakeAdapter, warm_up: Warmer | None, now: int) -> None:
        self.may_command = True
        self.told: list[tuple[Action, Outcome]] = []
        self.refused: list[tuple[Action, Outcome]] = []
        self.survived: list[str] = []
        self._changed = asyncio.Event()
        self.dispatch = Dispatch(
            adapter,
            7,
            clock=asyncio.get_running_loop().time,
            deadline_s=PATIENCE_S,
            warm_up=warm_up,
            ended=self._ended,
            refused=lambda action, outcome: self.refused.append((action, outcome)),
            survived=self.survived.append,
            is_outranked_by=lambda token: token <= now,
            may_command=lambda: self.may_command,
        )

    def put(self, *actions: Action) -> None:
        for action in actions:
            self.dispatch.put(action)

    def _ended(self, action: Action, outcome: Outcome) -> None:
        self.told.append((action, outcome))
        self._changed.set()

    async def until(self, met: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not met():
                self._changed.clear()
                await self._changed.wait()

    def ended(self) -> list[tuple[Action, str]]:
        return [(action, outcome.result) for action, outcome in self.told]


@asynccontextmanager
async def started(
    adapter: FakeAdapter, warm_up: Warmer | None = None, *, now: int = 1_000
) -> AsyncIterator[Desk]:
    desk = Desk(adapter, warm_up, now)
    running = asyncio.create_task(desk.dispatch.run())
    await asyncio.sleep(0)  # one turn, in which it begins
    try:
        yield desk
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()
    assert desk.dispatch.loads == desk.dispatch.waiting == 0


def prefix(name: str) -> MemoryId:
    return MemoryId(KV_PREFIX, f"town/{name}")


def load(name: str, kind: str = KV_PREFIX, *, recompute: bool = False) -> Load:
    return Load(ENGINE, MemoryId(kind, f"town/{name}"), 1.0, 5.0, recompute)


def stop(name: str, *, recompute: bool = False) -> StopLoad:
    return StopLoad(ENGINE, prefix(name), recompute)


def order(*names: str) -> Order:
    return Order(ENGINE, tuple((Owner(f"town/{name}"), float(place)) for place, name in enumerate(names)))


def fetch(name: str) -> FetchAdapter:
    return FetchAdapter(ENGINE, AdapterName(name), f"/adapters/{name}")


async def test_loads_run_side_by_side_and_end_as_each_of_them_does() -> None:
    adapter = FakeAdapter()
    adapter.holds_loads = True
    async with started(adapter) as desk:
        desk.put(load("Ann"), load("Bob"))
        await adapter.until(lambda a: len(a.held) == 2)
        assert desk.dispatch.loads == 2
        adapter.release(prefix("Bob"), LoadResult(LoadState.LOADED, 64))
        await desk.until(lambda: desk.told)
        adapter.release(prefix("Ann"), LoadResult(LoadState.ABSENT))
        await desk.until(lambda: len(desk.told) == 2)
        assert desk.dispatch.loads == 0
    assert [(action, outcome.load) for action, outcome in desk.told] == [
        (load("Bob"), LoadResult(LoadState.LOADED, 64)),
        (load("Ann"), LoadResult(LoadState.ABSENT)),
    ]


async def test_a_held_load_holds_up_no_order() -> None:
    adapter = FakeAdapter()
    adapter.holds_loads = True
    async with started(adapter) as desk:
        desk.put(load("Ann"), order("Ann"))
        await desk.until(lambda: desk.told)
        assert desk.ended() == [(order("Ann"), "done")]
        assert desk.dispatch.loads == 1


async def test_a_load_waits_until_the_orders_given_before_it_have_arrived() -> None:
    """What may make room for it stands there; it then holds up nothing that comes after."""
    adapter = Slow()
    adapter.holds_loads, adapter.hangs = True, (Order,)
    async with started(adapter) as desk:
        desk.put(load("Ann"))  # nothing is before it
        await adapter.until(lambda a: prefix("Ann") in a.held)
        pins = Pin(ENGINE, (Owner("town/Bob"),))
        desk.put(order("Bob"), pins, load("Bob"), Renew(ENGINE))
        await adapter.until(lambda a: order("Bob") in adapter.begun)
        desk.put(load("Cleo"))  # behind one that is under way
        assert desk.dispatch.waiting == 4
        assert adapter.begun == [load("Ann"), order("Bob")]
        adapter.go_on.set()
        await adapter.until(lambda a: len(a.held) == 3)
        assert desk.dispatch.waiting == 0
        assert [action for action in adapter.begun if action != Renew(ENGINE)] == [
            load("Ann"),
            order("Bob"),
            pins,
            load("Bob"),
            load("Cleo"),
        ]
        assert desk.ended() == [(order("Bob"), "done"), (pins, "done"), (Renew(ENGINE), "done")]


async def test_a_load_waits_for_the_order_that_takes_the_place_of_the_one_before_it() -> None:
    adapter = Slow()
    adapter.hangs = (Pin,)
    async with started(adapter) as desk:
        desk.put(Pin(ENGINE, ()))
        await adapter.until(lambda a: adapter.begun)
        desk.put(order("Ann"), load("Ann"), order("Ann", "Bob"))
        assert [(action, outcome.result) for action, outcome in desk.refused] == [
            (order("Ann"), "superseded")
        ]
        adapter.go_on.set()
        await desk.until(lambda: len(desk.told) == 3)
    assert adapter.did() == [Pin(ENGINE, ()), order("Ann", "Bob"), load("Ann")]


async def test_a_load_behind_an_order_that_fails_goes_on() -> None:
    adapter = FakeAdapter()
    adapter.refuses = frozenset({Order})
    async with started(adapter) as desk:
        desk.put(order("Ann"), load("Ann"))
        await desk.until(lambda: len(desk.told) == 2)
    assert desk.ended() == [(order("Ann"), "refused"), (load("Ann"), "done")]


async def test_a_load_that_is_stopped_while_it_waits_is_never_sent() -> None:
    adapter = Slow()
    adapter.hangs = (Order,)
    async with started(adapter) as desk:
        desk.put(order("Ann"), load("Ann"), load("Bob"))
        await adapter.until(lambda a: adapter.begun)
        desk.put(stop("Ann"))
        assert [(action, outcome.result, outcome.load) for action, outcome in desk.refused] == [
            (load("Ann"), "done", LoadResult(LoadState.STOPPED)),
            (stop("Ann"), "done", None),
        ]
        assert desk.dispatch.waiting == 1
        adapter.go_on.set()
        await desk.until(lambda: len(desk.told) == 2)
    assert adapter.did() == [order("Ann"), load("Bob")]


async def test_loads_that_wait_are_cleared_with_what_they_wait_for() -> None:
    adapter = Slow()
    adapter.hangs = (Order,)
    async with started(adapter) as desk:
        desk.put(order("Ann"))
        await adapter.until(lambda a: adapter.begun)
        desk.put(load("Ann"), order("Bob"))
        desk.dispatch.clear("the engine is lost")
        assert [(action, outcome.result) for action, outcome in desk.refused] == [
            (load("Ann"), "dropped"),
            (order("Bob"), "dropped"),
        ]
        adapter.go_on.set()
        await desk.until(lambda: desk.told)
        desk.put(load("Cleo"))
        await desk.until(lambda: len(desk.told) == 2)
    assert adapter.did() == [order("Ann"), load("Cleo")]


async def test_loads_that_waited_are_bounded_like_those_that_did_not() -> None:
    adapter = Slow()
    adapter.holds_loads, adapter.hangs = True, (Order,)
    async with started(adapter) as desk:
        desk.put(order("Ann"), *(load(str(number)) for number in range(FLIGHTS_LIMIT + 1)))
        await adapter.until(lambda a: adapter.begun)
        adapter.go_on.set()
        await adapter.until(lambda a: len(a.held) == FLIGHTS_LIMIT)
        assert [(action, outcome.result) for action, outcome in desk.refused] == [(load("17"), "dropped")]


async def test_a_stop_overtakes_an_order_that_hangs_and_those_behind_it() -> None:
    adapter = Slow()
    adapter.holds_loads, adapter.hangs = True, (Order,)
    async with started(adapter) as desk:
        desk.put(load("Ann"))
        await adapter.until(lambda a: a.held)
        desk.put(order("Ann"), Pin(ENGINE, ()), stop("Ann"))
        await desk.until(lambda: len(desk.told) == 2)
        assert set(desk.ended()) == {(stop("Ann"), "done"), (load("Ann"), "done")}
        assert dict(desk.told)[load("Ann")].load == LoadResult(LoadState.STOPPED)
        adapter.go_on.set()
        await desk.until(lambda: len(desk.told) == 4)


async def test_a_slow_fetch_holds_up_no_order_and_no_load_but_the_next_fetch() -> None:
    adapter = Slow()
    adapter.hangs = (FetchAdapter,)
    drop = DropAdapter(ENGINE, AdapterName("a"))
    async with started(adapter) as desk:
        desk.put(fetch("a"), drop, fetch("b"))
        await adapter.until(lambda a: len(adapter.begun) == 1)
        desk.put(order("Ann"), load("Ann"))
        await desk.until(lambda: len(desk.told) == 2)
        assert adapter.begun[0] == fetch("a")
        assert fetch("b") not in adapter.begun
        assert drop not in adapter.begun
        assert desk.dispatch.waiting == 2
        adapter.go_on.set()
        await desk.until(lambda: len(desk.told) == 5)
    assert [action for action in adapter.did() if isinstance(action, FetchAdapter | DropAdapter)] == [
        fetch("a"),
        drop,
        fetch("b"),
    ]


async def test_more_loads_than_the_limit_are_dropped_at_once() -> None:
    adapter = FakeAdapter()
    adapter.holds_loads = True
    async with started(adapter) as desk:
        desk.put(*(load(str(number)) for number in range(FLIGHTS_LIMIT + 2)))
        assert [action for action, _ in desk.refused] == [load("17"), load("18")]
        assert {outcome.result for _, outcome in desk.refused} == {"dropped"}
        await adapter.until(lambda a: len(a.held) == FLIGHTS_LIMIT)
        desk.put(stop("0"))  # has room of its own
        await desk.until(lambda: len(desk.told) == 2)
        desk.put(load("19"))
        await adapter.until(lambda a: prefix("19") in a.held)


async def test_more_waiting_adapters_than_the_limit_are_dropped() -> None:
    adapter = Slow()
    adapter.hangs = (FetchAdapter,)
    async with started(adapter) as desk:
        desk.put(fetch("first"))
        await adapter.until(lambda a: adapter.begun)
        desk.put(*(fetch(str(number)) for number in range(WAITING_LIMIT + 1)))
        assert [outcome.result for _, outcome in desk.refused] == ["dropped"]


async def test_what_is_cleared_ends_at_once_and_only_once() -> None:
    adapter = Slow()
    adapter.holds_loads, adapter.hangs = True, (FetchAdapter,)
    async with started(adapter) as desk:
        desk.put(load("Ann"), load("Bob"), fetch("a"), fetch("b"))
        await adapter.until(lambda a: len(a.held) == 2 and len(adapter.begun) == 3)
        adapter.release(prefix("Bob"))  # ends in the same turn in which all is cleared
        desk.dispatch.clear("the engine is lost")
        assert desk.dispatch.loads == desk.dispatch.waiting == 0
        assert {(action, outcome.result, outcome.error) for action, outcome in desk.told} == {
            (action, "dropped", "the engine is lost") for action in (load("Ann"), load("Bob"), fetch("a"))
        }
        assert [action for action, _ in desk.refused] == [fetch("b")]
        await adapter.until(lambda a: not a.held)  # nobody waits for the engine's answers any more
        adapter.go_on.set()
        desk.put(load("Cleo"), fetch("c"))  # both lines go on
        await adapter.until(lambda a: prefix("Cleo") in a.held)
        await desk.until(lambda: len(desk.told) == 4)
        assert desk.told[-1][0] == fetch("c")
    assert [action for action, _ in desk.told].count(load("Bob")) == 1


async def test_the_end_settles_and_leaves_no_load_behind() -> None:
    adapter = FakeAdapter()
    adapter.holds_loads = True
    async with started(adapter) as desk:
        desk.put(load("Ann"), load("Bob"))
        await adapter.until(lambda a: len(a.held) == 2)
    assert adapter.held == {}
    assert desk.ended() == [(load("Ann"), "dropped"), (load("Bob"), "dropped")]
    desk.put(load("Cleo"))
    assert [action for action, _ in desk.refused] == [load("Cleo")]


async def test_an_adapter_with_a_bug_ends_a_load_as_failed() -> None:
    adapter = Slow()
    adapter.raises = KeyError("a bug")
    async with started(adapter) as desk:
        desk.put(load("Ann"))
        await desk.until(lambda: desk.told)
    assert desk.ended() == [(load("Ann"), "failed")]
    assert desk.survived == ["adapter of fake on load"]


async def test_what_is_to_be_computed_again_is_warmed_up_and_the_rest_is_the_engines() -> None:
    """Whatever orders say by then: it was decided when the load was asked for."""
    adapter, warmer = FakeAdapter(), Warmer()
    ann, nobody = load("Ann", recompute=True), load("Nobody", recompute=True)
    enough = stop("Ann", recompute=True)
    async with started(adapter, warmer) as desk:
        desk.put(ann, enough, nobody, load("a", LORA), load("Bob"), stop("Bob"))
        await desk.until(lambda: len(desk.told) == 6)
        desk.put(Order(ENGINE, (), no_host_copy=(Owner("town/Cem"),)), load("Cem"))
        await desk.until(lambda: len(desk.told) == 8)
    assert (warmer.loads, warmer.stops) == ([ann, nobody], [enough])
    outcomes = dict(desk.told)
    assert outcomes[ann].load == LoadResult(LoadState.LOADED, 7)
    assert (outcomes[nobody].result, outcomes[nobody].error) == ("refused", "fake: no")
    asked = [action for action, _ in adapter.actions if isinstance(action, Load)]
    assert asked == [load("a", LORA), load("Bob"), load("Cem")]


async def test_a_recomputation_flies_beside_as_many_copies_as_may() -> None:
    adapter = FakeAdapter()
    adapter.holds_loads = True
    async with started(adapter) as desk:
        desk.put(*(load(str(number)) for number in range(LOADS_LIMIT)), load("Ann", recompute=True))
        assert not desk.refused


async def test_that_a_name_is_taken_is_told() -> None:
    for error, taken in (
        (AdapterNameTaken(ENGINE, "from /other"), True),
        (EngineRefused(ENGINE, "no"), False),
    ):
        adapter = Slow()
        adapter.raises = error
        async with started(adapter) as desk:
            desk.put(fetch("poet"))
            await desk.until(lambda: desk.told)
        assert [(outcome.result, outcome.name_taken) for _, outcome in desk.told] == [("refused", taken)]


async def test_without_a_warm_up_the_engine_is_asked_and_says_what_it_cannot() -> None:
    adapter = FakeAdapter()
    adapter.refuses = frozenset({Load})
    async with started(adapter) as desk:
        desk.put(load("Ann"))
        await desk.until(lambda: desk.told)
    assert desk.ended() == [(load("Ann"), "refused")]


async def test_each_action_has_a_deadline_of_its_own_length() -> None:
    desk = Desk(FakeAdapter(), None, now=1_000)
    deadline_of = desk.dispatch._deadline_of
    assert deadline_of(Load(ENGINE, prefix("Ann"), 1.0, 3.0)) == 3.0 + LOAD_GRACE_S
    assert deadline_of(fetch("a")) == ADAPTER_S
    assert deadline_of(Renew(ENGINE)) == deadline_of(stop("Ann")) == PATIENCE_S


async def test_a_load_counts_the_seconds_it_took() -> None:
    adapter = FakeAdapter()
    adapter.holds_loads = True
    async with started(adapter) as desk:
        now = 10.0
        desk.dispatch._clock = lambda: now
        desk.put(load("Ann"))
        await adapter.until(lambda a: a.held)
        now = 12.5
        adapter.release(prefix("Ann"))
        await desk.until(lambda: desk.told)
    assert desk.told[0][1].seconds == 2.5


async def test_whoever_was_started_last_commands_also_after_the_clock_was_set_back() -> None:
    engine = Fenced(token=900)
    async with started(engine, now=800) as desk:
        desk.put(Renew(ENGINE), load("Ann"), load("Bob"))
        await desk.until(lambda: len(desk.told) == 3)
    assert {result for _, result in desk.ended()} == {"done"}
    assert engine.token == 901


async def test_whoever_has_commanded_and_is_outranked_gives_way() -> None:
    engine = Fenced(token=7)
    async with started(engine, now=800) as desk:
        desk.put(Renew(ENGINE))
        await desk.until(lambda: desk.told)
        engine.token = 900
        desk.put(Renew(ENGINE))
        await desk.until(lambda: len(desk.told) == 2)
    assert desk.ended() == [(Renew(ENGINE), "done"), (Renew(ENGINE), "fenced")]
    assert engine.token == 900


async def test_whoever_was_started_later_is_not_outranked() -> None:
    engine = Fenced(token=900)
    async with started(engine) as desk:
        desk.put(Renew(ENGINE))
        await desk.until(lambda: desk.told)
    assert desk.ended() == [(Renew(ENGINE), "fenced")]


async def test_who_may_not_command_any_more_sends_nothing() -> None:
    adapter, warmer = Fenced(token=7), Warmer()
    async with started(adapter, warmer) as desk:
        desk.may_command = False
        desk.put(Renew(ENGINE), load("Ann"), replace(load("Bob"), recompute=True))
        await desk.until(lambda: len(desk.told) == 3)
    assert {result for _, result in desk.ended()} == {"dropped"}
    assert (adapter.actions, warmer.loads) == ([], [])


async def test_what_is_sent_after_a_lease_was_taken_has_its_token() -> None:
    engine = Fenced(token=900)
    async with started(engine) as desk:
        desk.dispatch.fence(1000)
        desk.put(Renew(ENGINE))
        await desk.until(lambda: desk.told)
    assert desk.ended() == [(Renew(ENGINE), "done")]
    assert engine.token == 1000
