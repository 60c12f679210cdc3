from __future__ import annotations

import random

from scalesim.workloads.authors import Author, Template
from scalesim.workloads.program import Wishes

TEMPLATES = {"greet": Template(60, 3, 3), "part": Template(80, 10, 10)}


def author(**wishes: float) -> Author:
    return Author("Ann", Wishes(persona_tokens=30, **wishes), TEMPLATES, random.Random(1))  # type: ignore[arg-type]  # by name


def test_a_chain_asks_once_per_template_with_what_was_before_in_front() -> None:
    ann = author(growth_tokens=10)
    first, second = ann.chain("visit", ("greet", "part"))
    (third,) = ann.chain("call", ("greet",))
    assert [call.template for call in (first, second, third)] == ["greet", "part", "greet"]
    assert [call.max_tokens for call in (first, second, third)] == [3, 10, 3]
    assert [len(call.messages) for call in (first, second, third)] == [2, 3, 4]
    assert second.messages[:1] == first.messages[:1]
    assert third.messages[:2] == second.messages[:2]
    assert first.messages[-1]["content"].startswith("visit greet: ")
    assert third.messages[-1]["content"].startswith("call greet: ")


def test_the_text_of_a_template_is_the_same_and_what_follows_is_not() -> None:
    ann = author(growth_tokens=0)
    first, second = (ann.chain("visit", ("greet",))[0].messages[-1]["content"] for _ in range(2))
    assert first != second
    assert first[:80] == second[:80]


def test_answers_are_as_much_shorter_as_is_wished_for_but_never_empty() -> None:
    (call,) = author(output_share=0.5).chain("visit", ("part",))
    assert call.max_tokens == 5
    (call,) = author(output_share=0.01).chain("visit", ("greet",))
    assert call.max_tokens == 1
