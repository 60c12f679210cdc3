"""The command line, `scalesim`."""

from __future__ import annotations

from .cli.commands import cli
from .cli.ending import confess


def main() -> None:
    """The console script."""
    try:
        cli(prog_name="scalesim")
    except Exception as exc:  # noqa: BLE001  whoever runs a command gets a line, not a traceback
        confess(exc)


if __name__ == "__main__":
    main()
