"""Where a number comes from: the command, the commit, the machine."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .servers import ROOT


def command() -> str:
    return shlex.join(["python", "-m", "workloads", *sys.argv[1:]])


def commit() -> str:
    """Of the checkout this runs from, with `-dirty` if files were changed; `unknown` outside of one."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("-dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def provenance(schema: int, seed: int, settings: Mapping[str, object]) -> dict[str, object]:
    """What every file of results begins with."""
    return {
        "schema": schema,
        "command": command(),
        "commit": commit(),
        "machine": machine(),
        "seed": seed,
        "settings": dict(settings),
    }


def machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores, "
        f"{memory_gb:.0f} GB, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
