from __future__ import annotations

import pytest

from scalesim.proxy.recognition.recipes.places_in_toml import line_of
from scalesim.proxy.recognition.recipes.recipe import RecipeError, parse

TEXT = '''# A comment
name = "mine"  # and one behind
note = """
[[calls]]
name = "no header at all"
"""

[read_from]
package = "a"

[[calls]]
marks = [
    # which message
    { in = "first system", text = "one" },

    { in = "first system", text = "two" },
]
who = { in = "first system", after = "x" }

[[calls]]
name = "other"
step.in = "last user"

[[calls.marks]]
text = "three"

[[calls.marks]]
text = "four"
in = "any user"
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("name", 2),
        ("note", 3),
        ("read_from", 8),
        ("read_from.package", 9),
        ("read_from.version", 8),
        ("calls", 11),
        ("calls[1]", 11),
        ("calls[1].name", 11),
        ("calls[1].marks[1].text", 14),
        ("calls[1].marks[2].text", 16),
        ("calls[1].who[1].pattern", 18),
        ("calls[2].name", 21),
        ("calls[2].step.in", 22),
        ("calls[2].marks[1].in", 24),
        ("calls[2].marks[2].in", 29),
        ("framework", None),
        ("", None),
    ],
)
def test_a_key_is_found_on_its_line_or_on_that_of_its_table(key: str, line: int | None) -> None:
    assert line_of(TEXT, key) == line


def test_broken_syntax_has_the_line_where_it_breaks() -> None:
    for text, line in (("a = 1\nb = = 2\n", 2), ("a = [\n1,\n", 3), ('a = "\n"', 1)):
        with pytest.raises(RecipeError) as refused:
            parse(text, "mine.toml")
        assert refused.value.line == line


def test_a_text_of_one_endless_statement_takes_no_time() -> None:
    assert line_of("a = [\n" + "1,\n" * 5000 + "]\nb = 2\n", "b") == 5003
