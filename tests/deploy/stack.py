"""The compose stack, run for real by podman: images that are built here, secrets of its own, a log of what was seen."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploying.md").read_text()
# Made by deploy/base-image.sh, where no registry is in reach: the variable of the image, its name here, Debian's packages.
BASES = (
    ("PYTHON_IMAGE", "localhost/scalesim-python:3.11-small", ()),
    ("REDIS_IMAGE", "localhost/scalesim-redis:debian", ("redis-server",)),
)
PROMETHEUS = ("PROMETHEUS_IMAGE", "localhost/scalesim-prometheus:debian", ("prometheus",))
# BUILT_BEFORE=1: with the images of the run before. To look whether they are still the same, podman reads all of them, which takes minutes.
BUILT_BEFORE = "BUILT_BEFORE" in os.environ
TIMEOUT_S = 900.0

T = TypeVar("T")


def run(
    *command: str, env: dict[str, str] | None = None, check: bool = True, given: str = ""
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        command, cwd=ROOT, env=env, input=given, capture_output=True, text=True, check=False
    )
    assert not check or ended.returncode == 0, f"{' '.join(command)}:\n{ended.stdout}\n{ended.stderr}"
    return ended


def printed_commands() -> list[str]:
    """What docs/deploying.md tells its readers to type, but for what it says needs a GPU or a cluster."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until(what: str, seen: Callable[[], T | None], timeout_s: float = TIMEOUT_S) -> T:
    """What is seen at last."""
    deadline = time.monotonic() + timeout_s
    while (found := seen()) is None:
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.5)
    return found


@dataclass(frozen=True, slots=True)
class Stack:
    """A running compose project."""

    project: str
    environment: dict[str, str]
    folder: Path
    """Of its logs."""
    client: str
    admin: str
    ran: list[str] = field(default_factory=list)
    """Commands of docs/deploying.md."""
    begun: float = field(default_factory=time.monotonic)

    @property
    def admin_key(self) -> str:
        return (Path(self.environment["SECRETS"]) / "admin_key").read_text()

    def note(self, text: str) -> None:
        """A line of the log of this run."""
        with (self.folder / "compose.log").open("a") as file:
            file.write(f"{time.monotonic() - self.begun:8.1f} s  {text}\n")

    @property
    def _compose(self) -> tuple[str, ...]:
        files = ("--file", "compose.yaml", "--file", str(self.folder / "here.yaml"))
        return (sys.executable, "-m", "podman_compose", *files, "--project-name", self.project)

    def compose(self, *arguments: str, check: bool = True) -> str:
        ended = run(*self._compose, *arguments, env=self.environment, check=check)
        return ended.stdout if check else ended.stdout + ended.stderr

    def as_printed(self, command: str, more: str = "") -> str:
        """Runs a line of docs/deploying.md as its reader would, but for ports and folders, which are this run's own."""
        assert command in printed_commands(), f"docs/deploying.md does not say: {command}"
        here = (
            (command + more)
            .replace("docker compose", shlex.join(self._compose))
            .replace("deploy/secrets.sh", f"deploy/secrets.sh {self.environment['SECRETS']}")
            .replace("secrets/admin_key", f"{self.environment['SECRETS']}/admin_key")
            .replace("http://127.0.0.1:8000", self.client)
            .replace("http://127.0.0.1:8001", self.admin)
        )
        if BUILT_BEFORE:
            here = here.replace(" up --build", " up").replace(" build", " config")
        ended = run("bash", "-c", here, env=self.environment)
        self.ran.append(command)
        self.note(f"$ {command}{more}{'   (nothing is built)' if BUILT_BEFORE else ''}")
        return ended.stdout

    def container(self, service: str) -> str:
        """Its id; empty if it does not run."""
        labels = (f"io.podman.compose.project={self.project}", f"com.docker.compose.service={service}")
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        return run("podman", "ps", "--quiet", *filters).stdout.strip()

    def inspect(self, service: str) -> dict[str, Any]:
        (about,) = json.loads(run("podman", "inspect", self.container(service)).stdout)
        found: dict[str, Any] = about
        return found

    def pid(self, service: str) -> int | None:
        """Of its first process; None while there is none."""
        if not self.container(service):
            return None
        return self.inspect(service)["State"]["Pid"] or None

    def execute(self, service: str, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return run(
            "podman", "exec", "--interactive", self.container(service), *command, check=False, given=given
        )

    def healthy(self, service: str) -> bool:
        container = self.container(service)
        return bool(container) and run("podman", "healthcheck", "run", container, check=False).returncode == 0

    def wait_until_healthy(self, service: str) -> None:
        """Runs the health check itself: podman leaves that to systemd, which containers and CI machines lack."""
        until(f"{service} is healthy", lambda: True if self.healthy(service) else None)
        self.note(f"{service} is healthy")

    def kill(self, service: str) -> int:
        """Its first process, which it returns: as when the machine runs out of memory, and not by podman, which would leave it
        dead. Nobody here starts it again."""
        process = self.pid(service)
        assert process is not None
        os.kill(process, signal.SIGKILL)
        self.note(f"killed {service} (process {process})")
        return process

    def wait_until_it_is_back(self, service: str, killed: int) -> None:
        now = until(
            f"{service} is started again",
            lambda: self.pid(service) if self.pid(service) not in (None, killed) else None,
        )
        self.note(f"{service} was started again (process {now})")
        self.wait_until_healthy(service)

    def keep_logs(self) -> None:
        """Of all containers: they go with them."""
        label = f"label=io.podman.compose.project={self.project}"
        every = run("podman", "ps", "--all", "--filter", label, "--format", "{{.Names}}").stdout.split()
        for name in every:
            seen = run("podman", "logs", name, check=False)
            with (self.folder / f"{name.removeprefix(self.project).strip('_-')}.log").open("a") as file:
                file.write(seen.stdout + seen.stderr)

    def ask(self, path: str) -> Any:
        """Of the admin listener."""
        answer = httpx.get(
            self.admin + path, headers={"Authorization": f"Bearer {self.admin_key}"}, timeout=30
        )
        answer.raise_for_status()
        return answer.json()

    def agents(self, simulation: str) -> set[str]:
        return {one["name"] for one in self.ask(f"/admin/v1/simulations/{simulation}/agents")["agents"]}

    def call(self, agent: str, simulation: str = "town", timeout_s: float = 120) -> httpx.Response:
        return httpx.post(
            f"{self.client}/sim/{simulation}/agent/{agent}/v1/chat/completions",
            json={
                "model": "random",
                "max_tokens": 8,
                "messages": [{"role": "user", "content": f"I am {agent}."}],
            },
            timeout=timeout_s,
        )


def base_images(*bases: tuple[str, str, tuple[str, ...]]) -> dict[str, str]:
    """The images of others by their variables; those that the environment does not name are made."""
    images = {}
    for variable, name, packages in bases:
        if variable not in os.environ:
            run("deploy/base-image.sh", name, *packages)
        images[variable] = os.environ.get(variable, name)
    return images


@contextmanager
def stack_of(folder: Path, secrets: Path) -> Iterator[Stack]:
    """Nothing is up yet. At the end containers, networks and volumes are removed; images are kept: they
    are the cache of the next run."""
    missing = [tool for tool in ("podman", "debootstrap") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # podman takes the defaults of containers.conf only where no limit is given at all; without one, some machines refuse its own.
    (folder / "here.yaml").write_text("services: {proxy: {ulimits: {nproc: 1024}}}\n")
    images = base_images(*BASES)
    wheels = {"PYTHON": sys.executable, "PYTORCH_INDEX": os.environ.get("PYTORCH_INDEX", "")}
    if not BUILT_BEFORE:
        run("deploy/wheels.sh", env=os.environ | wheels)
    client_port, admin_port = free_port(), free_port()
    ours = images | {
        "SECRETS": str(secrets),
        "WHEELS_ONLY": "1",
        "ENGINE_IMAGE": "localhost/scalesim-engine:test",
        "PROXY_IMAGE": "localhost/scalesim-proxy:test",
        "BENCH_IMAGE": "localhost/scalesim-bench:test",
        "REDIS_KIND": "redis" if "REDIS_IMAGE" not in os.environ else os.environ.get("REDIS_KIND", "valkey"),
        "CLIENT_PORT": str(client_port),
        "ADMIN_PORT": str(admin_port),
        "PROMETHEUS_PORT": str(free_port()),
        # As many as an unprivileged machine allows.
        "OPEN_FILES": os.environ.get("OPEN_FILES", "4096"),
        "BENCH_AGENTS": "6",
        "BENCH_STEPS": "3",
        "BENCH_PERSONA_TOKENS": "200",
    }
    stack = Stack(
        project=f"scalesim-test-{os.getpid()}",
        environment={**os.environ, **ours},
        folder=folder,
        client=f"http://127.0.0.1:{client_port}",
        admin=f"http://127.0.0.1:{admin_port}",
    )
    try:
        yield stack
    finally:
        stack.keep_logs()
        down = ("--profile", "bench", "--profile", "observability", "down", "--volumes", "--timeout", "10")
        stack.compose(*down, check=False)
        stack.note("everything is down")
