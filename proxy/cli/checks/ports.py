"""Ports: free, or taken by whom."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx

from ...app.listeners import CannotListen, listening_socket
from ...settings import Settings, is_wildcard
from .finding import Finding, fault, ok

_LISTENS = "0A"
"""The state of a socket, in Linux' own table of them."""
_ANSWER_S = 2.0
_SHOWN = 60
"""Characters of a command."""


@dataclass(frozen=True, slots=True)
class Owner:
    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class Looked:
    option: str
    """By which another one is given."""
    host: str
    port: int
    problem: str
    """Why it cannot be listened on; empty if it can."""
    error: int | None = None
    owner: Owner | None = None
    is_proxy: bool = False
    """A proxy of ours has it."""


def look_at(settings: Settings) -> list[Looked]:
    """Of several workers, each has an admin port of its own."""
    listed = [_look("--port", settings.host, settings.port)]
    for number in range(settings.workers if settings.admin_port else 1):
        host, port = settings.admin_host, settings.admin_port + number
        looked = _look("--admin-port", host, port)
        if looked.problem and _is_proxy(settings, host, port):
            looked = Looked(looked.option, host, port, looked.problem, looked.error, looked.owner, True)
        listed.append(looked)
    return listed


def findings(looked: Iterable[Looked]) -> list[Finding]:
    listed = list(looked)
    proxies = {one.owner for one in listed if one.is_proxy}
    return [
        _finding(one, one.is_proxy or (one.owner is not None and _is_ours(one.owner, proxies)))
        for one in listed
    ]


def _is_ours(owner: Owner, proxies: set[Owner | None]) -> bool:
    return owner in proxies or (bool(proxies) and "scalesim" in owner.command)


def _finding(one: Looked, is_ours: bool) -> Finding:
    about = f"port {one.port}"
    if not one.problem:
        return ok(about, f"free on {one.host}" if one.port else "any that is free")
    whose = "" if one.owner is None else f" by {one.owner.command} (process {one.owner.pid})"
    if is_ours:
        return ok(about, f"taken{whose}: a proxy runs there already")
    if one.error == errno.EADDRINUSE:
        whose = whose or ", by a process of somebody else"
        return fault(about, f"taken on {one.host}{whose}", f"end that, or give another port ({one.option})")
    if one.error == errno.EACCES:
        return fault(about, "ports below 1024 are for root alone", f"give another port ({one.option})")
    return fault(
        about, one.problem, f"give an address of this machine ({one.option.replace('port', 'host')})"
    )


def _look(option: str, host: str, port: int) -> Looked:
    try:
        listening_socket(host, port).close()
    except CannotListen as exc:
        error = exc.__cause__.errno if isinstance(exc.__cause__, OSError) else None
        owner = _owner_of(port) if error == errno.EADDRINUSE else None
        return Looked(option, host, port, str(exc), error, owner)
    return Looked(option, host, port, "")


def _is_proxy(settings: Settings, host: str, port: int) -> bool:
    scheme = "http" if settings.admin_tls_cert is None else "https"
    named = "localhost" if is_wildcard(host) else f"[{host}]" if ":" in host else host
    try:
        # Only who it is is asked, and no key is sent: its certificate proves nothing that matters here.
        answer = httpx.get(
            f"{scheme}://{named}:{port}/healthz", timeout=_ANSWER_S, trust_env=False, verify=False
        )
        told = answer.json()
    except (httpx.HTTPError, ValueError):
        return False
    return isinstance(told, dict) and told.get("status") == "alive" and "engines" in told


def _owner_of(port: int) -> Owner | None:
    """Of whoever listens there, as far as this user may know. Only Linux tells."""
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            inodes |= listening_inodes(Path("/proc/net", table).read_text(encoding="ascii"), port)
        except OSError:
            continue  # not Linux, or without IPv6
    links = {f"socket:[{inode}]" for inode in inodes}
    if not links:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in links for fd in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                return Owner(int(process.name), " ".join(words).strip()[:_SHOWN])
        except OSError:
            continue  # it has gone, or is somebody else's
    return None


def listening_inodes(table: str, port: int) -> set[str]:
    """Of sockets that listen on the port, by any address; `table` is that of `/proc/net/tcp`."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
            found.add(fields[9])
    return found
