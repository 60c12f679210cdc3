"""Every name of SGLang that we wrap exists in the installed release, with the signature that we wrap."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ENGINE_PYTHON = ROOT / ".engine" / "bin" / "python"

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def in_engine(program: str) -> dict[str, object]:
    """Runs a program in the engine's environment; its last line is JSON."""
    done = subprocess.run(
        [str(ENGINE_PYTHON), "-c", program],
        capture_output=True,
        text=True,
        timeout=900,
        cwd="/",
        env={**os.environ, "SGLANG_USE_CPU_ENGINE": "1", "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**found, "stderr": done.stderr}


GROUPS = [
    *("CACHE_HOOKS", "HOST_TIER_HOOKS", "ADAPTER_HOOKS", "CONTROL_HOOKS"),
    *("METER_HOOKS", "METER_LOAD_HOOKS", "METER_QUEUE_HOOKS", "CPU_HOOKS", "LINK_HOOKS"),
]


@pytest.mark.parametrize("group", GROUPS)
def test_the_installed_sglang_looks_as_we_wrap_it(group: str) -> None:
    found = in_engine(
        f"import json; from scalesim_sglang import compat; print(json.dumps(dict(p=compat.problems(compat.{group}))))"
    )
    assert found["p"] == []


def test_what_loads_from_host_memory_rest_on_holds_in_the_installed_sglang() -> None:
    found = in_engine(
        "import json; from scalesim_sglang import compat; facts = compat.broken_facts()\n"
        "from sglang.srt.managers.cache_controller import LayerDoneCounter as C\n"
        "old = C.__init__\n"
        "def fewer(self, layers): old(self, layers); self.num_counters = 2\n"
        "C.__init__ = fewer\n"
        "print(json.dumps(dict(facts=facts, fewer=compat.broken_facts())))"
    )
    assert found["facts"] == []
    assert found["fewer"] == ["there are 2 event slots for copies to the device, fewer than 3"]


def test_a_changed_signature_and_a_missing_name_are_told_apart() -> None:
    found = in_engine(
        "import json; from scalesim_sglang import compat\n"
        "print(json.dumps(dict(p=compat.problems({"
        "'sglang.srt.mem_cache.registry:get_radix_cache_factory': ('name', 'more'),"
        "'sglang.srt.mem_cache.registry:gone': (), 'sglang.nowhere:x': ()}))))"
    )
    problems = found["p"]
    assert isinstance(problems, list)
    assert len(problems) == 3
    assert "takes ('name',), not ('name', 'more')" in problems[0]
    assert "gone is missing" in problems[1]
    assert "sglang.nowhere:x is missing" in problems[2]


def test_on_an_unknown_release_the_engine_keeps_its_own_cache_and_says_so_loudly() -> None:
    found = in_engine(
        "import json, logging; logging.basicConfig()\n"
        "from scalesim_sglang import compat, plugin; compat.KNOWN_RELEASES = ('9.9.9',); plugin.register()\n"
        "from sglang.srt.mem_cache import registry\n"
        "from sglang.srt.plugins.hook_registry import HookRegistry\n"
        "print(json.dumps(dict(stock=registry.get_radix_cache_factory('scalesim') is"
        " registry.default_radix_cache_factory, hooks=sorted(HookRegistry._hooks))))"
    )
    assert found["stock"] is True
    # Only the route that answers why is left.
    assert found["hooks"] == ["sglang.srt.entrypoints.http_server._setup_and_run_http_server"]
    assert "ScaleSim stays out" in str(found["stderr"])
    assert "9.9.9" in str(found["stderr"])
