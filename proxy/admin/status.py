"""How the proxy is: for orchestrators, for people, for Prometheus."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

import scalesim
from scalesim.proxy.core.model import Mode

from .answers import SIMULATION_EXAMPLE, SimulationAnswer, example
from .desk import Desk
from .engine_answers import ENGINE_EXAMPLE, EngineAnswer, engines_of
from .group_answers import GROUP_EXAMPLE, GroupAnswer
from .metrics import Metrics
from .problems import Problem
from .prometheus import MEDIA_TYPE, written
from .recording_answers import RECORDING_EXAMPLE, RecordingAnswer


class StatusAnswer(BaseModel):
    model_config = example(
        {
            "version": "0.1.0",
            "up_s": 1200.5,
            "mode": "on",
            "policy": "nearest_first",
            "parts": ["order", "pin"],
            "engines": [ENGINE_EXAMPLE],
            "simulations": [SIMULATION_EXAMPLE],
            "plans": 5200,
            "planning_s": 1.25,
            "actions": {"order": {"done": 310}},
            "sizes": {"agents": 24},
            "failures": {},
            "recording": RECORDING_EXAMPLE,
            "group": GROUP_EXAMPLE,
        }
    )

    version: str
    up_s: float
    mode: Mode = Field(description="Of new simulations.")
    policy: str
    parts: list[str] = Field(description="Of memory control: those that are on.")
    engines: list[EngineAnswer]
    simulations: list[SimulationAnswer]
    plans: int
    planning_s: float
    actions: dict[str, dict[str, int]] = Field(description="By kind and result.")
    sizes: dict[str, int] = Field(description="Entries of the tables; each has a limit.")
    failures: dict[str, int] = Field(
        description="Bugs that were survived, by place; the log has the tracebacks."
    )
    recording: RecordingAnswer | None = Field(description="The trace of calls; null: none is written.")
    group: GroupAnswer | None = Field(description="The proxies that serve together; null: this one is alone.")


class HealthAnswer(BaseModel):
    model_config = example({"status": "alive", "engines": {"engine-0": "up"}})

    status: str
    engines: dict[str, str] = Field(description="starting, up, draining or lost")


def status_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["status"])
    published = Metrics(desk)

    @router.get("/health")
    @router.get("/healthz")
    async def health() -> HealthAnswer:
        """The process is alive; a lost engine does not change that."""
        return HealthAnswer(status="alive", engines=_states())

    unready: dict[int | str, dict[str, Any]] = {
        503: {"description": "No engine is up, or the proxy is about to end."}
    }

    @router.get("/ready", responses=unready)
    @router.get("/readyz", responses=unready)
    async def ready() -> HealthAnswer:
        """200 while an engine is up, else 503; also while the proxy is about to end."""
        states = _states()
        if desk.is_ending():
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the proxy is about to end, and takes no new calls",
                engines=states,
            )
        if not desk.fleet.is_ready:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no engine is up", engines=states)
        return HealthAnswer(status="ready", engines=states)

    @router.get(
        "/metrics", response_class=Response, responses={200: {"content": {"text/plain": _METRICS_EXAMPLE}}}
    )
    async def metrics() -> Response:
        """Prometheus' text format."""
        text = []
        for piece in written(published.families()):
            text.append(piece)
            await asyncio.sleep(0)  # calls go first
        return Response("".join(text), media_type=MEDIA_TYPE)

    @router.get("/admin/v1/status")
    async def status() -> StatusAnswer:
        """Everything at a glance."""
        runtime, recording = desk.runtime, desk.recording()
        actions: dict[str, dict[str, int]] = {}
        for (kind, result), count in runtime.actions.items():
            actions.setdefault(kind, {})[result] = count
        return StatusAnswer(
            version=scalesim.__version__,
            up_s=round(desk.clock() - desk.began, 3),
            mode=desk.settings.mode,
            policy=desk.controller.policy(),
            parts=sorted(desk.settings.parts),
            engines=engines_of(desk),
            simulations=[SimulationAnswer.of(one) for one in desk.controller.simulations()],
            plans=runtime.plans,
            planning_s=round(runtime.planning_s, 6),
            actions=actions,
            sizes=desk.sizes(),
            failures=dict(runtime.failures),
            recording=None if recording is None else RecordingAnswer.of(recording),
            group=None if desk.group is None else GroupAnswer.of(desk.settings.group, desk.group()),
        )

    def _states() -> dict[str, str]:
        return {entry.address.name: entry.state for entry in desk.fleet.registry}

    return router


_METRICS_EXAMPLE = {
    "example": 'scalesim_calls_total{simulation="town"} 310\nscalesim_engine_up{engine="engine-0"} 1\n'
}
