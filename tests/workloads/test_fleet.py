from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from scalesim.workloads.builds import EngineBuild, Flavour
from scalesim.workloads.configurations import IN_TURNS, EngineKey, passes
from scalesim.workloads.engines import http_client
from scalesim.workloads.fleet import ChildProcesses
from scalesim.workloads.memory_configurations import WITH_HOST_TIER
from scalesim.workloads.servers import Installation, Servers
from tests.workloads.test_servers import gone

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ANSWERS_EVERYTHING = """#!{python}
import http.server, sys, threading

class Yes(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

ports = [int(value) for name, value in zip(sys.argv, sys.argv[1:]) if name in ("--port", "--admin-port")]
servers = [http.server.ThreadingHTTPServer(("127.0.0.1", port), Yes) for port in ports]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
"""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Stands for an engine and for the proxy: it answers 200 on the ports it is given."""
    program = tmp_path / "env" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(ANSWERS_EVERYTHING.format(python=sys.executable))
    program.chmod(0o755)
    return Installation(engine_env=tmp_path / "env", model=tmp_path, scalesim=program, proxy_timeout_s=600)


async def answers(url: str) -> bool:
    async with http_client(url) as http:
        try:
            return (await http.get("/health")).is_success
        except httpx.ConnectError:
            return False


STOCK: EngineKey = (EngineBuild(Flavour.STOCK), 0)
FIRST: EngineKey = (EngineBuild(Flavour.EXTENDED), 0)
SECOND: EngineKey = (EngineBuild(Flavour.EXTENDED), 1)


async def test_engines_are_started_when_needed_and_used_again(
    installation: Installation, tmp_path: Path
) -> None:
    with Servers(installation, tmp_path / "out") as servers:
        fleet = ChildProcesses(servers, 5000, 3)
        urls = await fleet.engines([STOCK, FIRST])
        assert len(set(urls.values())) == 2
        assert (await fleet.engines([FIRST]))[FIRST] == urls[FIRST]
        assert await answers(urls[STOCK])


async def test_an_engine_nobody_needs_makes_room_for_one_that_is_needed(
    installation: Installation, tmp_path: Path
) -> None:
    with Servers(installation, tmp_path / "out") as servers:
        fleet = ChildProcesses(servers, 5000, 2)
        before = await fleet.engines([STOCK, FIRST])
        after = await fleet.engines([FIRST, SECOND])
        assert after[FIRST] == before[FIRST]
        assert not await answers(before[STOCK])


async def test_a_given_engine_is_used_and_never_stopped(installation: Installation, tmp_path: Path) -> None:
    with Servers(installation, tmp_path / "out") as servers:
        fleet = ChildProcesses(servers, 5000, 2, {Flavour.STOCK: "http://127.0.0.1:9"})
        assert await fleet.engines([STOCK]) == {STOCK: "http://127.0.0.1:9"}
    assert not list((tmp_path / "out").glob("*.log"))


async def test_proxies_are_stopped_and_engines_stay(installation: Installation, tmp_path: Path) -> None:
    ((lane,),) = passes(["on"], 1)
    with Servers(installation, tmp_path / "out") as servers:
        fleet = ChildProcesses(servers, 5000, 1)
        engine_url = (await fleet.engines([lane.engine]))[lane.engine]
        url, admin_url = await fleet.proxy(lane, engine_url)
        assert url != admin_url
        fleet.stop_proxies()
        assert not await answers(url)
        assert await answers(engine_url)
    command = (tmp_path / "out" / "proxy-on.log").read_text().splitlines()[0]
    assert f"serve --engine {engine_url}" in command
    assert command.endswith("--mode on --parts " + ",".join(IN_TURNS))


async def test_everything_is_gone_at_the_end(installation: Installation, tmp_path: Path) -> None:
    with Servers(installation, tmp_path / "out") as servers:
        await ChildProcesses(servers, 5000, 1).engines([STOCK])
        pids = [server.process.pid for server in servers.running]
        assert pids
    assert all(gone(pid) for pid in pids)


async def test_engines_of_different_builds_are_different_engines(
    installation: Installation, tmp_path: Path
) -> None:
    with Servers(installation, tmp_path / "out") as servers:
        fleet = ChildProcesses(servers, 5000, 2)
        tiered: EngineKey = (EngineBuild(Flavour.STOCK, host_tier=True), 0)
        urls = await fleet.engines([STOCK, tiered])
        assert urls[STOCK] != urls[tiered]
    assert "--enable-hierarchical-cache" in (tmp_path / "out" / "engine-stock-host-0.log").read_text()
    assert "hierarchical" not in (tmp_path / "out" / "engine-stock-0.log").read_text()


async def test_a_proxy_is_told_which_parts_are_on(installation: Installation, tmp_path: Path) -> None:
    ((lane,),) = passes(["prefetch"], 1, configurations=WITH_HOST_TIER)
    with Servers(installation, tmp_path / "out") as servers:
        await ChildProcesses(servers, 5000, 1).proxy(lane, "http://127.0.0.1:9")
    command = (tmp_path / "out" / "proxy-prefetch.log").read_text().splitlines()[0]
    assert command.endswith("--parts prefixes,adapters")
