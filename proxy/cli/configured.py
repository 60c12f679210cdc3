"""Settings from what a command was told, the environment and the config file; what is wrong there ends the command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import typer

from ..settings import Settings, SettingsError
from .ending import USAGE


def settings_of(arguments: Mapping[str, object], **options: Any) -> Settings:
    try:
        return Settings.load(told_apart(arguments), os.environ, **options)
    except SettingsError as exc:
        for problem in exc.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(USAGE) from None


def told_apart(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """One engine without a name, and any others, are settings of their own."""
    match arguments.get("engine"):
        case [str(url)] if url != "none" and "=" not in url.partition("/")[0]:
            return {**arguments, "engine": url}
        case None | []:
            return {**arguments, "engine": None}
        case given:
            return {**arguments, "engine": None, "engines": given}
