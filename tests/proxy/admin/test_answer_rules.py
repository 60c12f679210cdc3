from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from scalesim.proxy.core.durations import MAX_RULES, RULES, Reading, Scale
from scalesim.proxy.core.events import CallEnded, CallStarted
from scalesim.proxy.core.model import AgentName, CallId, Clock, EngineId, Outcome, SimulationId
from scalesim.proxy.settings import Settings

from .conftest import Proxy, started
from .test_hints import told

pytestmark = pytest.mark.anyio

BUSY = {"name": "busy", "pattern": "busy for (?P<amount>[0-9]{1,4}+)", "amount_unit": "hours", "factor": 2.0}
BODY = {"rules": [BUSY], "unit": "steps", "per_minute": 0.2}
NOTHING: dict[str, Any] = {"rules": [], "unit": None, "per_minute": None}


def url(simulation: str) -> str:
    return f"/admin/v1/simulations/{simulation}/answers"


async def put(proxy: Proxy, simulation: str, **other: Any) -> httpx.Response:
    return await proxy.client.put(url(simulation), json={**BODY, **other})


async def get(proxy: Proxy, simulation: str) -> dict[str, Any]:
    answer = await proxy.client.get(url(simulation))
    assert answer.status_code == 200
    known: dict[str, Any] = answer.json()
    assert known.pop("simulation") == simulation
    return known


async def test_nothing_is_read_unless_it_is_switched_on(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    assert proxy.controller.reading(town) is None
    assert await get(proxy, town) == {**NOTHING, "found": 0}


async def test_rules_hold_for_their_simulation_until_they_are_forgotten(proxy: Proxy) -> None:
    town, city = proxy.simulation("Ann"), proxy.simulation("Ann")
    answer = await put(proxy, town)
    rule = {**BUSY, "needs": [], "whole": False}
    expected = {"rules": [rule], "unit": "steps", "per_minute": 0.2, "found": 0}
    assert (answer.status_code, answer.json()) == (200, {"simulation": town, **expected})
    assert await get(proxy, town) == expected
    assert await get(proxy, city) == {**NOTHING, "found": 0}
    reading = proxy.controller.reading(town)
    assert reading is not None
    assert reading.acts_for("I am Busy for 3.") == (72.0, Clock.STEPS)
    assert (await proxy.client.get("/admin/v1/status")).json()["sizes"]["answer_rules"] == 1
    assert (await proxy.client.delete(url(town))).status_code == 204
    assert (await proxy.client.delete(url(town))).status_code == 204, "again changes nothing"
    assert proxy.controller.reading(town) is None


async def test_the_rules_that_come_with_the_proxy_have_a_name(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    await put(proxy, town, rules=[BUSY, "default"], unit="seconds", per_minute=1)
    reading = proxy.controller.reading(town)
    assert reading is not None
    assert [rule.name for rule in reading.rules] == ["busy", *(rule.name for rule in RULES)]
    assert reading.scale == Scale(Clock.SECONDS, 1.0)


async def test_what_is_answered_can_be_sent_again(proxy: Proxy) -> None:
    town, city = proxy.simulation("Ann"), proxy.simulation("Ann")
    await put(proxy, town, rules=["default"])
    known = await get(proxy, town)
    del known["found"]
    assert (await put(proxy, city, **known)).status_code == 200
    assert proxy.controller.reading(city) == proxy.controller.reading(town)


async def test_words_that_a_text_needs_are_taken_in_any_case(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    await put(proxy, town, rules=[{**BUSY, "needs": ["Busy"]}])
    reading = proxy.controller.reading(town)
    assert reading is not None
    assert reading.acts_for("Busy for 3") is not None


async def test_what_the_documentation_shows_is_taken(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    text = (Path(__file__).parents[3] / "docs" / "answers.md").read_text()
    shown = re.findall(r"^\{\n.*?^\}$|(?<=-d ')\{.*?\}(?='$)", text, re.DOTALL | re.MULTILINE)
    assert len(shown) == 2
    for body in shown:
        assert (await proxy.client.put(url(town), json=json.loads(body))).status_code == 200
    reading = proxy.controller.reading(town)
    assert reading is not None
    assert reading.acts_for("Busy for 2 hours") == (24.0, Clock.STEPS)
    assert set(re.findall("`([a-z_]+)`", text)) >= {rule.name for rule in RULES}


async def test_rules_go_with_their_simulation(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    await put(proxy, town)
    await proxy.client.delete(f"/admin/v1/simulations/{town}")
    proxy.call(town, "Ann")
    assert await get(proxy, town) == {**NOTHING, "found": 0}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"rules": [{**BUSY, "pattern": "for (?P<amount>[0-9]+)"}]}, "rule 'busy': + has no bound"),
        ({"rules": [BUSY, {**BUSY, "name": "open", "pattern": "("}]}, "rule 'open': groups must be"),
        (
            {"rules": [{**BUSY, "pattern": "For (?P<amount>[0-9])"}]},
            "rule 'busy': a pattern must be in lower",
        ),
        ({"rules": [{**BUSY, "pattern": "x" * 2000}]}, "rule 'busy': a pattern may have 1000 characters"),
        ({"rules": [{**BUSY, "amount_unit": "moons"}]}, "rule 'busy': unknown unit 'moons'"),
        ({"rules": [{**BUSY, "factor": 0}]}, "rule 'busy': factor"),
        ({"rules": [BUSY, BUSY]}, "rule 'busy': there are two"),
        ({"rules": ["default", "default"]}, f"rule {RULES[0].name!r}: there are two"),
        ({"rules": [BUSY] * (MAX_RULES + 1)}, "rules"),
        (
            {"rules": ["default", *({**BUSY, "name": f"{n}"} for n in range(MAX_RULES - 1))]},
            "may have 32 rules",
        ),
        ({"rules": ["best"]}, "rules.0"),
        ({"rules": [{"name": "busy"}]}, "rules.0"),
        ({"rules": [{**BUSY, "name": ""}]}, "rules.0"),
        ({"rules": [{**BUSY, "name": "a\nb"}]}, "rules.0"),
        ({"rules": [{**BUSY, "factor": "2"}]}, "rules.0"),
        ({"rules": [{**BUSY, "whole": 1}]}, "rules.0"),
        ({"rules": [{**BUSY, "flags": "i"}]}, "rules.0"),
        ({"rules": "default"}, "rules"),
        ({"unit": "moons"}, "unit"),
        ({"per_minute": 0}, "per_minute"),
        ({"per_minute": -1}, "per_minute"),
        ({"per_minute": 1e7}, "per_minute"),
        ({"per_minute": "1"}, "per_minute"),
        ({"per_minute": True}, "per_minute"),
        ({"model": "m"}, "model"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name_and_the_old_rules_stay(
    proxy: Proxy, other: dict[str, Any], says: str
) -> None:
    town = proxy.simulation("Ann")
    await put(proxy, town)
    before = proxy.controller.reading(town)
    answer = await put(proxy, town, **other)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert proxy.controller.reading(town) == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
async def test_a_number_that_is_none_is_refused(proxy: Proxy, number: str) -> None:
    town = proxy.simulation("Ann")
    raw = f'{{"rules": [], "unit": "steps", "per_minute": {number}}}'
    answer = await proxy.client.put(url(town), content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert proxy.controller.reading(town) is None


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
async def test_an_unknown_simulation_is_a_404(proxy: Proxy, method: str) -> None:
    answer = await proxy.client.request(method, url("atlantis"), json=BODY if method == "PUT" else None)
    assert answer.status_code == 404
    assert "atlantis" in answer.json()["detail"]
    assert not proxy.controller.knows(SimulationId("atlantis"))


async def test_what_was_found_is_counted_and_told_of_the_agent(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    await proxy.client.post(f"/admin/v1/simulations/{town}/ticks", json={"step": 1})
    now = proxy.runtime.now()
    for call, said in enumerate(((2.0, Clock.STEPS), None, (3.0, Clock.STEPS)), 1_000_000):
        proxy.runtime.post(CallStarted(now, CallId(call), town, AgentName("Bob"), EngineId("fake")))
        proxy.runtime.post(CallEnded(now, CallId(call), Outcome.DONE, None, None, said))
    assert (await get(proxy, town))["found"] == 2
    assert (await told(proxy, town))["Bob"] == (0, "steps", "activation")


async def test_a_proxy_may_read_the_answers_of_all_simulations() -> None:
    reading = Reading(RULES, Scale(Clock.STEPS, 0.2))
    async with started(Settings(engine="http://engine"), reading=reading) as proxy:
        town = proxy.simulation("Ann")
        assert len((await get(proxy, town))["rules"]) == len(RULES)
        assert (await put(proxy, town, rules=[])).json()["rules"] == [], "but not of this one"
        await proxy.client.delete(url(town))
        assert len((await get(proxy, town))["rules"]) == len(RULES)
