"""The ASGI application: routes, streams, disconnects, and the two tasks (steps, beats) that live while they have work."""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import orjson

from ..sglang_plugin import wire
from ..sglang_plugin.ledger import Ledger
from . import answers, asks, streams
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
from .cache import RadixCache
from .control import Control
from .scheduler import Generation, Scheduler
from .tokens import Tokens

VERSION = "0.5.23+emulated"
PIN_SHARE = 0.5
INPUT_RESERVE = 6
"""SGLang takes no prompt that fills the cache to the last tokens."""

_GENERATION = {
    "/v1/chat/completions": asks.parse_chat,
    "/v1/completions": asks.parse_completion,
    "/generate": asks.parse_generate,
}
_OPEN_PATHS = ("/health", "/ready", "/metrics")


class EmulatedEngine:
    """`app` is the ASGI application; a restart of the engine is a new object.

    `output_tokens` is how long an answer gets when nothing else ends it. With `extended=False` it is a stock engine:
    no control routes, eviction of whole nodes by recency. With `beat_interval_s=None` plans and pins age only
    when `beat` is called. `random_seed` and `boot_id` are drawn anew for each engine.
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
    ) -> None:
        if capacity_tokens <= INPUT_RESERVE or max_running < 1 or output_tokens < 1:
            raise ValueError(
                f"capacity_tokens {capacity_tokens} must be above {INPUT_RESERVE}, "
                f"max_running {max_running} and output_tokens {output_tokens} at least 1"
            )
        self.boot_id = uuid.uuid4().hex
        self.model = model
        self.capacity_tokens = capacity_tokens
        budget = int(capacity_tokens * PIN_SHARE) if pin_budget_tokens is None else pin_budget_tokens
        self.ledger = Ledger(budget) if extended else None
        self.cache = RadixCache(capacity_tokens, self.ledger)
        self.scheduler = Scheduler(
            self.cache,
            max_running=max_running,
            prefill_s_per_token=prefill_s_per_token,
            decode_s_per_token=decode_s_per_token,
        )
        self._control = (
            None
            if self.ledger is None
            else Control(self.cache, self.ledger, boot_id=self.boot_id, version=VERSION)
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
        self.scheduler.submit(generation)
        if self._steps is None or self._steps.done():
            self._steps = asyncio.create_task(self._run_steps())

    async def _run_steps(self) -> None:
        try:
            while not self.scheduler.idle:
                await asyncio.sleep(self.scheduler.begin())
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
                await self._generate(path, self._checked(parse(json_object(body))), receive, send)
            else:
                await self._answer(path, scope, body, send)
        except BadRequest as exc:
            await send_json(send, 400, openai_error(400, str(exc)))

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
                await send_bytes(send, 200, self._metrics().encode(), b"text/plain; version=0.0.4")
            case ("GET", "/v1/models"):
                await send_json(send, 200, {"object": "list", "data": [self._model_card()]})
            case ("GET", "/model_info" | "/get_model_info"):
                await send_json(send, 200, {"model_path": self.model, "served_model_name": self.model})
            case ("GET", "/server_info" | "/get_server_info"):
                await send_json(send, 200, self._server_info())
            case ("POST", "/tokenize" | "/v1/tokenize"):
                await send_json(send, 200, self._tokenize(json_object(body)))
            case ("POST", "/abort_request"):
                self._abort_as_asked(json_object(body))
                await send_bytes(send, 200, b"", b"text/plain")
            case ("GET" | "POST", "/flush_cache"):
                await self._flush(send)
            case (method, _) if self._control is not None and path.startswith(wire.PREFIX + "/"):
                query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
                status, payload = self._control.answer(
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
        self, ask: Ask, prompt: Tokens, choice: int, max_new: int | None, moved: asyncio.Event
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
        )

    async def _generate(self, path: str, ask: Ask, receive: Receive, send: Send) -> None:
        moved = asyncio.Event()
        with self._aborted_when_gone(receive) as under_way:
            first: list[Generation] = []
            if ask.n > 1:
                # As SGLang: the prompt goes into the cache first, then n answers start from there.
                first = [self._new(ask, prompt, 0, 0, moved) for prompt in ask.prompts]
                await self._finish(first, under_way, moved)
            generations = [
                self._new(ask, prompt, choice, ask.max_new, moved)
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

    async def _flush(self, send: Send) -> None:
        if not self.scheduler.idle:
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

    def _model_card(self) -> Json:
        return {
            "id": self.model,
            "object": "model",
            "created": self._created,
            "owned_by": "sglang",
            "max_model_len": self.capacity_tokens,
        }

    def _server_info(self) -> Json:
        return {
            "version": VERSION,
            "served_model_name": self.model,
            "max_total_num_tokens": self.capacity_tokens,
            "page_size": 1,
            # What tells one start from the next on a stock engine: two engines never have the same pair.
            "random_seed": int(self.boot_id[:7], 16),
            "startup_time": {"scheduler_e2e": int(self.boot_id[8:16], 16) / 1e9},
            "internal_states": [{"memory_usage": {"token_capacity": self.capacity_tokens}}],
            "kv_events": None,
        }

    def _metrics(self) -> str:
        scheduler, cache = self.scheduler, self.cache
        in_use = self.capacity_tokens - cache.available - cache.evictable
        gauges = {
            "num_running_reqs": len(scheduler.running),
            "num_queue_reqs": len(scheduler.waiting),
            "token_usage": in_use / self.capacity_tokens,
            "max_total_num_tokens": self.capacity_tokens,
            "kv_available_tokens": cache.available,
            "kv_evictable_tokens": cache.evictable,
            "kv_used_tokens": in_use,
        }
        counters = {
            "prompt_tokens_total": scheduler.prompt_tokens,
            "cached_tokens_total": scheduler.cached_tokens,
            "generation_tokens_total": scheduler.output_tokens,
            "evicted_tokens_total": cache.evicted_tokens,
        }
        lines = []
        for kind, samples in (("gauge", gauges), ("counter", counters)):
            for name, value in samples.items():
                lines.append(f"# TYPE sglang:{name} {kind}")
                lines.append(f'sglang:{name}{{model_name="{self.model}"}} {value}')
        return "\n".join(lines) + "\n"
