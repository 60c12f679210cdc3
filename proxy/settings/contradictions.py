"""What is wrong with values that are right one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from scalesim.engine_adapters.front_kinds import KINDS
from scalesim.proxy.access.keys import digest_of
from scalesim.proxy.core.model import EngineId
from scalesim.proxy.engines.registry import Address

from .engine_parsers import registered
from .hosts import is_loopback, is_wildcard
from .sources import PREFIX


def contradictions(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if not values["admin_keys"] and not is_loopback(values["admin_host"]):
        problems.append(
            f"admin_keys: missing, and the admin listener would be open to others on {values['admin_host']!r}; "
            f"set {PREFIX}ADMIN_KEYS, or admin_host to 127.0.0.1"
        )
    hosts = values["host"], values["admin_host"]
    if values["port"] == values["admin_port"] != 0 and (
        hosts[0] == hosts[1] or any(is_wildcard(host) for host in hosts)
    ):
        problems.append(f"admin_port: {values['admin_port']} is the port for clients already")
    for prefix in ("", "admin_"):
        pair = (f"{prefix}tls_cert", f"{prefix}tls_key")
        if (values[pair[0]] is None) != (values[pair[1]] is None):
            missing, given = pair if values[pair[0]] is None else pair[::-1]
            problems.append(f"{missing}: missing; {given} is of no use without it")
    problems += _of_groups(values)
    if values["salts_file"] is not None and not values["salts"]:
        problems.append("salts_file: of no use while `salts` is off")
    digests = [key.digest for key in (*values["client_keys"], *values["simulation_keys"])]
    digests += map(digest_of, values["admin_keys"])
    if len(set(digests)) < len(digests):
        problems.append(
            "client_keys, simulation_keys, admin_keys: a key is in two places; each must be another"
        )
    if values["record_full_text"] and values["record"] is None:
        problems.append("record_full_text: nothing is recorded; give `record`, the file, too")
    if values["record"] is not None and values["record"] == values["record_salt"]:
        problems.append(f"record_salt: {values['record_salt']!r} is the trace itself; give a file of its own")
    if values["engine"] and values["engines"]:
        problems.append("engine, engines: give the one or the other")
    if values["breaker_rest_s"] > values["breaker_longest_rest_s"]:
        problems.append("breaker_rest_s: longer than breaker_longest_rest_s")
    named = [Address(EngineId(values["engine_name"]), values["engine"])] if values["engine"] else []
    if values["fronts"]:
        try:
            registered([*named, *values["engines"], *values["fronts"]])
        except ValueError as exc:
            problems.append(f"fronts: {exc}")
    for one in values["fronts"]:
        if values["salts"] and one.front is not None and not KINDS[one.front.kind].salts:
            problems.append(
                f"salts: {one.front.kind} drops them on their way to engines, so simulations would share what they must not;"
                f" take {one.name!r} out of fronts, or switch salts off"
            )
    urls = [
        ("engine", values["engine"]),
        *(("engines", one.base_url) for one in values["engines"]),
        *(("fronts", url) for one in values["fronts"] for url in one.commanded),
    ]
    for setting, url in urls:
        problems += own_listeners(setting, url, values)
    return problems


def _of_groups(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if values["redis"] is None:
        problems += [
            f"{name}: of no use without `redis`"
            for name in ("redis_password", "redis_password_file", "group_host")
            if values[name] is not None
        ]
        if values["workers"] > 1:
            problems.append(
                f"workers: {values['workers']} processes know of the same agents only by `redis`; give --redis URL"
            )
    elif values["state_file"] is not None:
        problems.append("state_file: of no use with `redis`, which keeps the same")
    if values["redis_password"] is not None and values["redis_password_file"] is not None:
        problems.append("redis_password, redis_password_file: give the one or the other")
    if values["workers"] > 1:
        last = values["admin_port"] + values["workers"] - 1
        if values["admin_port"] and last > 65535:
            problems.append(f"admin_port: with {values['workers']} workers the last would have {last}")
        if values["admin_port"] and values["admin_port"] < values["port"] <= last:
            problems.append(f"port: {values['port']} is the admin port of one of the workers")
        if values["record"] is not None:
            problems.append("record: several workers would write the same trace; record with one")
        if values["salts"] and values["salts_file"] is None:
            problems.append("salts_file: missing; all workers need the same secret")
    return problems


def own_listeners(what: str, url: object, values: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}: {url!r} is where the proxy itself listens for {whose}; "
        f"give the engine's own address, or another {prefix}port"
        for prefix, whose in (("", "clients"), ("admin_", "operators"))
        if _reaches(url, values[prefix + "host"], values[prefix + "port"])
    ]


def _reaches(url: object, host: str, port: int) -> bool:
    """Whether `url` (of an engine, if it is one) leads to our listener there. Other names of this machine than
    those of loopback are not looked up."""
    if not isinstance(url, str):
        return False
    parts = urlsplit(url)
    called = parts.hostname or ""
    if (parts.port or (443 if parts.scheme == "https" else 80)) != port:
        return False
    both = called, host
    return called == host or (
        all(is_loopback(one) or is_wildcard(one) for one in both)
        and any(one == "localhost" or is_wildcard(one) for one in both)
    )
