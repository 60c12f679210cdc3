"""The ASGI application: routes, streams, disconnects, and the two tasks (steps, beats) that live while they have work."""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any
from urllib.parse import parse_qs

import orjson

from ..sglang_plugin import wire
from . import answers, asks, info, streams
from .adapters import NOT_ENABLED, Adapter
from .asgi import (
    Json,
    Receive,
    Scope,
    Send,
    begin_stream,
    json_object,
    openai_error,
    read_body,
    send_bytes,
    send_json,
    send_piece,
)
from .asks import Ask, BadRequest
from .control import Control
from .link import Link
from .machine import Machine, check_above
from .scheduler import Generation
from .tokens import Tokens

FLUSH_POLL_S = 0.02
MOST_FLUSH_S = 600.0
INPUT_RESERVE = 6
"""SGLang takes no prompt that fills the cache to the last tokens."""

_GENERATION = {
    "/v1/chat/completions": asks.parse_chat,
    "/v1/completions": asks.parse_completion,
    "/generate": asks.parse_generate,
}
_KEYED = frozenset({"/v1/chat/completions", "/v1/completions"})
"""Where SGLang reads the header."""
_KEY = b"x-smg-routing-key"
_OPEN_PATHS = ("/health", "/ready", "/metrics")


class EmulatedEngine:
    """`app` is the ASGI application; a restart of the engine is a new object.

    `output_tokens` is how long an answer gets when nothing else ends it. With `extended=False` it is a stock engine:
    no control routes, eviction of whole nodes by recency. With `beat_interval_s=None` plans and pins age only
    when `beat` is called. `random_seed` and `boot_id` are drawn anew for each engine.

    `host_tokens` above 0: what is evicted moves to host memory of that size. `adapter_slots`: LoRA, with adapters of
    `adapter_bytes` each and `host_adapters` of them known at a time (None: no limit). The link between host memory and
    the device costs nothing unless `link_bytes_per_s` is set.

    `device_bytes`: one pool of that size for prefixes, adapters and `kinds`, which are further kinds of memory, by name
    and size: each owner has one of its own, and its calls need it.
    """

    def __init__(
        self,
        *,
        capacity_tokens: int = 100_000,
        prefill_s_per_token: float = 0.0,
        decode_s_per_token: float = 0.0,
        max_running: int = 8,
        extended: bool = True,
        api_key: str | None = None,
        output_tokens: int = 32,
        pin_budget_tokens: int | None = None,
        beat_interval_s: float | None = 1.0,
        model: str = "emulated",
        bytes_per_token: int = 1_024,
        host_tokens: int = 0,
        adapter_slots: int | None = None,
        adapter_bytes: int = 1_048_576,
        host_adapters: int | None = None,
        link_bytes_per_s: float = 0.0,
        link_overhead_s: float = 0.0,
        device_bytes: int | None = None,
        kinds: Mapping[str, int] | None = None,
    ) -> None:
        check_above(INPUT_RESERVE, capacity_tokens=capacity_tokens)
        check_above(0, output_tokens=output_tokens)
        self.boot_id = uuid.uuid4().hex
        self.model = model
        self.capacity_tokens = capacity_tokens
        machine = Machine(
            capacity_tokens=capacity_tokens,
            prefill_s_per_token=prefill_s_per_token,
            decode_s_per_token=decode_s_per_token,
            max_running=max_running,
            extended=extended,
            pin_budget_tokens=pin_budget_tokens,
            bytes_per_token=bytes_per_token,
            host_tokens=host_tokens,
            adapter_slots=adapter_slots,
            adapter_bytes=adapter_bytes,
            host_adapters=host_adapters,
            link=Link(link_bytes_per_s, link_overhead_s),
            device_bytes=device_bytes,
            kinds=kinds or {},
        )
        self.ledger, self.cache, self.adapters = machine.ledger, machine.cache, machine.adapters
        self.memory, self.link, self.tally = machine.memory, machine.link, machine.tally
        self.scheduler, self.loads = machine.scheduler, machine.loads
        self._control = (
            None
            if self.ledger is None
            else Control(
                self.ledger,
                self.memory,
                self.scheduler,
                self.loads,
                self.tally,
                self.adapters,
                boot_id=self.boot_id,
                version=info.VERSION,
            )
        )
        self._api_key = api_key
        self._output_tokens = output_tokens
        self._beat_interval_s = beat_interval_s
        self._created = int(time.time())
        self._steps: asyncio.Task[None] | None = None
        self._beats: asyncio.Task[None] | None = None

    # --- control without HTTP, for tests ---------------------------------------------------------------------------

    def beat(self) -> bool:
        """One beat passes, as one second does. Returns whether a plan or a pin is still in force."""
        return self.ledger is not None and self.ledger.beat()

    def abort(self, rid: str) -> None:
        self.scheduler.abort(rid)

    # --- tasks -----------------------------------------------------------------------------------------------------

    def _submit(self, generation: Generation) -> None:
        keys = self.memory.keys_for(generation)
        generation.late = frozenset(memory for memory in keys if self.loads.call_came(memory))
        self.scheduler.submit(generation)
        if self._steps is None or self._steps.done():
            self._steps = asyncio.create_task(self._run_steps())

    async def _run_steps(self) -> None:
        try:
            while not self.scheduler.idle:
                step = self.scheduler.begin()
                if step.load_s or step.awaits_link:
                    await self.link.demand(step.load_s)
                await asyncio.sleep(step.compute_s)
                self.scheduler.end()
        finally:
            # Nobody may wait for an answer that will not come, if the engine is being shut down.
            self.scheduler.abandon()

    async def _run_beats(self, interval_s: float) -> None:
        in_force = True
        while in_force:
            await asyncio.sleep(interval_s)
            in_force = self.beat()

    def _keep_beating(self) -> None:
        if self._beat_interval_s is not None and (self._beats is None or self._beats.done()):
            self._beats = asyncio.create_task(self._run_beats(self._beat_interval_s))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
                continue
            tasks = [task for task in (self._steps, self._beats) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.loads.close()
            await send({"type": "lifespan.shutdown.complete"})
            return

    # --- HTTP ------------------------------------------------------------------------------------------------------

    @property
    def app(self) -> EmulatedEngine:
        """The ASGI application. It is an object with `__call__`: uvicorn takes a bound method for ASGI 2."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if not self._lets_in(path, scope):
            await send_json(send, 401, {"error": "Unauthorized"})
            return
        parse = _GENERATION.get(path)
        try:
            body = await read_body(receive)
            if body is None:
                return
            if parse is not None and scope["method"] == "POST":
                asked = self._with_owner(json_object(body), path, scope)
                ask = self._checked(parse(asked))
                async with self._adapter_for(path, asked) as adapter:
                    await self._generate(path, ask, adapter, receive, send)
            else:
                await self._answer(path, scope, body, send)
        except BadRequest as exc:
            await send_json(send, 400, openai_error(400, str(exc)))

    def _with_owner(self, asked: Json, path: str, scope: Scope) -> Json:
        """As SGLang with the plugin: the header by which routers keep calls together says whose a call is, if nothing else does."""
        if self.ledger is None or asked.get("session_id") is not None or path not in _KEYED:
            return asked
        key = next((value.decode("latin-1") for name, value in scope["headers"] if name == _KEY), None)
        return asked if key is None else {**asked, "session_id": wire.owner_of_key(key)}

    def _lets_in(self, path: str, scope: Scope) -> bool:
        if self._api_key is None or path.startswith(_OPEN_PATHS):
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key, self._api_key.encode())

    async def _answer(self, path: str, scope: Scope, body: bytes, send: Send) -> None:
        match (scope["method"], path):
            case ("GET", "/health" | "/health_generate" | "/ready"):
                await send_bytes(send, 200, b"", b"text/plain")
            case ("GET", "/metrics"):
                text = info.metrics(self.model, self.capacity_tokens, self.scheduler)
                await send_bytes(send, 200, text.encode(), b"text/plain; version=0.0.4")
            case ("GET", "/v1/models"):
                known = [] if self.adapters is None else list(self.adapters.registered.values())
                await send_json(
                    send, 200, info.models(self.model, self._created, self.capacity_tokens, known)
                )
            case ("GET", "/model_info" | "/get_model_info"):
                await send_json(send, 200, {"model_path": self.model, "served_model_name": self.model})
            case ("GET", "/server_info" | "/get_server_info"):
                lora, host_tier = self.adapters is not None, self.cache.host_capacity > 0
                await send_json(
                    send,
                    200,
                    info.server_info(
                        self.model, self.boot_id, self.capacity_tokens, lora=lora, host_tier=host_tier
                    ),
                )
            case ("POST", "/tokenize" | "/v1/tokenize"):
                await send_json(send, 200, self._tokenize(json_object(body)))
            case ("POST", "/abort_request"):
                self._abort_as_asked(json_object(body))
                await send_bytes(send, 200, b"", b"text/plain")
            case ("GET" | "POST", "/flush_cache"):
                await self._flush(_timeout_of(scope), send)
            case ("POST", "/load_lora_adapter" | "/unload_lora_adapter"):
                await send_json(send, *await self._change_adapters(path, json_object(body)))
            case (method, _) if self._control is not None and path.startswith(wire.PREFIX + "/"):
                query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
                status, payload = await self._control.answer(
                    method, path.removeprefix(wire.PREFIX + "/"), query, body
                )
                if payload.get("in_force"):
                    self._keep_beating()
                await send_json(send, status, payload)
            case _:
                await send_json(send, 404, openai_error(404, "Not Found"))

    # --- generation ------------------------------------------------------------------------------------------------

    def _checked(self, ask: Ask) -> Ask:
        longest = self.capacity_tokens - INPUT_RESERVE
        for prompt in ask.prompts:
            if not prompt:
                raise BadRequest("the prompt is empty")
            if len(prompt) >= longest:
                raise BadRequest(
                    f"Input length ({len(prompt)} tokens) exceeds the maximum allowed length ({longest} tokens)."
                )
        return ask

    def _new(
        self,
        ask: Ask,
        adapter: Adapter | None,
        prompt: Tokens,
        choice: int,
        max_new: int | None,
        moved: asyncio.Event,
    ) -> Generation:
        room = self.capacity_tokens - 2 - len(prompt)
        return Generation(
            # As SGLang: a request id holds for one answer only.
            rid=ask.rid if ask.rid is not None and ask.n == 1 and not ask.batch else uuid.uuid4().hex,
            prompt=prompt,
            max_new=room if max_new is None else min(max_new, room),
            ends_at=None if ask.ignore_eos else self._output_tokens,
            owner=ask.owner,
            choice=choice,
            notify=moved.set,
            adapter=adapter,
            says=ask.says,
        )

    def _adapter_for(self, path: str, body: Json) -> AbstractAsyncContextManager[Adapter | None]:
        """What the request runs on, for as long as it runs."""
        name = asks.adapter_of(body, self.model, openai=path != "/generate")
        if name is None:
            return nullcontext()
        if self.adapters is None:
            raise BadRequest(
                f"LoRA adapter '{name}' was requested, but LoRA is not enabled. Please launch the server with "
                "--enable-lora flag and preload adapters using --lora-paths or /load_lora_adapter endpoint."
            )
        return self.adapters.lent(name)

    async def _generate(
        self, path: str, ask: Ask, adapter: Adapter | None, receive: Receive, send: Send
    ) -> None:
        moved = asyncio.Event()
        with self._aborted_when_gone(receive) as under_way:
            first: list[Generation] = []
            if ask.n > 1:
                # As SGLang: the prompt goes into the cache first, then n answers start from there.
                first = [self._new(ask, adapter, prompt, 0, 0, moved) for prompt in ask.prompts]
                await self._finish(first, under_way, moved)
            generations = [
                self._new(ask, adapter, prompt, choice, ask.max_new, moved)
                for prompt in ask.prompts
                for choice in range(ask.n)
            ]
            if ask.stream:
                under_way += generations
                for generation in generations:
                    self._submit(generation)
                await self._stream(path, ask, generations, moved, send)
            else:
                await self._finish(generations, under_way, moved)
                await send_json(send, 200, self._whole(path, ask, generations))

    async def _finish(
        self, generations: list[Generation], under_way: list[Generation], moved: asyncio.Event
    ) -> None:
        under_way += generations
        for generation in generations:
            self._submit(generation)
        while any(one.finish is None for one in generations):
            moved.clear()
            await moved.wait()

    @contextmanager
    def _aborted_when_gone(self, receive: Receive) -> Iterator[list[Generation]]:
        """Yields the list of what to abort when the client leaves."""
        under_way: list[Generation] = []

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            for generation in under_way:
                self.abort(generation.rid)

        watcher = asyncio.create_task(watch())
        try:
            yield under_way
        finally:
            watcher.cancel()
            for generation in under_way:
                if generation.finish is None:
                    self.abort(generation.rid)

    def _form(self, path: str, ask: Ask, generations: list[Generation]) -> answers.Form:
        return answers.Form(
            chat=path == "/v1/chat/completions",
            answer_id=generations[0].rid,
            created=int(time.time()),
            model=self.model,
            ask=ask,
        )

    def _whole(self, path: str, ask: Ask, generations: list[Generation]) -> Json | list[Json]:
        if path == "/generate":
            each = [answers.native(one, ask) for one in generations]
            return each if ask.batch or ask.n > 1 else each[0]
        return self._form(path, ask, generations).whole(generations, answers.usage(ask, generations))

    async def _stream(
        self, path: str, ask: Ask, generations: list[Generation], moved: asyncio.Event, send: Send
    ) -> None:
        if path == "/generate":
            pieces = streams.native_pieces(ask, generations, moved)
        else:
            pieces = streams.openai_pieces(self._form(path, ask, generations), ask, generations, moved)
        await begin_stream(send)
        async for piece in pieces:
            await send_piece(send, orjson.dumps(piece))
        await send_piece(send, b"[DONE]", more=False)

    # --- other routes ----------------------------------------------------------------------------------------------

    def _abort_as_asked(self, body: Json) -> None:
        if body.get("abort_all") is True:
            for generation in (*self.scheduler.waiting, *self.scheduler.running):
                self.abort(generation.rid)
        elif isinstance(body.get("rid"), str):
            self.abort(body["rid"])

    async def _flush(self, timeout_s: float, send: Send) -> None:
        """As SGLang, it waits so long for what is under way to end."""
        deadline = time.monotonic() + timeout_s
        while (not self.scheduler.idle or self.loads.moving) and time.monotonic() < deadline:  # noqa: ASYNC110  no event
            await asyncio.sleep(FLUSH_POLL_S)
        if not self.scheduler.idle or self.loads.moving:
            await send_bytes(
                send, 400, b"Flush cache failed: requests are running or waiting.\n", b"text/plain"
            )
            return
        self.cache.flush()
        await send_bytes(send, 200, b"Cache flushed.\n", b"text/plain")

    def _tokenize(self, body: Json) -> Json:
        found = asks.parse_tokenize(body)
        if isinstance(found, list):
            ids: list[Any] = [list(one) for one in found]
            count: int | list[int] = [len(one) for one in found]
        else:
            ids, count = list(found), len(found)
        return {"tokens": ids, "count": count, "max_model_len": self.capacity_tokens}

    async def _change_adapters(self, path: str, body: Json) -> tuple[int, Json]:
        name = asks.needed_text(body, "lora_name")
        if self.adapters is None:
            return 400, {"success": False, "error_message": NOT_ENABLED, "loaded_adapters": None}
        if path == "/load_lora_adapter":
            return await self.adapters.load(name, asks.needed_text(body, "lora_path"))
        return await self.adapters.unload(name)


def _timeout_of(scope: Scope) -> float:
    told = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("timeout", ["0"])[0]
    try:
        return min(float(told), MOST_FLUSH_S)
    except ValueError as exc:
        raise BadRequest(f"timeout: {told!r:.64} is not a number of seconds") from exc
