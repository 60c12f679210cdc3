from __future__ import annotations

import math
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.engine_adapters.sglang_plugin.ledger import (
    LIVE_CALLS,
    MAX_NODE_OWNERS,
    MAX_OWNER_NODES,
    MAX_PINS,
    PLAN_BEATS,
    SLIVER_TOKENS,
    WHOLE,
    Ledger,
    Tags,
)
from scalesim.engine_adapters.sglang_plugin.wire import FenceLost

LONG = [7] * 160


def ledger_with(*owners: str, pin_budget: int = 1_000) -> tuple[Ledger, dict[str, Tags]]:
    """A ledger that saw one long request of each owner, and the tags of one node of each."""
    ledger = Ledger(pin_budget)
    nodes = {}
    for owner in owners:
        nodes[owner] = Tags(0)
        ledger.tag(nodes[owner], owner, ledger.note_prompt(owner, LONG))
    return ledger, nodes


# --- fence -------------------------------------------------------------------------------------------------------------


def test_a_lower_fence_is_refused_and_changes_nothing() -> None:
    ledger = Ledger(0)
    ledger.admit((2, 5))
    for lower in ((2, 4), (1, 9)):
        with pytest.raises(FenceLost) as lost:
            ledger.admit(lower)
        assert lost.value.highest == (2, 5)
    assert ledger.fence == (2, 5)


def test_an_equal_fence_is_a_repetition() -> None:
    ledger = Ledger(0)
    ledger.admit((2, 5))
    ledger.admit((2, 5))
    ledger.admit((3, 0))
    assert ledger.fence == (3, 0)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_the_fence_never_goes_back(fences: list[tuple[int, int]]) -> None:
    ledger = Ledger(0)
    for fence in fences:
        before = ledger.fence
        try:
            ledger.admit(fence)
        except FenceLost:
            assert fence < before
            assert ledger.fence == before
        else:
            assert ledger.fence == fence >= before


# --- ageing ------------------------------------------------------------------------------------------------------------


def test_a_plan_and_a_pin_live_as_long_as_promised() -> None:
    ledger = Ledger(0)
    ledger.set_plan({"a": 1.0})
    ledger.pin(["a"])
    assert [ledger.beat() for _ in range(PLAN_BEATS)] == [True] * (PLAN_BEATS - 1) + [False]
    assert not ledger.plan_in_force
    assert ledger.distances == {}
    assert ledger.pins == {}


def test_a_renewal_starts_the_count_anew() -> None:
    ledger = Ledger(0)
    ledger.set_plan({"a": 1.0})
    ledger.pin(["a"])
    for _ in range(3):
        for _ in range(PLAN_BEATS - 1):
            assert ledger.beat()
        ledger.renew()
    assert ledger.plan_in_force
    assert ledger.pins == {"a": PLAN_BEATS}


def test_a_renewal_brings_nothing_back() -> None:
    ledger = Ledger(0)
    ledger.set_plan({"a": 1.0})
    for _ in range(PLAN_BEATS):
        ledger.beat()
    ledger.renew()
    assert not ledger.plan_in_force
    assert not ledger.beat()


def test_an_empty_plan_is_in_force_at_no_time() -> None:
    ledger = Ledger(0)
    ledger.set_plan({"a": 1.0})
    ledger.set_plan({})
    assert not ledger.plan_in_force


@pytest.mark.slow
@given(
    st.lists(st.sampled_from(["plan", "empty", "pin", "unpin", "renew", "beat", "beat", "beat"]), max_size=60)
)
def test_what_is_in_force_is_so_for_at_most_the_promised_beats(commands: list[str]) -> None:
    ledger = Ledger(0)
    for command in commands:
        match command:
            case "plan":
                ledger.set_plan({"a": 1.0})
            case "empty":
                ledger.set_plan({})
            case "pin":
                ledger.pin(["a", "b"])
            case "unpin":
                ledger.unpin(["a", "c"])
            case "renew":
                ledger.renew()
            case _:
                assert ledger.beat() == bool(ledger.plan_in_force or ledger.pins)
        assert ledger.plan_in_force == bool(ledger.distances)
        assert all(0 < left <= PLAN_BEATS for left in ledger.pins.values())
    for _ in range(PLAN_BEATS):
        ledger.beat()
    assert not ledger.plan_in_force
    assert not ledger.pins


# --- prompts -----------------------------------------------------------------------------------------------------------


def test_of_a_first_prompt_all_may_come_back() -> None:
    ledger, _ = ledger_with("a")
    assert ledger.reusable_depth("a") == WHOLE
    assert ledger.reusable_depth("stranger") == WHOLE


@given(st.lists(st.integers(0, 150_000)), *[st.lists(st.integers(0, 2), max_size=5)] * 2)
def test_the_reusable_depth_is_what_two_prompts_share(
    same: list[int], one: list[int], other: list[int]
) -> None:
    ledger = Ledger(0)
    ledger.note_prompt("a", [*same, 3, *one])
    ledger.note_prompt("a", array("q", [*same, 4, *other]))
    assert ledger.reusable_depth("a") == len(same)


def test_the_deepest_of_the_last_calls_counts() -> None:
    ledger = Ledger(0)
    for _ in range(2):
        ledger.note_prompt("a", LONG)
    assert ledger.reusable_depth("a") == len(LONG)
    ledger.note_prompt("a", [8, *LONG])
    assert ledger.reusable_depth("a") == len(LONG)
    for turn in range(LIVE_CALLS):
        ledger.note_prompt("a", [100 + turn, *LONG])
    assert ledger.reusable_depth("a") == 0


def test_requests_are_numbered_per_owner() -> None:
    ledger = Ledger(0)
    assert [ledger.note_prompt(owner, LONG) for owner in "abaab"] == [1, 1, 2, 3, 2]


# --- ranks -------------------------------------------------------------------------------------------------------------


def test_without_plan_and_pins_recency_alone_counts() -> None:
    ledger, nodes = ledger_with("a")
    assert ledger.rank(nodes["a"], 5.0) == (0, 0.0, 5.0)
    assert ledger.rank(None, 6.0) == (0, 0.0, 6.0)


def test_with_a_plan_the_farthest_goes_first_and_strangers_before() -> None:
    ledger, nodes = ledger_with("near", "far", "stranger")
    ledger.set_plan({"near": 1.0, "far": 9.0})
    last_access = {"near": 1.0, "far": 2.0, "stranger": 3.0}
    ranked = sorted(nodes, key=lambda owner: ledger.rank(nodes[owner], last_access[owner]))
    assert ranked == ["stranger", "far", "near"]
    assert ledger.rank(None, 4.0) < ledger.rank(nodes["far"], 2.0)


def test_by_recency_what_was_used_longest_ago_goes_first_whoever_it_is_of() -> None:
    ledger, nodes = ledger_with("a", "b")
    ledger.set_plan({}, by_recency=True)
    ages = [(nodes["b"], 1.0), (None, 2.0), (Tags(0), 3.0), (nodes["a"], 4.0)]
    assert ledger.plan_in_force
    assert [ledger.rank(tags, age) for tags, age in ages] == [(1, -math.inf, age) for _, age in ages]


@pytest.mark.parametrize("plan", [{"near": 1.0}, {}])
def test_what_is_nobodys_any_more_leaves_before_what_the_order_does_not_name(plan: dict[str, float]) -> None:
    ledger, nodes = ledger_with("left", "stranger", "near")
    for token in range(LIVE_CALLS):
        ledger.note_prompt("left", [token] * 100)
    ledger.set_plan(plan, by_recency=not plan)
    left, stranger, near = (ledger.rank(nodes[owner], 9.0) for owner in ("left", "stranger", "near"))
    assert left == (0, 0.0, 9.0)
    assert left < stranger <= near


def test_recency_with_what_is_nobodys_first_is_given_up_like_any_plan() -> None:
    ledger, nodes = ledger_with("a")
    for give_up in (lambda: ledger.set_plan({}), lambda: [ledger.beat() for _ in range(PLAN_BEATS)]):
        ledger.set_plan({}, by_recency=True)
        give_up()
        assert not ledger.plan_in_force
        assert ledger.rank(nodes["a"], 5.0) == (0, 0.0, 5.0)


def test_memory_that_no_order_names_ranks_alike_whatever_its_kind() -> None:
    ledger, nodes = ledger_with("a")

    def ranked() -> set[tuple[int, float, float]]:
        return {ledger.rank(nodes["a"], 5.0), ledger.rank_private("a", 5.0), ledger.rank_adapter("poet", 5.0)}

    assert ranked() == {(0, 0.0, 5.0)}
    ledger.set_plan({}, by_recency=True)
    assert ranked() == {(1, -math.inf, 5.0)}


def test_of_a_shared_node_the_nearest_owner_counts() -> None:
    ledger, nodes = ledger_with("near", "far")
    ledger.tag(nodes["far"], "near", 1)
    ledger.set_plan({"near": 1.0, "far": 9.0})
    assert ledger.rank(nodes["far"], 0.0) == (1, -1.0, 0.0)


def test_what_requests_shared_is_nobodys_once_enough_others_took_another_way() -> None:
    ledger, nodes = ledger_with("a")
    ledger.set_plan({"a": 1.0})
    ledger.tag(nodes["a"], "a", ledger.note_prompt("a", LONG))
    for turn in range(LIVE_CALLS):
        assert ledger.rank(nodes["a"], 0.0)[0] == 1
        ledger.note_prompt("a", [100 + turn])
    assert ledger.rank(nodes["a"], 0.0)[0] == 0


def test_the_end_of_an_older_prompt_is_nobodys_however_far_a_history_has_grown_since() -> None:
    ledger = Ledger(0)
    ledger.set_plan({"a": 1.0})
    ends = []
    for turn in (2, 3, 4):
        ordinal = ledger.note_prompt("a", [1] * (100 * turn) + [turn] * 200)
        ends.append(Tags(100 * turn))
        ledger.tag(ends[-1], "a", ordinal)
    history = Tags(300)
    ledger.tag(history, "a", ordinal)
    assert [ledger.rank(tags, 0.0)[0] for tags in (*ends, history)] == [0, 0, 0, 1]


def test_what_lies_beyond_the_reusable_depth_is_nobodys() -> None:
    ledger = Ledger(0)
    shared = [1] * 32
    ledger.note_prompt("a", [*shared, *LONG])
    ordinal = ledger.note_prompt("a", [*shared, 5, *LONG])
    ledger.set_plan({"a": 1.0})
    before, sliver, beyond = Tags(32 - SLIVER_TOKENS), Tags(33 - SLIVER_TOKENS), Tags(32)
    for tags in (before, sliver, beyond):
        ledger.tag(tags, "a", ordinal)
    assert [ledger.rank(tags, 0.0)[0] for tags in (before, sliver, beyond)] == [1, 0, 0]


def test_after_a_flush_old_tags_mean_nothing_and_the_plan_stays() -> None:
    ledger, nodes = ledger_with("a")
    ledger.set_plan({"a": 1.0})
    ledger.forget()
    assert ledger.rank(nodes["a"], 0.0)[0] == 0
    assert ledger.plan_in_force


# --- pins --------------------------------------------------------------------------------------------------------------


def test_a_pinned_node_leaves_last() -> None:
    ledger, nodes = ledger_with("pinned", "near")
    ledger.set_plan({"near": 0.0})
    ledger.pin(["pinned"])
    ledger.settle_pins(lambda: {"pinned": 10})
    assert ledger.rank(nodes["pinned"], 0.0) == (2, 0.0, 0.0)
    assert ledger.rank(nodes["near"], 9.0) < ledger.rank(nodes["pinned"], 0.0)


def test_pins_are_granted_nearest_first_within_the_budget() -> None:
    ledger, nodes = ledger_with("a", "b", "c", pin_budget=250)
    ledger.set_plan({"c": 1.0, "b": 2.0, "a": 3.0})
    ledger.pin(["a", "b", "c"])
    ledger.settle_pins(lambda: {"a": 100, "b": 100, "c": 100})
    assert [ledger.rank(nodes[owner], 0.0)[0] for owner in "abc"] == [1, 2, 2]


def test_a_pin_larger_than_the_budget_denies_no_other() -> None:
    ledger, nodes = ledger_with("huge", "small", pin_budget=100)
    ledger.set_plan({"huge": 0.0, "small": 1.0})
    ledger.pin(["huge", "small"])
    ledger.settle_pins(lambda: {"huge": 500, "small": 50})
    assert [ledger.rank(nodes[owner], 0.0)[0] for owner in ("huge", "small")] == [1, 2]


def test_the_cache_is_walked_only_when_pins_the_plan_or_the_time_changed() -> None:
    ledger, _ = ledger_with("a")
    walks = []

    def walk() -> dict[str, int]:
        walks.append(1)
        return {"a": 1}

    def settled_anew(change: Callable[[], object]) -> bool:
        before = len(walks)
        change()
        for _ in range(3):
            ledger.settle_pins(walk)
        return len(walks) == before + 1

    assert settled_anew(lambda: ledger.pin(["a"]))
    assert settled_anew(lambda: ledger.set_plan({"a": 1.0}))
    assert settled_anew(ledger.beat)
    assert not settled_anew(ledger.renew)


def test_the_table_of_pins_is_bounded() -> None:
    ledger, _ = ledger_with()
    for group in range(3):
        ledger.pin(f"{group}/{index}" for index in range(MAX_PINS))
    assert ledger.sizes()["pins"] == MAX_PINS
    assert next(iter(ledger.pins)).startswith("2/")


def test_an_unpinned_owner_ranks_as_before() -> None:
    ledger, nodes = ledger_with("a", "b")
    ledger.pin(["a", "b"])
    ledger.settle_pins(lambda: {"a": 1, "b": 1})
    ledger.unpin(["a", "stranger"])
    assert ledger.rank(nodes["a"], 3.0) == (0, 0.0, 3.0)
    assert ledger.rank(nodes["b"], 3.0) == (2, 0.0, 3.0)


@pytest.mark.slow
@given(
    sizes=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 500)),
    pinned=st.sets(st.sampled_from("abcdef")),
    plan=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 100)),
    budget=st.integers(0, 1_000),
)
def test_granted_pins_never_exceed_the_budget(
    sizes: dict[str, int], pinned: set[str], plan: dict[str, float], budget: int
) -> None:
    ledger, nodes = ledger_with(*"abcdef", pin_budget=budget)
    ledger.set_plan(plan)
    ledger.pin(pinned)
    ledger.settle_pins(lambda: sizes)
    granted = [owner for owner in "abcdef" if ledger.rank(nodes[owner], 0.0)[0] == 2]
    assert set(granted) <= pinned
    assert sum(sizes.get(owner, 0) for owner in granted) <= budget


# --- tags --------------------------------------------------------------------------------------------------------------


def test_both_parts_of_a_split_node_keep_the_owners() -> None:
    tags = Tags(100)
    ledger = Ledger(0)
    ledger.tag(tags, "a", 1)
    upper = tags.split_at(30)
    assert (upper.start, tags.start) == (100, 130)
    assert upper.owners == tags.owners == {"a": 1}
    assert upper.count == tags.count == 1
    ledger.tag(upper, "b", 1)
    assert tags.owners == {"a": 1}


def test_a_node_with_many_owners_keeps_the_nearest_and_a_count() -> None:
    ledger = Ledger(0)
    crowd = [f"agent-{n}" for n in range(MAX_NODE_OWNERS + 2)]
    ledger.set_plan({owner: float(100 - n) for n, owner in enumerate(crowd)})
    tags = Tags(0)
    for owner in crowd:
        ledger.tag(tags, owner, 1)
    assert tags.count == len(crowd)
    assert set(tags.owners) == set(crowd[2:])


def test_tagging_again_notes_the_newer_request() -> None:
    ledger = Ledger(0)
    tags = Tags(0)
    ledger.tag(tags, "a", 1)
    ledger.tag(tags, "a", 4)
    assert tags.owners == {"a": 4}
    assert tags.count == 1


# --- where an owner's memory is ------------------------------------------------------------------------------------------


def test_of_too_many_nodes_of_an_owner_the_one_noted_longest_ago_is_forgotten() -> None:
    ledger, _ = ledger_with("a")
    for node in range(MAX_OWNER_NODES):
        ledger.note_node("a", node)
    ledger.note_node("a", 0)
    ledger.note_node("a", MAX_OWNER_NODES)
    assert set(ledger.nodes_of("a")) == {0, *range(2, MAX_OWNER_NODES + 1)}


def test_of_an_unknown_owner_nothing_is_noted() -> None:
    ledger, _ = ledger_with("a")
    ledger.note_node("stranger", 1)
    assert not ledger.nodes_of("stranger")
    assert (ledger.calls_of("a"), ledger.calls_of("stranger")) == (1, 0)


def test_a_call_out_of_line_does_not_fence_off_those_that_it_overtook() -> None:
    ledger = Ledger(pin_budget=0)
    ledger.admit((7, 5), ordered=False)
    ledger.admit((7, 3))
    assert ledger.fence == (7, 3)
    ledger.admit((8, 1), ordered=False)
    with pytest.raises(FenceLost):
        ledger.admit((7, 9))
    with pytest.raises(FenceLost):
        ledger.admit((7, 9), ordered=False)
    ledger.admit((8, 0))


def test_a_history_that_grew_is_expected_to_grow_once_more() -> None:
    ledger = Ledger(pin_budget=0)
    for length in (20, 30, 40):
        ledger.note_prompt("a", [1] * length + [100 + length] * 200)
    # Shared so far: 20 tokens, then 30; the 40 of the last prompt come back for the first time.
    assert ledger.reusable_depth("a") == 40


def test_an_owner_of_two_prompts_is_expected_to_grow_as_others_did() -> None:
    ledger = Ledger(pin_budget=0)

    def prompts(owner: str, *lengths: int) -> None:
        for length in lengths:
            ledger.note_prompt(owner, [1] * length + [100 + length] * 200)

    prompts("b", 25, 35)
    assert ledger.reusable_depth("b") == 25, "nobody's history was seen to grow"
    prompts("a", 20, 30, 40)
    assert ledger.reusable_depth("b") == 35
    prompts("b", 45)
    assert ledger.reusable_depth("b") == 45, "its own growth counts once three prompts show it"
