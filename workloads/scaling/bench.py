"""Measures a proxy in front of more and more emulated engines: how much they answer together, and what their caches are worth.

Two plays for each number of engines. One is for the rate: engines that are paced and cost nothing else, asked without a pause. One
is for the hits: engines with a real cache, which write down each call, and a town of agents whose distances are told.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from scalesim.workloads import scenarios
from scalesim.workloads.bench_proxy import generator
from scalesim.workloads.bench_proxy.bench import MeasuringFailed, generate
from scalesim.workloads.bench_proxy.loads import Load
from scalesim.workloads.bench_proxy.racers import HOST, Cores, cores
from scalesim.workloads.emulated import BYTES_PER_TOKEN, MOST_RUNNING, EmulatedInstallation
from scalesim.workloads.engines import http_client
from scalesim.workloads.player import Target, play_program
from scalesim.workloads.program import Impossible, Wishes
from scalesim.workloads.room import room
from scalesim.workloads.servers import Server, ServerFailed, Servers, free_port, on_core, redis_program

from .figures import Hits, Noted, Rate, hits, noted_of
from .results import Measured, as_json, show

ENGINE_S = 60.0
"""For an engine to come up."""
BODY_BYTES = 2048
ASKING = 2
"""Connections for each call that an engine runs at once: so none of them ever waits for work."""
MODEL = "emulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    engines: Sequence[int]
    """Numbers of them."""
    proxies: int
    """With the most engines, also so many of them: the answer to one that is full."""
    running: int
    """Calls that a paced engine runs at once..."""
    call_s: float
    """...each for so long."""
    seconds: float
    warm_up_s: float
    scenario: str
    wishes: Wishes
    """For each engine."""
    share: float
    """Of an engine's agents fit into its cache."""
    seed: int
    out_dir: Path
    json_path: Path
    installation: EmulatedInstallation

    def __post_init__(self) -> None:
        if not self.engines or min(self.engines) < 1 or list(self.engines) != sorted(set(self.engines)):
            raise Impossible("numbers of engines have to be above 0, each one once, and rising")
        if self.proxies < 1:
            raise Impossible("there has to be a proxy")
        if self.proxies > 1:
            try:
                redis_program()
            except FileNotFoundError as exc:
                raise Impossible(str(exc)) from exc
        if self.running < 1 or not self.call_s > 0 or not self.seconds > 0:
            raise Impossible("engines have to run calls, and there has to be some time")
        if missing := self.installation.missing():
            raise Impossible(f"{missing[0]} is missing; `make .venv/.ready` makes it")

    @property
    def cap_rps(self) -> float:
        """Of one engine."""
        return self.running / self.call_s


async def bench_engines(order: Order, console: Console) -> bool:
    """Whether all calls were answered rightly. Raises `ServerFailed`."""
    if cores(sorted(os.sched_getaffinity(0))).both is None:
        console.print(
            "One core alone: proxies, their Redis, engines and load generator take it from each other, and nothing says when it is full.",
            style="yellow",
        )
    measured = Measured()
    for count in order.engines:
        with console.status(f"{count} engines: how much they answer"):
            measured.rates.append(await _rate(order, count))
        with console.status(f"{count} engines: what their caches are worth"):
            measured.hits[count] = await _hits(order, count)
    if order.proxies > 1:
        with console.status(f"{order.engines[-1]} engines behind {order.proxies} proxies"):
            measured.rates.append(await _rate(order, order.engines[-1], order.proxies))
    show(measured, console)
    told = as_json(measured, order.seed, {
        "engines": list(order.engines), "proxies": order.proxies, "running": order.running, "call_s": order.call_s, "seconds": order.seconds,
        "scenario": order.scenario, "agents_per_engine": order.wishes.agents, "steps": order.wishes.steps,
        "share": order.share,
    })  # fmt: skip
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps(told, indent=2) + "\n")
    console.print(f"written: {order.json_path}", soft_wrap=True)
    return not any(one.errors for one in measured.rates)


def _named(urls: Sequence[str]) -> str | Mapping[str, str]:
    """For the proxy's command line: one engine needs no name."""
    return urls[0] if len(urls) == 1 else {f"engine-{number}": url for number, url in enumerate(urls)}


async def _rate(order: Order, count: int, proxies: int = 1) -> Rate:
    which = cores(sorted(os.sched_getaffinity(0)))
    ports = [free_port(HOST) for _ in range(count)]
    with Servers(order.installation, order.out_dir / f"rate-{count}-{proxies}") as servers:
        command = [
            sys.executable,
            "-m",
            "scalesim.workloads.scaling.paced",
            HOST,
            str(order.running),
            str(order.call_s),
        ]
        engines = servers.spawn(
            "engines", on_core(which.ends, [*command, *map(str, ports)]), {}, f"http://{HOST}:{ports[0]}"
        )
        await servers.healthy(engines, f"{engines.url}/health", ENGINE_S)
        redis = None if proxies == 1 else _redis(servers, which)
        proxy = await servers.proxy(
            "proxy",
            _named([f"http://{HOST}:{port}" for port in ports]),
            "on",
            options=() if redis is None else ("--workers", str(proxies), "--redis", redis.url),
            # No core is left for a second one: with their Redis they have both, less what engines and clients use.
            core=which.proxy if redis is None else which.both,
        )
        before = await _paced(engines)
        try:
            sample = await generate(
                generator.Order(
                    host=HOST,
                    port=int(proxy.url.rpartition(":")[2]),
                    load=Load(f"{count} engines", BODY_BYTES, False, ASKING * order.running * count),
                    seed=order.seed,
                    named=True,
                    to_the_byte=True,
                    warm_up_s=order.warm_up_s,
                    seconds=order.seconds,
                    grace_s=30.0,
                    proxy_pid=proxy.process.pid,
                    mock_pid=engines.process.pid,
                    store_pid=None if redis is None else redis.process.pid,
                ),
                which.ends,
            )
        except MeasuringFailed as exc:
            raise ServerFailed(str(exc)) from exc
        after = await _paced(engines)
    return Rate(
        engines=count,
        proxies=proxies,
        cap_rps=count * order.cap_rps,
        rps=sample.rps,
        p50_ms=sample.p50_ms,
        p99_ms=sample.p99_ms,
        proxy_busy=sample.busy,
        ends_busy=sample.ends_busy,
        redis_busy=sample.store_busy,
        calls={f"engine-{number}": after[str(port)] - before[str(port)] for number, port in enumerate(ports)},
        errors=sample.errors,
    )


def _redis(servers: Servers, which: Cores) -> Server:
    """By which several proxies share what they know: where they are, as it is of no use without them."""
    port = str(free_port(HOST))
    command = [redis_program(), *("--bind", HOST, "--port", port, "--save", "", "--appendonly", "no")]
    return servers.spawn("redis", on_core(which.both, command), {}, f"redis://{HOST}:{port}/0")


async def _paced(engines: Server) -> Mapping[str, int]:
    async with http_client(engines.url) as http:
        told: dict[str, int] = (await http.get(f"{engines.url}/paced")).json()
        return told


async def _hits(order: Order, count: int) -> Hits:
    """Raises `ServerFailed`."""
    wishes = replace(order.wishes, agents=order.wishes.agents * count, seed=order.seed)
    program = scenarios.scenario(order.scenario).generate(wishes)
    # The room of one engine is for its own part of the agents and of the calls that run.
    capacity_tokens = -(-room(program, wishes, order.share).capacity_tokens // count)
    with Servers(order.installation, order.out_dir / f"hits-{count}") as servers:
        engines = [
            _recording(servers, order.installation, number, capacity_tokens) for number in range(count)
        ]
        for engine in engines:
            await servers.engine_is_up(engine)
        proxy = await servers.proxy("proxy", _named([engine.url for engine in engines]), "on")
        target = Target(proxy.url, MODEL, simulation="town", admin_url=proxy.admin_url, logprobs=False)
        steps = await play_program(program, target)
        noted = {f"engine-{number}": await _noted(engine) for number, engine in enumerate(engines)}
    errors = [call.error for step in steps for call in step.calls if call.error is not None]
    if errors:
        raise ServerFailed(f"{len(errors)} calls failed, the first: {errors[0]}")
    return hits(noted, capacity_tokens, BYTES_PER_TOKEN)


def _recording(
    servers: Servers, installation: EmulatedInstallation, number: int, capacity_tokens: int
) -> Server:
    port = free_port(HOST)
    command = [
        *(str(installation.engine_python), "-m", "scalesim.workloads.scaling.recording"),
        *("--host", HOST, "--port", str(port), "--capacity-tokens", str(capacity_tokens)),
        *("--prefill-s-per-token", f"{installation.prefill_s_per_token:.6g}"),
        *("--decode-s-per-token", f"{installation.decode_s_per_step:.6g}"),
        *("--max-running", str(MOST_RUNNING), "--bytes-per-token", str(BYTES_PER_TOKEN)),
    ]
    return servers.spawn(f"engine-{number}", command, {}, f"http://{HOST}:{port}")


async def _noted(engine: Server) -> list[Noted]:
    async with http_client(engine.url) as http:
        return [noted_of(one) for one in (await http.get(f"{engine.url}/recorded", timeout=ENGINE_S)).json()]
