"""Starts engines and proxies as child processes, and surely stops them.

Each runs in a process group of its own with its log in a file. All of them are gone when the `with` block of `Servers` is left, be
it by an error, Ctrl-C or SIGTERM; should even that be skipped, when the interpreter exits.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from .builds import Device, EngineBuild, build_of
from .builds import Flavour as Flavour  # also from here: whoever starts an engine needs it
from .engines import http_client

ROOT = Path(__file__).resolve().parent.parent
POLL_S = 0.2
LAST_LINES = 25
_PORTS = range(20_000, 32_000)
_PORTS_TRIED = 100


class ServerFailed(Exception):
    """A server did not come up; the message has the end of its log."""


# The engine is not up yet when this is needed: the size of its cache depends on it.
COUNT = """
import sys
from tokenizers import Tokenizer
print(len(Tokenizer.from_file(sys.argv[1]).encode(sys.stdin.read(), add_special_tokens=False).ids))
"""
PLUGINS = {
    Flavour.STOCK: "scalesim_cpu,scalesim_meter",
    Flavour.EXTENDED: "scalesim_cpu,scalesim_meter,scalesim",
}
DEVICE_FLAGS: dict[Device, tuple[str, ...]] = {
    Device.CPU: (
        *("--device", "cpu", "--attention-backend", "torch_native", "--sampling-backend", "pytorch"),
        *("--dtype", "float32", "--grammar-backend", "none", "--sleep-on-idle"),
    ),
    Device.CUDA: ("--device", "cuda"),  # all else as SGLang chooses for the GPU it finds
}


@dataclass(frozen=True, slots=True)
class Installation:
    """Where things are; by default as `make setup` leaves them."""

    engine_env: Path = ROOT / ".engine"
    """A virtual environment, or the interpreter of one."""
    device: Device = Device.CPU
    model: Path = ROOT / ".models" / "random-256x8"
    scalesim: Path = ROOT / ".venv" / "bin" / "scalesim"
    host: str = "127.0.0.1"
    engine_timeout_s: float = 300.0
    """How long an engine may take to come up: half a minute on an idle machine of two cores, more with several."""
    proxy_timeout_s: float = 60.0
    threads: int = 1
    """Of each engine. On two cores a second one made the prefill of 2,000 tokens a quarter faster and everything else
    slower (four short calls side by side took 1.4 instead of 0.9 s): the engine's other processes need a core too."""

    @property
    def engine_python(self) -> Path:
        return self.engine_env if self.engine_env.is_file() else self.engine_env / "bin" / "python"

    @property
    def engine_parts(self) -> list[Path]:
        """What has to be there for an engine."""
        return [self.engine_python, self.model]

    def missing(self) -> list[Path]:
        return [path for path in (*self.engine_parts, self.scalesim) if not path.exists()]

    def engine_command(self, build: EngineBuild | Flavour, port: int, capacity_tokens: int) -> list[str]:
        return [
            *(str(self.engine_python), "-m", "sglang.launch_server"),
            *("--model-path", str(self.model), "--host", self.host, "--port", str(port)),
            *DEVICE_FLAGS[self.device],
            *("--enable-cache-report", "--enable-metrics", "--max-total-tokens", str(capacity_tokens)),
            *build_of(build).flags(self.device),
        ]

    def engine_environment(self, build: EngineBuild | Flavour) -> dict[str, str]:
        build = build_of(build)
        if self.device is Device.CUDA:
            return {"HF_HUB_OFFLINE": "1", "SGLANG_PLUGINS": PLUGINS[build.flavour]}
        return {
            "SGLANG_USE_CPU_ENGINE": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(self.threads),
            # Threads that wait by spinning take the cores from each other as soon as anything else runs: with a load of
            # 3 on two cores, four short calls took 11 to 23 s instead of 1.3.
            "OMP_WAIT_POLICY": "PASSIVE",
            "SGLANG_PLUGINS": PLUGINS[build.flavour],
            **({"SCALESIM_LINK": build.link.setting()} if build.link is not None else {}),
        }

    def count_command(self) -> Sequence[str]:
        """Prints how many tokens its standard input is."""
        return [str(self.engine_python), "-c", COUNT, str(self.model / "tokenizer.json")]

    def proxy_command(
        self,
        engines: str | Mapping[str, str],
        port: int,
        admin_port: int,
        mode: str,
        parts: Sequence[str] | None = None,
    ) -> list[str]:
        """`engines`: the URL of one, or of several by their names. `parts` of memory control that are on; None leaves it to
        the proxy."""
        named = [engines] if isinstance(engines, str) else [f"{name}={url}" for name, url in engines.items()]
        return [
            *(str(self.scalesim), "serve", *(word for one in named for word in ("--engine", one))),
            *("--port", str(port), "--admin-port", str(admin_port), "--mode", mode),
            *(("--parts", ",".join(parts) or "none") if parts is not None else ()),
        ]


@dataclass(slots=True, eq=False)
class Server:
    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    admin_url: str | None = None
    stopped: bool = field(default=False)

    def has_ended(self) -> bool:
        """By itself or not; its id stays its own until it is stopped."""
        if self.process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def free_port(host: str = "127.0.0.1") -> int:
    """Not one of those that systems give to outgoing connections: any of them may have it before a server is up. Raises
    `OSError` if none is found."""
    for _ in range(_PORTS_TRIED):
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        with socket.socket() as probe, suppress(OSError):
            # As servers do: the last connections of an ended one keep nobody from its port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return port
    raise OSError(errno.EADDRINUSE, f"no free port among {_PORTS_TRIED} of {_PORTS[0]} to {_PORTS[-1]}")


def redis_program() -> str:
    """Several proxies share what they know by it. Raises `FileNotFoundError`, which says what to do."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise FileNotFoundError(
            "redis-server is missing: several proxies share what they know by it; apt-get install redis-server"
        )
    return found


def on_core(core: int | Sequence[int] | None, command: Sequence[str]) -> list[str]:
    """On that one, or on any of those. From its first moment on: runtimes count the cores when they start."""
    if core is None:
        return list(command)
    cores = [core] if isinstance(core, int) else core
    return ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]


class Servers:
    """The child processes of one command."""

    def __init__(self, installation: Installation, out_dir: Path) -> None:
        self.installation = installation
        self._out_dir = out_dir
        self.running: list[Server] = []

    def __enter__(self) -> Self:
        self._out_dir.mkdir(parents=True, exist_ok=True)
        atexit.register(self.stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        atexit.unregister(self.stop)

    def start_engine(self, name: str, build: EngineBuild | Flavour, capacity_tokens: int) -> Server:
        """Does not wait: several engines come up side by side. Raises `ServerFailed`."""
        port = free_port()
        return self.spawn(
            name,
            self.installation.engine_command(build, port, capacity_tokens),
            self.installation.engine_environment(build),
            f"http://{self.installation.host}:{port}",
        )

    async def engine_is_up(self, engine: Server) -> None:
        """Raises `ServerFailed`."""
        await self.healthy(engine, f"{engine.url}/health", self.installation.engine_timeout_s)

    async def proxy(
        self,
        name: str,
        engines: str | Mapping[str, str],
        mode: str,
        parts: Sequence[str] | None = None,
        *,
        options: Sequence[str] = (),
        core: int | Sequence[int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Server:
        """A proxy that serves, in front of running engines: the URL of one, or of several by their names. With further `options`
        of its command, and on that core of the machine or on any of those, if they are given. Raises `ServerFailed`."""
        port, admin_port = free_port(), free_port()
        command = self.installation.proxy_command(engines, port, admin_port, mode, parts)
        command = on_core(core, [*command, *options])
        server = self.spawn(name, command, environment or {}, f"http://{self.installation.host}:{port}")
        server.admin_url = f"http://{self.installation.host}:{admin_port}"
        # Ready, not only healthy: the proxy has found the engine and what it can do.
        for url in (f"{server.admin_url}/ready", f"{server.url}/v1/models"):
            await self.healthy(server, url, self.installation.proxy_timeout_s)
        return server

    def spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str], url: str) -> Server:
        log = self._out_dir / f"{name}.log"
        with log.open("wb") as sink:
            told = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
            sink.write(f"$ {told} {shlex.join(command)}\n".encode())
            sink.flush()
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **environment},
                    start_new_session=True,
                )
            except OSError as exc:
                raise ServerFailed(f"{name} could not be started: {exc}") from exc
        server = Server(name, url, process, log)
        self.running.append(server)
        return server

    async def healthy(self, server: Server, url: str, timeout_s: float) -> None:
        """Waits until `url` answers 200. Raises `ServerFailed` when the process ends, or the time does."""
        deadline_s = time.monotonic() + timeout_s
        async with http_client(url) as http:
            while True:
                if server.has_ended():
                    self.stop(server)
                    raise ServerFailed(_last_words(server, f"ended with status {server.process.returncode}"))
                if await _answers(http, url):
                    return
                if time.monotonic() > deadline_s:
                    raise ServerFailed(_last_words(server, f"did not answer {url} in {timeout_s:g} s"))
                await asyncio.sleep(POLL_S)

    def stop(self, *servers: Server) -> None:
        """Stops these, or all: asks each, then kills whatever is left of its process group. Never fails."""
        stopping = [server for server in servers or self.running if not server.stopped]
        for server in stopping:
            # Only the one that was started: an engine whose children die under it takes that for a crash.
            if not server.has_ended():
                os.kill(server.process.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + 10
        for server in stopping:
            # The process is not reaped before its group is killed: until then its id can belong to nobody else.
            while not server.has_ended() and time.monotonic() < deadline_s:
                time.sleep(POLL_S / 4)
            _kill_group(server)
            server.process.wait()
            server.stopped = True
        self.running = [server for server in self.running if not server.stopped]


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url, timeout=5)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _kill_group(server: Server) -> None:
    try:
        os.killpg(server.process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nobody is left in the group
    except PermissionError:
        pass  # on macOS: only a zombie is left in the group


def _last_words(server: Server, what: str) -> str:
    lines = server.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    return "\n".join([f"{server.name} {what}; the end of {server.log}:", *(f"  {line}" for line in lines)])
