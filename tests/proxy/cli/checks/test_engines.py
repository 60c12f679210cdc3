from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from scalesim.engine_adapters import llama_cpp
from scalesim.proxy.cli.checks.engines import Looked, Told, findings
from scalesim.proxy.cli.checks.finding import Level
from scalesim.proxy.core.model import Capabilities, EngineId
from scalesim.proxy.engines.registry import Address

ADDRESS = Address(EngineId("a"), "http://a:1")


def todos(known: Capabilities, **flags: object) -> list[tuple[Level, str]]:
    told: Mapping[str, Told] = {ADDRESS.base_url: Told(flags)}
    return [(one.level, one.todo) for one in findings(Looked(ADDRESS, "", known, told=told)) if one.todo]


def known(**more: Any) -> Capabilities:
    return Capabilities(**{"kind": "sglang", "version": "0.5.23", "extended": True, **more})


def test_what_an_engine_does_not_tell_is_not_judged() -> None:
    assert todos(known()) == []


@pytest.mark.parametrize(
    ("flag", "level", "todo"),
    [
        ({"enable_cache_report": False}, Level.WARNING, "--enable-cache-report"),
        ({"enable_hierarchical_cache": False}, Level.WARNING, "--enable-hierarchical-cache"),
        ({"disable_radix_cache": True}, Level.FAULT, "--disable-radix-cache"),
        ({"enable_lora": False}, Level.OK, "--enable-lora"),
    ],
)
def test_flags_that_switch_something_off_are_named(flag: dict[str, bool], level: Level, todo: str) -> None:
    ((found, says),) = todos(known(), **flag)
    assert found is level
    assert todo in says


def test_flags_that_are_set_are_not_asked_for() -> None:
    flags = {"enable_cache_report": True, "enable_hierarchical_cache": True, "enable_lora": True}
    assert todos(known(), **flags, disable_radix_cache=False) == []


def test_an_engine_of_another_kind_is_not_told_of_sglangs_plugin() -> None:
    ((level, todo),) = todos(known(kind=llama_cpp.NAME, extended=False, reason="no slots are saved"))
    assert level is Level.FAULT
    assert "radix" not in todo
