"""`python -m workloads`: compare configurations, or play a scenario against one URL.

Exit codes: 0 all went well, 1 there were errors or answers that differ without reason, 2 the command was not understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

MODULES: Mapping[str, str] = {
    "bench-memory": "memory_cli",
    "calibrate-link": "memory_cli",
    "bench-core": "core_cli",
    "robustness": "robustness_cli",
    "recognition": "recognition_cli",
    "replay": "replay_cli",
    "fit-paper": "report_cli",
    "placement": "placement_cli",
    "bench-proxy": "proxy_cli",
    "soak": "soak_cli",
    "bench-engines": "scaling_cli",
    "study": "study_cli",
    "tables": "tables_cli",
    "validate": "validate_cli",
    "compare": "compare_cli",
    "run": "run_cli",
    "report": "report_cli",
}
"""Of each command, the module that adds it."""


class _Commands(Mapping[str, TyperCommand | TyperGroup]):
    """Each comes with its module when it is asked for: who replays does not wait for what draws, serves, or asks engines."""

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        part = typer.Typer()
        import_module(f".{MODULES[name]}", __package__).add_to(part)
        group = typer.main.get_group(part)
        found = group.commands[name]
        assert isinstance(found, TyperCommand | TyperGroup)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class _Group(TyperGroup):
    def __init__(self, **told: Any) -> None:
        super().__init__(**told)
        self.commands = _Commands()  # type: ignore[assignment]  # nobody adds to it


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def about() -> None:
    """Plays simulations against an engine or the proxy."""


def main() -> None:
    app()
