"""What this process takes of the machine, asked when somebody wants to know it."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    cpu_s: float
    started_at: float | None
    """Seconds since 1970. This and what follows is None where the system does not say (it has no /proc)."""
    resident_bytes: int | None
    open_fds: int | None
    max_fds: int


def process_use(proc: Path = _PROC) -> ProcessUse:
    used = os.times()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        pages = int((proc / "statm").read_text().split()[1])
        fds = len(os.listdir(proc / "fd")) - 1  # the one by which they are counted
        started_at = _started_at(proc)
    except OSError:
        return ProcessUse(used.user + used.system, None, None, None, soft)
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    return ProcessUse(used.user + used.system, started_at, resident, fds, soft)


def _started_at(proc: Path) -> float:
    # The name, in parentheses, may hold anything.
    after_name = (proc / "stat").read_text().rpartition(")")[2].split()
    up_s = float(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - up_s)
