"""Settings from what a command was told, the environment and the config file; what is wrong there ends the command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import typer

from ..settings import PREFIX, Settings, SettingsError
from .ending import USAGE

OF_CLIENTS = frozenset({PREFIX + "ADMIN", PREFIX + "ADMIN_KEY_FILE"})
"""Variables that say where a running proxy is: no settings of one."""


def settings_of(arguments: Mapping[str, object], **options: Any) -> Settings:
    try:
        return load_settings(arguments, **options)
    except SettingsError as exc:
        for problem in exc.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(USAGE) from None


def load_settings(arguments: Mapping[str, object], **options: Any) -> Settings:
    """Raises `SettingsError`."""
    return Settings.load(told_apart(arguments), environment(), **options)


def environment() -> dict[str, str]:
    """As far as it is for settings."""
    return {name: value for name, value in os.environ.items() if name not in OF_CLIENTS}


def told_apart(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """One engine without a name, and any others, are settings of their own."""
    match arguments.get("engine"):
        case [str(url)] if url != "none" and "=" not in url.partition("/")[0]:
            return {**arguments, "engine": url}
        case None | []:
            return {**arguments, "engine": None}
        case given:
            return {**arguments, "engine": None, "engines": given}


def config_in(arguments: Mapping[str, object]) -> str | None:
    """The config file that was read, if any."""
    told = arguments.get("config") or os.environ.get(PREFIX + "CONFIG")
    return None if told is None else str(told)
