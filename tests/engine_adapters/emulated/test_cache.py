"""The emulated cache by example, and its invariants over random histories of requests and commands."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.engine_adapters.emulated.cache import TRIM_TOKENS, RadixCache
from scalesim.engine_adapters.emulated.nodes import Node, extend_state
from scalesim.engine_adapters.emulated.pools import is_below, limit_of
from scalesim.engine_adapters.emulated.prefixes import Prefixes
from scalesim.engine_adapters.emulated.scheduler import Generation, Scheduler
from scalesim.engine_adapters.emulated.tokens import Tokens
from scalesim.engine_adapters.sglang_plugin.ledger import SLIVER_TOKENS, Ledger

CAPACITY = 60


def tokens(*ids: int) -> Tokens:
    return array("q", ids)


def put(cache: RadixCache, path: Tokens) -> Node:
    """As a request does that ran alone and has ended."""
    node, cached = cache.match(path, len(path) - 1)
    cache.lock(node)
    cache.take(len(path) - cached)
    end = cache.insert(path, extend_state(0, path), len(path) - cached)
    cache.unlock(node)
    return end


def path_of(node: Node) -> Tokens:
    path = array("q")
    while node.parent is not None:
        path = node.key + path
        node = node.parent
    return path


def audit(cache: RadixCache, scheduler: Scheduler | None = None) -> None:
    """Everything that must hold between two steps."""
    in_tree = locked = on_host = 0
    seen: set[Node] = set()
    copies: set[Node] = set()
    below = [cache.root]
    while below:
        node = below.pop()
        assert node.on_device == sum(1 for child in node.children.values() if not child.on_host)
        for first, child in node.children.items():
            assert child.parent is node
            assert child.key[0] == first
            assert child.state == extend_state(node.state, child.key)
            assert 0 <= child.locks <= node.locks or node is cache.root
            if child.tags is not None:
                assert child.tags.start == len(path_of(child)) - len(child.key)
            if child.on_host:
                assert (child.locks, child.on_device, child.ahead) == (0, 0, None)
                on_host += len(child.key)
                copies.add(child)
            else:
                assert not node.on_host
                in_tree += len(child.key)
                locked += len(child.key) if child.locks else 0
                seen.add(child)
            below.append(child)
    assert seen == cache.nodes
    ahead = {owner: nodes for owner, nodes in cache.ahead.nodes().items() for node in nodes}
    assert all(ahead.values())
    assert {node for node in seen if node.ahead is not None} == set().union(*ahead.values())
    assert all(node.ahead == owner for owner, nodes in ahead.items() for node in nodes)
    assert copies == cache.host.nodes
    assert on_host == cache.host.used <= cache.host.capacity
    assert cache.host.kept == frozenset()
    assert cache.leaves == {node for node in seen if not node.on_device and not node.locks}
    assert cache.evictable == in_tree - locked
    running = [] if scheduler is None else scheduler.running
    private = sum(len(one.output) - 1 for one in running)
    assert cache.available >= 0
    assert cache.available + in_tree + private == cache.capacity
    for one in running:
        assert one.node in cache.nodes
        assert one.node.locks > 0
        assert path_of(one.node) == one.prompt
    if not running:
        assert locked == 0


def audit_moving(cache: RadixCache) -> None:
    """While a slice is on the link it is locked, and on the device already."""
    moving = {node for node in cache.nodes if node.moving}
    assert len(moving) == 1
    assert all(node.locks and node.ahead for node in moving)


def test_a_match_goes_down_to_where_the_paths_part() -> None:
    cache = RadixCache(CAPACITY, None)
    put(cache, tokens(1, 2, 3, 4, 5))
    node, depth = cache.match(tokens(1, 2, 3, 9, 9), 4)
    assert depth == 3
    assert path_of(node) == tokens(1, 2, 3)
    audit(cache)


def test_what_is_left_of_a_trimmed_node_is_as_old_as_it_was() -> None:
    ledger = Ledger(pin_budget=0)
    cache = RadixCache(3 * 300, ledger)
    ledger.set_plan({"somebody": 1.0})
    old, new = (put(cache, array("q", range(first, first + 300))) for first in (1_000, 2_000))
    cache.evict(10)
    cache.evict(170)  # as much as the rest of the old one has
    assert old not in cache.nodes
    assert len(new.key) == 300
    assert cache.evictable == 300
    audit(cache)


def test_a_match_keeps_to_its_limit() -> None:
    cache = RadixCache(CAPACITY, None)
    put(cache, tokens(1, 2, 3, 4))
    assert cache.match(tokens(1, 2, 3, 4), 3)[1] == 3
    assert cache.match(tokens(7, 8), 1) == (cache.root, 0)


def test_a_stock_cache_evicts_whole_leaves_the_longest_unused_first() -> None:
    cache = RadixCache(CAPACITY, None)
    for first in (1, 2, 3):
        put(cache, tokens(first, *range(10, 19)))
    cache.match(tokens(1, *range(10, 19)), 10)
    assert cache.evict(1) == 10
    assert {path_of(leaf)[0] for leaf in cache.leaves} == {1, 3}
    audit(cache)


def test_locked_paths_stay_whatever_is_asked() -> None:
    cache = RadixCache(CAPACITY, None)
    end = put(cache, tokens(*range(20)))
    put(cache, tokens(*range(50, 60)))
    cache.lock(end)
    assert cache.evict(1_000) == 10
    assert cache.nodes == {end}
    cache.unlock(end)
    assert cache.evict(1_000) == 20
    assert cache.available == CAPACITY
    audit(cache)


def test_a_parent_can_go_once_its_children_are_gone() -> None:
    cache = RadixCache(CAPACITY, None)
    put(cache, tokens(1, 2, 3))
    put(cache, tokens(1, 2, 4))
    assert cache.evict(4) == 4
    assert cache.nodes == set()


def test_with_a_plan_the_last_victim_loses_only_its_tail() -> None:
    ledger = Ledger(0)
    cache = RadixCache(2_000, ledger)
    end = put(cache, tokens(*range(1_000)))
    ledger.set_plan({"somebody": 1.0})
    assert cache.evict(TRIM_TOKENS + 1) == 2 * TRIM_TOKENS
    assert path_of(next(iter(cache.leaves))) == tokens(*range(1_000 - 2 * TRIM_TOKENS))
    assert end not in cache.nodes
    audit(cache)


def test_what_an_owner_will_not_use_again_becomes_a_node_of_its_own() -> None:
    ledger = Ledger(0)
    cache = RadixCache(5_000, ledger)
    persona = list(range(4 * SLIVER_TOKENS))
    for turn in (1, 2):
        prompt = tokens(*persona, *[1_000 * turn + n for n in range(3 * SLIVER_TOKENS)])
        end = put(cache, prompt)
        cache.tag_path(end, "ann", ledger.note_prompt("ann", prompt))
    ledger.set_plan({"ann": 1.0})
    assert ledger.reusable_depth("ann") == len(persona)
    assert cache.evict(2 * 3 * SLIVER_TOKENS) == 2 * 3 * SLIVER_TOKENS
    assert [path_of(leaf) for leaf in cache.leaves] == [tokens(*persona)]
    audit(cache)


def test_a_sliver_does_not_become_a_node_of_its_own() -> None:
    ledger = Ledger(0)
    cache = RadixCache(5_000, ledger)
    shared, own = 64, SLIVER_TOKENS - 1
    for turn in (1, 2):
        prompt = tokens(*range(shared), *[1_000 * turn + n for n in range(own)])
        end = put(cache, prompt)
        if turn == 1:
            cache.evict(5_000)  # so that no path parts there
        cache.tag_path(end, "ann", ledger.note_prompt("ann", prompt))
    assert ledger.reusable_depth("ann") == shared
    assert [len(node.key) for node in cache.nodes] == [shared + own]


# --- host memory -------------------------------------------------------------------------------------------------------


def call(cache: RadixCache, owner: str, path: Tokens) -> None:
    assert cache.ledger is not None
    cache.tag_path(put(cache, path), owner, cache.ledger.note_prompt(owner, path))


def test_what_is_evicted_stays_in_host_memory_and_comes_back() -> None:
    cache = RadixCache(CAPACITY, None, host_tokens=100)
    path = tokens(*range(20))
    put(cache, path)
    assert cache.evict(1) == 20
    assert cache.available == CAPACITY
    node, depth = cache.match(path, 15)
    assert (node, depth, cache.extent_of(path, 15)) == (cache.root, 0, (0, 15))
    node, brought = cache.bring_back(node, cache.match_host(path, 15, node, depth))
    assert (path_of(node), brought, cache.host.used) == (path[:15], 15, 5)
    cache.unlock(node)
    audit(cache)


def test_full_host_memory_gives_up_what_is_farther_and_takes_nothing_farther() -> None:
    ledger = Ledger(0)
    cache = RadixCache(CAPACITY, ledger, host_tokens=20)
    for owner, first in (("a", 100), ("b", 200), ("c", 300)):
        call(cache, owner, tokens(*range(first, first + 10)))
    ledger.set_plan({"a": 1.0, "b": 2.0, "c": 3.0})
    cache.evict(20)
    assert cache.host_tokens_of_owners("abc") == {"b": 10, "c": 10}
    cache.evict(10)
    assert cache.host_tokens_of_owners("abc") == {"a": 10, "b": 10}
    call(cache, "d", tokens(*range(400, 410)))  # in no plan
    cache.evict(10)
    assert cache.host_tokens_of_owners("abcd") == {"a": 10, "b": 10}
    audit(cache)


def test_a_prefix_without_a_copy_is_lost_unless_others_share_it() -> None:
    ledger = Ledger(0)
    cache = RadixCache(CAPACITY, ledger, host_tokens=100)
    shared = tokens(*range(10))
    call(cache, "a", shared + tokens(*range(100, 110)))
    call(cache, "b", shared + tokens(*range(200, 210)))
    ledger.set_plan({"a": 1.0, "b": 2.0}, no_host_copy=["a"])
    assert cache.evict(CAPACITY) == 30
    assert cache.host_tokens_of_owners("ab") == {"a": 10, "b": 20}
    audit(cache)


def test_what_is_computed_anew_needs_no_copy() -> None:
    cache = RadixCache(CAPACITY, None, host_tokens=100)
    path = tokens(*range(20))
    put(cache, path)
    cache.evict(20)
    put(cache, path)
    assert (cache.host.used, cache.evictable) == (0, 20)
    audit(cache)


def test_each_adapter_has_prefixes_of_its_own_and_they_go_with_it() -> None:
    cache = RadixCache(CAPACITY, None, host_tokens=100)
    path, root = tokens(*range(20)), cache.root_of("one", 7)
    put(cache, path)
    assert cache.match(path, 20, root) == (root, 0)
    cache.take(20)
    cache.insert(path, extend_state(7, path), 20, root)
    assert cache.match(path, 20, root)[1] == 20
    cache.forget_adapter("one")
    assert cache.available == CAPACITY - 20
    audit(cache)


def test_a_load_makes_room_of_what_is_farther_and_of_nothing_else() -> None:
    ledger = Ledger(0)
    cache = RadixCache(40, ledger, host_tokens=100)
    for owner, first in (("a", 100), ("b", 200), ("c", 300)):
        call(cache, owner, tokens(*range(first, first + 20)))  # c makes a leave
    ledger.set_plan({"a": 2.0, "b": 1.0, "c": 2.0})
    prefixes = Prefixes(cache, ledger)
    assert not prefixes.can_place("a", limit_of(2.0))
    assert prefixes.can_place("a", limit_of(1.5))
    slices = []
    while moved := prefixes.begin_slice("a", limit_of(1.5), 8):
        prefixes.end_slice("a")
        slices.append(moved)
    assert slices == [8, 8, 4]
    assert prefixes.sizes_of("abc") == {"a": (20, 0), "b": (20, 0), "c": (0, 20)}
    audit(cache)


def ahead_of_ann() -> tuple[RadixCache, Prefixes, Tokens]:
    """Two slices of ten tokens were brought back for her."""
    ledger = Ledger(0)
    cache = RadixCache(40, ledger, host_tokens=100)
    path = tokens(*range(20))
    call(cache, "ann", path)
    cache.evict(20)
    prefixes = Prefixes(cache, ledger)
    for _ in range(2):
        assert prefixes.begin_slice("ann", limit_of(1.0), 10) == 10
        prefixes.end_slice("ann")
    return cache, prefixes, path


def test_a_prefix_is_wasted_once_all_that_was_brought_of_it_is_gone_unused() -> None:
    cache, _, _ = ahead_of_ann()
    cache.evict(10)
    assert (cache.ahead.wasted, cache.ahead.wasted_tokens) == (0, 10)
    cache.evict(10)
    assert (cache.ahead.wasted, cache.ahead.wasted_tokens) == (1, 20)
    audit(cache)


def test_a_prefix_that_lost_a_part_and_is_used_then_was_of_use() -> None:
    cache, _, path = ahead_of_ann()
    cache.evict(10)
    node, depth = cache.match(path, 5)  # part of a node, too
    assert depth == 5
    assert not cache.ahead.use(node, "bob")
    assert cache.ahead.use(node, "ann")
    assert not cache.ahead.use(node, "ann")
    cache.evict(40)
    assert (cache.ahead.wasted, cache.ahead.wasted_tokens) == (0, 10)
    audit(cache)


def test_both_parts_of_a_split_node_must_be_gone_before_it_is_wasted() -> None:
    cache, _, path = ahead_of_ann()
    cache.match(path, 15)
    audit(cache)
    for wasted in (0, 0, 1):
        cache.evict(1)
        assert cache.ahead.wasted == wasted
    assert cache.ahead.wasted_tokens == 20


def test_a_load_leaves_room_for_what_calls_will_still_need() -> None:
    ledger = Ledger(0)
    cache = RadixCache(40, ledger, host_tokens=100)
    call(cache, "ann", tokens(*range(20)))
    cache.evict(20)
    ledger.set_plan({"ann": 1.0})
    needed = 21
    prefixes = Prefixes(cache, ledger, lambda: needed)
    assert not prefixes.can_place("ann", limit_of(1.0))
    needed = 20
    assert prefixes.can_place("ann", limit_of(1.0))
    assert prefixes.begin_slice("ann", limit_of(1.0), 10) == 10
    prefixes.end_slice("ann")
    needed = 21
    assert prefixes.begin_slice("ann", limit_of(1.0), 10) is None
    audit(cache)


# --- random histories --------------------------------------------------------------------------------------------------

prompts = st.builds(
    lambda parts: tokens(*[base + n for base, length in parts for n in range(length)]),
    st.lists(st.tuples(st.sampled_from([0, 100, 200]), st.integers(1, 14)), min_size=1, max_size=3),
)
names = st.sampled_from("abc")
submit = st.tuples(st.just("submit"), prompts, st.integers(0, 8), st.none() | names)
commands = st.one_of(
    submit,
    submit,
    st.tuples(st.just("step")),
    st.tuples(st.just("step")),
    st.tuples(st.just("abort"), st.integers(0, 9)),
    st.tuples(st.just("plan"), st.dictionaries(names, st.floats(0, 9), max_size=3)),
    st.tuples(st.just("pin"), st.lists(names)),
    st.tuples(st.just("unpin"), st.lists(names)),
    st.tuples(st.just("evict"), st.integers(0, CAPACITY)),
    st.tuples(st.just("evict_owners"), st.frozensets(names)),
    st.tuples(st.just("beat")),
    st.tuples(st.just("load"), names, st.floats(0, 9), st.integers(1, 20)),
)


def generation(rid: int, prompt: Tokens, max_new: int, owner: str | None) -> Generation:
    room = CAPACITY - 2 - len(prompt)
    return Generation(str(rid), prompt, min(max_new, room), None, owner, 0, notify=lambda: None)


def run(scheduler: Scheduler) -> None:
    while not scheduler.idle:
        scheduler.begin()
        scheduler.end()


def answer_alone(prompt: Tokens, max_new: int) -> Tokens:
    scheduler = Scheduler(
        RadixCache(CAPACITY, None), max_running=1, prefill_s_per_token=0.0, decode_s_per_token=0.0
    )
    alone = generation(0, prompt, max_new, None)
    scheduler.submit(alone)
    run(scheduler)
    return alone.output


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    history=st.lists(commands, max_size=40),
    extended=st.booleans(),
    host_tokens=st.sampled_from([0, 20, 3 * CAPACITY]),
)
def test_over_any_history_the_books_balance_and_the_answers_are_those_of_an_empty_cache(
    history: list[tuple[object, ...]], extended: bool, host_tokens: int
) -> None:
    ledger = Ledger(CAPACITY // 2) if extended else None
    cache = RadixCache(CAPACITY, ledger, host_tokens=host_tokens)
    scheduler = Scheduler(cache, max_running=3, prefill_s_per_token=0.0, decode_s_per_token=0.0)
    asked: list[Generation] = []
    for command in history:
        match command:
            case ("submit", array() as prompt, int(max_new), owner) if len(prompt) < CAPACITY - 6:
                assert owner is None or isinstance(owner, str)
                asked.append(generation(len(asked), prompt, max_new, owner))
                scheduler.submit(asked[-1])
            case ("step",):
                scheduler.begin()
                scheduler.end()
            case ("abort", int(rid)):
                scheduler.abort(str(rid))
            case ("evict", int(count)):
                free, evictable = cache.available, cache.evictable
                freed = cache.evict(count)
                assert min(count, evictable) <= freed == cache.available - free
            case ("evict_owners", frozenset() as owners):
                cache.evict_owners(frozenset(map(str, owners)))
            case ("plan", dict() as distances) if ledger is not None:
                ledger.set_plan(dict(distances))
            case ("pin", list() as owners) if ledger is not None:
                ledger.pin(owners)
            case ("unpin", list() as owners) if ledger is not None:
                ledger.unpin(owners)
            case ("load", str(owner), float(distance), int(most)) if ledger is not None:
                below = limit_of(distance)
                nearer = {node for node in cache.nodes if not is_below(ledger.rank(node.tags, 0), below)}
                prefixes = Prefixes(cache, ledger)
                missing = prefixes.report(owner)[1]
                if missing and prefixes.can_place(owner, below):
                    while moved := prefixes.begin_slice(owner, below, most):
                        missing -= moved
                        audit_moving(cache)
                        prefixes.end_slice(owner)
                    # What was promised is kept: all of it came, and nothing nearer had to leave for it.
                    assert (missing, prefixes.report(owner)[1]) == (0, 0)
                    assert nearer <= cache.nodes
            case ("beat",) if ledger is not None:
                ledger.beat()
        audit(cache, scheduler)
    run(scheduler)
    audit(cache, scheduler)
    for one in asked:
        if one.finish == "abort":
            continue
        assert (one.finish, len(one.output)) == ("length", one.max_new)
        assert one.output == answer_alone(one.prompt, one.max_new)
