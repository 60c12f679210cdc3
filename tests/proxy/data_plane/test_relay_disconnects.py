"""The client leaves: the engine must hear of it at once, streaming or not, and the call must end exactly once.

That it ends once, and that nothing is held afterwards, is checked by the rig at the end of each test.
"""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from scalesim.proxy.core.model import Clock, Mode, Outcome, Usage
from scalesim.proxy.data_plane.asgi import Message
from scalesim.proxy.served_call import ServedCall
from tests.support.fake_adapter import EXTENDED
from tests.support.patience import PATIENCE_S, soon

from .rig import SOON_S, Echo, Recorder, Stuck, client, raw_client, raw_post, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


def post_scope() -> dict[str, object]:
    """For the few tests that stand in for the server."""
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": CHAT, "query_string": b"", "headers": headers}


async def at_once(event: asyncio.Event) -> None:
    await soon(event.wait(), SOON_S)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, "/generate"])
async def test_leaving_before_the_first_byte_closes_the_engines_connection_and_aborts(
    stream: bool, path: str
) -> None:
    engine = Stuck()
    async with rig(engine) as r:
        body = json.dumps({"stream": stream}).encode()
        async with raw_client(r.port, raw_post(path, body)) as (_, writer):
            await engine.arrived.wait()
            writer.close()
            await at_once(engine.left)
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1, SOON_S)
        assert r.adapter.aborts == [json.loads(engine.bodies[0])["rid"]]
        assert (await r.log.until_ended()).outcome is Outcome.CLIENT_GONE


async def test_leaving_in_the_middle_of_a_stream_closes_the_engines_connection_and_aborts() -> None:
    engine = Stuck(first=b"data: 1\n\n")
    async with rig(engine) as r:
        async with raw_client(r.port, raw_post(CHAT, b'{"stream": true}')) as (reader, writer):
            await reader.readuntil(b"data: 1\n\n")
            writer.close()
            await at_once(engine.left)
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1, SOON_S)
        assert (await r.log.until_ended()).outcome is Outcome.CLIENT_GONE


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        (CHAT, b'data: {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}\n\ndata: [DONE]\n\n'),
        (
            "/v1/responses",
            b'event: response.completed\ndata: {"type": "response.completed", "response": '
            b'{"usage": {"input_tokens": 9, "output_tokens": 2}}}\n\n',
        ),
    ],
)
async def test_leaving_right_after_the_end_of_a_stream_is_no_leaving(path: str, stream: bytes) -> None:
    engine = Stuck(first=stream)  # the end of its connection is still to come
    async with rig(engine) as r:
        request = raw_post(path, b'{"stream": true}', "X-Agent-Acts-For: 7 steps")
        async with raw_client(r.port, request) as (reader, writer):
            await reader.readuntil(stream)
            writer.close()
            ended = await r.log.until_ended()
            await at_once(engine.left)
        assert ended.outcome is Outcome.DONE
        assert ended.usage == Usage(prompt=9, cached=None, output=2)
        assert ended.acts_for == (7.0, Clock.STEPS)
        await r.relay.drained()
        assert r.adapter.aborts == []


async def test_a_client_that_leaves_without_having_read_is_noticed_while_sending_to_it() -> None:
    engine = Stuck(first=b"data: 1\n\n")
    blocked = asyncio.Event()
    async with rig(engine) as r:

        async def receive() -> Message:
            if not r.log.started:
                return {"type": "http.request", "body": b"{}"}
            await blocked.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                blocked.set()
                await asyncio.Event().wait()

        await soon(r.relay(post_scope(), receive, send), SOON_S)
        assert r.log.ended[0].outcome is Outcome.CLIENT_GONE
        await at_once(engine.left)
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 1, SOON_S)


async def test_leaving_a_path_that_is_no_generation_closes_the_engines_connection() -> None:
    engine = Stuck()
    async with rig(engine) as r:
        async with raw_client(r.port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") as (_, writer):
            await engine.arrived.wait()
            writer.close()
            await at_once(engine.left)
        assert r.log.events == []
        assert r.adapter.aborts == []


async def test_leaving_while_waiting_for_a_connection_ends_the_call() -> None:
    engine = Stuck()
    async with rig(engine, max_connections=1) as r:
        async with raw_client(r.port, raw_post(CHAT, b"{}")):
            await engine.arrived.wait()
            async with raw_client(r.port, raw_post(CHAT, b"{}")) as (_, writer):
                while len(r.log.started) < 2:  # noqa: ASYNC110 - posted within the next turns of the loop
                    await asyncio.sleep(0)
                writer.close()
                assert (await r.log.until_ended(1, SOON_S)).call == r.log.started[1].call
        await r.log.until_ended(2)
        assert {ended.outcome for ended in r.log.ended} == {Outcome.CLIENT_GONE}
    assert len(engine.bodies) == 1


async def test_leaving_while_the_body_is_sent_starts_nothing() -> None:
    engine = Recorder()
    async with rig(engine) as r, raw_client(r.port, raw_post(CHAT, b"x" * 100)[:-50]) as (_, writer):
        while not r.relay.sizes()["requests_in_flight"]:  # noqa: ASYNC110 - as soon as the head was read
            await asyncio.sleep(0)
        writer.close()
        while r.relay.sizes()["requests_in_flight"]:  # noqa: ASYNC110 - as soon as the end was read
            await asyncio.sleep(0)
        assert r.log.events == []
    assert engine.scopes == []


async def test_an_engine_without_abort_is_not_asked_to() -> None:
    engine = Stuck()
    async with rig(engine) as r:
        r.adapter.capabilities = type(EXTENDED)(kind="fake", version="1", extended=False)
        async with raw_client(r.port, raw_post(CHAT, b'{"rid": "mine"}')) as (_, writer):
            await engine.arrived.wait()
            writer.close()
            await at_once(engine.left)
        await r.log.until_ended()
        await r.relay.drained()
        assert r.adapter.aborts == []


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_request_id_of_the_client_is_used_to_abort(mode: Mode) -> None:
    engine = Stuck()
    async with rig(engine, mode=mode) as r:
        async with raw_client(r.port, raw_post(CHAT, b'{"rid": "mine"}')) as (_, writer):
            await engine.arrived.wait()
            writer.close()
        await r.adapter.until(lambda adapter: bool(adapter.aborts))
        assert r.adapter.aborts == ["mine"]


async def test_a_response_is_aborted_by_its_own_kind_of_id() -> None:
    engine = Stuck()
    async with rig(engine) as r:
        for body in (b'{"request_id": "mine"}', b'{"rid": "no id there"}'):
            async with raw_client(r.port, raw_post("/v1/responses", body)) as (_, writer):
                await engine.arrived.wait()
                engine.arrived.clear()
                writer.close()
            await r.adapter.until(lambda adapter: len(adapter.aborts) == len(engine.bodies))
        assert json.loads(engine.bodies[0])["request_id"] == "mine"
        mine, ours = r.adapter.aborts
        assert mine == "mine"
        assert ours.startswith("resp_")
        assert json.loads(engine.bodies[1])["rid"] == ours  # the fake adapter knows one field only


@pytest.mark.parametrize("body", [b'{"rid": ["one", "each"]}', b"no json"])
async def test_what_has_no_single_id_is_not_aborted(body: bytes) -> None:
    engine = Stuck()
    async with rig(engine) as r:
        async with raw_client(r.port, raw_post(CHAT, body)) as (_, writer):
            await engine.arrived.wait()
            writer.close()
            await at_once(engine.left)
        await r.log.until_ended()
        await r.relay.drained()
        assert r.adapter.aborts == []
    assert engine.bodies == [body]


async def test_an_abort_that_fails_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    engine = Stuck()
    async with rig(engine) as r:
        r.adapter.down = "control is broken"
        async with raw_client(r.port, raw_post(CHAT, b"{}")) as (_, writer):
            await engine.arrived.wait()
            with caplog.at_level(logging.WARNING):
                writer.close()
                await at_once(engine.left)
                await r.log.until_ended()
                await r.relay.drained()
    assert "control is broken" in caplog.text


async def test_calls_that_end_well_are_not_aborted() -> None:
    async with rig(Recorder()) as r, client() as c:
        await c.post(r.url + CHAT, json={})
        await r.log.until_ended()
        await r.relay.drained()
        assert r.adapter.aborts == []


async def test_clients_that_leave_do_not_use_up_the_connections() -> None:
    engine = Stuck()
    async with rig(engine, max_connections=1) as r:
        for n in range(1, 6):
            async with raw_client(r.port, raw_post(CHAT, b"{}")) as (_, writer):
                await at_once(engine.arrived)
                engine.arrived.clear()
                writer.close()
                await r.log.until_ended(n)
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 5)


@pytest.mark.slow
async def test_fifty_that_leave_do_not_disturb_fifty_that_stay() -> None:
    engine = Echo(together=100)  # nobody is answered before all are there
    body = json.dumps({"x": "y" * 1000}).encode()
    async with rig(engine) as r, client() as c:
        staying = asyncio.gather(*(c.post(r.url + CHAT, json={"n": i}) for i in range(50)))
        leaving = [await asyncio.open_connection("127.0.0.1", r.port) for _ in range(49)]
        for _, writer in leaving:
            writer.write(raw_post(CHAT, body))
        async with asyncio.timeout(PATIENCE_S):  # else a client that gave up would be waited for without end
            while engine.waiting < 99:  # noqa: ASYNC110 - the barrier has no event for it
                await asyncio.sleep(0)
        for _, writer in leaving:
            writer.transport.abort()
        await r.log.until_ended(49)
        async with raw_client(r.port, raw_post(CHAT, body)) as (reader, _):
            answers = await soon(staying, 2.0)
            await reader.readuntil(b"\r\n\r\n")
        await r.log.until_ended(100)
        outcomes = [ended.outcome for ended in r.log.ended]
        assert (outcomes.count(Outcome.CLIENT_GONE), outcomes.count(Outcome.DONE)) == (49, 51)
        await r.adapter.until(lambda adapter: len(adapter.aborts) == 49)
    assert [answer.json()["n"] for answer in answers] == list(range(50))


async def test_a_server_that_shuts_down_ends_its_calls() -> None:
    """uvicorn cancels what still runs when its patience is over."""
    engine = Stuck()
    async with rig(engine) as r:
        body: list[Message] = [{"type": "http.request", "body": b"{}"}]

        async def receive() -> Message:
            return body.pop() if body else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Message) -> None:
            raise AssertionError("there is nothing to answer")

        running = asyncio.create_task(r.relay(post_scope(), receive, send))
        await engine.arrived.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await r.log.until_ended()).outcome is Outcome.CLIENT_GONE
        await at_once(engine.left)
        await r.relay.drained()
        assert len(r.adapter.aborts) == 1


async def test_a_send_that_fails_means_that_the_client_left() -> None:
    """ASGI servers may tell so, instead of by `http.disconnect`."""
    async with rig(Recorder()) as r:
        body: list[Message] = [{"type": "http.request", "body": b"{}"}]

        async def receive() -> Message:
            return body.pop() if body else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Message) -> None:
            raise OSError("nobody listens")

        await r.relay(post_scope(), receive, send)
        assert r.log.ended[0].outcome is Outcome.CLIENT_GONE


async def test_a_fault_of_our_own_is_not_taken_for_a_client_that_left() -> None:
    def record(call: ServedCall) -> None:
        raise OSError("no space left on device")

    async with rig(Recorder(), record=record) as r:
        body: list[Message] = [{"type": "http.request", "body": b"{}"}]

        async def receive() -> Message:
            return body.pop() if body else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Message) -> None:
            """Somebody listens."""

        with pytest.raises(OSError, match="no space"):
            await r.relay(post_scope(), receive, send)
