"""What operators ask for reaches an engine: the real proxy, in front of the emulated engine, each a process of its own."""

from __future__ import annotations

from functools import partial
from operator import ne
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.town import Process, Town, servers, until
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
API = "/admin/v1"
WORDS = " ".join(f"word{number}" for number in range(400))
"""Of the 2,000 tokens that the engine's cache holds, five such prompts are too many."""
WHOLE = 400 * 1024
"""Bytes of such a prompt, at the least."""


async def call(proxy: Process, agent: str) -> None:
    body = {
        "model": "emulated",
        "max_tokens": 2,
        "messages": [{"role": "user", "content": f"You are {agent}. {agent} {WORDS}"}],
    }
    headers = {"X-Agent-ID": agent, "X-Simulation-ID": "town", "X-Acts-For": "5000"}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        answer = await http.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text


async def device_bytes(admin: httpx.AsyncClient, agent: str) -> int:
    known = (await admin.get(f"{API}/simulations/town/agents/{agent}")).json()
    return int(known["memories"][0]["device_bytes"] or 0)


async def ended(admin: httpx.AsyncClient, begun: httpx.Response) -> dict[str, Any]:
    assert begun.status_code == 202, begun.text

    async def look() -> dict[str, Any]:
        told: dict[str, Any] = (await admin.get(begun.headers["location"])).json()
        return told

    return await until(look, lambda told: told["state"] != "running", "the end of the operation")


async def test_an_agent_is_prefetched_and_pinned_and_an_adapter_loaded(tmp_path: Path) -> None:
    with servers(tmp_path / "town") as running:
        town = Town(running)
        engine = await town.engine(
            *("--capacity-tokens", "2000", "--host-tokens", "100000", "--decode-s-per-token", "0"),
            *("--adapter-slots", "4", "--host-adapters", "16"),
        )
        proxy = await town.proxy(engine.url)
        assert proxy.admin_url is not None
        async with httpx.AsyncClient(base_url=proxy.admin_url, trust_env=False, timeout=PATIENCE_S) as admin:
            for place, name in enumerate(("Ann", "Bob", "Cem", "Dan", "Eve", "Fay")):
                await call(proxy, name)
                # Ann calls last, so her memory leaves first.
                acts = {"unit": "seconds", "durations": {name: 9000 - 100 * place}}
                await admin.post(f"{API}/simulations/town/actions", json=acts)
            await until(
                lambda: device_bytes(admin, "Ann"), lambda there: there < WHOLE, "room made of Ann's memory"
            )

            path = f"{API}/simulations/town/agents/Ann"
            told = await ended(admin, await admin.post(f"{path}/prefetch", json={"for_s": 20}))
            assert (told["state"], told["result"]) == ("done", {"memories": {"kv_prefix:town/Ann": "here"}})
            await until(lambda: device_bytes(admin, "Ann"), lambda there: there >= WHOLE, "Ann's memory")
            (load,) = (await admin.get(f"{API}/actions?agent=Ann&kind=load")).json()["actions"]
            assert (load["why"], load["result"]) == (
                "town/Ann is wanted by an operator; to be copied",
                "loaded",
            )

            assert (await admin.put(f"{path}/pin", json={"reason": "the judge"})).status_code == 200

            async def pin() -> dict[str, Any]:
                told: dict[str, Any] = (await admin.get(f"{API}/pins")).json()["agents"][0]["pin"]
                return told

            await until(pin, lambda told: told["in_force"], "a pin in force")
            for name in ("Gil", "Hal", "Ida", "Joe"):
                await call(proxy, name)
            assert await device_bytes(admin, "Ann") >= WHOLE

            await admin.put(f"{API}/adapters/poet", json={"path": str(tmp_path)})
            told = await ended(admin, await admin.post(f"{API}/adapters/poet/load"))
            assert (told["state"], told["result"]) == ("done", {"engines": {"engine-0": "slot"}})
            told = await ended(admin, await admin.post(f"{API}/adapters/poet/unload"))
            assert (told["state"], told["result"]) == ("done", {"engines": {"engine-0": "unknown"}})
            status = (await admin.get(f"{API}/status")).json()
            assert status["failures"] == {}


async def chosen(admin: httpx.AsyncClient) -> dict[str, Any]:
    """All that an operator can choose of engines, simulations and agents while the proxy runs."""
    engines = (await admin.get(f"{API}/engines")).json()["engines"]
    town = (await admin.get(f"{API}/simulations/town")).json()
    policies = (await admin.get(f"{API}/policies")).json()
    pins = (await admin.get(f"{API}/pins")).json()
    ann = (await admin.get(f"{API}/simulations/town/agents/Ann")).json()
    return {
        "engines": [(one["engine"], one["url"]) for one in engines],
        "mode": town["mode"],
        "estimator": town["estimator"],
        "policies": (policies["policy"], policies["engines"]),
        "pins": [(one["agent"], one["pin"]["reason"]) for one in pins["agents"]],
        "pinned adapters": [(one["adapter"], one["pin"]["reason"]) for one in pins["adapters"]],
        "adapters": [
            (one["name"], one["path"]) for one in (await admin.get(f"{API}/adapters")).json()["adapters"]
        ],
        "Ann's": ann["adapter"],
        "answers": (await admin.get(f"{API}/simulations/town/answers")).json(),
    }


async def test_what_an_operator_chose_is_in_force_after_a_kill_and_a_start(tmp_path: Path) -> None:
    state = tmp_path / "state"

    async def written() -> int:
        return state.stat().st_mtime_ns

    with servers(tmp_path / "town") as running:
        town = Town(running)
        engine = await town.engine("--adapter-slots", "4", "--host-adapters", "16")
        other = await town.engine()
        proxy = await town.proxy(
            engine.url, *("--state-file", str(state)), environment={"SCALESIM_STATE_EVERY_S": "0.5"}
        )
        assert proxy.admin_url is not None
        async with httpx.AsyncClient(base_url=proxy.admin_url, trust_env=False, timeout=PATIENCE_S) as admin:
            await call(proxy, "Ann")
            for method, path, body in (
                ("POST", "engines", {"name": "gpu-2", "url": other.url}),
                ("PUT", "engines/gpu-2/policy", {"name": "lru"}),
                ("PUT", "policy", {"name": "cost_aware"}),
                ("PUT", "simulations/town/mode", {"mode": "shadow"}),
                ("PUT", "simulations/town/estimator", {"name": "gap"}),
                (
                    "PUT",
                    "simulations/town/answers",
                    {"rules": ["default"], "unit": "steps", "per_minute": 0.2},
                ),
                ("PUT", "adapters/poet", {"path": str(tmp_path)}),
                ("PUT", "simulations/town/agents/Ann/adapter", {"name": "poet"}),
                ("PUT", "adapters/poet/pin", {"reason": "the king speaks"}),
                ("PUT", "simulations/town/agents/Ann/pin", {"reason": "the judge"}),
            ):
                answer = await admin.request(method, f"{API}/{path}", json=body)
                assert answer.is_success, f"{path}: {answer.text}"
            told = await chosen(admin)
            assert told["engines"] == [("engine-0", engine.url), ("gpu-2", other.url)]
            assert (told["mode"], told["estimator"]) == ("shadow", "gap")
            assert told["policies"] == ("cost_aware", {"engine-0": "cost_aware", "gpu-2": "lru"})
            assert told["pins"] == [("Ann", "the judge")]
            assert told["pinned adapters"] == [("poet", "the king speaks")]
            assert told["Ann's"] == "poet"

            # The writing that began before all of it was chosen may end after that; the next one has it.
            for _ in range(2):
                await until(written, partial(ne, await written()), "another writing")
            proxy.kill()
            await proxy.again(running)
            assert await chosen(admin) == told
            assert (await admin.get(f"{API}/status")).json()["failures"] == {}
