"""Brings compose.yaml up for real, with podman, and takes it down again: `make test-compose`.

Needs root, podman with netavark, aardvark-dns and iptables, debootstrap (or PYTHON_IMAGE), and network access for the
packages. Where crun refuses the machine's cgroups: `runtime = "runc"` in /etc/containers/containers.conf.
Images are kept: they are the cache of the next run. Containers, networks and the volume are removed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
BASE_IMAGE = "localhost/scalesim-python:3.11"
TIMEOUT_S = 600.0

pytestmark = [pytest.mark.containers, pytest.mark.slow]


def run(
    *command: str, env: dict[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert not check or ended.returncode == 0, f"{' '.join(command)}:\n{ended.stdout}\n{ended.stderr}"
    return ended


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Stack:
    """A running compose project."""

    project: str
    environment: dict[str, str]
    client: str
    admin: str
    admin_key: str

    def compose(self, *arguments: str, check: bool = True) -> str:
        command = (sys.executable, "-m", "podman_compose", "--project-name", self.project, *arguments)
        return run(*command, env=self.environment, check=check).stdout

    def container(self, service: str) -> str:
        labels = (f"io.podman.compose.project={self.project}", f"com.docker.compose.service={service}")
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        return run("podman", "ps", "--quiet", *filters).stdout.strip()

    def healthy(self, service: str) -> bool:
        return run("podman", "healthcheck", "run", self.container(service), check=False).returncode == 0

    def wait_until_healthy(self, service: str) -> None:
        """Runs the health check itself: podman leaves that to systemd, which containers and CI machines lack."""
        deadline = time.monotonic() + TIMEOUT_S
        while not self.healthy(service):
            if time.monotonic() > deadline or not self.container(service):
                pytest.fail(
                    f"{service} did not become healthy\n{self.compose('logs', service, check=False)[-5000:]}"
                )
            time.sleep(1)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    missing = [tool for tool in ("podman", "debootstrap") if shutil.which(tool) is None]
    assert not missing, f"install {' and '.join(missing)} first"
    base = os.environ.get("PYTHON_IMAGE")
    if base is None:
        base = BASE_IMAGE
        run("deploy/base-image.sh", base)
    run(
        "deploy/wheels.sh",
        env={**os.environ, "PYTHON": sys.executable, "PYTORCH_INDEX": os.environ.get("PYTORCH_INDEX", "")},
    )

    client_port, admin_port, key = free_port(), free_port(), secrets.token_hex(16)
    ours = {
        "PYTHON_IMAGE": base,
        "WHEELS_ONLY": "1",
        "ENGINE_IMAGE": "localhost/scalesim-engine:test",
        "PROXY_IMAGE": "localhost/scalesim-proxy:test",
        "CLIENT_PORT": str(client_port),
        "ADMIN_PORT": str(admin_port),
        "SCALESIM_ADMIN_KEYS": key,
    }
    stack = Stack(
        project=f"scalesim-test-{os.getpid()}",
        environment={**os.environ, **ours},
        client=f"http://127.0.0.1:{client_port}",
        admin=f"http://127.0.0.1:{admin_port}",
        admin_key=key,
    )
    try:
        stack.compose("build")
        stack.compose("up", "--detach", "--no-build")
        stack.wait_until_healthy("proxy")
        stack.wait_until_healthy("engine")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "10", check=False)


def test_a_chat_completion_goes_through_the_proxy_to_the_engine(stack: Stack) -> None:
    answer = httpx.post(
        f"{stack.client}/v1/chat/completions",
        headers={"X-Agent-ID": "Ann"},
        json={"model": "random", "max_tokens": 8, "messages": [{"role": "user", "content": "Good morning!"}]},
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.json()["usage"]["completion_tokens"] == 8


def test_the_admin_listener_wants_its_key_and_knows_the_extended_engine(stack: Stack) -> None:
    url = f"{stack.admin}/admin/v1/status"
    assert httpx.get(url).status_code == 401
    answer = httpx.get(url, headers={"Authorization": f"Bearer {stack.admin_key}"})
    assert answer.status_code == 200
    (engine,) = answer.json()["engines"]
    assert engine["up"]
    assert engine["extended"], engine


def test_nothing_runs_as_root(stack: Stack) -> None:
    for service in ("engine", "proxy"):
        assert run("podman", "exec", stack.container(service), "id", "-u").stdout.strip() == "10001"


def test_the_engine_publishes_no_port(stack: Stack) -> None:
    assert not run("podman", "port", stack.container("engine")).stdout.strip()


def test_without_an_admin_key_it_does_not_come_up(stack: Stack) -> None:
    without = {name: value for name, value in stack.environment.items() if name != "SCALESIM_ADMIN_KEYS"}
    ended = run(sys.executable, "-m", "podman_compose", "config", env=without, check=False)
    assert ended.returncode != 0
    assert "the admin listener needs a key" in ended.stderr + ended.stdout
