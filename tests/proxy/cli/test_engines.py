from __future__ import annotations

import json

import pytest

from scalesim.proxy.cli.ending import PROBLEM

from .running import NOBODY, invoke, serving

pytestmark = pytest.mark.slow


def test_engines_come_are_listed_and_go() -> None:
    with serving("--engine", NOBODY) as (_, admin):
        asked = {"SCALESIM_ADMIN": admin}
        added = invoke("engines", "add", "b", "http://127.0.0.1:11", "--weight", "2", environ=asked)
        listed = invoke("engines", "list", environ=asked)
        as_json = invoke("engines", "list", "--json", environ=asked)
        drained = invoke("engines", "drain", "b", environ=asked)
        removed = invoke("engines", "remove", "engine-0", "--json", environ=asked)
        empty = invoke("engines", "list", environ=asked)
    assert added.stdout == "b is registered, and starting\n"
    assert "b: http://127.0.0.1:11" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80
    assert [(one["engine"], one["weight"]) for one in json.loads(as_json.stdout)["engines"]] == [
        ("engine-0", None),
        ("b", 2.0),
    ]
    assert drained.stdout == "b is gone\n"
    assert json.loads(removed.stdout) == {}
    assert "register one" in empty.stdout
    assert {one.exit_code for one in (added, listed, as_json, drained, removed, empty)} == {0}


def test_what_is_refused_is_told_in_the_proxys_words() -> None:
    with serving("--engine", NOBODY) as (_, admin):
        asked = {"SCALESIM_ADMIN": admin}
        unknown = invoke("engines", "drain", "nobody", environ=asked)
        wrong = invoke("engines", "add", "b", "nonsense", "--json", environ=asked)
        taken = invoke("engines", "add", "engine-0", "http://127.0.0.1:11", environ=asked)
    assert [one.exit_code for one in (unknown, wrong, taken)] == [PROBLEM] * 3
    assert unknown.stderr.startswith("the proxy refused it (404): no engine is called 'nobody'")
    assert json.loads(wrong.stdout)["status"] == 422
    assert taken.stderr.startswith("the proxy refused it (409): ")
    assert all(len(one.stderr.splitlines()) == 1 for one in (unknown, wrong, taken))
