from __future__ import annotations

from scalesim.workloads.replay.owners import Owners
from scalesim.workloads.replay.paths import Path, Pieces, shared_tokens

PIECES = Pieces()


def path(*names: str) -> Path:
    """Of a persona of 100 tokens, and 20 for each other."""
    return PIECES.path([(name, 100 if name == "persona" else 20) for name in names])


def test_prompts_that_begin_alike_share_pieces_and_those_behind_another_beginning_do_not() -> None:
    assert shared_tokens(path("persona", "a", "b"), path("persona", "a", "c")) == 120
    assert shared_tokens(path("a", "b"), path("c", "b")) == 0
    assert path("a", "b")[1] is not path("c", "b")[1]


def test_after_one_call_all_of_it_may_come_back() -> None:
    owners, first = Owners(), path("persona", "task-1")
    owners.note("ann", first)
    assert owners.memory("ann") == first
    assert owners.memory("bob") == ()


def test_an_owner_holds_no_more_than_all_that_is_expected_of_it() -> None:
    owners = Owners()
    assert owners.most_tokens(["ann"]) == 0
    owners.note("ann", path("persona", "task-1"))
    assert owners.most_tokens(["ann"]) == 120
    owners.note("ann", path("persona", "task-2"))
    assert owners.most_tokens(["ann"]) == 100


def test_what_two_prompts_share_comes_back_and_the_rest_is_nobodys() -> None:
    owners = Owners()
    before, after = path("persona", "task-1"), path("persona", "task-2")
    owners.note("ann", before)
    owners.note("ann", after)
    assert owners.memory("ann") == after[:1]
    assert owners.is_live("ann", after[0])
    assert not owners.is_live("ann", before[1])
    assert not owners.is_live("ann", after[1])


def test_a_history_that_grows_is_expected_to_grow_on() -> None:
    owners = Owners()
    for prompt in (
        path("persona", "task-1"),
        path("persona", "event-1", "task-2"),
        path("persona", "event-1", "event-2", "task-3"),
    ):
        owners.note("ann", prompt)
    # The last two shared 120 tokens, the two before 100: the next shares 140 with the last.
    assert [piece.end for piece in owners.memory("ann")] == [100, 120, 140]
