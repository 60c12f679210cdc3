"""`scalesim serve`: as a plain proxy, with all that it does by itself, and with several workers."""

from __future__ import annotations

from dataclasses import replace

from scalesim.workloads.servers import ROOT, redis_program

from .base import Contestant, NotThere, Place, Start

_SCALESIM = ROOT / ".venv" / "bin" / "scalesim"
WORKERS = 4
_WITH_REDIS = '"$0" --bind "$1" --port "$2" --dir "$3" --save "" --appendonly no --loglevel warning & shift 3; exec "$@"'
"""For a shell. Both are of one process group, which is what ends them; and what Redis uses counts as the proxy's."""


def _start(place: Place, *options: str) -> Start:
    if not _SCALESIM.exists():
        raise NotThere(f"{_SCALESIM} is missing; `make .venv/.ready` makes it")
    admin_port = place.other_port()
    command = [
        *(str(_SCALESIM), "serve", "--engine", place.engine_url, "--host", place.host),
        *("--port", str(place.port), "--admin-host", place.host, "--admin-port", str(admin_port)),
        *("--log-level", "warning", *options),
    ]
    return Start(command, f"http://{place.host}:{admin_port}/ready")


def _with_workers(place: Place) -> Start:
    try:
        redis = redis_program()
    except FileNotFoundError as exc:
        raise NotThere(str(exc)) from exc
    port = str(place.other_port())
    start = _start(
        place, "--mode", "on", "--workers", str(WORKERS), "--redis", f"redis://{place.host}:{port}/0"
    )
    beside = ["sh", "-c", _WITH_REDIS, redis, place.host, port, str(place.folder)]
    return replace(start, command=[*beside, *start.command])


def _off(place: Place) -> Start:
    return _start(place, "--mode", "off", "--recognise", "none")


def _on(place: Place) -> Start:
    return _start(place, "--mode", "on")


CONTESTANTS = (
    Contestant(
        "ours, off", _off, about="a plain proxy: it plans nothing, and reads no prompt for whose it is"
    ),
    Contestant("ours, on", _on, about="recognition, events, metrics, plans, orders and pins"),
    Contestant(
        f"ours, {WORKERS} workers", _with_workers, about="on, all workers and their Redis on the one core"
    ),
)
