"""smg, sglang-router's successor, in Rust, with its defaults."""

from __future__ import annotations

from .base import Contestant, Place, Start


def _start(place: Place) -> Start:
    command = [
        *(place.program("smg", "bin", "smg"), "launch"),
        *("--worker-urls", place.engine_url, "--host", place.host, "--port", str(place.port)),
        *("--prometheus-host", place.host, "--prometheus-port", str(place.other_port())),
        *("--disable-tokenizer-autoload", "--log-level", "warn"),
    ]
    return Start(command, f"http://{place.host}:{place.port}/readiness")


CONTESTANTS = (
    Contestant("smg", _start, about="its usual policy, with one engine to choose from; no tokenizer loaded"),
)
