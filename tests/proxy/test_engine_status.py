from __future__ import annotations

from scalesim.proxy.core.model import Capabilities
from scalesim.proxy.engine_status import describe


def test_an_extended_engine_is_described_in_a_few_words() -> None:
    found = Capabilities("sglang", "0.5", True, frozenset({"residency", "order", "pin"}))
    assert describe(found) == "sglang 0.5, extended"


def test_a_stock_engine_is_described_with_the_reason() -> None:
    found = Capabilities("sglang", "0.5", False, reason="the plugin is not installed")
    assert describe(found) == "sglang 0.5, not extended: the plugin is not installed"
