from __future__ import annotations

from scalesim.engine_adapters.front_reports import as_one, boot_id_of, holder_of, reported_as_one
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AdapterName,
    Capabilities,
    EngineReport,
    MemoryId,
    MemoryReport,
    Owner,
    Pool,
)

A, B = "http://a:1", "http://b:1"
ANN, BOB = Owner("town/Ann"), Owner("town/Bob")
PREFIX = MemoryId(KV_PREFIX, ANN)


def engine(*features: str, slots: int | None = None, **more: object) -> Capabilities:
    return Capabilities(
        "sglang",
        "1",
        True,
        frozenset(features),
        "boot",
        1000,
        slots,
        **more,  # type: ignore[arg-type]
    )


def report(memories: dict[MemoryId, MemoryReport] | None = None, *, free: int = 0) -> EngineReport:
    pools = (Pool("kv", frozenset({KV_PREFIX}), 100, free),)
    return EngineReport("boot", True, frozenset({ANN}), 5, 1000, pools, memories or {})


def test_together_they_can_what_is_asked_of_each_by_itself_and_else_what_all_of_them_can() -> None:
    both = {
        A: engine("order", "pin", "load_kv_prefix", "host_copy", "warm_up", "fetch_adapters"),
        B: engine("order", "host_copy", "abort", "warm_up"),
    }
    one = as_one("smg", both, "")
    assert one.features == {"order", "pin", "abort", "load_kv_prefix", "host_copy"}
    assert (one.capacity_tokens, one.extended, one.reason) == (2000, True, "")
    assert one.version == "in front of 2 of 2 (sglang 1)"


def test_nobody_can_choose_where_a_prompt_is_computed() -> None:
    assert "warm_up" not in as_one("smg", {A: engine("warm_up")}, "").features


def test_an_adapter_has_to_fit_wherever_its_call_may_go() -> None:
    assert as_one("smg", {A: engine(slots=4), B: engine(slots=8)}, "").adapter_slots == 4
    assert as_one("smg", {A: engine(slots=4), B: engine()}, "").adapter_slots is None


def test_what_is_lacking_is_told_with_whom_it_lacks() -> None:
    stock = Capabilities("sglang", "1", False, reason="no plugin")
    one = as_one("smg", {A: stock, B: None}, "it drops names")
    assert not one.extended
    assert one.reason == f"it drops names; {A}: no plugin; {B}: no answer"


def test_a_front_end_alone_can_nothing_and_says_why() -> None:
    assert as_one("smg", {}, "").reason == "no engines are listed behind it"
    silent = as_one("smg", {A: None}, "")
    assert (silent.features, silent.boot_id, silent.reason) == (frozenset(), None, f"{A}: no answer")


def test_each_restart_gives_another_boot_id_and_their_order_none() -> None:
    known = boot_id_of({A: "1", B: "1"})
    assert known == boot_id_of({B: "1", A: "1"})
    assert (
        len({known, boot_id_of({A: "2", B: "1"}), boot_id_of({A: "1"}), boot_id_of({A: "1", B: None})}) == 4
    )


def test_room_adds_up() -> None:
    one = reported_as_one({A: report(free=30), B: report(free=20)}, "x", {})
    assert one.pools == (Pool("kv", frozenset({KV_PREFIX}), 200, 50),)
    assert (one.capacity_tokens, one.pinned_tokens, one.pinned_owners) == (2000, 10, {ANN})


def test_of_a_prefix_only_what_its_home_misses_is_worth_a_load() -> None:
    reports = {A: report({PREFIX: MemoryReport(40, 0)}), B: report({PREFIX: MemoryReport(0, 30)})}
    assert reported_as_one(reports, "x", {ANN: A}).memories == {PREFIX: MemoryReport(40, 0)}
    assert reported_as_one(reports, "x", {ANN: B}).memories == {PREFIX: MemoryReport(40, 30)}
    assert reported_as_one(reports, "x", {}).memories == {PREFIX: MemoryReport(40, 0)}, "where most of it is"


def test_a_prefix_is_brought_back_where_the_calls_go_and_nowhere_else() -> None:
    reports = {A: report({PREFIX: MemoryReport(40, 0)}), B: report()}
    assert holder_of(PREFIX, reports, B) is None
    assert holder_of(PREFIX, reports, A) == A
    assert holder_of(PREFIX, reports, None) == A
    assert holder_of(PREFIX, {A: report(), B: report()}, None) is None
    assert holder_of(PREFIX, {}, None) is None


def test_an_adapter_is_there_once_it_is_everywhere() -> None:
    pirate = MemoryId(LORA, AdapterName("pirate"))
    reports = {A: report({pirate: MemoryReport(10, 0)}), B: report({pirate: MemoryReport(0, 10)})}
    assert reported_as_one(reports, "x", {}).memories == {pirate: MemoryReport(10, 10)}
