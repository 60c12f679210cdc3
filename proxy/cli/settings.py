"""`scalesim settings`: all there are."""

from __future__ import annotations

from ..settings import listed
from .options import AsJson
from .output import table, wide_console, written


def settings_command(as_json: AsJson = False) -> None:
    """List all settings, each with its default and what it is for.

    On the command line a setting is --idle-after-s where `serve` has such an option, in the environment
    SCALESIM_IDLE_AFTER_S, and in the config file idle_after_s.
    """
    if as_json:
        told = [
            {
                "name": one.name,
                "default": one.default,
                "about": one.about,
                "is_secret": one.is_secret,
                "is_live": one.is_live,
            }
            for one in listed()
        ]
        print(written({"settings": told}))
        return
    rows = ((one.name, one.default, one.about) for one in listed())
    wide_console().print(table("setting", "default", "what for", rows=rows))
