from __future__ import annotations

import pytest

from scalesim.workloads.calibration import of_engine
from scalesim.workloads.engines import Counters, Engine, EngineUnfit, http_client
from scalesim.workloads.prose import SAMPLE
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine, prompt_ids

pytestmark = pytest.mark.anyio


async def test_an_engine_is_asked_what_it_is() -> None:
    fake = FakeEngine(prefill_s=1.5)
    async with serve(fake.app()) as url, http_client(url) as http:
        engine = Engine(http)
        assert engine.url == url
        assert await engine.model() == "fake"
        assert await engine.capacity_tokens() == 100_000
        messages = ({"role": "user", "content": "hello world"},)
        assert await engine.prompt_ids(messages) == prompt_ids(list(messages))
        assert await engine.count_tokens("three words here") == 3
        counted = await engine.counters()
        assert counted.step_seconds == {"prefill": 1.5, "decode": 0.0, "load": 0.0}
        assert counted.adapter_lookups == {"hit": 0, "miss": 0}
        await engine.forget_everything()
    assert fake.flushes == 1


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        ({}, 0),
        ({"enable_hierarchical_cache": True, "hicache_ratio": 2.5, "hicache_size": 0}, 250_000),
        # The size goes before the ratio: 100,000 tokens take 12.207 GiB, one 131,072 bytes.
        ({"enable_hierarchical_cache": True, "hicache_ratio": 2.0, "hicache_size": 80}, 610_356),
        ({"enable_hierarchical_cache": False, "hicache_ratio": 2.0, "hicache_size": 80}, 0),
    ],
)
async def test_host_memory_is_as_large_as_an_engine_was_told_to_make_it(
    told: dict[str, object], tokens: int
) -> None:
    fake = FakeEngine(server_info={"internal_states": [{"memory_usage": {"kvcache": 12.207}}], **told})
    async with serve(fake.app()) as url, http_client(url) as http:
        facts = await Engine(http).facts()
    assert facts is not None
    assert facts.host_tokens == pytest.approx(tokens, rel=1e-4)


async def test_a_size_of_host_memory_says_nothing_where_nobody_knows_what_a_token_takes() -> None:
    fake = FakeEngine(
        server_info={"enable_hierarchical_cache": True, "hicache_ratio": 2.0, "hicache_size": 80}
    )
    async with serve(fake.app()) as url, http_client(url) as http:
        facts = await Engine(http).facts()
    assert facts is not None
    assert facts.host_tokens is None


async def test_prompts_are_calibrated_with_the_engine_s_tokenizer() -> None:
    async with serve(FakeEngine().app()) as url, http_client(url) as http:
        assert await of_engine(Engine(http)) == pytest.approx(len(SAMPLE) / len(SAMPLE.split()), abs=0.001)


async def test_an_engine_whose_plugin_stayed_out_is_not_measured_as_extended() -> None:
    fake = FakeEngine()
    async with serve(fake.app()) as url, http_client(url) as http:
        await Engine(http).must_take_plans()
        fake.stays_out = "SGLang 9.9 is not a known release"
        with pytest.raises(EngineUnfit, match=r"takes no plans: SGLang 9\.9 is not a known release"):
            await Engine(http).must_take_plans()


async def test_an_engine_that_does_not_report_its_cache_is_not_taken_for_one_that_never_hits() -> None:
    fake = FakeEngine()
    async with serve(fake.app()) as url, http_client(url) as http:
        await Engine(http).must_report_its_cache()
        fake.reports_cache = False
        with pytest.raises(EngineUnfit, match="started without --enable-cache-report"):
            await Engine(http).must_report_its_cache()


async def test_what_an_engine_does_not_do_is_said_with_its_address() -> None:
    async def nothing(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"nothing here"})  # type: ignore[operator]

    async with serve(nothing) as url, http_client(url) as http:
        engine = Engine(http)
        with pytest.raises(EngineUnfit, match=f"POST {url}/flush_cache: 404 nothing here"):
            await engine.forget_everything()
        with pytest.raises(EngineUnfit, match="/v1/tokenize"):
            await engine.count_tokens("x")
        assert await engine.counters() == Counters()
        with pytest.raises(EngineUnfit, match="/scalesim/v1/stats"):
            await engine.counters(loads=True)


async def test_an_engine_that_is_not_there_is_said_to_be_unfit() -> None:
    async with serve(FakeEngine().app()) as url:
        pass
    async with http_client(url) as http:
        with pytest.raises(EngineUnfit, match="Connect"):
            await Engine(http).model()


async def test_loads_are_counted_by_kind_and_an_engine_that_should_count_them_has_to() -> None:
    fake = FakeEngine(loads={"lora": {"issued": 3}})
    async with serve(fake.app()) as url, http_client(url) as http:
        assert (await Engine(http).counters(loads=True)).loads == {"lora": {"issued": 3.0}}
        fake.loads = None
        with pytest.raises(EngineUnfit, match="does not count loads"):
            await Engine(http).counters(loads=True)


def test_what_was_not_counted_before_counts_from_nothing() -> None:
    before = Counters({"decode": 1.0}, {"hit": 1.0}, {})
    after = Counters({"decode": 3.0, "load": 0.5}, {"hit": 4.0, "miss": 2.0}, {"lora": {"used": 2.0}})
    assert after.since(before) == Counters(
        {"decode": 2.0, "load": 0.5}, {"hit": 3.0, "miss": 2.0}, {"lora": {"used": 2.0}}
    )
    assert Counters().since(Counters()).step_seconds is None


async def test_adapters_that_are_there_are_not_loaded_again() -> None:
    fake = FakeEngine(adapters={"ad-0": "/0"})
    async with serve(fake.app()) as url, http_client(url) as http:
        await Engine(http).load_adapters({"ad-0": "/0", "ad-1": "/1"})
        assert fake.adapters == {"ad-0": "/0", "ad-1": "/1"}


async def test_why_an_adapter_cannot_be_loaded_is_said() -> None:
    async def refuses(scope: object, receive: object, send: object) -> None:
        listed = isinstance(scope, dict) and scope["path"] == "/v1/models"
        status, body = (200, b'{"data": []}') if listed else (400, b"rank 64 is too large")
        await send({"type": "http.response.start", "status": status, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    async with serve(refuses) as url, http_client(url) as http:
        with pytest.raises(EngineUnfit, match="/load_lora_adapter: 400 rank 64 is too large"):
            await Engine(http).load_adapters({"ad-0": "/0"})
