"""LiteLLM's proxy: one worker, no database, no calls to the network, logs of errors alone."""

from __future__ import annotations

import json

from scalesim.workloads.bench_proxy.loads import MODEL

from .base import Contestant, Place, Start


def _start(place: Place) -> Start:
    model = {
        "model_name": MODEL,
        "litellm_params": {
            "model": f"openai/{MODEL}",
            "api_base": f"{place.engine_url}/v1",
            "api_key": "none",
        },
    }
    config = place.folder / "litellm.yaml"
    told = {
        "model_list": [model],
        # Its keys of clients are not measured, and it listens on loopback alone; without a key it starts only like this.
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    config.write_text(json.dumps(told))  # JSON is YAML
    command = [
        *(place.program("litellm", "bin", "litellm"), "--config", str(config)),
        *("--host", place.host, "--port", str(place.port), "--num_workers", "1", "--telemetry", "False"),
    ]
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
    return Start(command, f"http://{place.host}:{place.port}/health/liveliness", environment)


CONTESTANTS = (
    Contestant(
        "LiteLLM",
        _start,
        to_the_byte=False,
        timeout_s=240.0,
        about="reads and writes every answer anew; only its last words are checked",
    ),
)
