"""The reference in docs/command-line.md: what each command says to --help. `python -m tests.support.command_page` writes it anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from scalesim.proxy.cli.commands import cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
MARK = "python -m tests.support.command_page`. -->\n"


def commands() -> Iterator[tuple[str, ...]]:
    """The words of each, the groups before what is in them."""
    return _within((), typer.main.get_command(cli))


def _within(words: tuple[str, ...], command: object) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from _within((*words, name), one)


def help_of(words: tuple[str, ...]) -> str:
    """As on a terminal of 80 columns without colour."""
    plain = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    unset = dict.fromkeys(name for name in os.environ if name.startswith("SCALESIM_"))
    output = CliRunner(env={**unset, **plain}).invoke(cli, [*words, "--help"], prog_name="scalesim").output
    return "\n".join(line.rstrip() for line in output.strip("\n").splitlines()).strip("\n")


def reference() -> str:
    sections = []
    for words in commands():
        heading = "" if not words else f"### scalesim {' '.join(words)}\n\n"
        sections.append(f"{heading}```text\n{help_of(words)}\n```\n")
    return "\n" + "\n".join(sections)


def main() -> None:
    written, mark, _ = PAGE.read_text().partition(MARK)
    PAGE.write_text(written + mark + reference())


if __name__ == "__main__":
    main()
