"""The machine: its clock, its limits, its disk."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path

from ...settings import Settings
from ..output import size
from .finding import Finding, fault, ok, warning

APART_S = 5.0
"""Clocks of machines that are set by the network are nearer than that."""
_OTHERS = 256
"""Descriptors besides connections."""


def of_clock(others: Mapping[str, float]) -> list[Finding]:
    """`others`: clocks before ours in seconds, by whose they are."""
    about = "clock"
    if not others:
        return [ok(about, "there is no other to compare it with")]
    apart = {name: seconds for name, seconds in others.items() if abs(seconds) > APART_S}
    if not apart:
        return [ok(about, f"as that of {', '.join(others)}, within {APART_S:g} s")]
    told = ", ".join(
        f"{name} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine"
        for name, seconds in apart.items()
    )
    return [
        warning(
            about,
            f"{told}: of two proxies, engines obey the one that says it started later",
            "set all clocks by the network (timedatectl set-ntp true)",
        )
    ]


def of_files(settings: Settings, limit: int) -> list[Finding]:
    """`limit`: descriptors that a process may have."""
    about = "open files"
    needed = 2 * settings.client_connections + _OTHERS
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return [ok(about, "any number" if limit == resource.RLIM_INFINITY else f"{limit} at a time")]
    return [
        warning(
            about,
            f"{limit} at a time, and {settings.client_connections} clients may connect (client_connections), each call with two",
            f"ulimit -n {needed}, or lower client_connections",
        )
    ]


def files_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def of_disk(settings: Settings) -> list[Finding]:
    listed = []
    for name, path, needed in (
        ("record", settings.record, settings.record_max_bytes),
        ("state_file", settings.state_file, 0),
        ("salts_file", settings.salts_file, 0),
        ("keys_file", settings.keys_file, 0),
        # Of the folder: a trace is written into it.
        (
            "traces_folder",
            settings.traces_folder and f"{settings.traces_folder}/trace",
            settings.record_max_bytes,
        ),
    ):
        if path is not None:
            listed.append(_of_file(name, Path(path), needed))
    return listed or [ok("disk", "nothing is written to it")]


def _of_file(name: str, path: Path, needed: int) -> Finding:
    folder = path.absolute().parent
    if not folder.is_dir():
        return fault(name, f"there is no folder {folder}", "make it, or give another path")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        return fault(
            name, f"{path} cannot be written", "let the proxy's user write there, or give another path"
        )
    free = shutil.disk_usage(folder).free
    if free < needed:
        return fault(
            name,
            f"{folder} has {size(free)} left, and a trace may take {size(needed)}",
            "free some, or lower record_max_bytes",
        )
    return ok(name, f"{path} can be written, {size(free)} are free there")
