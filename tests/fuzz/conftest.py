"""How many requests are made, and of which seed: given on the command line, with little as the default."""

from __future__ import annotations

import pytest

FEW = 1_000
"""Of the check of every change."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz")
    group.addoption("--fuzz-requests", type=int, default=FEW, help="hostile requests in all")
    group.addoption("--fuzz-seed", type=int, default=1)


@pytest.fixture
def how_many(request: pytest.FixtureRequest) -> int:
    # Who runs the tests of another folder as well has not loaded this file early enough for its options.
    return int(request.config.getoption("--fuzz-requests", default=FEW))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--fuzz-seed", default=1))
