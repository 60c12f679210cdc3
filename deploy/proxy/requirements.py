"""Prints what a pyproject.toml asks for, a line each: `requirements.py PYPROJECT [EXTRA]`; of an extra, what it adds."""

from __future__ import annotations

import sys
import tomllib


def main() -> None:
    path, *extras = sys.argv[1:]
    with open(path, "rb") as file:
        project = tomllib.load(file)["project"]
    needed = project["dependencies"] if not extras else project["optional-dependencies"][extras[0]]
    print("\n".join(needed))


main()
