from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest

import scalesim.workloads.servers as servers_module
from scalesim.workloads.builds import AdapterRoom, Device, EngineBuild
from scalesim.workloads.links import Link
from scalesim.workloads.servers import Flavour, Installation, ServerFailed, Servers, free_port

pytestmark = pytest.mark.anyio


def gone(pid: int) -> bool:
    """A zombie is gone too: whoever should have reaped it has been killed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
async def test_a_server_is_healthy_when_it_answers_and_gone_afterwards(tmp_path: Path) -> None:
    port = free_port()
    with Servers(Installation(), tmp_path) as servers:
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
        server = servers.spawn("web", command, {"COLOUR": "blue"}, f"http://127.0.0.1:{port}")
        await servers.healthy(server, server.url, timeout_s=120)
        assert not gone(server.process.pid)
    assert gone(server.process.pid)
    assert server.log == tmp_path / "web.log"
    assert server.log.read_text().startswith("$ COLOUR=blue ")


async def test_whatever_a_server_has_started_is_stopped_with_it(tmp_path: Path) -> None:
    # The child ignores SIGTERM; its parent tells its id and waits for it.
    script = "trap '' TERM; sleep 600 & echo child $!; trap - TERM; wait"
    with Servers(Installation(), tmp_path) as servers:
        server = servers.spawn("family", ["sh", "-c", script], {}, "http://127.0.0.1:9")
        while "child" not in (text := server.log.read_text().split("\n", 1)[1]):
            os.sched_yield()
        child = int(text.split()[1])
        assert not gone(child)
    deadline_s = time.monotonic() + 60
    while not gone(child) and time.monotonic() < deadline_s:  # killed, but not ours to wait for
        os.sched_yield()
    assert gone(child)
    assert gone(server.process.pid)


async def test_an_error_in_the_block_stops_the_servers_too(tmp_path: Path) -> None:
    started = []

    def fail_with_a_server() -> None:
        with Servers(Installation(), tmp_path) as servers:
            started.append(servers.spawn("sleeper", ["sleep", "600"], {}, "http://127.0.0.1:9"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_with_a_server()
    assert gone(started[0].process.pid)


async def test_a_server_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Servers(Installation(), tmp_path) as servers:
        server = servers.spawn("broken", ["sh", "-c", "echo no such model; exit 3"], {}, "http://127.0.0.1:9")
        with pytest.raises(
            ServerFailed, match=r"(?s)broken ended with status 3; .*broken\.log.*  no such model"
        ):
            await servers.healthy(server, server.url, timeout_s=120)


async def test_a_server_that_does_not_answer_in_time_is_reported(tmp_path: Path) -> None:
    port = free_port()
    with Servers(Installation(), tmp_path) as servers:
        server = servers.spawn("slow", ["sleep", "600"], {}, f"http://127.0.0.1:{port}")
        with pytest.raises(ServerFailed, match=r"slow did not answer .* in 0 s"):
            await servers.healthy(server, server.url, timeout_s=0)


async def test_a_command_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with (
        Servers(Installation(), tmp_path) as servers,
        pytest.raises(ServerFailed, match="could not be started"),
    ):
        servers.spawn("nothing", [str(tmp_path / "nothing")], {}, "http://127.0.0.1:9")


async def test_one_server_can_be_stopped_before_the_others(tmp_path: Path) -> None:
    with Servers(Installation(), tmp_path) as servers:
        first = servers.spawn("first", ["sleep", "600"], {}, "http://127.0.0.1:9")
        second = servers.spawn("second", ["sleep", "600"], {}, "http://127.0.0.1:9")
        servers.stop(first)
        assert gone(first.process.pid)
        assert not gone(second.process.pid)
    assert gone(second.process.pid)


def test_a_host_tier_adapters_and_a_link_are_added_to_what_every_engine_gets() -> None:
    here = Installation()
    bare = here.engine_command(Flavour.STOCK, 1234, 5000)
    link = Link("paper", 2e7, 0.1, 0.001)
    build = EngineBuild(Flavour.STOCK, True, AdapterRoom(6, 24, 8, overlap=True), link)
    assert here.engine_command(build, 1234, 5000) == [
        *bare,
        *("--enable-hierarchical-cache", "--hicache-ratio", "3"),
        *("--hicache-write-policy", "write_through", "--hicache-io-backend", "direct"),
        *("--hicache-mem-layout", "layer_first", "--enable-lora", "--lora-backend", "torch_native"),
        *("--max-loras-per-batch", "6", "--max-loaded-loras", "24", "--max-lora-rank", "8"),
        *("--lora-target-modules", "q_proj", "k_proj", "v_proj", "o_proj", "--enable-lora-overlap-loading"),
    ]
    assert here.engine_environment(build) == here.engine_environment(Flavour.STOCK) | {
        "SCALESIM_LINK": "paper:20000000:0.1:0.001"
    }
    assert "SCALESIM_LINK" not in here.engine_environment(Flavour.STOCK)


def test_on_a_gpu_nothing_is_set_that_only_a_cpu_needs() -> None:
    build = EngineBuild(Flavour.EXTENDED, True, AdapterRoom(6, 24, 8))
    on_gpu = Installation(device=Device.CUDA)
    command = on_gpu.engine_command(build, 1234, 5000)
    assert command[command.index("--device") + 1] == "cuda"
    assert command[command.index("--hicache-io-backend") + 1] == "kernel"
    assert not {"torch_native", "float32", "pytorch", "--lora-backend", "--sleep-on-idle"} & {*command}
    assert [part for part in command if part not in Installation().engine_command(build, 1234, 5000)] == [
        "cuda",
        "kernel",
    ]
    assert not {"SGLANG_USE_CPU_ENGINE", "OMP_NUM_THREADS"} & on_gpu.engine_environment(build).keys()


def test_an_engine_may_be_given_by_its_interpreter(tmp_path: Path) -> None:
    interpreter = tmp_path / "python3.12"
    interpreter.touch()
    assert Installation(engine_env=interpreter).engine_python == interpreter
    assert Installation(engine_env=tmp_path).engine_python == tmp_path / "bin" / "python"


def test_the_proxy_is_told_its_parts_only_where_they_are_chosen() -> None:
    here = Installation()
    bare = here.proxy_command("http://e", 1, 2, "on")
    assert "--parts" not in bare
    assert here.proxy_command("http://e", 1, 2, "on", ("order", "pin")) == [*bare, "--parts", "order,pin"]
    assert here.proxy_command("http://e", 1, 2, "on", ()) == [*bare, "--parts", "none"]


def test_flavours_differ_in_the_extension_alone() -> None:
    here = Installation()
    stock = here.engine_command(Flavour.STOCK, 1234, 5000)
    assert here.engine_command(Flavour.EXTENDED, 1234, 5000) == [*stock, "--radix-cache-backend", "scalesim"]
    assert stock[stock.index("--max-total-tokens") + 1] == "5000"
    assert here.engine_environment(Flavour.STOCK)["SGLANG_PLUGINS"] == "scalesim_cpu,scalesim_meter"
    extended = here.engine_environment(Flavour.EXTENDED)
    assert extended["SGLANG_PLUGINS"] == "scalesim_cpu,scalesim_meter,scalesim"
    assert extended | {"SGLANG_PLUGINS": ""} == here.engine_environment(Flavour.STOCK) | {
        "SGLANG_PLUGINS": ""
    }


def test_a_free_port_is_none_that_outgoing_connections_are_given() -> None:
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = {free_port() for _ in range(20)}
    assert max(ports) < first
    assert len(ports) > 1


def test_a_port_that_is_taken_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = free_port()
    monkeypatch.setattr(servers_module, "_PORTS", range(taken, taken + 1))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", taken))
        holder.listen()
        with pytest.raises(OSError, match="no free port"):
            free_port()
