from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.admin import live as feed
from scalesim.proxy.admin.desk import Desk
from scalesim.proxy.admin.live import Live
from scalesim.proxy.app import running
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.core.actions import FetchAdapter
from scalesim.proxy.core.events import AgentLeft, CallStarted, DistanceHinted, PolicySet, SimulationEnded
from scalesim.proxy.core.model import AdapterName, AgentName, CallId, Clock, EngineId, SimulationId
from scalesim.proxy.dispatch import Outcome
from scalesim.proxy.settings import Settings
from tests.support.patience import PATIENCE_S, soon

from .conftest import Nothing, Proxy

pytestmark = pytest.mark.anyio

LIVE = "/admin/v1/live"


class Page:
    """A client that puts together what it is told."""

    def __init__(self) -> None:
        self.words: dict[int, str] = {}
        self.agents: dict[int, list[Any]] = {}
        self.told: list[dict[str, Any]] = []

    def take(self, message: bytes) -> dict[str, Any]:
        lines = dict(line.split(": ", 1) for line in message.decode().strip().splitlines() if ": " in line)
        told: dict[str, Any] = json.loads(lines["data"]) | {"event": lines["event"], "id": lines.get("id")}
        self.told.append(told)
        known = told.get("field", {})
        self.words.update(dict(known.get("words", [])))
        for number, *row in known.get("agents", []):
            self.agents[number] = row if len(row) == 8 else [*row, self.agents[number][-1]]
        for number in known.get("gone", []):
            self.agents.pop(number, None)
        return told

    @property
    def names(self) -> set[str]:
        return {row[-1] for row in self.agents.values()}

    def state(self, name: str) -> int:
        return next(row[1] for row in self.agents.values() if row[-1] == name)


class Beats:
    """A feed without time: it beats when a test says so."""

    def __init__(self, proxy: Proxy) -> None:
        self.now = 0.0
        self.go_on = asyncio.Event()
        self.ending = False
        self.action_log = ActionLog(lambda: self.now, proxy.controller.why)
        desk = Desk(
            proxy.runtime,
            proxy.controller,
            proxy.fleet,
            proxy.callers,
            Nothing(),
            (),
            Configuration(Settings(engine="http://engine")),
            lambda: self.now,
            began=0.0,
            operations=proxy.operations,
            action_log=self.action_log,
            is_ending=lambda: self.ending,
        )
        self.live = Live(desk, run="run", wait=self._wait)

    async def _wait(self, seconds: float) -> None:
        await (self.go_on.wait() if seconds else asyncio.sleep(0))  # the next beat is the test's

    async def beat(self, times: int = 1) -> None:
        for _ in range(times):
            await self.live.beat()


def queued(listener: feed.Listener, page: Page) -> list[dict[str, Any]]:
    messages: deque[bytes | None] = listener._queue._queue  # type: ignore[attr-defined]
    messages.extendleft(reversed(list(listener.first)))
    listener.first = ()
    told = [page.take(message) for message in messages if message and b"data: " in message]
    messages.clear()
    return told


@pytest.fixture
async def beats(proxy: Proxy) -> AsyncIterator[Beats]:
    beats = Beats(proxy)
    yield beats
    task = beats.live._beats
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


async def test_a_picture_comes_first_and_then_what_changed(proxy: Proxy, beats: Beats) -> None:
    town, page = proxy.simulation("Ann", "Bob"), Page()
    with beats.live.listening(town) as listener:
        await beats.beat()
        first, then = queued(listener, page)
        assert (first["event"], then["event"]) == ("picture", "change")
        assert first["overview"]["simulations"][town]["agents"] == 2
        assert page.names == {"Ann", "Bob"}
        call = CallStarted(proxy.runtime.now(), CallId(10**6), town, AgentName("Ann"), EngineId("fake"))
        proxy.runtime.post(call)
        await beats.beat()
        (change,) = queued(listener, page)
        assert change["overview"]["simulations"][town]["running"] == 1
        assert (page.state("Ann"), page.state("Bob")) == (2, 1)


async def test_actions_are_told_once_they_have_ended_each_once(proxy: Proxy, beats: Beats) -> None:
    log, page = beats.action_log, Page()
    before, after = (FetchAdapter(EngineId("fake"), AdapterName(name), "/p") for name in ("old", "new"))
    log.asked(before)
    log.ended(before, Outcome("done"))
    log.asked(after)
    with beats.live.listening(None) as listener:
        await beats.beat()
        first, then = queued(listener, page)
        assert [one[4] for one in first["actions"]] == ["old"]
        log.ended(after, Outcome("refused", "no such file"))
        await beats.beat(2)
        change, last = queued(listener, page)
        ((number, *_, why, result, failed),) = change["actions"]
        assert number > first["actions"][-1][0]
        assert (why, result, failed) == (log.ended_after(number - 1)[0].why, "no such file", True)
        assert "actions" not in then
        assert "actions" not in last


async def test_the_policy_that_is_told_is_the_one_in_force(proxy: Proxy, beats: Beats) -> None:
    page = Page()
    with beats.live.listening(None) as listener:
        await beats.beat()
        queued(listener, page)
        proxy.runtime.post(PolicySet(proxy.runtime.now(), None, "lru"))
        await beats.beat()
        (change,) = queued(listener, page)
        assert change["overview"]["policy"] == "lru"


async def test_agents_that_come_are_told_and_those_that_leave(proxy: Proxy, beats: Beats) -> None:
    town, page = proxy.simulation("Ann"), Page()
    with beats.live.listening(town) as listener:
        await beats.beat()
        proxy.call(town, "Bob")
        proxy.runtime.post(AgentLeft(proxy.runtime.now(), town, AgentName("Ann")))
        await beats.beat()
        queued(listener, page)
        assert page.names == {"Bob"}
        proxy.runtime.post(SimulationEnded(proxy.runtime.now(), town))
        await beats.beat()
        (last,) = queued(listener, page)
        assert page.names == set()
        assert last["overview"]["simulations"] == {town: None}


async def test_a_simulation_that_is_not_known_yet_is_waited_for(proxy: Proxy, beats: Beats) -> None:
    page = Page()
    with beats.live.listening(SimulationId("to-come")) as listener:
        await beats.beat()
        proxy.call(SimulationId("to-come"), "Ann")
        await beats.beat()
        queued(listener, page)
        assert page.names == {"Ann"}


async def test_each_message_is_made_once_for_all(proxy: Proxy, beats: Beats) -> None:
    town = proxy.simulation("Ann")
    with beats.live.listening(town) as one, beats.live.listening(town) as other:
        await beats.beat(3)
        first, second = (list(listener._queue._queue) for listener in (one, other))  # type: ignore[attr-defined]
        assert len(first) == 3
        assert all(mine is yours for mine, yours in zip(first, second, strict=True))


async def test_who_takes_nothing_is_dropped_and_the_others_are_not(proxy: Proxy, beats: Beats) -> None:
    town, page = proxy.simulation("Ann"), Page()
    with beats.live.listening(town) as slow, beats.live.listening(town) as quick:
        for _ in range(feed.QUEUED + 2):
            await beats.beat()
            queued(quick, page)
        assert (slow.is_over, quick.is_over) == (True, False)
        assert beats.live.sizes()["live_listeners"] == 1
        assert slow._queue.qsize() <= feed.QUEUED


async def test_who_comes_again_goes_on_where_it_was(proxy: Proxy, beats: Beats) -> None:
    town, page = proxy.simulation("Ann"), Page()
    with beats.live.listening(town) as listener:
        await beats.beat(2)
        last = queued(listener, page)[-1]["id"]
    proxy.call(town, "Bob")
    await beats.beat()
    with beats.live.listening(town, last) as listener:
        (missed,) = queued(listener, page)
        assert missed["event"] == "change"
        assert page.names == {"Ann", "Bob"}


@pytest.mark.parametrize("last", ["run-0", "other-1", "run-99", "nonsense", "-", "run-²"])
async def test_who_missed_too_much_gets_a_whole_picture(proxy: Proxy, beats: Beats, last: str) -> None:
    town, page = proxy.simulation("Ann"), Page()
    with beats.live.listening(town):
        await beats.beat(feed.KEPT + 2)
        with beats.live.listening(town, last) as listener:
            (first,) = queued(listener, page)
            assert (first["event"], page.names) == ("picture", {"Ann"})


async def test_a_large_picture_comes_in_pieces_and_only_its_last_can_be_gone_on_from(
    proxy: Proxy, beats: Beats, monkeypatch: Any
) -> None:
    monkeypatch.setattr(feed, "ROWS", 2)
    town, page = proxy.simulation("Ann", "Bob", "Cem", "Dora", "Eli"), Page()
    with beats.live.listening(town):
        await beats.beat()
        with beats.live.listening(town) as listener:
            pieces = iter(listener.first)
            first = page.take(next(pieces))
            proxy.runtime.post(AgentLeft(proxy.runtime.now(), town, AgentName("Cem")))
            proxy.call(town, "Fay")
            await beats.beat()
            rest = [page.take(piece) for piece in pieces]
            assert [one["event"] for one in (first, *rest)] == ["picture", "change", "change"]
            assert [one["id"] for one in (first, *rest[:-1])] == [None, None]
            assert rest[-1]["id"] is not None
            queued(listener, page)
            assert page.names == {"Ann", "Bob", "Dora", "Eli", "Fay"}


async def test_an_idle_agent_costs_no_look_beyond_its_turn(
    proxy: Proxy, beats: Beats, monkeypatch: Any
) -> None:
    town = proxy.simulation(*(f"agent {number}" for number in range(2 * feed.ROUND)))
    looks: list[str] = []
    glance = proxy.controller.glance
    with beats.live.listening(town):
        await beats.beat()
        channel = beats.live._channels[town]
        while channel.shown.active:
            for name in channel.shown.active:  # as if their activations were over
                channel.shown._active.pop(name)
        channel.touched.clear()
        monkeypatch.setattr(proxy.controller, "glance", lambda *of: looks.append(of[1]) or glance(*of))
        for _ in range(4):
            looks.clear()
            await beats.beat()
            assert len(looks) <= feed.ROUND


async def test_much_that_is_told_at_once_is_shown_bit_by_bit(
    proxy: Proxy, beats: Beats, monkeypatch: Any
) -> None:
    monkeypatch.setattr(feed, "LOOKS", 50)
    names = [AgentName(f"agent {number}") for number in range(120)]
    town, page = proxy.simulation(*names), Page()
    with beats.live.listening(town) as listener:
        await beats.beat()
        queued(listener, page)
        told = DistanceHinted(proxy.runtime.now(), town, Clock.SECONDS, dict.fromkeys(names, 500.0))
        proxy.runtime.post(told)
        behind = []
        for _ in range(8):
            await beats.beat()
            (change,) = queued(listener, page)
            behind.append(change["field"]["behind"])
        assert behind[0] > 0
        assert beats.live.sizes()["live_touched"] <= len(names)


async def test_a_field_is_bounded(proxy: Proxy, beats: Beats, monkeypatch: Any) -> None:
    monkeypatch.setattr(feed, "AGENTS", 3)
    town, page = proxy.simulation("Ann", "Bob"), Page()
    with beats.live.listening(town) as listener:
        await beats.beat()
        for name in ("Cem", "Dora", "Eli", "Fay", "Gus"):
            proxy.call(town, name)
        assert beats.live.sizes()["live_touched"] <= 3
        await beats.beat(2)
        queued(listener, page)
        assert page.names == {"Ann", "Bob", "Cem"}
        proxy.call(town, "Hana")
        assert beats.live.sizes()["live_touched"] == 0


async def test_while_nobody_looks_nothing_is_heard_and_nothing_kept(proxy: Proxy, beats: Beats) -> None:
    town = proxy.simulation("Ann")
    before = proxy.runtime._overhearing
    with beats.live.listening(town):
        assert len(proxy.runtime._overhearing) == len(before) + 1
        await asyncio.sleep(0)
    beats.now += feed.LINGER_S / 2
    await beats.beat()
    assert beats.live.sizes()["live_agents"] == 1
    beats.now += feed.LINGER_S
    await beats.beat()
    assert beats.live.sizes()["live_agents"] == 0
    beats.go_on.set()
    task = beats.live._beats
    assert task is not None
    await soon(task, PATIENCE_S)
    assert proxy.runtime._overhearing == before


async def test_a_proxy_that_is_about_to_end_lets_its_listeners_go(proxy: Proxy, beats: Beats) -> None:
    town = proxy.simulation("Ann")
    with beats.live.listening(town) as listener:
        beats.ending = True
        await beats.beat()
        assert listener.is_over
        (_,) = [message async for message in listener.messages()]  # the picture, and no more


async def test_a_feed_that_fails_ends_its_streams_and_begins_anew(
    proxy: Proxy, beats: Beats, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    town = proxy.simulation("Ann")
    with beats.live.listening(town) as listener, monkeypatch.context() as broken:
        broken.setattr(proxy.controller, "clocks", lambda _: 1 / 0)
        beats.go_on.set()
        task = beats.live._beats
        assert task is not None
        await asyncio.wait([task])
        assert listener.is_over
    assert "the live feed failed" in caplog.text
    beats.go_on.clear()
    with beats.live.listening(town):
        await beats.beat()
        assert beats.live.sizes()["live_agents"] == 1


@asynccontextmanager
async def streamed(proxy: Proxy, town: str) -> AsyncIterator[AsyncIterator[tuple[str, dict[str, Any]]]]:
    async with proxy.client.stream("GET", LIVE, params={"simulation": town}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        async def events() -> AsyncIterator[tuple[str, dict[str, Any]]]:
            event = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: "):
                    yield event, json.loads(line[6:])

        yield events()


async def test_over_http_it_begins_with_the_picture_and_ends_with_the_client(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    async with streamed(proxy, town) as events:
        event, told = await soon(anext(events), PATIENCE_S)
        assert event == "picture"
        assert told["field"]["simulation"] == town
        event, told = await soon(anext(events), PATIENCE_S)
        assert event == "change"


async def test_no_more_than_a_few_may_listen(proxy: Proxy, monkeypatch: Any) -> None:
    monkeypatch.setattr(feed, "LISTENERS", 1)
    town = proxy.simulation("Ann")
    async with streamed(proxy, town) as events:
        await soon(anext(events), PATIENCE_S)
        async with proxy.client.stream("GET", LIVE) as refused:
            assert refused.status_code == 503
            assert json.loads(await refused.aread())["limit"] == 1


async def test_it_is_not_told_without_a_key(locked: Proxy) -> None:
    async with locked.client.stream("GET", LIVE) as answer:
        assert answer.status_code == 401


async def test_how_much_it_holds_is_published(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    async with streamed(proxy, town) as events:
        await soon(anext(events), PATIENCE_S)
        sizes = (await proxy.client.get("/admin/v1/status")).json()["sizes"]
    assert sizes["live_listeners"] == 1
    assert sizes.keys() >= {"live_agents", "live_touched", "watched_calls", "watched_loads"}


@pytest.mark.slow  # a proxy has a second to see that it is about to end
async def test_a_page_that_looks_on_does_not_hold_up_the_end_of_the_proxy() -> None:
    settings = Settings(engine="http://127.0.0.1:9", port=0, admin_port=0, drain_s=600.0)
    async with AsyncExitStack() as proxy, httpx.AsyncClient(trust_env=False) as client:
        where = await proxy.enter_async_context(running(settings))
        async with client.stream("GET", f"{where.admin}{LIVE}") as answer:
            ended = asyncio.create_task(proxy.aclose())
            async for line in answer.aiter_lines():
                last = line
            await soon(ended, PATIENCE_S)
    assert last == ""
