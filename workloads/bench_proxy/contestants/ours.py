"""`scalesim serve`: as a plain proxy, with all that it does by itself, and with several workers."""

from __future__ import annotations

import subprocess

from scalesim.workloads.servers import ROOT

from .base import Contestant, NotThere, Place, Start

_SCALESIM = ROOT / ".venv" / "bin" / "scalesim"
WORKERS = 4


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
    start = _start(place, "--mode", "on", "--workers", str(WORKERS))
    told = subprocess.run([str(_SCALESIM), "serve", "--help"], capture_output=True, text=True, check=False)
    if "--workers" not in told.stdout:
        raise NotThere("`scalesim serve` has no --workers")
    return start


def _off(place: Place) -> Start:
    return _start(place, "--mode", "off", "--recognise", "none")


def _on(place: Place) -> Start:
    return _start(place, "--mode", "on")


CONTESTANTS = (
    Contestant(
        "ours, off", _off, about="a plain proxy: it plans nothing, and reads no prompt for whose it is"
    ),
    Contestant("ours, on", _on, about="recognition, events, metrics, plans, orders and pins"),
    Contestant(f"ours, {WORKERS} workers", _with_workers, about="on, all workers on the one core"),
)
