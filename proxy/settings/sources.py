"""Where values come from: the command line, the environment, the config file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from scalesim.proxy.toml_text import NotToml, loads

PREFIX = "SCALESIM_"
"""Of variables of the environment."""


class Origin(StrEnum):
    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Sources:
    """What was given at the start. The file may be read again; the others stay as they are."""

    arguments: Mapping[str, object] = field(repr=False)
    """Of the command line, by the names of settings."""
    environ: Mapping[str, str] = field(repr=False)
    """By the names of settings."""
    config: str | None
    """Path of the file."""

    @classmethod
    def of(cls, arguments: Mapping[str, object], environ: Mapping[str, str]) -> Self:
        given = {name: value for name, value in arguments.items() if value is not None}
        from_environment = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX)
        }
        config = given.pop("config", None) or from_environment.pop("config", None)
        from_environment.pop("config", None)
        return cls(given, from_environment, str(config) if config else None)


@dataclass(slots=True)
class Values:
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def values_of(
    sources: Sources, known: Mapping[str, Field[Any]], needed: Collection[str], text: str | None = None
) -> Values:
    """Of the `known` settings; `text` stands in place of what is in the file."""
    read = Values()
    config = sources.config or "the config file"
    if text is not None:
        from_file = _parsed(text, config, read.problems)
    else:
        from_file = _read_file(sources.config, read.problems) if sources.config else {}
    options = {name: one.metadata["option"] for name, one in known.items()}

    # From the weakest source to the strongest: what is overruled is checked all the same.
    told: list[tuple[Origin, Mapping[str, object], Callable[[str], str]]] = [
        (Origin.FILE, from_file, lambda name: f"{name} in {config}"),
        (Origin.ENVIRONMENT, sources.environ, lambda name: PREFIX + name.upper()),
        (
            Origin.COMMAND_LINE,
            sources.arguments,
            lambda name: options.get(name) or "--" + name.replace("_", "-"),
        ),
    ]
    for origin, source, spelled in told:
        for one, other in (("engine", "engines"), ("engines", "engine")):
            if one in source:  # in place of what a weaker one says
                read.values.pop(other, None)
                read.origins.pop(other, None)
        for name, value in source.items():
            if name not in known:
                nearest = get_close_matches(name, [*known, "config"], n=1, cutoff=0.0)[0]
                read.problems.append(
                    f"{spelled(name)}: unknown; the nearest known name is {spelled(nearest)}"
                )
                continue
            try:
                read.values[name] = known[name].metadata["parse"](value)
                read.origins[name] = origin
            except ValueError as exc:
                read.problems.append(f"{spelled(name)}: {exc}")

    one_or_several = [
        name for name in ("engine", "engines", "fronts") if any(name in source for _, source, _ in told)
    ]
    for name in needed:
        if name == "engine" and one_or_several:
            continue
        if name not in read.values and not any(name in source for _, source, _ in told):
            read.problems.append(
                f"{name}: missing; give --{name}, {PREFIX}{name.upper()}, or `{name}` in the config file"
            )
    return read


def _read_file(path: str, problems: list[str]) -> Mapping[str, object]:
    try:
        return _parsed(Path(path).read_text(encoding="utf-8"), path, problems)
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"config: {path!r} cannot be read: {getattr(exc, 'strerror', None) or exc}")
    return {}


def _parsed(text: str, path: str, problems: list[str]) -> Mapping[str, object]:
    try:
        return loads(text)
    except NotToml as exc:
        problems.append(f"config: {path!r} is not TOML: {exc}")
    return {}
