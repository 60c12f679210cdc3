"""Calls of clients that say nothing of who they are, through a real server: the core hears whose they are, and the bytes stay."""

from __future__ import annotations

import orjson
import pytest

from scalesim.proxy.core.events import CallStarted, StepTicked
from scalesim.proxy.recognition.guess import Rung
from tests.proxy.recognition.recipes import forms

from .rig import Recorder, client, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
ALL = frozenset(Rung)


def body_of(form: forms.Form) -> dict[str, object]:
    return {"messages": [{"role": one.role, "content": one.text} for one in form.prompt.messages]}


def answer_of(text: str) -> bytes:
    return orjson.dumps({"choices": [{"index": 0, "message": {"content": text}}]})


async def test_a_client_that_says_nothing_is_known_by_its_frameworks_recipe() -> None:
    async with rig(Recorder(answer_of("So be it.")), rungs=ALL) as r, client() as c:
        await c.post(r.url + CHAT, json=body_of(forms.oasis("Ann", ["Bob"])[0]))
        await r.log.until_ended()
    (started,) = r.log.started
    assert (started.simulation, started.agent) == ("oasis", "Ann")


async def test_without_rungs_it_is_nobody() -> None:
    async with rig(Recorder(answer_of("So be it."))) as r, client() as c:
        await c.post(r.url + CHAT, json=body_of(forms.oasis("Ann", ["Bob"])[0]))
        await r.log.until_ended()
    (started,) = r.log.started
    assert (started.simulation, started.agent) == ("default", None)


async def test_a_time_in_the_prompt_is_a_tick_before_the_call() -> None:
    timed = next(form for form in forms.mesa_llm("Ann", ["Bob"]) if form.step is not None)
    async with rig(Recorder(answer_of("So be it.")), rungs=ALL) as r, client() as c:
        for number in (1, 2):
            await c.post(r.url + CHAT, json=body_of(timed))
            await r.log.until_ended(number)
    ticked, started, *others = [one for one in r.log.events if isinstance(one, StepTicked | CallStarted)]
    assert isinstance(ticked, StepTicked)
    assert (ticked.simulation, ticked.step) == ("mesa-llm", timed.step)
    assert isinstance(started, CallStarted)
    assert not any(isinstance(one, StepTicked) for one in others)


async def test_a_call_that_ends_an_activation_says_so_when_it_ends() -> None:
    async with rig(Recorder(answer_of("So be it.")), rungs=ALL) as r, client() as c:
        await c.post(r.url + CHAT, json=body_of(forms.oasis("Ann", ["Bob"])[0]))
        ended = await r.log.until_ended()
    assert ended.ends


async def test_what_was_answered_links_the_request_that_repeats_it() -> None:
    plan = "I walk to the well and fetch water for the goats before noon."
    reasoning, *_ = forms.mesa_llm("Ann", ["Bob"])
    follows = [{"role": "assistant", "content": plan}, {"role": "user", "content": "Go on, then."}]
    async with rig(Recorder(answer_of(plan)), rungs=ALL) as r, client() as c:
        for number, body in enumerate((body_of(reasoning), {"messages": follows}), 1):
            await c.post(r.url + CHAT, json=body)
            await r.log.until_ended(number)
    assert [(one.simulation, one.agent) for one in r.log.started] == [("mesa-llm", reasoning.who)] * 2
