"""`scalesim keys`: API keys of clients and operators."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..access.keys import HASHED, drawn, hash_of
from .ending import USAGE, fail
from .options import AsJson
from .output import written

keys = typer.Typer(help="API keys of clients and operators.", no_args_is_help=True)


@keys.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Whose it is: stands in logs.", metavar="NAME")] = "ann",
    as_json: AsJson = False,
) -> None:
    """Draw a key, and show what belongs into the config file in its place.

    The key is shown once and kept nowhere. It goes to the client; its hash goes into the config file.
    """
    key = drawn()
    if as_json:
        typer.echo(written({"name": name, "key": key, "hash": hash_of(key)}))
        return
    typer.echo(f"key    {key}")
    typer.echo(f"hash   {hash_of(key)}")
    typer.echo(f'\nfor a client    [client_keys]\n                {name} = "{hash_of(key)}"', err=True)
    typer.echo(f'for an operator admin_keys = ["{hash_of(key)}"]', err=True)


@keys.command("hash")
def keys_hash(as_json: AsJson = False) -> None:
    """Hash a key that is there already, from the first line of standard input."""
    key = sys.stdin.readline().strip()
    if not key or key.startswith(HASHED):
        fail("give the key on standard input", USAGE)
    typer.echo(written({"hash": hash_of(key)}) if as_json else hash_of(key))
