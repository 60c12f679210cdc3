from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scalesim.workloads.bench_proxy.contestants import Contestant, Place, Start
from scalesim.workloads.bench_proxy.racers import (
    HOST,
    Cores,
    all_going_on_at_the_end,
    cores,
    on_core,
    running,
    started,
)
from scalesim.workloads.servers import Installation, ServerFailed, Servers

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads /proc, and stops processes"
)


def of_mock(place: Place) -> Start:
    """The mock itself answers as if it were a proxy before it."""
    command = [sys.executable, "-m", "scalesim.workloads.bench_proxy.mock", place.host, str(place.port)]
    return Start(command, f"http://{place.host}:{place.port}/health")


def of_wrong(place: Place) -> Start:
    """Says to be healthy, and to everything else that it has nothing."""
    program = (
        "import http.server, sys\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.send_header('content-length', '0'); self.end_headers()\n"
        "http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()\n"
    )
    command = [sys.executable, "-c", program, place.host, str(place.port)]
    return Start(command, f"http://{place.host}:{place.port}/health")


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_proxies_and_ends_have_a_core_each_where_there_are_two() -> None:
    assert cores([3]) == Cores(None, None)
    assert cores([5, 2]) == Cores(ends=2, proxy=5)
    assert cores([0, 1, 2, 3]) == Cores(ends=0, proxy=1)
    assert on_core(None, ["a"]) == ["a"]
    assert cores([5, 2, 7]).both == (2, 5)
    assert cores([3]).both is None
    assert on_core((2, 5), ["a", "b"]) == ["taskset", "--cpu-list", "2,5", "a", "b"]
    assert on_core(1, ["a", "b"]) == ["taskset", "--cpu-list", "1", "a", "b"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_racer_runs_only_while_it_is_measured_and_at_the_end(tmp_path: Path) -> None:
    with Servers(Installation(), tmp_path) as servers:
        racer = await started(Contestant("mock", of_mock), servers, tmp_path, "http://nobody", None)
        assert racer.pid is not None
        with all_going_on_at_the_end([racer]):
            racer.stop()
            assert state_of(racer.pid) == "T"
            with running(racer):
                assert state_of(racer.pid) != "T"
            assert state_of(racer.pid) == "T"
        assert state_of(racer.pid) != "T"
        assert racer.end() is None
        servers.stop(*servers.running)
        assert racer.end() is not None


@pytest.mark.slow
@pytest.mark.anyio
async def test_who_answers_wrongly_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesim.workloads.bench_proxy.racers.FIRST_ANSWER_S", 0.5)
    with Servers(Installation(), tmp_path) as servers:
        with pytest.raises(ServerFailed, match="answers JSON wrongly: status 501"):
            await started(Contestant("wrong", of_wrong), servers, tmp_path, f"http://{HOST}:1", None)
        assert servers.running == []
