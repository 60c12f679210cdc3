"""What a process and all that come from it have used, read from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


class Gone(Exception):
    """The process has ended."""


@dataclass(frozen=True, slots=True)
class Stat:
    """A line of /proc/PID/stat, as far as it is of use here."""

    pid: int
    parent: int
    session: int
    """Kept for life, unlike a parent that ends and a process group that is left."""
    ticks: int
    """CPU time of it and of those of its children that have ended."""
    pages: int
    """Resident, shared ones included."""
    zombie: bool


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_s: float
    rss_mb: float
    """Of all added up, so what they share counts for each of them."""


def parsed(line: str) -> Stat:
    """The name, second of the fields, stands in brackets and may hold anything, brackets and spaces too."""
    pid, _, rest = line.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    # From the third field on: state, ppid, pgrp, session, ...; utime, stime, cutime, cstime are the 14th to 17th, rss is
    # the 24th.
    return Stat(
        pid=int(pid),
        parent=int(fields[1]),
        session=int(fields[3]),
        ticks=sum(map(int, fields[11:15])),
        pages=int(fields[21]),
        zombie=fields[0] == "Z",
    )


def tree(root: int, stats: Iterable[Stat]) -> list[Stat]:
    """The process and all that descend from it. Raises `Gone`."""
    known: Mapping[int, Stat] = {one.pid: one for one in stats}
    if root not in known or known[root].zombie:
        raise Gone(f"process {root} has ended")
    children: dict[int, list[int]] = {}
    for one in known.values():
        children.setdefault(one.parent, []).append(one.pid)
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return [known[pid] for pid in found]


def of_session(leader: int) -> list[int]:
    """All processes that were started in it and have not ended, the one that leads it first."""
    members = [one.pid for one in _all_stats() if one.session == leader and not one.zombie]
    return sorted(members, key=lambda pid: (pid != leader, pid))


def usage(root: int) -> Usage:
    """Of the process and all that descend from it, as of now. Raises `Gone`."""
    members = tree(root, _all_stats())
    ticks, pages = sum(one.ticks for one in members), sum(one.pages for one in members)
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def _all_stats() -> list[Stat]:
    stats = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                stats.append(parsed((folder / "stat").read_text(errors="replace")))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
    return stats
