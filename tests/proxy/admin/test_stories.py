from __future__ import annotations

import pytest

from scalesim.proxy.admin.stories import StoryAnswer
from scalesim.proxy.core.model import CallId
from scalesim.proxy.recognition.guess import Told
from scalesim.proxy.recognition.recipes.shelf import Shelf
from tests.proxy.recognition.recipes import forms

from .conftest import Proxy

pytestmark = pytest.mark.anyio
PATH = "/admin/v1/simulations"


async def test_an_agents_story_tells_what_was_expected_and_what_its_calls_found(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    hints = {"unit": "steps", "distances": {"Ann": 3}}
    await proxy.client.post(f"{PATH}/{town}/distances", json=hints)
    proxy.call(town, "Ann", prompt=300, cached=275)
    told = (await proxy.client.get(f"{PATH}/{town}/agents/Ann/story")).json()
    assert (told["simulation"], told["agent"]) == (town, "Ann")
    estimate, at_call = told["estimates"]
    assert (estimate["distance"], estimate["unit"], estimate["source"]) == (3, "steps", "hinted")
    assert at_call["ago_s"] <= estimate["ago_s"] < 60
    calls = [(one["cached_tokens"], one["expected_tokens"], one["miss"]) for one in told["calls"]]
    assert calls == [(25, 100, "never_seen"), (275, 107, None)]
    assert told["calls"][1]["first_call"]
    assert told["calls"][1]["engine"] == "fake"


async def test_an_agent_that_is_not_expected_again_is_infinitely_far(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    hints = {"unit": "steps", "distances": {"Ann": None}}
    await proxy.client.post(f"{PATH}/{town}/distances", json=hints)
    proxy.call(town, "Ann")
    told = (await proxy.client.get(f"{PATH}/{town}/agents/Ann/story")).json()
    assert [one["distance"] for one in told["estimates"]] in ([None], [None, None])


async def test_an_agent_that_did_not_call_has_an_empty_story(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    hints = {"unit": "steps", "distances": {"Bob/1": 3}, "create_agents": True}
    await proxy.client.post(f"{PATH}/{town}/distances", json=hints)
    told = (await proxy.client.get(f"{PATH}/{town}/agents/Bob/1/story")).json()
    nothing = {"recognised": None, "estimates": [], "moves": [], "calls": []}
    assert told == {"simulation": town, "agent": "Bob/1", **nothing}


async def test_a_story_says_how_its_agent_was_found(proxy: Proxy) -> None:
    proxy.callers.index = Shelf().index
    prompt = forms.oasis("Ann", ["Bob"])[0].prompt
    body = {"messages": [{"role": one.role, "content": one.text} for one in prompt.messages]}
    nobody = Told(None, "", None, "", 0.0)
    found = proxy.callers.recognise(CallId(1), 1.0, nobody, "/v1/chat/completions", body)
    proxy.call(found.simulation, "Ann")
    told = (await proxy.client.get(f"{PATH}/oasis/agents/Ann/story")).json()["recognised"]
    assert (told["source"], told["confidence"], told["kind"]) == ("recipe:oasis", found.confidence, "agent")
    assert told["why"]
    metrics = (await proxy.client.get("/metrics")).text
    assert 'scalesim_named_calls_total{source="recipe:oasis"} 1' in metrics


@pytest.mark.parametrize("path", ["atlantis/agents/Ann", "calling-town/agents/Nobody"])
async def test_a_story_of_somebody_unknown_is_not_found(proxy: Proxy, path: str) -> None:
    await proxy.client.put(f"{PATH}/calling-town")
    answer = await proxy.client.get(f"{PATH}/{path}/story")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("atlantis" in answer.json()["detail"]) == path.startswith("atlantis")


async def test_the_example_is_one() -> None:
    StoryAnswer.model_validate(StoryAnswer.model_json_schema()["example"])


async def test_misses_are_counted_by_cause_in_the_metrics(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    lines = (await proxy.client.get("/metrics")).text.splitlines()
    assert f'scalesim_misses_total{{simulation="{town}",cause="never_seen"}} 2' in lines
    assert 'scalesim_table_entries{table="story_adapters"} 0' in lines
