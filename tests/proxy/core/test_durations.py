from __future__ import annotations

import math
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.durations import (
    MAX_CHARS,
    MAX_RULES,
    RULES,
    Reading,
    Rule,
    Said,
    Scale,
    Unit,
    said,
)
from scalesim.proxy.core.model import Clock

DECOMPOSED = """reviewing the kindergarten curriculum standards. (duration in minutes: 15, minutes left: 165)
2) Kelly is brainstorming ideas for the lesson. (duration in minutes: 30, minutes left: 135)
3) Kelly is taking a break. (duration in minutes: 135, minutes left: 0)"""


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        (DECOMPOSED, 15.0),
        (
            "(total duration in minutes: 180)\n1) Sam is painting (duration in minutes: 60, minutes left: 120)",
            60.0,
        ),
        (
            '[{"task": "set the easel up", "duration_in_minutes": 15}, {"task": "paint", "duration_in_minutes": 30}]',
            15.0,
        ),
        ('{"time": 10}', 10.0),
        ('```json\n{\n    "time": 120\n}\n```', 120.0),
        ("{'time': 45}", 45.0),
        ('{"duration": 45, "place": "home"}', 45.0),
        ('{"action": "rest", "duration": "45"}', 45.0),
        ('{"time": "90 min"}', 90.0),
        ('{"time": "1 hour 30 minutes"}', 90.0),
        ('{"time": "1h30m"}', 90.0),
        ('{"estimated_time": 1.5, "unit": "?"}', 1.5),
        ('{"estimated_duration_hours": 1.5}', 90.0),
        ('{"durationMinutes":20}', 20.0),
        ('{"duration_seconds": 30}', 0.5),
        ('{"duration": "2 days"}', 2880.0),
        ("1 hour 30 minutes", 90.0),
        (" About 45 minutes.\n", 45.0),
        ("I will paint for 2 hours.", 120.0),
        ("I'll stay for half an hour and then leave", 30.0),
        ("That takes about an hour, I think.", 60.0),
        ("She spends two hours and 15 minutes on it", 135.0),
        ("The talk lasts 40 mins", 40.0),
        ("Duration: 45 minutes", 45.0),
        ("Paint the door (90 min)", 90.0),
        ('{"duration": 0}', 0.0),
    ],
)
def test_the_minutes_that_an_answer_tells(text: str, minutes: float) -> None:
    assert said(text, RULES) == Said(minutes, Unit.MINUTES)


@pytest.mark.parametrize(
    ("text", "steps"),
    [("I wait for 3 steps", 3.0), ('{"duration": "5 ticks"}', 5.0), ('{"duration_steps": 7}', 7.0)],
)
def test_the_steps_that_an_answer_tells(text: str, steps: float) -> None:
    assert said(text, RULES) == Said(steps, Unit.STEPS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I go home.",
        "It is 6 pm, time for dinner.",
        '{"time": "14:30"}',
        '{"time": "6 am"}',
        '{"time": "2024-01-01"}',
        '{"time": -5}',
        '{"time": 1700000000}',
        '{"time": null}',
        '{"start_time": 8}',
        '{"runtime": 5}',
        '{"duration": "a while"}',
        "for 5 m",
        "for 2-3 hours",
        "for 1,000 minutes",
        "for an hour and a half",
        "for 1 hour 3 steps",
        "(total duration in minutes: 180)",
        "before noon, 30 administrators mind the day",
    ],
)
def test_what_tells_no_duration_is_left_alone(text: str) -> None:
    assert said(text, RULES) is None


def test_only_the_end_of_a_text_is_read() -> None:
    assert said('{"time": 10}' + " " * (MAX_CHARS - 12), RULES) == Said(10.0, Unit.MINUTES)
    assert said('{"time": 10}' + " " * (MAX_CHARS - 8), RULES) is None


def test_the_first_rule_that_finds_something_counts() -> None:
    rules = [
        Rule("slots", r"slots: (?P<amount>[0-9]{1,3}+)", factor=15.0),
        Rule("any", r"(?P<amount>[0-9]{1,3}+)"),
    ]
    assert said("7 tasks, slots: 4", rules) == Said(60.0, Unit.MINUTES)
    assert said("7 tasks", rules) == Said(7.0, Unit.MINUTES)


def test_a_rule_that_finds_no_number_leaves_it_to_the_next() -> None:
    rules = [
        Rule("word", r"(?P<amount>[a-z]{1,9}+)"),
        Rule("number", r"(?P<amount>[0-9]{1,3}+)", unit="steps"),
    ]
    assert said("soon: 3", rules) == Said(3.0, Unit.STEPS)


def test_a_simulated_minute_is_as_long_as_the_simulation_has_it() -> None:
    scale = Scale(Clock.STEPS, 0.2)
    assert scale.acts_for(Said(15.0, Unit.MINUTES)) == (3.0, Clock.STEPS)
    assert scale.acts_for(Said(2.0, Unit.STEPS)) == (2.0, Clock.STEPS)
    assert Scale(Clock.SECONDS, 0.5).acts_for(Said(60.0, Unit.MINUTES)) == (30.0, Clock.SECONDS)


@pytest.mark.parametrize("per_minute", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_makes_no_sense_is_refused(per_minute: float) -> None:
    with pytest.raises(ValueError, match="per_minute must be more than 0"):
        Scale(Clock.STEPS, per_minute)


NUMBER = "(?P<amount>[0-9]{1,3}+)"


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        (r"(?P<amount>[0-9]+)", "has no bound"),
        (r"(?P<amount>[0-9]*)", "has no bound"),
        (r"(?P<amount>[0-9]++)", "has no bound"),
        (r"(?P<amount>[0-9]{1,})", "needs an upper bound"),
        (r"(?P<amount>[0-9]{1,65}+)", "needs an upper bound"),
        (r"(?P<amount>[0-9]{1,3})", "may be tried in several ways"),
        (r"(?P<amount>[0-9]?)", "may be tried in several ways"),
        (r"(?P<amount>[0-9]{1,3}?)", "may be tried in several ways"),
        (r"(?P<amount>(?:[0-9]{1,3}+){1,9}+)", "must follow a character or a class"),
        (rf"(?:x)?+{NUMBER}", "must follow a character or a class"),
        (rf"x{{2}}{{3}}{NUMBER}", "must follow a character or a class"),
        (rf"(?:min|mins){NUMBER}", "must stand in an atomic group"),
        (rf"a|{NUMBER}", "must stand in an atomic group"),
        (rf"(x){NUMBER}", "groups must be"),
        (rf"(?i:x){NUMBER}", "groups must be"),
        (rf"{NUMBER}\1", "references back"),
        (rf"{NUMBER}(?P=amount)", "groups must be"),
        (rf"{NUMBER})", "without its"),
        (rf"{NUMBER}[[]", "a class must end"),
        (rf"{NUMBER}[a", "a class must end"),
        (rf"{NUMBER}[a||b]", "a class must end"),
        (rf"(?>{NUMBER}", "missing"),
        (rf"x{{}}{NUMBER}", "needs an upper bound"),
        (" {0,64}+" * 5 + NUMBER, "add up to"),
        ("x" * 1000 + NUMBER, "1000 characters"),
        ("x", "groups must be amount"),
        (rf"{NUMBER}(?P<more>[0-9])", "groups must be amount"),
        (rf"{NUMBER}(?P<other>[0-9])", "groups must be amount"),
    ],
)
def test_a_pattern_that_might_cost_without_bound_is_refused(pattern: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^rule 'mine': .*{re.escape(complaint)}"):
        Rule("mine", pattern)


@pytest.mark.parametrize(
    ("keywords", "complaint"),
    [({"unit": "moons"}, "unknown unit"), ({"factor": 0.0}, "factor"), ({"factor": math.nan}, "factor")],
)
def test_a_rule_that_makes_no_sense_is_refused(keywords: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^rule 'mine': {complaint}"):
        Rule("mine", NUMBER, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", [f"For {NUMBER}", f"[A-Z]{NUMBER}"])
def test_a_pattern_that_can_find_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^rule 'mine': a pattern must be in lower case"):
        Rule("mine", pattern)


def test_a_pattern_may_find_itself_without_an_amount() -> None:
    rule = Rule("mine", rf"(?>{NUMBER}|none)\S(?>\W|\Z)")
    assert rule.read("none.") is None
    assert rule.read("12.") == Said(12.0, Unit.MINUTES)


STEPS = Scale(Clock.STEPS, 0.2)


def test_a_reading_has_the_end_of_a_text_on_the_clock_of_its_simulation() -> None:
    reading = Reading(RULES, STEPS)
    assert reading.acts_for("I shall paint for 2 hours.") == (24.0, Clock.STEPS)
    assert reading.acts_for("I shall paint.") is None
    assert reading.acts_for("for 2 hours" + " " * MAX_CHARS) is None
    assert Reading((), STEPS).acts_for("for 2 hours") is None


@pytest.mark.parametrize(
    ("patterns", "complaint"),
    [
        ([NUMBER] * (MAX_RULES + 1), f"may have {MAX_RULES} rules, not {MAX_RULES + 1}"),
        (["x" * 900 + NUMBER] * 3, "may have 2000 characters"),
    ],
)
def test_too_many_rules_are_refused(patterns: list[str], complaint: str) -> None:
    rules = [Rule(f"rule-{number}", pattern) for number, pattern in enumerate(patterns)]
    with pytest.raises(ValueError, match=complaint):
        Reading(tuple(rules), STEPS)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^rule 'subtask': there are two"):
        Reading((*RULES, RULES[0]), STEPS)


def test_names_of_rules_are_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


@given(st.text(max_size=300))
def test_any_text_at_all_can_be_read(text: str) -> None:
    found = said(text, RULES)
    assert found is None or 0.0 <= found.amount < math.inf


@given(
    st.lists(
        st.sampled_from(
            ['"time"', "duration", ":", " ", "1", "30", "for ", "(", "hour", "min", '"', "}", "and", "an "]
        )
    )
)
def test_any_pieces_of_what_is_looked_for_can_be_read(pieces: list[str]) -> None:
    found = said("".join(pieces), RULES)
    assert found is None or 0.0 <= found.amount < math.inf


@given(st.text(r"ab01(){}[]|*+?\<>=!:P,-&~^", max_size=30))
def test_any_pattern_is_taken_or_refused(pattern: str) -> None:
    with suppress(ValueError):
        Rule("mine", NUMBER + pattern).read("ab01" * 10)
