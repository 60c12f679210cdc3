from __future__ import annotations

import pytest
from typer.testing import CliRunner

from scalesim.workloads.cli import app
from scalesim.workloads.program import Impossible
from scalesim.workloads.proxy_cli import chosen

KNOWN = {"a": 1, "b": 2, "c": 3}


def test_all_are_chosen_where_nobody_is_named() -> None:
    assert chosen("proxy", None, KNOWN) == [1, 2, 3]
    assert chosen("proxy", ["c", "a"], KNOWN) == [1, 3]


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(Impossible, match="no proxy 'x'; there are a; b; c"):
        chosen("proxy", ["a", "x"], KNOWN)
    result = CliRunner().invoke(app, ["bench-proxy", "--load", "nothing"])
    assert result.exit_code == 2
    assert "no load" in result.output
