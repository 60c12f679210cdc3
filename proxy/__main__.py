"""The command line, `scalesim`. Exit codes: 0 all is well, 1 there is a problem, 2 the command was not understood."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import ssl
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import httpx
import typer
import uvloop
from rich.console import Console
from rich.table import Table

import scalesim
from scalesim.engine_adapters.any_engine import NEED_NO_PLUGIN
from scalesim.engine_adapters.base import EngineError

from . import collector
from .access.key_file import BadKeyFile
from .access.keys import HASHED, drawn, hash_of
from .access.salts import BadSecret
from .access.tls import BadCertificate
from .app import CannotJoin, CannotListen, CannotTrace, Workers, serve, store_of
from .app.engines import adapter_for
from .app.trials import recorded_calls
from .configuration import Configuration
from .core.model import Capabilities
from .engines.registry import Address
from .errors import CannotKeep
from .logs import log_to
from .recognition.recipes.shelf import Shelf
from .recognition.recipes.trial import try_out
from .recording import CannotRecord
from .recording.trace import Reading
from .runtime import DEADLINE_S
from .settings import Settings, SettingsError, Sources, listed

PROBLEM = 1
USAGE = 2
STATUS_S = 5.0
"""For a proxy to say how it is: unlike an engine it is never busy."""

cli = typer.Typer(
    name="scalesim",
    help="A proxy that keeps the memory of the agents that call next on the GPU of your LLM engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Options are strings here: Settings parses them, with the same words as for the environment and the file. Secrets
# have no option, because everybody on the machine can read a command line.
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        help="URL of the engine, without /v1. For several engines, once for each: NAME=URL.",
        metavar="[NAME=]URL",
    ),
]
Config = Annotated[str | None, typer.Option(help="Config file (TOML).", metavar="FILE")]


recipes = typer.Typer(help="How requests of simulation frameworks are recognised.", no_args_is_help=True)
cli.add_typer(recipes, name="recipes")
keys = typer.Typer(help="API keys of clients and operators.", no_args_is_help=True)
cli.add_typer(keys, name="keys")
Folder = Annotated[Path | None, typer.Option(help="Folder with recipes of your own.", metavar="FOLDER")]


@cli.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False) -> None:
    if version:
        print(f"scalesim {scalesim.__version__}")
        raise typer.Exit


@cli.command("serve")
def serve_command(
    engine: Engines = None,
    host: Annotated[str | None, typer.Option(help="Where clients reach the proxy [127.0.0.1].")] = None,
    port: Annotated[str | None, typer.Option(help="Port for clients [8000].", metavar="PORT")] = None,
    admin_host: Annotated[
        str | None, typer.Option(help="Where hints and operators reach it [127.0.0.1].")
    ] = None,
    admin_port: Annotated[
        str | None, typer.Option(help="Port of the admin API [8001].", metavar="PORT")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="off, shadow or on, for new simulations [on].")] = None,
    policy: Annotated[
        str | None, typer.Option(help="nearest_first, cost_aware, lru or off [nearest_first].")
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            help="What memory control does: all, none, or a list with commas [all].", metavar="LIST"
        ),
    ] = None,
    guard: Annotated[
        bool | None,
        typer.Option(
            "--guard/--no-guard", help="Leave the cache to recency while distance does worse [guard]."
        ),
    ] = None,
    recognise: Annotated[
        str | None,
        typer.Option(
            help="How callers are found that do not say who they are: all, none, or a list of recipes, answers, learned [all].",
            metavar="LIST",
        ),
    ] = None,
    recipes_folder: Annotated[
        str | None, typer.Option(help="Folder with recipes of your own.", metavar="FOLDER")
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            help="By which any number of proxies serve the same simulations, like redis://HOST:6379/0.",
            metavar="URL",
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Of proxies with the same Redis [default].", metavar="NAME")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(help="Processes that share the port for clients; needs --redis [1].", metavar="N"),
    ] = None,
    state_file: Annotated[
        str | None,
        typer.Option(help="Keeps what is known of agents over a restart, without Redis.", metavar="FILE"),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")] = None,
    config: Config = None,
) -> None:
    """Run the proxy in front of an engine, or of several.

    Every option can be given in the environment (SCALESIM_PORT) and in the config file (port) too. `scalesim settings` lists
    those that have no option as well.
    """
    _serve(
        {
            "engine": engine,
            "host": host,
            "port": port,
            "admin_host": admin_host,
            "admin_port": admin_port,
            "mode": mode,
            "policy": policy,
            "parts": parts,
            "guard": guard,
            "recognise": recognise,
            "recipes_folder": recipes_folder,
            "redis": redis,
            "group": group,
            "workers": workers,
            "state_file": state_file,
            "log_level": log_level,
            "config": config,
        }
    )


def _with_options_of(other: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The command takes the options of `other` after its own, and gets them by name."""

    def taking(command: Callable[..., None]) -> Callable[..., None]:
        own, others = (inspect.signature(one, eval_str=True).parameters.values() for one in (command, other))
        named = [one for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD]
        command.__signature__ = inspect.Signature([*named, *others])  # type: ignore[attr-defined]
        return command

    return taking


@cli.command("record")
@_with_options_of(serve_command)
def record_command(
    file: Annotated[str, typer.Argument(help="Where the trace goes (JSONL).", metavar="FILE")],
    full_text: Annotated[
        bool | None,
        typer.Option("--full-text", help="Record prompts, answers and names in full, instead of as hashes."),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(help="Most that the trace takes, all its files together [1 GB].", metavar="BYTES"),
    ] = None,
    files: Annotated[str | None, typer.Option(help="Files of the trace, at most [4].", metavar="N")] = None,
    salt_file: Annotated[
        str | None,
        typer.Option(help="File of the key of its hashes, made if missing [FILE.salt].", metavar="FILE"),
    ] = None,
    **serving: object,
) -> None:
    """Run the proxy and record the calls that go by.

    Prompts and names are recorded as keyed hashes, unless --full-text says otherwise; only a full-text trace can feed
    `scalesim recipes test`. docs/traces.md says what is in a trace, and who can read what out of it.
    """
    recording: dict[str, object] = {
        "record": file,
        "record_full_text": full_text,
        "record_max_bytes": max_bytes,
        "record_files": files,
        "record_salt": salt_file,
    }
    _serve(serving | recording)


def _serve(arguments: Mapping[str, object]) -> None:
    try:
        configuration = Configuration.read(Sources.of(_told_apart(arguments), os.environ))
    except SettingsError as exc:
        _refuse(exc)
    settings = configuration.settings
    if arguments.get("redis") is not None and urlsplit(settings.redis or "").password is not None:
        _fail("--redis: everybody on the machine can read a command line: set SCALESIM_REDIS_PASSWORD", USAGE)
    lines = log_to(None, settings.log_level, settings.log_format)
    run = partial(_run, suppressed_lines=lambda: lines.suppressed)
    if settings.workers == 1:
        code = run(configuration)
    else:
        try:
            code = Workers(configuration, partial(run, shared_port=True)).run()
        except CannotListen as exc:
            _fail(str(exc))
    if code:
        raise typer.Exit(code)


def _run(
    configuration: Configuration, *, suppressed_lines: Callable[[], int], shared_port: bool = False
) -> int:
    """Until it is told to end. The exit code."""
    serving = serve(
        configuration,
        ready=lambda _: collector.keep_short(),
        shared_port=shared_port,
        suppressed_lines=suppressed_lines,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving)
    except (
        CannotListen,
        CannotRecord,
        CannotTrace,
        CannotJoin,
        CannotKeep,
        BadCertificate,
        BadSecret,
        BadKeyFile,
    ) as exc:
        typer.echo(str(exc), err=True)
        return PROBLEM
    return 0


@cli.command()
def status(
    admin: Annotated[
        str | None, typer.Option(help="URL of the proxy's admin listener [as configured].", metavar="URL")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the proxy answered.")] = False,
    config: Config = None,
) -> None:
    """Ask a running proxy how it is."""
    settings = _settings({"config": config}, needed=())
    host = f"[{settings.admin_host}]" if ":" in settings.admin_host else settings.admin_host
    scheme = "http" if settings.admin_tls_cert is None else "https"
    url = (admin or f"{scheme}://{host}:{settings.admin_port}").rstrip("/")
    plain = [key for key in settings.admin_keys if not key.startswith(HASHED)]
    if settings.admin_keys and not plain:
        _fail("only the hashes of the admin keys are known: set SCALESIM_ADMIN_KEYS to a key itself", USAGE)
    headers = {"x-admin-key": plain[0]} if plain else {}
    trusted = ssl.create_default_context()
    try:
        if settings.admin_tls_cert is not None:  # it may be its own issuer
            trusted.load_verify_locations(settings.admin_tls_cert)
        answer = httpx.get(
            f"{url}/admin/v1/status", headers=headers, timeout=STATUS_S, trust_env=False, verify=trusted
        )
    except (ssl.SSLError, OSError) as exc:
        _fail(f"admin_tls_cert: {settings.admin_tls_cert} cannot be used: {exc}")
    except httpx.InvalidURL as exc:
        _fail(f"--admin: {url!r} is not a URL: {exc}", USAGE)
    except httpx.UnsupportedProtocol:
        _fail(f"--admin: {url!r} is not a URL like http://127.0.0.1:8001", USAGE)
    except httpx.HTTPError as exc:
        _fail(f"no proxy answers at {url}: {exc or type(exc).__name__}")
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        _fail(f"the proxy at {url} wants another key: set SCALESIM_ADMIN_KEYS")
    try:
        told: dict[str, Any] = answer.raise_for_status().json()
        problems = [f"{one['engine']}: {one['problem']}" for one in told["engines"] if not one["up"]]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
        _fail(f"what answers at {url} is not the admin listener of a proxy (status {answer.status_code})")
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _show(told)
    if problems:
        raise typer.Exit(PROBLEM)


@keys.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Whose it is: stands in logs.", metavar="NAME")] = "ann",
) -> None:
    """Draw a key, and show what belongs into the config file in its place.

    The key is shown once and kept nowhere. It goes to the client; its hash goes into the config file.
    """
    key = drawn()
    typer.echo(f"key    {key}")
    typer.echo(f"hash   {hash_of(key)}")
    typer.echo(f'\nfor a client    [client_keys]\n                {name} = "{hash_of(key)}"', err=True)
    typer.echo(f'for an operator admin_keys = ["{hash_of(key)}"]', err=True)


@keys.command("hash")
def keys_hash() -> None:
    """Hash a key that is there already, from the first line of standard input."""
    key = sys.stdin.readline().strip()
    if not key or key.startswith(HASHED):
        _fail("give the key on standard input", USAGE)
    typer.echo(hash_of(key))


@recipes.command("list")
def recipes_list(folder: Folder = None) -> None:
    """List the recipes, and what each was read from."""
    table = Table("recipe", "framework", "read from", "verified", box=None, pad_edge=False)
    for recipe in _shelf(folder).index.recipes:
        source = f"{recipe.read_from.package} {recipe.read_from.version}"
        table.add_row(recipe.name, recipe.framework, source, "yes" if recipe.verified else "no")
    Console().print(table)


@recipes.command("test")
def recipes_test(
    file: Annotated[Path, typer.Argument(help="A trace of `scalesim record --full-text`.", metavar="FILE")],
    folder: Folder = None,
) -> None:
    """Show on a recorded trace what the recipes would find."""
    shelf = _shelf(folder)
    try:
        with file.open("rb") as lines:
            trace = Reading(lines)
            trial = try_out(shelf.index, recorded_calls(trace))
    except OSError as exc:
        _fail(f"{file}: {exc.strerror or exc}", USAGE)
    if not trial.calls:
        _fail(f"{file}: no call with its text in it: only `scalesim record --full-text` writes such a trace")
    for line in trial.lines():
        typer.echo(line)
    if trace.skips:
        typer.echo(f"\n{trace.skips} lines could not be read, the first: {trace.skipped[0].why}", err=True)


def _shelf(folder: Path | None) -> Shelf:
    shelf = Shelf(folder)
    if problems := shelf.reload().problems:
        _fail("\n".join(problems))
    return shelf


@cli.command()
def doctor(engine: Engines = None, config: Config = None) -> None:
    """Ask each engine what it can do for the proxy, and Redis if there is one, and say what to change."""
    settings = _settings({"engine": engine, "config": config})
    are_well = [_examine(settings, address) for address in settings.addresses]
    if settings.redis is not None:
        are_well.append(asyncio.run(_redis_is_well(settings)))
    if not all(are_well):
        raise typer.Exit(PROBLEM)


def _examine(settings: Settings, address: Address) -> bool:
    """Whether there is nothing to change."""
    print(f"engine        {address.base_url}")
    try:
        found = asyncio.run(_probe(settings, address))
    except (EngineError, TimeoutError) as exc:
        print(f"answers       no: {exc or 'not in time'}")
        print("to do         start the engine, or give its address with --engine")
        return False
    print("answers       yes")
    print(f"kind          {found.kind} {found.version}")
    takes_plugin = found.kind not in NEED_NO_PLUGIN
    says, denies = ("active", "not active: ") if takes_plugin else ("controlled", "not controlled: ")
    memory = says if found.extended else denies + (found.reason or "no reason given")
    print(f"{'plugin' if takes_plugin else 'memory':14}{memory}")
    print(f"capabilities  {', '.join(sorted(found.features)) or 'none'}")
    if found.capacity_tokens is not None:
        print(f"capacity      {found.capacity_tokens} tokens")
    if found.adapter_slots is not None:
        held = "any number" if found.host_adapters is None else found.host_adapters
        print(f"adapters      {found.adapter_slots} slots, {held} in host memory")
    if found.extended:
        print("to do         nothing")
        return True
    if address.front is not None:
        print("to do         what is lacking stands above; the proxy serves it as it is")
        return False
    if not takes_plugin:
        print(
            "to do         see what it can be started with, in docs/engines.md; the proxy serves it as it is"
        )
        return False
    print("to do         install the plugin into the engine's environment, and start the engine with")
    print(
        "              --radix-cache-backend scalesim; until then the proxy serves it, without a say in its cache"
    )
    return False


async def _redis_is_well(settings: Settings) -> bool:
    """Whether there is nothing to change."""
    print(f"group         {settings.group}, by Redis")
    try:
        store = store_of(settings)
    except CannotJoin as exc:
        _fail(str(exc))
    from .state.store import StateAway

    try:
        found = await store.about()
    except StateAway as exc:
        print(f"answers       no: {exc}")
        print("to do         start it, or give its address (redis), and its password where it wants one")
        return False
    finally:
        await store.close()
    print("answers       yes")
    print(f"kind          {found.server}{', a cluster' if found.is_cluster else ''}")
    print(f"leader        {found.leader or 'nobody now'}")
    if found.drops_keys:
        print("to do         set its maxmemory-policy to noeviction: it drops what other proxies still need")
        return False
    print("to do         nothing")
    return True


@cli.command("settings")
def settings_command() -> None:
    """List all settings, each with its default and what it is for.

    On the command line a setting is --idle-after-s where `serve` has such an option, in the environment
    SCALESIM_IDLE_AFTER_S, and in the config file idle_after_s.
    """
    table = Table("setting", "default", "what for", box=None)
    for one in listed():
        table.add_row(one.name, one.default, one.about)
    Console(width=None if sys.stdout.isatty() else 160).print(table, markup=False)


def main() -> None:
    """The console script."""
    cli()


def _settings(arguments: Mapping[str, object], **options: Any) -> Settings:
    try:
        return Settings.load(_told_apart(arguments), os.environ, **options)
    except SettingsError as exc:
        _refuse(exc)


def _refuse(settings: SettingsError) -> NoReturn:
    for problem in settings.problems:
        typer.echo(problem, err=True)
    raise typer.Exit(USAGE) from None


def _told_apart(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """One engine without a name, and any others, are settings of their own."""
    match arguments.get("engine"):
        case [str(url)] if url != "none" and "=" not in url.partition("/")[0]:
            return {**arguments, "engine": url}
        case None | []:
            return {**arguments, "engine": None}
        case given:
            return {**arguments, "engine": None, "engines": given}


def _fail(message: str, code: int = PROBLEM) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


async def _probe(settings: Settings, address: Address) -> Capabilities:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(DEADLINE_S):
        return await adapter_for(address, client, settings.engine_api_key).probe()


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


if __name__ == "__main__":
    main()
