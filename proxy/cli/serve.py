"""`scalesim serve`: the proxy, until it is told to end."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Config, Engines


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
    # Here, because the whole proxy comes with it: who only asks something, or presses TAB, does not wait for that.
    from .running import run_proxy

    run_proxy(
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
