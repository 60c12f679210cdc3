"""The emulated cache by example, and its invariants over random histories of requests and commands."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.engine_adapters.emulated.cache import TRIM_TOKENS, Node, RadixCache, extend_state
from scalesim.engine_adapters.emulated.scheduler import Generation, Scheduler
from scalesim.engine_adapters.emulated.tokens import Tokens
from scalesim.engine_adapters.sglang_plugin.ledger import BLOCK_TOKENS, Ledger

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
    in_tree = locked = 0
    seen = set()
    below = [cache.root]
    while below:
        node = below.pop()
        for first, child in node.children.items():
            assert child.parent is node
            assert child.key[0] == first
            assert child.state == extend_state(node.state, child.key)
            assert 0 <= child.locks <= node.locks or node is cache.root
            if child.tags is not None:
                assert child.tags.start == len(path_of(child)) - len(child.key)
            in_tree += len(child.key)
            locked += len(child.key) if child.locks else 0
            seen.add(child)
            below.append(child)
    assert seen == cache.nodes
    assert cache.leaves == {node for node in seen if not node.children and not node.locks}
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
    persona = list(range(4 * BLOCK_TOKENS))
    for turn in (1, 2):
        prompt = tokens(*persona, *[1_000 * turn + n for n in range(3 * BLOCK_TOKENS)])
        end = put(cache, prompt)
        cache.tag_path(end, "ann", ledger.note_prompt("ann", prompt))
    ledger.set_plan({"ann": 1.0})
    assert ledger.reusable_depth("ann") == len(persona)
    assert cache.evict(2 * 3 * BLOCK_TOKENS) == 2 * 3 * BLOCK_TOKENS
    assert [path_of(leaf) for leaf in cache.leaves] == [tokens(*persona)]
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
@given(history=st.lists(commands, max_size=40), extended=st.booleans())
def test_over_any_history_the_books_balance_and_the_answers_are_those_of_an_empty_cache(
    history: list[tuple[object, ...]], extended: bool
) -> None:
    ledger = Ledger(CAPACITY // 2) if extended else None
    cache = RadixCache(CAPACITY, ledger)
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
