from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from scalesim.workloads.adapters import swapped
from scalesim.workloads.configurations import EngineKey, Lane, passes
from scalesim.workloads.program import Wishes
from scalesim.workloads.scenarios import scenario
from scalesim.workloads.turns import Rules, WarmUpFailed, play_pass
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
PROGRAM = scenario("independent").generate(Wishes(agents=8, steps=4, persona_tokens=30, growth_tokens=8))


@dataclass
class FakeFleet:
    """An engine per key; each of them is also the proxy in front of itself."""

    urls: Mapping[EngineKey, str]
    proxied: list[str] = field(default_factory=list)
    proxies_stopped: bool = False

    async def engines(self, keys: Collection[EngineKey]) -> Mapping[EngineKey, str]:
        return {key: self.urls[key] for key in keys}

    async def proxy(self, lane: Lane, engine_url: str) -> tuple[str, str]:
        self.proxied.append(lane.name)
        return engine_url, engine_url

    def stop_proxies(self) -> None:
        self.proxies_stopped = True


@asynccontextmanager
async def fleet_of(engines: Mapping[EngineKey, FakeEngine]) -> AsyncIterator[FakeFleet]:
    async with AsyncExitStack() as stack:
        urls = {key: await stack.enter_async_context(serve(engine.app())) for key, engine in engines.items()}
        yield FakeFleet(urls)


async def test_lanes_take_turns_step_by_step_and_the_first_turn_goes_round() -> None:
    (lanes,) = passes(["stock", "off", "on"], 3)
    order: list[str] = []
    async with fleet_of({lane.engine: FakeEngine() for lane in lanes}) as fleet:
        plays = await play_pass(PROGRAM, lanes, fleet, on_step=lambda lane: order.append(lane.name))
    assert order == [
        *("stock", "off", "on"),
        *("off", "on", "stock"),
        *("on", "stock", "off"),
        *("stock", "off", "on"),
    ]
    assert [play.configuration for play in plays] == ["stock", "off", "on"]
    assert fleet.proxied == ["off", "on"]
    assert fleet.proxies_stopped


async def test_every_lane_plays_the_whole_program_from_an_empty_cache() -> None:
    (lanes,) = passes(["stock", "off"], 2)
    engines = {lane.engine: FakeEngine() for lane in lanes}
    async with fleet_of(engines) as fleet:
        plays = await play_pass(PROGRAM, lanes, fleet, rules=Rules(repeats=2))
    keys = [(step.index, activation.agent, index) for step, activation, index, _ in PROGRAM.calls()]
    assert [(play.configuration, play.repeat) for play in plays] == [
        ("stock", 0),
        ("off", 0),
        ("stock", 1),
        ("off", 1),
    ]
    for play in plays:
        assert [call.key for call in play.calls] == keys
        assert all(call.error is None for call in play.calls)
        assert play.step_seconds is not None
        assert play.step_seconds["prefill"] == pytest.approx(0.0001 * len(keys))
    # Of those that call side by side, whoever comes first finds nothing of what all have in common.
    found = [sorted(call.cached_tokens for call in play.calls) for play in plays]
    assert found[0] == found[2]
    assert [engine.flushes for engine in engines.values()] == [2, 2]


async def test_each_repeat_is_a_simulation_of_its_own() -> None:
    (lanes,) = passes(["on"], 1)
    engine = FakeEngine()
    async with fleet_of({lanes[0].engine: engine}) as fleet:
        await play_pass(PROGRAM, lanes, fleet, rules=Rules(repeats=2))
    made = [what.removeprefix("PUT ") for what, _ in engine.told if what.startswith("PUT")]
    ended = [what.removeprefix("DELETE ") for what, _ in engine.told if what.startswith("DELETE")]
    assert made == ended
    assert len(set(made)) == 3  # with the warm-up


async def test_only_a_simulation_with_hints_talks_to_the_admin_api() -> None:
    (lanes,) = passes(["off", "on-nohints", "on"], 3)
    engines = {lane.engine: FakeEngine() for lane in lanes}
    async with fleet_of(engines) as fleet:
        await play_pass(PROGRAM, lanes, fleet)
    told = [len(engine.told) for engine in engines.values()]
    assert told[:2] == [0, 0]
    assert told[2] == 4 + 2 + 2 * len(PROGRAM.steps)
    assert all("x-agent-id" in asked.headers for engine in engines.values() for asked in engine.asked)


async def test_each_lane_tells_what_its_configuration_says() -> None:
    program = scenario("interaction").generate(Wishes(agents=8, steps=3, persona_tokens=30, growth_tokens=8))
    (lanes,) = passes(["on-nohints", "ticks", "plan", "spatial", "on"], 5)
    engines = {lane.engine: FakeEngine(accuracy={"hint": {"order": 0.5}}) for lane in lanes}
    async with fleet_of(engines) as fleet:
        plays = await play_pass(program, lanes, fleet)
    told = [{path.split("/")[-1] for path, _ in engine.told if "/" in path} for engine in engines.values()]
    assert told == [
        set(),
        {"ticks"},
        {"ticks", "actions"},
        {"ticks", "actions", "space", "positions"},
        {"ticks", "distances"},
    ]
    # Whoever is told nothing is asked all the same how right its own guesses were.
    assert all(play.accuracy for play in plays)


async def test_a_lane_that_cannot_answer_is_not_measured() -> None:
    (lanes,) = passes(["stock", "off"], 2)
    engines = {lanes[0].engine: FakeEngine(), lanes[1].engine: FakeEngine(failure="refuse")}
    async with fleet_of(engines) as fleet:
        with pytest.raises(WarmUpFailed, match="off: InternalServerError"):
            await play_pass(PROGRAM, lanes, fleet)
    assert fleet.proxies_stopped


ADAPTED = scenario("independent").generate(
    Wishes(agents=8, steps=4, persona_tokens=30, growth_tokens=8, adapters=True)
)
PATHS = {f"ad-{index}": f"/adapters/ad-{index}" for index in range(8)}


async def test_with_whole_plays_a_lane_plays_to_the_end_before_the_next_begins() -> None:
    (lanes,) = passes(["stock", "off"], 2)
    order: list[str] = []
    async with fleet_of({lane.engine: FakeEngine() for lane in lanes}) as fleet:
        rules = Rules(repeats=2, whole_plays=True)
        plays = await play_pass(
            PROGRAM, lanes, fleet, rules=rules, on_step=lambda lane: order.append(lane.name)
        )
    assert order == [*["stock"] * 4, *["off"] * 4, *["off"] * 4, *["stock"] * 4]
    assert [(play.configuration, play.repeat) for play in plays] == [
        ("stock", 0),
        ("off", 0),
        ("off", 1),
        ("stock", 1),
    ]


async def test_with_whole_plays_each_repeat_has_a_proxy_of_its_own() -> None:
    (lanes,) = passes(["stock", "off"], 2)
    for whole_plays, proxies in ((True, 2), (False, 1)):
        async with fleet_of({lane.engine: FakeEngine() for lane in lanes}) as fleet:
            await play_pass(PROGRAM, lanes, fleet, rules=Rules(repeats=2, whole_plays=whole_plays))
        assert fleet.proxied == ["off"] * proxies


async def test_every_engine_has_all_adapters_before_its_first_call_and_every_lane_names_them() -> None:
    (lanes,) = passes(["stock", "on"], 2)
    engines = {lane.engine: FakeEngine() for lane in lanes}
    async with fleet_of(engines) as fleet:
        plays = await play_pass(ADAPTED, lanes, fleet, rules=Rules(adapter_paths=PATHS))
        # A second pass on the same engines finds them there.
        await play_pass(ADAPTED, lanes, fleet, rules=Rules(adapter_paths=PATHS))
    assert not [call.error for play in plays for call in play.calls if call.error is not None]
    bodies = [[asked.body for asked in engine.asked] for engine in engines.values()]
    # Those of a step arrive in any order.
    stock, on = (Counter(body["lora_path"] for body in of_lane) for of_lane in bodies)
    assert stock == on
    for engine in engines.values():
        assert engine.adapters == PATHS
    for play in plays:
        assert sum(play.adapter_lookups.values()) == len(play.calls)


async def test_loads_ahead_of_calls_are_those_of_the_play_and_of_extended_engines_alone() -> None:
    (lanes,) = passes(["stock", "on"], 2)
    before = {"lora": {"issued": 5, "used": 4}}
    engines = {lane.engine: FakeEngine(loads=before) for lane in lanes}
    async with fleet_of(engines) as fleet:
        stock, on = await play_pass(PROGRAM, lanes, fleet, rules=Rules(counts_loads=True))
    assert stock.loads == {}
    assert on.loads == {"lora": {"issued": 0, "used": 0}}


async def test_a_lane_may_play_another_program() -> None:
    (lanes,) = passes(["stock", "off"], 2)
    engines = {lane.engine: FakeEngine() for lane in lanes}
    async with fleet_of(engines) as fleet:
        rules = Rules(adapter_paths=PATHS, instead={"off": swapped(ADAPTED)})
        right, wrong = await play_pass(ADAPTED, lanes, fleet, rules=rules)
    callers = dict.fromkeys(call.agent for call in sorted(right.calls, key=lambda call: call.agent))
    differs = {
        mine.agent for mine, other in zip(right.calls, wrong.calls, strict=True) if mine.text != other.text
    }
    assert differs == set(list(callers)[:2])
