"""Settings from what a command was told, the environment and the config file; what is wrong there ends the command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NoReturn

import typer

from ..settings import PREFIX, Settings, SettingsError, Sources
from .ending import USAGE

OF_CLIENTS = frozenset({PREFIX + "ADMIN", PREFIX + "ADMIN_KEY_FILE"})
"""Variables that say where a running proxy is: no settings of one."""


def settings_of(arguments: Mapping[str, object], **options: Any) -> Settings:
    try:
        return load_settings(arguments, **options)
    except SettingsError as exc:
        refuse(exc)


def load_settings(arguments: Mapping[str, object], **options: Any) -> Settings:
    """Raises `SettingsError`."""
    return Settings.load(told_apart(arguments), environment(), **options)


def sources_of(arguments: Mapping[str, object]) -> Sources:
    return Sources.of(told_apart(arguments), environment())


def refuse(settings: SettingsError) -> NoReturn:
    for problem in settings.problems:
        typer.echo(problem, err=True)
    raise typer.Exit(USAGE) from None


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
