from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.recognition.prompt import Prompt, prompt_of
from scalesim.proxy.recognition.recipes.choosing import Chooser
from scalesim.proxy.recognition.recipes.reading import (
    JSON,
    MAX_NAME,
    SEARCHED,
    WINDOW,
    Read,
    messages_at,
    read,
)
from scalesim.proxy.recognition.recipes.recipe import parse, place_of
from scalesim.proxy.recognition.recipes.shelf import Shelf

from .forms import prompt
from .test_recipe import CALL, HEAD

INDEX = Shelf().index


def found(keys: str, asked: Prompt, clock: str = "steps") -> Read:
    recipe = parse(f'clock = "{clock}"' + HEAD + CALL + keys, "mine.toml")
    return read(recipe, recipe.calls[0], asked)


def name(who: str, asked: Prompt) -> str | None:
    guess = found(f"who = {who}", asked).guess
    return None if guess is None else guess.agent


def step(find: str, text: str) -> float | None:
    return found(f"step = {find}", prompt(("user", text))).step


def test_each_word_of_after_stands_behind_the_one_before() -> None:
    asked = prompt(("user", "Name: Zoe\n# Persona\nName: Ann\nName: Bob\n"))
    assert name('{ in = "first user", after = ["# Persona", "Name: "], until = ["\\n"] }', asked) == "Ann"
    assert name('{ in = "first user", after = "Name: ", from_end = true, until = ["\\n"] }', asked) == "Bob"
    assert name('{ in = "first user", after = ["Name: Bob", "Name: "], until = ["\\n"] }', asked) is None


def test_a_name_ends_where_the_first_of_the_words_stands_and_needs_one() -> None:
    who = '{ in = "last user", after = "You are ", until = [". ", ".\\n"] }'
    assert name(who, prompt(("user", "You are A.*.\nHi. "))) == "A.*"
    assert name(who, prompt(("user", "You are Ann"))) is None
    assert name(who.replace('".\\n"', '""'), prompt(("user", "You are Ann"))) == "Ann"
    assert name(who, prompt(("user", f"You are {'x' * WINDOW}. "))) is None


def test_what_is_no_name_is_nobodys() -> None:
    who = '{ in = "last user", after = "You are ", until = ["."] }'
    for text in ("", "  ", "None", "unknown", "Ann\nBob", "x" * (MAX_NAME + 1), "Ann\x00"):
        assert name(who, prompt(("user", f"You are {text}."))) is None
    assert name(who, prompt(("user", "You are  \ud800nn ."))) == "?nn"


def test_alternatives_are_tried_in_their_order() -> None:
    who = '[{ in = "last user", after = "A: ", until = ["."] }, { in = "last user", after = "B: ", until = ["."] }]'
    assert name(who, prompt(("user", "B: Bob. A: Ann."))) == "Ann"
    assert name(who, prompt(("user", "B: Bob."))) == "Bob"


def test_json_may_be_the_message_or_a_part_of_it() -> None:
    deep = '{ in = "last user", after = "<agent>", json = "people.1.name" }'
    assert (
        name(deep, prompt(("user", '<agent>\n {"people": [{}, {"name": "M\\u00fcller"}]} </agent>')))
        == "Müller"
    )
    assert name('{ in = "last user", json = "id" }', prompt(("user", ' {"id": 7}'))) == "7"
    assert (
        name('{ in = "last user", after = "name:", json = "." }', prompt(("user", 'name: "A \\"B\\"", ')))
        == 'A "B"'
    )
    long = json.dumps({"people": [{"x": "y" * JSON}, {"name": "Ann"}]})
    for broken in (
        long,
        '{"people": [',
        "{}",
        '{"people": 3}',
        '{"people": [1, {"name": true}]}',
        "[" * 20_000,
    ):
        assert name(deep, prompt(("user", f"<agent>{broken}"))) is None


def test_a_pattern_looks_at_the_beginning_of_what_follows() -> None:
    who = "{ in = 'last user', after = 'Persona:', pattern = '(?P<name>[A-Z][a-z]+) is' }"
    assert name(who, prompt(("user", "Bob is. Persona: the Ann is"))) == "Ann"
    assert name(who, prompt(("user", f"Persona: {'x' * WINDOW} Ann is"))) is None


def test_the_middle_of_a_long_message_is_not_looked_at() -> None:
    who = '{ in = "last user", after = "You are ", until = ["."] }'
    far = "x" * SEARCHED
    assert name(who, prompt(("user", f"You are Ann.{far}{far}You are Bob."))) == "Ann"
    assert (
        name(
            who.replace("until", "from_end = true, until"),
            prompt(("user", f"You are Ann.{far}{far}You are Bob.")),
        )
        == "Bob"
    )
    assert name(who, prompt(("user", f"{far}You are Ann.{far}"))) is None


def test_messages_are_counted_by_their_role() -> None:
    sent = prompt(
        ("developer", "a"), ("user", "b"), ("assistant", "c"), ("user", "d"), ("user", "e")
    ).messages
    for place, indices in (
        ("first system", [0]), ("first user", [1]), ("last user", [4]), ("any user", [1, 3, 4]), ("latest user", [4, 3, 1]),
        ("user 2", [3]), ("user 4", []), ("first message", [0]), ("last message", [4]), ("last tool", []),
    ):  # fmt: skip
        assert list(messages_at(place_of(place), sent)) == indices


def test_of_a_long_conversation_only_so_many_messages_are_looked_at() -> None:
    sent = prompt(*[("user", "x")] * 50).messages
    assert list(messages_at(place_of("any user"), sent)) == list(range(8))
    assert list(messages_at(place_of("latest user"), sent)) == list(range(49, 41, -1))


def test_clocks_of_many_forms() -> None:
    at = "{ in = 'last user', after = 'now: ', until = ['.', ''], "
    assert step(at[:-2] + " }", "now: 12.") == 12
    assert step(at[:-2] + " }", "now: soon.") is None
    assert step(at[:-2] + " }", "now: inf.") is None
    assert step(at + "format = 'iso' }", "now: 1970-01-02T00:30:00+09:00") == 1470
    assert step(at + "format = '%d %B %Y %H:%M' }", "now: 01 January 1970 01:05") == 65
    assert step(at + "format = '%H:%M' }", "now: 25:99") is None
    day = "{ in = 'last user', pattern = 'Day (?P<day>[0-9]+), (?P<hour>[0-9]+):(?P<minute>[0-9]+)' }"
    assert step(day, "It is Day 2, 08:30 here") == 2 * 1440 + 510
    assert step(day, "It is day two") is None
    assert step("{ in = 'last user', pattern = 'now (?P<step>[0-9]+)?' }", "It is now late") is None


def test_a_call_without_a_name_says_what_else_it_knows() -> None:
    read = found(
        "from_answer = true\nends = true\nstep = { in = 'last user', after = 'Step ', until = [':'] }",
        prompt(("user", "Step 4: go")),
    )
    assert read == Read("mine", "act", None, True, True, None, 4.0)


def test_images_and_tools_do_not_disturb() -> None:
    system = "x # SELF-DESCRIPTION Your name is Ann.\nYour have profile"
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    asked = prompt_of(
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": system}, picture]},
                {"role": "assistant", "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": None},
                {
                    "role": "user",
                    "content": [picture, {"type": "text", "text": "Please perform social media actions"}],
                },
            ]
        },
    )
    assert asked is not None
    read = Chooser().read(INDEX, "", asked)
    assert read is not None
    assert read.guess is not None
    assert (read.call, read.guess.agent) == ("act", "Ann")


def test_megabytes_and_broken_text_are_read_as_any_other() -> None:
    system = "\ud800" * 10 + " # SELF-DESCRIPTION Your name is Ann.\n" + "\udfff ü" * 700_000
    asked = prompt(("system", system), ("user", "x" * 3_000_000))
    read = Chooser().read(INDEX, "", asked)
    assert read is not None
    assert read.guess is not None
    assert (read.call, read.guess.agent) == ("question", "Ann")


words = st.sampled_from(
    sorted({mark.text for recipe in INDEX.recipes for call in recipe.calls for mark in call.marks})
)
finds = st.sampled_from(
    sorted(
        {
            text
            for recipe in INDEX.recipes
            for call in recipe.calls
            for find in call.who
            for text in (*find.after, *find.until)
        }
    )
)
texts = st.lists(words | finds | st.text(max_size=20), max_size=8).map("".join)
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "robot", ""])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(roles, texts), max_size=12))
def test_nothing_that_is_sent_raises(sent: list[tuple[str, str]]) -> None:
    read = Chooser().read(INDEX, "", prompt(*sent))
    if read is not None and read.guess is not None:
        assert 0 < len(read.guess.agent) <= 2 * MAX_NAME
        read.guess.agent.encode()
