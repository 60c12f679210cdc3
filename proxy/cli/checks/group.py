"""Redis, by which several proxies serve together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ...app import CannotJoin, store_of
from ...app.group import password_in
from ...settings import Settings, is_loopback
from .finding import Finding, fault, ok, warning

OLDEST = (6, 2)
SLOW_S = 0.05
"""An answer that takes longer than that delays each change of a leader, and each word of it."""
_FULL = 0.9
_ABOUT = "redis"


@dataclass(frozen=True, slots=True)
class Looked:
    problem: str
    """Why nothing is known; empty if it answered."""
    refused: bool = False
    """It answered, and will not talk to us."""
    server: str = ""
    is_cluster: bool = False
    leader: str | None = None
    drops_keys: bool = False
    info: Mapping[str, Any] | None = None
    """Its own words."""
    latency_s: float = 0.0
    clock_s: float = 0.0
    """Its clock before ours."""


async def look_at(settings: Settings) -> Looked:
    try:
        store = store_of(settings)
    except CannotJoin as exc:
        return Looked(str(exc), refused=True)
    from ...state.store import StateAway

    try:
        found = await store.about()
    except StateAway as exc:
        refused = str(exc).startswith(("Authentication", "NoPermission", "ResponseError"))
        return Looked(str(exc), refused=refused)
    finally:
        await store.close()
    return Looked(
        "",
        server=found.server,
        is_cluster=found.is_cluster,
        leader=found.leader,
        drops_keys=found.drops_keys,
        info=found.info,
        latency_s=found.latency_s,
        clock_s=found.clock_s,
    )


def findings(settings: Settings, looked: Looked) -> list[Finding]:
    if "CERTIFICATE_VERIFY_FAILED" in looked.problem:
        return [
            fault(
                _ABOUT,
                f"its certificate is not trusted: {looked.problem}",
                "add ?ssl_ca_certs=FILE to its address, with the authority that it is from",
            )
        ]
    if looked.problem and looked.refused:
        return [
            fault(
                _ABOUT,
                f"it cannot be used: {looked.problem}",
                "give its address (redis) and its password (SCALESIM_REDIS_PASSWORD, or redis_password_file)",
            )
        ]
    if looked.problem:
        return [
            fault(
                _ABOUT,
                f"no answer: {looked.problem}",
                "start it, or give its address (redis)",
                unreachable=True,
            )
        ]
    leader = looked.leader or "nobody now"
    kind = f"{looked.server}{', a cluster' if looked.is_cluster else ''}"
    listed = [ok(_ABOUT, f"answers: {kind}; the group {settings.group} is led by {leader}")]
    listed += _of_version(looked.server)
    listed += _of_secrecy(settings)
    listed.append(
        ok(_ABOUT, f"answers within {looked.latency_s * 1000:.1f} ms")
        if looked.latency_s < SLOW_S
        else warning(
            _ABOUT,
            f"an answer takes {looked.latency_s * 1000:.0f} ms: what the leader decides is late by that",
            "bring it nearer to the proxies, or find out what keeps it busy",
        )
    )
    listed += _of_keeping(looked.drops_keys, looked.info or {})
    return listed


def _of_version(server: str) -> list[Finding]:
    name, _, version = server.partition(" ")
    try:
        release = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return [warning(_ABOUT, f"its version is {version!r}", "take a Redis of 6.2 or later, or a Valkey")]
    if name == "redis" and release < OLDEST:
        return [fault(_ABOUT, f"version {version} is too old", "take a Redis of 6.2 or later, or a Valkey")]
    return []


def _of_secrecy(settings: Settings) -> list[Finding]:
    parts = urlsplit(settings.redis or "")
    listed = []
    if parts.password is None and password_in(settings) is None:
        listed.append(
            warning(
                _ABOUT,
                "it asks for no password, and who can write to it commands the engines",
                "set `requirepass` there, and SCALESIM_REDIS_PASSWORD here",
            )
        )
    else:
        listed.append(ok(_ABOUT, "it asks for a password"))
    if parts.scheme == "rediss":
        listed.append(ok(_ABOUT, "over TLS"))
    elif parts.scheme != "unix" and not is_loopback(parts.hostname or ""):
        listed.append(
            warning(_ABOUT, "without TLS, over a network", "use rediss://, or a network that is yours alone")
        )
    return listed


def _of_keeping(drops_keys: bool, info: Mapping[str, Any]) -> list[Finding]:
    listed = []
    if drops_keys:
        listed.append(
            fault(
                _ABOUT,
                "it drops keys when its memory is full, also such as other proxies still need",
                "set its maxmemory-policy to noeviction",
            )
        )
    most, used = info.get("maxmemory"), info.get("used_memory")
    if isinstance(most, int) and isinstance(used, int) and most and used > _FULL * most:
        listed.append(
            warning(_ABOUT, f"{used / most:.0%} of its maxmemory is in use", "give it more, or another Redis")
        )
    if info.get("role") == "slave":
        listed.append(
            fault(_ABOUT, "it is a replica, which takes no writes", "give the address of its primary")
        )
    if info.get("rdb_last_bgsave_status") == "err" or info.get("aof_last_write_status") == "err":
        listed.append(
            fault(
                _ABOUT,
                "it cannot write to its disk, and so may refuse all writes",
                "free its disk, or switch saving off: nothing of ours has to be on a disk",
            )
        )
    else:
        saves = "an append-only file" if info.get("aof_enabled") else "at most snapshots"
        listed.append(ok(_ABOUT, f"keeps on its disk: {saves}; nothing has to be there"))
    return listed
