"""sglang-router, in Rust, with its defaults."""

from __future__ import annotations

from .base import Contestant, Place, Start


def _start(place: Place) -> Start:
    command = [
        *(place.program("sglang-router", "bin", "python"), "-m", "sglang_router.launch_router"),
        *("--worker-urls", place.engine_url, "--host", place.host, "--port", str(place.port)),
        *("--prometheus-host", place.host, "--prometheus-port", str(place.other_port())),
        *("--log-level", "warn"),
    ]
    return Start(command, f"http://{place.host}:{place.port}/readiness")


CONTESTANTS = (
    Contestant(
        "sglang-router", _start, about="its usual policy, cache_aware, with one engine to choose from"
    ),
)
