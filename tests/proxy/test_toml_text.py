from __future__ import annotations

import contextlib
import time

import pytest

from scalesim.proxy.toml_text import MAX_PARTS, NotToml, loads


def test_toml_is_read_as_ever() -> None:
    text = 'a.b = 1.5\n[c."d.e"]\nf = """\n...\n"""\ng = [1.5, 2.5, {h = "i.j.k"}]\n# l.m.n\n'
    assert loads(text) == {
        "a": {"b": 1.5},
        "c": {"d.e": {"f": "...\n", "g": [1.5, 2.5, {"h": "i.j.k"}]}},
    }


@pytest.mark.parametrize(
    "text",
    [
        "ips = [" + "1.1, " * 100 + "]",
        'text = "' + "a." * 100 + '"',
        "text = '" + "a." * 100 + "'",
        'text = """' + "a." * 100 + '"""',
        "# " + "a." * 100,
        ".".join("a" * MAX_PARTS) + " = 1",
    ],
)
def test_dots_that_part_no_key_are_no_matter(text: str) -> None:
    loads(text)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a = 1\nb = = 2\n", 2, "Invalid value"),
        ("a = [\n1,\n", 3, "Invalid value"),
        ("a = " + "1" * 5000, None, "Exceeds the limit"),
        ("a = " + "[" * 30_000, None, "it is nested too deep"),
        ("x = 1\n" + ".".join("a" * (MAX_PARTS + 1)) + " = 1", 2, "a key has more than 16 parts"),
        ("[" + ".".join("a" * 30_000) + "]", 1, "a key has more than 16 parts"),
        ("a = {" + ".".join("a" * 30_000) + " = 1}", 1, "a key has more than 16 parts"),
        ("'a' . " * 20 + "b = 1", 1, "a key has more than 16 parts"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(NotToml, match=says) as refused:
        loads(text)
    assert refused.value.line == line


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        'a = "' + '\\"' * 32_000,
        '"""' * 20_000,
        "'''" * 20_000,
        'a = "' + "'" * 60_000,
        "\\" * 64_000,
        '"""' + "\\" * 64_001,
        "\n".join("a." * 15 + f"b{number} = 1" for number in range(1500)),
        ".".join("a" * 32_000) + "=1",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """By the time of the processor: the machine may have others to serve. The worst takes a tenth of that."""
    began = time.thread_time()
    with contextlib.suppress(NotToml):
        loads(text)
    assert time.thread_time() - began < 3.0
