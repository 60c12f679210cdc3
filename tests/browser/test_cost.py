"""What it costs the proxy that somebody looks on, in processor time: of a second with a hundred calls among ten thousand agents,
all that the feed does is timed, and nothing else. Needs no browser."""

from __future__ import annotations

import asyncio
import time
from statistics import mean

import pytest

from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.admin.desk import Desk
from scalesim.proxy.admin.live import AGENTS, LOOKS, Live
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.core.events import DistanceHinted, Event
from scalesim.proxy.core.model import Clock
from scalesim.proxy.settings import Settings
from tests.proxy.admin.conftest import Nothing

from .crowd import CITY, Crowd, crowd

pytestmark = [pytest.mark.anyio, pytest.mark.browser, pytest.mark.slow]

CALLS_PER_S = 100
SECONDS = 40
MOST = 0.10
"""Of a processor core."""


class Timed:
    """A feed that beats when it is told to, and what it takes."""

    def __init__(self, city: Crowd) -> None:
        self.hearing_s = 0.0
        proxy = city.proxy
        desk = Desk(
            proxy.runtime,
            proxy.controller,
            proxy.fleet,
            proxy.callers,
            Nothing(),
            (),
            Configuration(Settings(engine="http://engine")),
            proxy.runtime.now,
            began=0.0,
            operations=proxy.operations,
            action_log=ActionLog(proxy.runtime.now, proxy.controller.why),
        )
        self.live = Live(desk, wait=self._wait)
        hear = self.live._hear

        def heard(event: Event) -> None:
            began = time.thread_time()
            hear(event)
            self.hearing_s += time.thread_time() - began

        self.live._hear = heard  # type: ignore[method-assign]

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await asyncio.Event().wait()

    async def beat(self) -> float:
        """Seconds of the processor: nobody else has a turn in between."""
        began = time.thread_time()
        await self.live.beat()
        return time.thread_time() - began


@pytest.mark.parametrize("told_each_second", [False, True], ids=["calls", "calls and all distances"])
async def test_live_updates_of_ten_thousand_agents_take_less_than_a_tenth_of_a_core(
    told_each_second: bool,
) -> None:
    async with crowd(10_000, CALLS_PER_S) as city:
        await city.settle()
        feed, post, now = Timed(city), city.proxy.runtime.post, city.proxy.runtime.now
        with feed.live.listening(CITY) as listener:
            filling = await feed.beat()
            feed.hearing_s, beats, sent = 0.0, [], []
            for second in range(SECONDS):
                first = second * CALLS_PER_S % len(city.agents)
                calling = city.agents[first : first + CALLS_PER_S]
                running = [(city.begin(agent), agent) for agent in calling]
                for call, agent in running:
                    city.end(call, agent)
                told = city.agents if told_each_second else calling
                for at in range(0, len(told), 50):
                    post(
                        DistanceHinted(
                            now(), CITY, Clock.SECONDS, dict.fromkeys(told[at : at + 50], 90.0 + second)
                        )
                    )
                await asyncio.sleep(0.1)  # plans and reports
                while not listener._queue.empty():
                    listener._queue.get_nowait()
                beats.append(await feed.beat())
                message = listener._queue.get_nowait()
                sent.append(0 if message is None else len(message))
    cost = mean(beats) + feed.hearing_s / SECONDS
    print(
        f"\n10,000 agents, {CALLS_PER_S} calls a second{', all distances told anew' if told_each_second else ''}: "
        f"{cost:.1%} of a core ({1000 * mean(beats):.1f} ms a picture, the longest {1000 * max(beats):.1f} ms; "
        f"{1000 * feed.hearing_s / SECONDS:.1f} ms for events), {mean(sent) / 1000:.1f} kB a second; "
        f"the first picture {1000 * filling:.0f} ms, once; at most {LOOKS} of {AGENTS} agents are looked at a second"
    )
    assert cost < MOST
