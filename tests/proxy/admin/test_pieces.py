from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.admin.desk import Desk
from scalesim.proxy.admin.pieces import pieces, posted
from scalesim.proxy.admin.problems import Problem
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.core.events import Activated, AgentLeft, EdgesGiven, Event, SimulationEnded
from scalesim.proxy.core.model import AgentName, SimulationId

from .conftest import Nothing, Proxy

pytestmark = pytest.mark.anyio


def desk_of(proxy: Proxy) -> Desk:
    now = proxy.runtime.now
    settings: Any = None  # nobody asks for them
    return Desk(
        proxy.runtime,
        proxy.controller,
        proxy.fleet,
        proxy.callers,
        Nothing(),
        (),
        Configuration(settings),
        now,
        now(),
        proxy.operations,
        ActionLog(now, proxy.controller.why),
    )


def test_pieces_hold_all_in_their_order() -> None:
    assert list(pieces("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(pieces([], 2)) == []


async def test_others_get_their_turn_between_two_events(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob", "Cem")
    seen: list[int] = []

    async def look() -> None:
        while True:
            seen.append(len(proxy.controller.agents(town)))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    now = proxy.runtime.now()
    await posted(desk_of(proxy), town, [AgentLeft(now, town, AgentName(one)) for one in ("Ann", "Bob")])
    looking.cancel()
    assert sorted(set(seen), reverse=True) == [3, 2, 1]


async def test_nothing_is_told_of_a_simulation_that_has_ended(proxy: Proxy) -> None:
    town = proxy.simulation()
    with pytest.raises(Problem, match="ended meanwhile"):
        await posted(desk_of(proxy), town, [EdgesGiven(0.0, town, [(AgentName("Ann"), AgentName("Bob"))])])
    assert not proxy.controller.knows(town)


async def test_nothing_is_told_of_one_that_began_anew_under_the_name_of_another(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")

    def events() -> Iterator[Event]:
        yield AgentLeft(0.0, town, AgentName("Ann"))
        proxy.runtime.post(SimulationEnded(proxy.runtime.now(), town))
        proxy.call(town, "Ann")
        yield AgentLeft(0.0, town, AgentName("Ann"))

    with pytest.raises(Problem, match="ended meanwhile") as refused:
        await posted(desk_of(proxy), town, events())
    assert refused.value.status == 409
    assert proxy.controller.knows(town, AgentName("Ann"))


async def test_who_tells_gets_a_turn_after_who_told_before(proxy: Proxy) -> None:
    town, desk = proxy.simulation("Ann"), desk_of(proxy)
    order: list[int] = []

    async def tell(number: int) -> None:
        async with desk.turn(town):
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*map(tell, range(4)))
    assert order == [0, 1, 2, 3]
    assert desk.turn(SimulationId("other")) is not desk.turn(town)


async def test_the_planner_goes_on_with_what_was_told_until_nothing_is_left(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    now = proxy.runtime.now()
    names = [AgentName(f"agent-{number}") for number in range(3_000)]
    desk = desk_of(proxy)
    proxy.runtime.post(EdgesGiven(now, town, list(pairwise(names))))
    proxy.runtime.post(Activated(now, town, names[:1]))
    desk.catch_up()
    assert proxy.controller.behind
    while proxy.controller.behind:  # noqa: ASYNC110  a few turns of this loop
        await asyncio.sleep(0)
    known = proxy.controller.agent(town, names[-1])
    assert known is not None
    assert known.distance == 2_999
