"""Two workers that say that they began, and how they end: by `test_workers`."""

from __future__ import annotations

import os
import signal
import sys

from scalesim.proxy.app import Workers
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.settings import Settings


def work(_: Configuration) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.write(1, f"began {os.getpid()}\n".encode())  # whole lines, of both
    if code := int(sys.argv[1]):
        return code
    signal.sigwait({signal.SIGTERM})
    os.write(1, f"finished {os.getpid()}\n".encode())  # whole lines, of both
    return 0


if __name__ == "__main__":
    told = {
        "engine": "http://127.0.0.1:9",
        "port": "0",
        "admin_port": "0",
        "workers": "2",
        "redis": "redis://x",
    }
    settings = Settings.load(told, {})
    sys.exit(Workers(Configuration(settings), work).run())
