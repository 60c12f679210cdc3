"""The command line, `scalesim`."""

from __future__ import annotations

from .cli.commands import cli


def main() -> None:
    """The console script."""
    cli()


if __name__ == "__main__":
    main()
