"""The emulated engine over HTTP, where the contract of adapters does not look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from tests.engine_adapters.bench import client_of
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve

pytestmark = pytest.mark.anyio

HELLO: list[dict[str, object]] = [{"role": "user", "content": "hello there, who are you?"}]


@asynccontextmanager
async def near(engine: EmulatedEngine) -> AsyncIterator[httpx.AsyncClient]:
    """Without sockets: whole answers only."""
    transport = httpx.ASGITransport(engine.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulated") as client:
        yield client


async def chat(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await client.post("/v1/chat/completions", json={"model": "m", "messages": HELLO, **fields})
    assert answer.status_code == 200, answer.text
    payload: dict[str, Any] = answer.json()
    return payload


def chunks(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


# --- answers -----------------------------------------------------------------------------------------------------------


async def test_answers_repeat_and_do_not_depend_on_the_cache() -> None:
    async with near(EmulatedEngine()) as client, near(EmulatedEngine()) as other:
        first, again = await chat(client), await chat(client)
        assert again["choices"] == first["choices"] == (await chat(other))["choices"]
        assert first["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
        assert again["usage"]["prompt_tokens_details"] == {
            "cached_tokens": first["usage"]["prompt_tokens"] - 1
        }


async def test_an_answer_depends_on_every_token_of_the_prompt() -> None:
    async with near(EmulatedEngine()) as client:
        texts = set()
        prompt = list(range(100, 130))
        for place in range(len(prompt)):
            changed = [*prompt[:place], 9, *prompt[place + 1 :]]
            answer = await client.post("/generate", json={"input_ids": changed})
            texts.add(answer.json()["text"])
        assert len(texts) == len(prompt)


async def test_a_conversation_goes_on_from_the_cache() -> None:
    async with near(EmulatedEngine(output_tokens=8)) as client:
        first = await chat(client)
        content = first["choices"][0]["message"]["content"]
        turns = [*HELLO, {"role": "assistant", "content": content}, {"role": "user", "content": "and now?"}]
        second = await chat(client, messages=turns)
        # The answer without its end, which went through no layer.
        assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == first["usage"]["total_tokens"] - 1


async def test_a_stream_says_the_same_as_a_whole_answer() -> None:
    async with near(EmulatedEngine()) as client:
        whole = await chat(client, max_tokens=5, logprobs=True, top_logprobs=2)
        body = {"messages": HELLO, "max_tokens": 5, "logprobs": True, "top_logprobs": 2, "stream": True}
        options = {"stream_options": {"include_usage": True}}
        pieces = chunks((await client.post("/v1/chat/completions", json={**body, **options})).text)
    choices = [choice for piece in pieces for choice in piece["choices"]]
    assert (
        "".join(choice["delta"].get("content", "") for choice in choices)
        == (whole["choices"][0]["message"]["content"])
    )
    logprobs = [
        entry for choice in choices if choice.get("logprobs") for entry in choice["logprobs"]["content"]
    ]
    assert logprobs == whole["choices"][0]["logprobs"]["content"]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
    assert pieces[-1]["choices"] == []
    assert pieces[-1]["usage"]["total_tokens"] == whole["usage"]["total_tokens"]


async def test_an_answer_begins_as_a_regular_expression_does_and_costs_the_cache_nothing() -> None:
    async with near(EmulatedEngine()) as client:
        free = await chat(client, max_tokens=3)
        bound = await chat(client, max_tokens=3, regex="takes 10 minutes [a-z ]*")
        after = free["choices"][0]["message"]["content"].split(" ", 1)[1]
        assert bound["choices"][0]["message"]["content"] == f"takes 10 minutes {after}"
        # What a repeat or an alternative begins with is not certain.
        nothing = await chat(client, max_tokens=3, regex="[a-z]+")
    assert nothing["choices"][0]["message"]["content"] == free["choices"][0]["message"]["content"]
    assert bound["usage"]["completion_tokens"] == 3


async def test_a_stream_tells_where_cached_tokens_were_if_asked() -> None:
    body = {"messages": HELLO, "max_tokens": 1, "stream": True, "return_cached_tokens_details": True}
    async with near(EmulatedEngine()) as client:
        await chat(client)
        pieces = chunks((await client.post("/v1/chat/completions", json=body)).text)
    (told,) = [piece["sglext"] for piece in pieces if "sglext" in piece]
    assert told["cached_tokens_details"]["device"] > 0
    assert told["cached_tokens_details"]["host"] == 0


async def test_completions_stream_text_and_offsets() -> None:
    async with near(EmulatedEngine()) as client:
        body = {"prompt": "hello there", "max_tokens": 4, "logprobs": 1}
        whole = (await client.post("/v1/completions", json=body)).json()["choices"][0]
        pieces = chunks((await client.post("/v1/completions", json={**body, "stream": True})).text)
    choices = [choice for piece in pieces for choice in piece["choices"]]
    assert "".join(choice["text"] for choice in choices) == whole["text"]
    offsets = [
        offset for choice in choices if choice["logprobs"] for offset in choice["logprobs"]["text_offset"]
    ]
    assert offsets == whole["logprobs"]["text_offset"]
    words = whole["text"].split()
    assert [whole["text"][at:].split()[0] for at in offsets] == words == whole["logprobs"]["tokens"]


async def test_generate_streams_all_up_to_now() -> None:
    async with near(EmulatedEngine()) as client:
        body = {"text": "hello there", "stream": True, "sampling_params": {"max_new_tokens": 3}}
        pieces = chunks((await client.post("/generate", json=body)).text)
    assert pieces[-1]["meta_info"]["finish_reason"] == {"type": "length", "length": 3}
    assert all(pieces[-1]["text"].startswith(piece["text"]) for piece in pieces)


async def test_several_answers_share_the_prompt_and_differ() -> None:
    async with near(EmulatedEngine()) as client:
        answer = await chat(client, n=3, max_tokens=4)
        batch = await client.post("/generate", json={"text": ["a", "b"], "sampling_params": {"n": 2}})
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3
    assert answer["usage"]["completion_tokens"] == 12
    assert len(batch.json()) == 4


async def test_zero_tokens_are_read_as_sglang_reads_them() -> None:
    async with near(EmulatedEngine(output_tokens=6)) as client:
        assert (await chat(client, max_tokens=0))["usage"]["completion_tokens"] == 0
        assert (await chat(client))["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
        assert (await chat(client, max_completion_tokens=0))["usage"]["completion_tokens"] == 6
        assert (
            await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 0})
        ).status_code == 400


async def test_an_end_can_be_ignored() -> None:
    async with near(EmulatedEngine(output_tokens=2)) as client:
        assert (await chat(client, max_tokens=9))["choices"][0]["finish_reason"] == "stop"
        ignored = await chat(client, max_tokens=9, ignore_eos=True)
        assert (ignored["choices"][0]["finish_reason"], ignored["usage"]["completion_tokens"]) == (
            "length",
            9,
        )


# --- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", b"{"),
        ("/v1/chat/completions", b"[]"),
        ("/v1/chat/completions", b"{}"),
        ("/v1/chat/completions", b'{"messages": []}'),
        ("/v1/chat/completions", b'{"messages": ["hello"]}'),
        ("/v1/chat/completions", b'{"messages": [{}], "session_id": 5}'),
        ("/v1/chat/completions", b'{"messages": [{}], "n": -1}'),
        ("/v1/chat/completions", b'{"messages": [{}], "n": 1000}'),
        ("/v1/chat/completions", b'{"messages": [{}], "max_tokens": "9"}'),
        ("/v1/completions", b"{}"),
        ("/v1/completions", b'{"prompt": ""}'),
        ("/v1/completions", b'{"prompt": {}}'),
        ("/generate", b'{"input_ids": []}'),
        ("/generate", b'{"input_ids": [1, "2"]}'),
        ("/generate", b'{"input_ids": [1, -2]}'),
        ("/generate", b'{"input_ids": [70000]}'),
        ("/generate", b'{"input_ids": [[1], 2]}'),
        ("/generate", b'{"text": "a", "sampling_params": [1]}'),
        ("/tokenize", b"{}"),
        ("/tokenize", b'{"prompt": 5}'),
    ],
)
async def test_a_bad_request_is_told_so(path: str, body: bytes) -> None:
    async with near(EmulatedEngine()) as client:
        answer = await client.post(path, content=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"]
        assert (await chat(client))["choices"]


async def test_what_can_never_fit_is_refused_and_what_just_fits_is_served() -> None:
    async with near(EmulatedEngine(capacity_tokens=100)) as client:
        for length, status in ((94, 400), (93, 200)):
            body = {"input_ids": list(range(100, 100 + length)), "sampling_params": {"max_new_tokens": 1_000}}
            assert (await client.post("/generate", json=body)).status_code == status


async def test_unknown_routes_are_not_found() -> None:
    async with near(EmulatedEngine()) as client:
        assert (await client.get("/v1/chat/completions")).status_code == 404
        assert (await client.post("/v1/embeddings", json={})).status_code == 404


@pytest.mark.parametrize("bad", [{"capacity_tokens": 6}, {"max_running": 0}, {"output_tokens": 0}])
def test_absurd_sizes_are_refused_by_name(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        EmulatedEngine(**bad)  # type: ignore[arg-type]  # pytest cannot know the names


# --- other routes ------------------------------------------------------------------------------------------------------


async def test_tokenize_gives_the_ids_that_a_request_uses() -> None:
    async with near(EmulatedEngine()) as client:
        counted = (await client.post("/v1/tokenize", json={"messages": HELLO})).json()
        assert counted["count"] == len(counted["tokens"]) == (await chat(client))["usage"]["prompt_tokens"]
        lists = (await client.post("/tokenize", json={"prompt": ["hello", "hello there"]})).json()
        assert lists["count"] == [1, 2]


async def test_models_metrics_and_health_answer() -> None:
    async with near(EmulatedEngine(model="tiny", capacity_tokens=1_000)) as client:
        assert (await client.get("/v1/models")).json()["data"][0]["id"] == "tiny"
        assert (await client.get("/health")).status_code == 200
        await chat(client, max_tokens=1)
        metrics = (await client.get("/metrics")).text
        assert 'sglang:max_total_num_tokens{model_name="tiny"} 1000' in metrics
        assert 'sglang:generation_tokens_total{model_name="tiny"} 1\n' in metrics


async def test_metrics_tell_how_the_time_divides_as_the_meter_does() -> None:
    engine = EmulatedEngine(prefill_s_per_token=0.0001, decode_s_per_token=0.0002)
    async with near(engine) as client:
        body = {"input_ids": list(range(50)), "sampling_params": {"max_new_tokens": 3}}
        await client.post("/generate", json=body)
        metrics = (await client.get("/metrics")).text
    assert 'scalesim:step_seconds_total{kind="prefill"} 0.005\n' in metrics
    assert 'scalesim:step_seconds_total{kind="decode"} 0.0004\n' in metrics


async def test_a_flush_waits_as_long_as_it_is_asked_to() -> None:
    engine = EmulatedEngine(decode_s_per_token=0.001)
    async with near(engine) as client:
        asked = asyncio.create_task(client.post("/generate", json={"text": "hello"}))
        while not engine.scheduler.running:  # noqa: ASYNC110  a few turns of this loop
            await asyncio.sleep(0)
        assert (await client.post("/flush_cache", params={"timeout": PATIENCE_S})).status_code == 200
        assert engine.scheduler.idle
        assert (await asked).status_code == 200
        assert (await client.post("/flush_cache", params={"timeout": "soon"})).status_code == 400


async def test_health_and_metrics_need_no_key() -> None:
    async with near(EmulatedEngine(api_key="k")) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers={"Authorization": "Bearer k"})).status_code == 200


# --- many at once ------------------------------------------------------------------------------------------------------


async def test_more_requests_than_fit_are_all_served_in_turn() -> None:
    engine = EmulatedEngine(capacity_tokens=200, max_running=3)
    async with near(engine) as client:
        bodies = [
            {"input_ids": [100 * n + k for k in range(60)], "sampling_params": {"max_new_tokens": 20}}
            for n in range(1, 13)
        ]
        answers = await asyncio.gather(*(client.post("/generate", json=body) for body in bodies))
    assert [len(answer.json()["output_ids"]) for answer in answers] == [20] * 12
    assert engine.cache.available + engine.cache.evictable == 200


@pytest.mark.slow
async def test_a_client_that_leaves_takes_its_request_along() -> None:
    engine = EmulatedEngine(decode_s_per_token=0.001, beat_interval_s=None)
    body = {"text": "hello", "sampling_params": {"max_new_tokens": 50_000, "ignore_eos": True}}
    async with serve(engine.app) as url, client_of(url) as client:
        async with client.stream("POST", "/generate", json={**body, "stream": True}) as answer:
            await anext(answer.aiter_lines())
            assert (await client.post("/flush_cache")).status_code == 400
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/generate", json=body, timeout=httpx.Timeout(PATIENCE_S, read=0.05))
        async with asyncio.timeout(PATIENCE_S):
            while not engine.scheduler.idle:  # noqa: ASYNC110  it is the server that moves
                await asyncio.sleep(0.005)
    assert engine.cache.available + engine.cache.evictable == engine.capacity_tokens


async def test_plans_age_by_themselves_when_beats_have_an_interval() -> None:
    engine = EmulatedEngine(beat_interval_s=0.001)
    async with near(engine) as client:
        told = {"fence": [1, 1], "owners": {"s/a": 1.0}}
        assert (await client.post("/scalesim/v1/plan", json=told)).json()["in_force"]
        async with asyncio.timeout(PATIENCE_S):
            while (await client.get("/scalesim/v1/stats")).json()["plan_in_force"]:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.001)


async def test_a_shutdown_ends_what_is_under_way() -> None:
    engine = EmulatedEngine(decode_s_per_token=60.0)
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answered: list[str] = []

    async def send(message: Any) -> None:
        answered.append(message["type"])

    lifespan = asyncio.create_task(engine({"type": "lifespan"}, told.get, send))
    told.put_nowait({"type": "lifespan.startup"})
    async with near(engine) as client:
        asked = asyncio.create_task(client.post("/generate", json={"text": "hello"}))
        while not engine.scheduler.running:  # noqa: ASYNC110  a few turns of this loop
            await asyncio.sleep(0)
        told.put_nowait({"type": "lifespan.shutdown"})
        answer = await asked
    await lifespan
    assert answered == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert answer.json()["meta_info"]["finish_reason"]["type"] == "abort"
