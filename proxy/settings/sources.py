"""Where values come from: the command line, the environment, the config file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

PREFIX = "SCALESIM_"
"""Of variables of the environment."""


def read_file(path: str, problems: list[str]) -> Mapping[str, object]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"config: {path!r} cannot be read: {getattr(exc, 'strerror', None) or exc}")
    except tomllib.TOMLDecodeError as exc:
        problems.append(f"config: {path!r} is not TOML: {exc}")
    return {}
