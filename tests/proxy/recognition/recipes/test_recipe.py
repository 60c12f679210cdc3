from __future__ import annotations

import pytest

from scalesim.proxy.core.durations import Scale
from scalesim.proxy.core.model import Clock
from scalesim.proxy.recognition.recipes.recipe import Place, RecipeError, Which, parse, place_of

HEAD = """
name = "mine"
framework = "My simulation"
verified = false
read_from = { package = "mine", version = "1", file = "a.py" }
"""
CALL = """
[[calls]]
name = "act"
marks = [{ in = "first system", text = "You live in Mytown" }]
"""
WHO = 'who = { in = "first system", after = "You are ", until = ["."] }\n'

MARKED = "[[calls]]\nname = '{}'\nmarks = [" + "{{ in = 'last user', text = 'You are a' }}, " * 8 + "]\n"


def refused(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(text, "mine.toml")
    return str(caught.value)


def test_a_small_recipe_is_all_that_is_needed() -> None:
    recipe = parse(HEAD + CALL + WHO, "mine.toml")
    assert (recipe.name, recipe.verified, recipe.clock, recipe.own) == ("mine", False, "steps", False)
    (call,) = recipe.calls
    assert (call.confidence, call.caller, call.from_answer, call.ends, call.reading) == (
        0.9,
        None,
        False,
        False,
        None,
    )
    assert call.who[0].why == "in the first system message behind 'You are '"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "mine.toml: not TOML: "),
        (HEAD, "mine.toml: calls: is missing: without calls nothing is recognised"),
        (CALL, "mine.toml: name: is missing"),
        (HEAD.replace("mine", "My own", 1) + CALL, "mine.toml: name: must be of a-z 0-9 - _ . only, not 'My own'"),
        (HEAD.replace("false", '"no"') + CALL, "mine.toml: verified: must be true or false, not 'no'"),
        ("nme = 1\n" + HEAD + CALL, "mine.toml: nme: unknown key; there are name, framework, read_from,"),
        (HEAD.replace("file", "fle") + CALL, "mine.toml: read_from.file: is missing"),
        (HEAD.replace("1", "1\", x = \"y") + CALL, "mine.toml: read_from.x: unknown key; there are package, version"),
        ('clock = "hours"' + HEAD + CALL, "mine.toml: clock: must be steps or minutes, not 'hours'"),
        (HEAD + CALL + CALL, "mine.toml: calls: two of them are named 'act'"),
        (HEAD + "".join(MARKED.format(call) for call in range(9)), "mine.toml: calls: all together may have 64 marks, not 72"),
        (HEAD + "[[calls]]\nname = 'act'", "mine.toml: calls[1].marks: is missing: a call is recognised by its marks"),
        (HEAD + CALL.replace("You live in Mytown", "You"), "calls[1].marks[1].text: must be a text of 8 to 200 characters"),
        (HEAD + CALL.replace("first system", "system"), "calls[1].marks[1].in: must be first, last, any or latest and one of"),
        (HEAD + CALL + WHO + 'caller = "judge"', "calls[1].caller: a call has who or caller, not both"),
        (HEAD + CALL + "confidence = 2", "calls[1].confidence: must be a number from 0 to 1, not 2"),
        (HEAD + CALL + "confidence = nan", "calls[1].confidence: must be a number from 0 to 1, not nan"),
        (HEAD + CALL + "who = 3", "calls[1].who: must be at most 4 tables, not 3"),
        (HEAD + CALL + 'who = { in = "last user", after = "x" }', "calls[1].who[1].until: there must be one of until, pattern"),
        (HEAD + CALL + 'who = { in = "last user", from_end = true, json = "a" }', "calls[1].who[1].from_end: needs after"),
        (
            HEAD + CALL + "who = { in = 'last user', pattern = '(?P<nme>x)' }",
            "calls[1].who[1].pattern: its group must be (?P<name>…), not nme",
        ),
        (
            HEAD + CALL + "who = { in = 'last user', pattern = '(?P<name>(a)\\1)' }",
            "calls[1].who[1].pattern: no regular expression of RE2: invalid escape sequence",
        ),
        (
            HEAD + CALL + "who = { in = 'last user', pattern = '(?P<name>(.{0,200}a){5})' }",
            "calls[1].who[1].pattern: too large by a factor of 4",
        ),
        (
            HEAD + CALL + "who = { in = 'last user', pattern = '(?P<name>((a{100}){100}){100})' }",
            "calls[1].who[1].pattern: no regular expression of RE2: invalid repetition size",
        ),
        (
            HEAD + CALL + "step = { in = 'last user', until = [','], format = 'day' }",
            "calls[1].step.format: must be number, iso or like %Y-%m-%d %H:%M, not 'day'",
        ),
        (
            HEAD + CALL + "step = { in = 'last user', pattern = '(?P<day>[0-9])' }",
            "calls[1].step.pattern: its group must be (?P<step>…) or day, hour, minute and second, not day",
        ),
        (HEAD + CALL + 'durations = ["json_time"]', 'calls[1].durations: needs clock = "minutes", or minutes_per_step'),
        (HEAD + CALL + 'durations = ["soon"]', "calls[1].durations: there is no rule 'soon'; there are subtask, "),
        (
            "minutes_per_step = 5" + HEAD + CALL + "durations = [{ name = 'x', pattern = '(?P<amount>.*)' }]",
            "calls[1].durations[1].pattern: rule 'x': * has no bound",
        ),
    ],
)  # fmt: skip
def test_errors_name_the_file_the_key_and_the_value(text: str, says: str) -> None:
    assert says in refused(text)


def test_a_message_is_named_by_its_role_and_its_place() -> None:
    assert place_of("last user") == Place("user", Which.LAST)
    assert place_of("user 3") == Place("user", 3)
    assert [str(place_of(text)) for text in ("any tool", "message 8")] == ["any tool", "message 8"]
    for wrong in ("", "user", "user 0", "user 9", "third user", "first robot", "first user message"):
        with pytest.raises(ValueError, match="must be first, last, any or latest"):
            place_of(wrong)


def test_durations_are_on_the_clock_of_the_simulation() -> None:
    rules = 'durations = ["json_time", { name = "own", pattern = "rests (?P<amount>[0-9]{1,3}+)", unit = "hours" }]'
    (call,) = parse("minutes_per_step = 5" + HEAD + CALL + rules, "mine.toml").calls
    assert call.reading is not None
    assert call.reading.scale == Scale(Clock.STEPS, 0.2)
    assert call.reading.acts_for('{"time": 30}') == (6.0, Clock.STEPS)
    assert call.reading.acts_for("she rests 1 hour") == (12.0, Clock.STEPS)
    (call,) = parse('clock = "minutes"' + HEAD + CALL + rules, "mine.toml").calls
    assert call.reading is not None
    assert call.reading.acts_for('{"time": 30}') == (30.0, Clock.STEPS)
