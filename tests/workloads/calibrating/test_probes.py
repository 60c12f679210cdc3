from __future__ import annotations

import pytest

from scalesim.workloads.calibrating.probes import Prober, Text
from scalesim.workloads.engines import EngineUnfit, http_client
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio


async def test_an_answer_is_seen_token_by_token() -> None:
    engine = FakeEngine(answer=lambda _: ["one ", "two ", "three"])
    async with serve(engine.app()) as url, http_client(url) as http:
        prober = Prober(http, "fake", 4.0, {"X-Agent-ID": "probe"})
        seen = await prober.ask(Text("a", 50), 3)
    assert len(seen.tokens_s) == seen.output_tokens == 3
    assert seen.asked_s < seen.tokens_s[0] <= seen.tokens_s[-1] <= seen.ended_s
    assert engine.asked[0].headers["x-agent-id"] == "probe"
    assert engine.asked[0].body["max_tokens"] == 3


async def test_a_text_behind_another_finds_that_one() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url, http_client(url) as http:
        prober = Prober(http, "fake", 4.0, {})
        before = Text("before", 200)
        first = await prober.ask(before, 1)
        behind = await prober.ask(Text("new", 50, (before,)), 1)
        other = await prober.ask(Text("other", 50), 1)
    assert behind.cached_tokens == first.prompt_tokens
    assert other.cached_tokens <= 1  # the name of its role


async def test_a_refusal_says_what_the_engine_said() -> None:
    engine = FakeEngine(failure="refuse")
    async with serve(engine.app()) as url, http_client(url) as http:
        with pytest.raises(EngineUnfit, match=r"500 .*no"):
            await Prober(http, "fake", 4.0, {}).ask(Text("a", 50), 1)


async def test_an_answer_without_usage_is_no_measurement() -> None:
    engine = FakeEngine(failure="silent")
    async with serve(engine.app()) as url, http_client(url) as http:
        with pytest.raises(EngineUnfit, match="without usage"):
            await Prober(http, "fake", 4.0, {}).ask(Text("a", 50), 1)


async def test_adapters_are_asked_for_as_the_engine_takes_them() -> None:
    engine = FakeEngine(adapters={"ad-0": "/0"})
    async with serve(engine.app()) as url, http_client(url) as http:
        await Prober(http, "fake", 4.0, {}).ask(Text("a", 20), 1, "ad-0")
        await Prober(http, "fake", 4.0, {}, names_adapters=True).ask(Text("b", 20), 1, "ad-0")
    assert engine.asked[0].body["lora_path"] == "ad-0"
    assert engine.asked[0].body["model"] == "fake"
    assert engine.asked[1].body["model"] == "ad-0"


async def test_others_come_when_the_first_is_in_the_middle_of_its_answer() -> None:
    engine = FakeEngine(answer=lambda _: ["w "] * 40)
    async with serve(engine.app()) as url, http_client(url) as http:
        first, others = await Prober(http, "fake", 4.0, {}).held_up(
            Text("first", 20), [Text("a", 20), Text("b", 20)], 1
        )
    assert len(others) == 2
    assert min(one.asked_s for one in others) > first.tokens_s[5]
