"""The HTTP side of the control routes, in SGLang's HTTP process: checks, sends to every rank, waits, answers.

Also the source of beats: one a second while a plan or a pin is in force, so that all ranks age them alike.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from dataclasses import replace
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from sglang.srt.entrypoints import http_server
from sglang.srt.runtime_context import get_parallel
from sglang.srt.utils.auth import AuthLevel, auth_level
from sglang.utils import TypeBasedDispatcher

from . import compat, wire
from .messages import ScaleSimAnswer, ScaleSimRequest

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 15.0
"""A busy scheduler reads its messages between two steps; a long prefill on a CPU takes seconds."""
BEAT_S = 1.0
QUIET_BEATS = int(ANSWER_TIMEOUT_S / BEAT_S) + 1
"""Beats go on so long after the last sign of a plan: a command may still be waiting in the scheduler's queue."""
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_WAITING = 256


class Desk:
    """Control calls under way, by request id. One per HTTP process."""

    def __init__(self, problems: list[str]) -> None:
        self.boot_id = uuid.uuid4().hex
        self.problems = problems
        self._waiting: dict[str, tuple[asyncio.Future[list[ScaleSimAnswer]], list[ScaleSimAnswer], int]] = {}
        self._beats: asyncio.Task[None] | None = None
        self._capabilities: dict[str, Any] | None = None

    def take_answer(self, answer: ScaleSimAnswer) -> None:
        waiting = self._waiting.get(answer.rid)
        if waiting is None:
            return  # its caller gave up
        future, answers, expected = waiting
        answers.append(answer)
        if len(answers) == expected and not future.done():
            future.set_result(answers)

    async def ask(
        self, name: str, payload: dict[str, Any], timeout_s: float = ANSWER_TIMEOUT_S
    ) -> tuple[int, dict[str, Any]]:
        """Sends to every rank and waits. The worst status of all ranks is the answer."""
        if len(self._waiting) >= MAX_WAITING:
            return 503, _error("busy", f"{MAX_WAITING} control calls are waiting already")
        manager = http_server.get_global_state().tokenizer_manager
        manager.auto_create_handle_loop()
        rid = f"scalesim-{uuid.uuid4().hex}"
        future: asyncio.Future[list[ScaleSimAnswer]] = asyncio.get_running_loop().create_future()
        self._waiting[rid] = (future, [], get_parallel().num_dp_ranks)
        try:
            manager._dispatch_to_scheduler(ScaleSimRequest(rid=rid, name=name, payload=payload))
            answers = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return 504, _error("busy", f"the scheduler did not answer within {timeout_s:g} s")
        finally:
            del self._waiting[rid]
        worst = max(answers, key=lambda answer: answer.status)
        in_force = any(answer.payload.get("in_force") for answer in answers)
        return worst.status, {**worst.payload, "in_force": in_force} if name == "beat" else worst.payload

    async def command(self, command: wire.Command) -> tuple[int, dict[str, Any]]:
        # Before it is sent: a command whose answer is lost may take effect all the same, and has to age.
        if self._beats is None or self._beats.done():
            self._beats = asyncio.create_task(self._beat_while_in_force())
        if command.name == "load":
            return await self._load(command)
        return await self.ask(command.name, command.payload())

    async def _load(self, command: wire.Command) -> tuple[int, dict[str, Any]]:
        """The time that a load has is watched here: the ranks of a scheduler have no common clock."""
        asking = asyncio.create_task(
            self.ask("load", command.payload(), command.within_s + 2 * ANSWER_TIMEOUT_S)
        )
        done, _ = await asyncio.wait({asking}, timeout=command.within_s)
        if not done:
            await self.ask("stop", replace(command, name="stop").payload())
        return await asking

    async def _beat_while_in_force(self) -> None:
        quiet = 0
        while quiet < QUIET_BEATS:
            await asyncio.sleep(BEAT_S)
            try:
                status, payload = await self.ask("beat", {})
            except Exception:
                logger.exception("ScaleSim could not send a beat; the next one follows")
                continue
            quiet = quiet + 1 if status == 200 and not payload["in_force"] else 0

    async def capabilities(self) -> tuple[int, dict[str, Any]]:
        if self.problems:
            cache = {"class": "stock", "active": False, "reason": "; ".join(self.problems)}
            payload: dict[str, Any] = {"cache": cache, "features": ["abort"]}
            payload |= dict.fromkeys(("capacity_tokens", "page_size", "adapter_slots", "host_adapters"))
            payload["engine"] = {"name": "sglang", "version": compat.engine_version()}
        else:
            # They do not change while the server runs, and must be had also from a scheduler that is busy.
            if self._capabilities is None:
                status, payload = await self.ask("capabilities", {})
                if status != 200:
                    return status, payload
                self._capabilities = payload
            payload = self._capabilities
        return 200, {
            "protocol": wire.PROTOCOL,
            "plugin": "scalesim-sglang-plugin",
            "plugin_version": compat.plugin_version(),
            "boot_id": self.boot_id,
            "self_check": {"ok": not self.problems, "problems": self.problems},
            **payload,
        }


def _error(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, **more}}


def after_init_communicators(_result: None, manager: Any) -> None:
    """Hook AFTER `TokenizerManager.init_communicators`: answers find their way back by request id."""
    manager._result_dispatcher += TypeBasedDispatcher(
        [(ScaleSimAnswer, lambda answer: http_server.app.state.scalesim_desk.take_answer(answer))]
    )


def add_routes(problems: list[str]) -> None:
    """Adds the control routes to SGLang's app. They take the admin key if there is one, else the API key."""
    app = http_server.app
    desk = app.state.scalesim_desk = Desk(problems)

    @auth_level(AuthLevel.ADMIN_OPTIONAL)
    async def read(name: str, request: Request) -> JSONResponse:
        if name not in wire.READS:
            return JSONResponse(_error("not_found", f"no such read: {name[:64]}"), 404)
        if name == "capabilities":
            status, payload = await desk.capabilities()
        else:
            status, payload = await desk.ask(name, dict(request.query_params))
        if status == 200 and name == "stats":
            payload["boot_id"] = desk.boot_id
        return JSONResponse(payload, status)

    @auth_level(AuthLevel.ADMIN_OPTIONAL)
    async def command(name: str, request: Request) -> JSONResponse:
        if problems:
            return JSONResponse(_error("inactive", "; ".join(problems)), 503)
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                return JSONResponse(
                    _error("bad_request", f"the body is larger than {MAX_BODY_BYTES} bytes"), 413
                )
        try:
            parsed = wire.parse_command(name, json.loads(raw))
        except (ValueError, RecursionError) as exc:  # Malformed is a ValueError, as is what json raises
            return JSONResponse(_error("bad_request", str(exc)), 400)
        status, payload = await desk.command(parsed)
        return JSONResponse(payload, status)

    # FastAPI reads annotations as objects; here they are strings, because of the __future__ import.
    for endpoint in (read, command):
        endpoint.__annotations__ = {"name": str, "request": Request}
    app.add_api_route(wire.PREFIX + "/{name}", read, methods=["GET"])
    app.add_api_route(wire.PREFIX + "/{name}", command, methods=["POST"])
