"""A little engine with real HTTP: the same prompt gives the same answer, and its cache never gives anything up."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route


def word_ids(text: str) -> list[int]:
    return [zlib.crc32(word.encode()) for word in text.split()]


def prompt_ids(messages: Sequence[dict[str, str]]) -> list[int]:
    return [token for message in messages for token in word_ids(f"<{message['role']}> {message['content']}")]


@dataclass
class Asked:
    """One request as it arrived."""

    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class FakeEngine:
    """Also takes hints, as a proxy does. `told` is everything but calls, in the order it came."""

    answer: Callable[[int], list[str]] = lambda fingerprint: [f"w{fingerprint % 97} ", "and ", "so on"]
    gate: asyncio.Barrier | None = None
    """Calls go on when so many are there."""
    failure: str | None = None
    """`refuse`: status 500; `break`: half an answer; `silent`: no usage."""
    refused_hints: int | None = None
    """A status for every hint."""
    asked: list[Asked] = field(default_factory=list)
    told: list[tuple[str, Any]] = field(default_factory=list)
    flushes: int = 0
    running: int = 0
    most_running: int = 0
    seen: list[list[int]] = field(default_factory=list)
    prefill_s: float = 0.0
    reports_cache: bool = True
    server_info: dict[str, Any] = field(default_factory=dict)
    """What else it says of itself."""
    stays_out: str = ""
    """Why its plugin takes no plans."""
    adapters: dict[str, str] = field(default_factory=dict)
    """Loaded, with their paths. What an adapter answers depends on its path."""
    slots: int = 2
    slot_s: float = 0.0
    """By which every load of a slot blocks it. It is counted, not waited for."""
    in_slots: list[str] = field(default_factory=list)
    lookups: dict[str, int] = field(default_factory=lambda: {"hit": 0, "miss": 0})
    load_s: float = 0.0
    loads: dict[str, dict[str, int]] | None = field(default_factory=dict)
    """None: its plugin does not count them."""
    accuracy: dict[str, dict[str, float]] | None = None
    """What it says of a simulation; None: it does not say anything of simulations."""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/tokenize", self._tokenize, methods=["POST"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/flush_cache", self._flush, methods=["POST"]),
                Route("/server_info", self._server_info),
                Route("/metrics", self._metrics),
                Route("/scalesim/v1/capabilities", self._capabilities),
                Route("/scalesim/v1/stats", self._stats),
                Route("/load_lora_adapter", self._load_adapter, methods=["POST"]),
                Route("/admin/v1/adapters/{name}", self._register, methods=["PUT"]),
                Route("/admin/v1/simulations/{name}", self._simulation),
                Route("/admin/v1/simulations/{rest:path}", self._hint, methods=["PUT", "POST", "DELETE"]),
            ]
        )

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("")

    async def _models(self, request: Request) -> Response:
        models = [{"id": "fake", "parent": None}] + [
            {"id": name, "root": path, "parent": "fake"} for name, path in self.adapters.items()
        ]
        return JSONResponse({"object": "list", "data": models})

    async def _stats(self, request: Request) -> Response:
        return JSONResponse({} if self.loads is None else {"loads": self.loads})

    async def _load_adapter(self, request: Request) -> Response:
        body = await request.json()
        if body["lora_name"] in self.adapters:
            return JSONResponse({"error_message": "is already loaded"}, status_code=400)
        self.adapters[body["lora_name"]] = body["lora_path"]
        return JSONResponse({"success": True})

    async def _register(self, request: Request) -> Response:
        self.told.append((f"PUT adapters/{request.path_params['name']}", await request.json()))
        return JSONResponse({}, status_code=self.refused_hints or 200)

    async def _simulation(self, request: Request) -> Response:
        if self.accuracy is None:
            return JSONResponse({}, status_code=404)
        return JSONResponse({"name": request.path_params["name"], "accuracy": self.accuracy})

    def _look_up(self, adapter: str) -> None:
        found = adapter in self.in_slots
        self.lookups["hit" if found else "miss"] += 1
        self.load_s += 0.0 if found else self.slot_s
        self.in_slots = [*(one for one in self.in_slots if one != adapter), adapter][-self.slots :]

    async def _server_info(self, request: Request) -> Response:
        told = {"max_total_num_tokens": 100_000, "enable_cache_report": self.reports_cache}
        return JSONResponse({**told, **self.server_info})

    async def _capabilities(self, request: Request) -> Response:
        return JSONResponse({"cache": {"active": not self.stays_out, "reason": self.stays_out}})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(
            "# TYPE scalesim:step_seconds_total counter\n"
            f'scalesim:step_seconds_total{{kind="prefill",pid="1"}} {self.prefill_s}\n'
            'scalesim:step_seconds_total{kind="decode",pid="1"} 0.0\n'
            f'scalesim:step_seconds_total{{kind="load",pid="1"}} {self.load_s}\n'
            + "".join(
                f'scalesim:adapter_lookups_total{{pid="1",result="{result}"}} {count}.0\n'
                for result, count in self.lookups.items()
            )
        )

    async def _tokenize(self, request: Request) -> Response:
        body = await request.json()
        ids = prompt_ids(body["messages"]) if "messages" in body else word_ids(body["prompt"])
        return JSONResponse({"tokens": ids, "count": len(ids)})

    async def _flush(self, request: Request) -> Response:
        self.flushes += 1
        self.seen.clear()
        return PlainTextResponse("Cache flushed.")

    async def _hint(self, request: Request) -> Response:
        body = await request.body()
        lines = request.headers.get("content-type") == "application/x-ndjson"
        told = (
            [json.loads(line) for line in body.splitlines()] if lines else json.loads(body) if body else None
        )
        self.told.append((f"{request.method} {request.path_params['rest']}", told))
        return JSONResponse({}, status_code=self.refused_hints or 200)

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(Asked(body, dict(request.headers)))
        if self.failure == "refuse":
            return JSONResponse({"error": {"message": "no"}}, status_code=500)
        ids = prompt_ids(body["messages"])
        told = list(ids)
        if (adapter := body.get("lora_path")) is not None:
            if adapter not in self.adapters:
                return JSONResponse({"error": {"message": f"{adapter} is not loaded"}}, status_code=400)
            self._look_up(adapter)
            told += word_ids(self.adapters[adapter])
        cached = max((_shared(ids, other) for other in self.seen), default=0)
        self.seen.append(ids)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.prefill_s += 0.0001
        return StreamingResponse(
            self._stream(ids, told, min(cached, len(ids) - 1)), media_type="text/event-stream"
        )

    async def _stream(self, ids: list[int], told: list[int], cached: int) -> AsyncIterator[str]:
        if self.gate is not None:
            await self.gate.wait()
        yield _event(_choice({"role": "assistant", "content": ""}))
        words = self.answer(zlib.crc32(json.dumps(told).encode()))
        for word in words:
            top = [
                {"token": word, "logprob": -0.1, "bytes": []},
                {"token": "?", "logprob": -4.0, "bytes": []},
            ]
            seen = {"token": word, "logprob": -0.1, "bytes": [], "top_logprobs": top}
            yield _event(_choice({"content": word}, {"content": [seen]}))
            if self.failure == "break":
                self.running -= 1
                return
        self.running -= 1
        yield _event(
            {
                **_choice({}, finish="length"),
                "sglext": {"output_ids": [[zlib.crc32(word.encode()) for word in words]]},
            }
        )
        if self.failure != "silent":
            usage = {
                "prompt_tokens": len(ids),
                "completion_tokens": len(words),
                "total_tokens": len(ids) + len(words),
                "prompt_tokens_details": {"cached_tokens": cached},
            }
            yield _event({**_chunk(), "choices": [], "usage": usage})
        yield "data: [DONE]\n\n"


def _shared(a: list[int], b: list[int]) -> int:
    return next(
        (index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def _chunk() -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "fake"}


def _choice(delta: dict[str, str], logprobs: object = None, finish: str | None = None) -> dict[str, Any]:
    return {
        **_chunk(),
        "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}],
    }


def _event(data: object) -> str:
    return f"data: {json.dumps(data)}\n\n"
