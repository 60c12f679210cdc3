"""A real Redis (or Valkey) of a test's own, on a free port, that can be killed, stopped and started anew."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

BINARY = (
    os.environ.get("SCALESIM_TEST_REDIS") or shutil.which("redis-server") or shutil.which("valkey-server")
)
"""The variable chooses one of several: `make test-valkey`."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class RedisServer:
    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BINARY is not None
        listens = () if "--tls-port" in self._options else ("--port", str(self.port))
        plain = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(self.folder))
        self._process = subprocess.Popen(
            [BINARY, *listens, *plain, *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + PATIENCE_S
        while True:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, "the server did not start"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.005)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """It holds its sockets, and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def url(self, credentials: str = "", scheme: str = "redis", query: str = "") -> str:
        return f"{scheme}://{credentials}127.0.0.1:{self.port}/0{query}"


@contextmanager
def redis_server(folder: Path, *options: str, port: int | None = None) -> Iterator[RedisServer]:
    if BINARY is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    server = RedisServer(folder, *options, port=port)
    server.start()
    try:
        yield server
    finally:
        server.kill()
