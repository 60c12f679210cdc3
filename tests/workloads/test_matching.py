from __future__ import annotations

from dataclasses import replace

from scalesim.workloads.matching import match
from scalesim.workloads.records import CallRecord, TokenSeen

Candidates = tuple[tuple[str, float], ...]


def answer(*tokens: tuple[str, Candidates], agent: str = "ann", ids: tuple[int, ...] = ()) -> CallRecord:
    seen = tuple(TokenSeen(text, top) for text, top in tokens)
    return CallRecord(
        agent, 0, 0, "plan", 0.0, 1.0, text="".join(token.text for token in seen), tokens=seen, token_ids=ids
    )


def sure(text: str) -> tuple[str, Candidates]:
    return text, ((text, -0.1), ("?", -3.0))


def test_equal_answers_match() -> None:
    result = match([answer(sure("yes"))], [answer(sure("yes"))])
    assert (result.compared, result.equal, result.share, result.differences) == (1, 1, 1.0, ())
    assert result.all_explained


def test_nothing_to_compare_is_no_difference() -> None:
    assert match([], []).share == 1.0


def test_a_near_tie_that_swapped_explains_a_difference_and_all_that_follows() -> None:
    own = answer(sure("I "), ("go", (("go", -1.0), ("run", -1.0005))), sure(" home"))
    other = answer(sure("I "), ("run", (("run", -1.0), ("go", -1.0004))), sure(" away"))
    result = match([own], [other])
    (difference,) = result.differences
    assert difference.explained
    assert difference.token == 1
    assert (difference.reference, difference.other) == ("go home", "run away")
    assert result.share == 0.0
    assert result.all_explained


def test_a_wrong_answer_is_not_explained() -> None:
    result = match([answer(sure("yes"))], [answer(sure("no"))])
    assert not result.all_explained
    assert result.share == 0.0


def test_a_tie_in_only_one_of_the_runs_explains_nothing() -> None:
    own = answer(("go", (("go", -1.0), ("run", -1.0005))))
    other = answer(("run", (("run", -0.5), ("go", -1.2))))
    assert not match([own], [other]).all_explained


def test_a_tie_between_other_candidates_explains_nothing() -> None:
    own = answer(("go", (("go", -1.0), ("sit", -1.0005))))
    other = answer(("run", (("run", -1.0), ("go", -1.0))))
    assert not match([own], [other]).all_explained


def test_a_later_tie_does_not_excuse_an_earlier_difference() -> None:
    tie = ("go", (("go", -1.0), ("run", -1.0)))
    swapped = ("run", (("run", -1.0), ("go", -1.0)))
    assert not match([answer(sure("a"), tie)], [answer(sure("b"), swapped)]).all_explained


def test_an_answer_that_breaks_off_is_not_explained() -> None:
    assert not match([answer(sure("a"), sure("b"))], [answer(sure("a"))]).all_explained


def test_texts_that_differ_over_equal_tokens_are_not_explained() -> None:
    own = answer(sure("a"))
    (difference,) = match([own], [replace(own, text="b")]).differences
    assert difference.token is None
    assert not difference.explained


def test_ids_tell_apart_tokens_that_read_alike() -> None:
    half: Candidates = (("\ufffd", -1.0), ("\ufffd", -1.0))
    own = answer(("\ufffd", half), sure("x"), ids=(7, 10))
    other = answer(("\ufffd", half), sure("y"), ids=(8, 11))
    (difference,) = match([own], [other]).differences
    assert difference.token == 0
    assert difference.explained


def test_calls_with_an_error_are_not_compared() -> None:
    broken = replace(answer(sure("no")), error="gone")
    assert match([answer(sure("yes"))], [broken]).compared == 0
    assert match([broken], [answer(sure("yes"))]).compared == 0


def test_calls_are_told_apart_by_step_agent_and_index() -> None:
    ann, bob = answer(sure("yes")), answer(sure("no"), agent="bob")
    assert match([ann, bob], [bob, ann]).share == 1.0
    assert match([ann], [bob]).compared == 0
