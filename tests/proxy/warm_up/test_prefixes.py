"""What of an agent's prompts is expected to come back."""

from __future__ import annotations

from random import Random

from scalesim.proxy.warm_up.prefixes import BLOCK_BYTES, MAX_TEMPLATES, STALE_CALLS, Learned
from scalesim.proxy.warm_up.prompts import GENERATE, prompt_of


def text(name: str, size: int) -> str:
    draw = Random(name)
    return "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(size))


def told(learned: Learned, *prompts: str, **fields: object) -> Learned:
    for one in prompts:
        prompt = prompt_of(GENERATE, {"text": one, **fields})
        assert prompt is not None
        learned.note(prompt, len(one) // 4)
    return learned


def found(learned: Learned) -> list[str]:
    return [one.text.decode() for one in learned.prefixes()]


WHO = text("who", 512)
PLAN, TALK = WHO + text("plan", 128), WHO + text("talk", 128)


def plan(name: str) -> str:
    return PLAN + text(f"p{name}", 300)


def talk(name: str) -> str:
    return TALK + text(f"t{name}", 300)


def test_all_of_an_agents_only_prompt_may_come_back() -> None:
    assert found(told(Learned(), plan("1"))) == [plan("1")]
    assert found(Learned()) == []


def test_of_one_template_what_the_last_two_prompts_share_comes_back() -> None:
    assert found(told(Learned(), plan("1"), plan("2"))) == [PLAN]
    assert found(told(Learned(), plan("1"), plan("2"), plan("3"))) == [PLAN]


def test_templates_that_alternate_and_share_a_description_are_told_apart() -> None:
    prompts = (plan("1"), talk("1"), plan("2"), talk("2"), plan("3"), talk("3"))
    assert found(told(Learned(), *prompts)) == [TALK, PLAN]


def test_more_templates_than_two_may_take_turns() -> None:
    names = ["plan", "talk", "reflect", "move"]
    starts = {name: WHO + text(name, 128) for name in names}
    turns = [starts[name] + text(f"{name}{turn}", 300) for turn in range(2) for name in names]
    assert found(told(Learned(), *turns)) == [starts[name] for name in reversed(names)]


def test_templates_that_come_in_runs_are_told_apart() -> None:
    prompts = (plan("1"), plan("2"), plan("3"), talk("1"), talk("2"), plan("4"))
    assert found(told(Learned(), *prompts)) == [PLAN, TALK]


def test_a_template_seen_once_counts_for_nothing_beside_one_seen_twice() -> None:
    assert found(told(Learned(), plan("1"), plan("2"), text("other", 400))) == [PLAN]


def test_a_chat_that_grows_at_its_end_comes_back_whole() -> None:
    turns = [text(f"turn{n}", 256) for n in range(4)]
    prompts = ["".join(turns[:n]) for n in (1, 2, 3, 4)]
    assert found(told(Learned(), *prompts[:2])) == [prompts[1]]
    assert found(told(Learned(), *prompts)) == [prompts[3]]


def test_a_history_that_grows_before_a_question_comes_back_up_to_the_question() -> None:
    turns = [text(f"turn{n}", 256) for n in range(4)]
    question = text("question", 128)
    prompts = ["".join(turns[:n]) + question for n in (1, 2, 3, 4)]
    assert found(told(Learned(), *prompts[:2])) == [turns[0]], "one pair does not show growth"
    assert found(told(Learned(), *prompts)) == ["".join(turns)]


def test_an_end_that_changes_its_length_is_no_growth() -> None:
    prompts = [PLAN + text(f"x{n}", size) for n, size in enumerate((100, 400, 900, 200, 800))]
    assert found(told(Learned(), *prompts)) == [PLAN]


def test_a_shared_start_is_found_in_whole_blocks() -> None:
    start = text("start", 3 * BLOCK_BYTES + 20)
    assert found(told(Learned(), start + text("a", 200), start + text("b", 200))) == [
        start[: 3 * BLOCK_BYTES]
    ]


def test_prompts_that_share_less_than_a_block_are_of_two_templates() -> None:
    start = "You are Ann. "
    learned = told(Learned(), start + text("a", 200), start + text("b", 200))
    assert found(learned) == [start + text("b", 200), start + text("a", 200)]


def test_prompts_of_two_namespaces_are_never_one_template() -> None:
    learned = told(Learned(), plan("1"), plan("2"))
    told(learned, plan("3"), plan("4"), lora_path="ad")
    assert found(learned) == [PLAN, PLAN]
    assert [one.fields for one in learned.prefixes()] == [{"lora_path": "ad"}, {}]


def test_of_many_templates_the_one_longest_unused_goes() -> None:
    learned = Learned()
    for name in "abcde":
        told(learned, text(name, 256) + text(f"{name}1", 99), text(name, 256) + text(f"{name}2", 99))
    assert found(learned) == [text(name, 256) for name in "edcb"]
    assert learned.templates() == MAX_TEMPLATES


def test_a_template_that_is_not_used_any_more_is_not_expected_back() -> None:
    learned = told(Learned(), text("old", 256) + "x" * 99, text("old", 256) + "y" * 99)
    told(learned, *(plan(str(n)) for n in range(STALE_CALLS - 1)))
    assert found(learned) == [PLAN, text("old", 256)]
    told(learned, plan("more"))
    assert found(learned) == [PLAN]


def test_a_prefix_that_another_begins_with_is_not_sent_twice() -> None:
    learned = told(Learned(), WHO + text("a", 400), WHO + text("b", 400))
    told(learned, plan("1"), plan("2"))
    assert PLAN.startswith(WHO)
    assert found(learned) == [PLAN]


def test_tokens_are_counted_by_the_prompt_they_belong_to() -> None:
    (prefix,) = told(Learned(), "a" * 800).prefixes()
    assert prefix.tokens_per_unit == 0.25


def test_a_dropped_text_comes_back_with_the_next_call() -> None:
    learned = told(Learned(), plan("1"), plan("2"))
    before = learned.size_bytes()
    learned.drop_texts()
    assert found(learned) == []
    assert learned.size_bytes() < before
    assert found(told(learned, plan("3"))) == [PLAN]
