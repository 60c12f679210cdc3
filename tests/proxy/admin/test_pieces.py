from __future__ import annotations

import asyncio

import pytest

from scalesim.proxy.admin.desk import Desk
from scalesim.proxy.admin.pieces import caught_up, pieces, posted
from scalesim.proxy.admin.problems import Problem
from scalesim.proxy.core.events import Activated, AgentLeft, EdgesGiven
from scalesim.proxy.core.model import AgentName

from .conftest import Proxy

pytestmark = pytest.mark.anyio


def desk_of(proxy: Proxy) -> Desk:
    now = proxy.runtime.now
    return Desk(proxy.runtime, proxy.controller, (), None, now, now())  # type: ignore[arg-type]  # no settings asked


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


async def test_who_catches_up_leaves_nothing(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    now = proxy.runtime.now()
    proxy.runtime.post(EdgesGiven(now, town, [(AgentName("Ann"), AgentName("Bob"))]))
    proxy.runtime.post(Activated(now, town, [AgentName("Ann")]))
    assert proxy.controller.behind
    await caught_up(desk_of(proxy))
    assert not proxy.controller.behind
