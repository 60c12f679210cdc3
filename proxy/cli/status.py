"""`scalesim status`: how a running proxy is."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from ..access.keys import HASHED
from .configured import settings_of
from .ending import PROBLEM, USAGE, fail
from .options import Config

STATUS_S = 5.0
"""For a proxy to say how it is: unlike an engine it is never busy."""


def status(
    admin: Annotated[
        str | None, typer.Option(help="URL of the proxy's admin listener [as configured].", metavar="URL")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the proxy answered.")] = False,
    config: Config = None,
) -> None:
    """Ask a running proxy how it is."""
    settings = settings_of({"config": config}, needed=())
    host = f"[{settings.admin_host}]" if ":" in settings.admin_host else settings.admin_host
    scheme = "http" if settings.admin_tls_cert is None else "https"
    url = (admin or f"{scheme}://{host}:{settings.admin_port}").rstrip("/")
    plain = [key for key in settings.admin_keys if not key.startswith(HASHED)]
    if settings.admin_keys and not plain:
        fail("only the hashes of the admin keys are known: set SCALESIM_ADMIN_KEYS to a key itself", USAGE)
    headers = {"x-admin-key": plain[0]} if plain else {}
    trusted = ssl.create_default_context()
    try:
        if settings.admin_tls_cert is not None:  # it may be its own issuer
            trusted.load_verify_locations(settings.admin_tls_cert)
        answer = httpx.get(
            f"{url}/admin/v1/status", headers=headers, timeout=STATUS_S, trust_env=False, verify=trusted
        )
    except (ssl.SSLError, OSError) as exc:
        fail(f"admin_tls_cert: {settings.admin_tls_cert} cannot be used: {exc}")
    except httpx.InvalidURL as exc:
        fail(f"--admin: {url!r} is not a URL: {exc}", USAGE)
    except httpx.UnsupportedProtocol:
        fail(f"--admin: {url!r} is not a URL like http://127.0.0.1:8001", USAGE)
    except httpx.HTTPError as exc:
        fail(f"no proxy answers at {url}: {exc or type(exc).__name__}")
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        fail(f"the proxy at {url} wants another key: set SCALESIM_ADMIN_KEYS")
    try:
        told: dict[str, Any] = answer.raise_for_status().json()
        problems = [f"{one['engine']}: {one['problem']}" for one in told["engines"] if not one["up"]]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
        fail(f"what answers at {url} is not the admin listener of a proxy (status {answer.status_code})")
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _show(told)
    if problems:
        raise typer.Exit(PROBLEM)


def _show(told: Mapping[str, Any]) -> None:
    console = Console()
    if (group := told.get("group")) is not None:
        leader = "" if group["role"] == "leads" else f" {group['leader_url'] or 'nobody'}"
        problem = f" ({group['problem']})" if group["problem"] else ""
        console.print(
            f"group {group['group']}: {group['role']}{leader}{problem}", markup=False, soft_wrap=True
        )
    for one in told["engines"]:
        console.print(
            f"engine {one['engine']} at {one['url']}: {one['state']}, {one['description']}",
            markup=False,
            soft_wrap=True,
        )
        if one["problem"]:
            console.print(f"  {one['problem']}", markup=False, soft_wrap=True)
    table = Table("simulation", "mode", "agents", "calls", "hit rate", "first calls")
    for one in told["simulations"]:
        table.add_row(
            one["simulation"],
            one["mode"],
            str(one["agents"]),
            str(one["calls"]),
            _percent(one["prefix_hit_rate"]),
            _percent(one["first_call_hit_rate"]),
        )
    console.print(table)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
