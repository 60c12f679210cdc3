from __future__ import annotations

from collections import Counter

import pytest

from scalesim.proxy.recognition.recipes.shelf import Shelf
from scalesim.proxy.recognition.recipes.trial import Recorded, pair_f1, try_out

from .forms import mesa_llm, oasis, prompt, sotopia

INDEX = Shelf().index


def test_it_tells_what_was_found_and_what_was_not() -> None:
    calls = [
        *(
            Recorded("a", form.prompt, "", told=form.who)
            for name in ("Ann", "Bob")
            for form in oasis(name, ["Zoe"])
        ),
        *(Recorded("b", form.prompt, "", told=None) for form in mesa_llm("Ann", ["Zoe"])[:4]),
        Recorded("c", sotopia("Ann", ["Bob"])[2].prompt, "", told="x"),
        Recorded("d", prompt(("user", "What is this?")), "", told=None),
        Recorded("d", None, "", told=None),
    ]
    lines = list(try_out(INDEX, calls).lines())
    assert lines[0] == "13 calls; 1 of no known framework, 1 without a prompt"
    assert "oasis: OASIS (CAMEL-AI), read from camel-oasis 0.2.5" in lines
    assert "  act: 4 calls, 4 named" in lines
    assert "    Ann: 3 calls; act: in the first system message behind 'Your name is '" in lines
    assert "  executor: 1 calls, 1 left to the answer they repeat" in lines
    assert "  react: 1 calls, 1 named, 1 with a time" in lines
    assert "    evaluator (sotopia)  (no agent): 1 calls; every evaluation call is its" in lines
    assert "  1 calls: 'What is this?'" in lines
    assert lines[-1].endswith("pairs of calls put together: F1 1.000")


def test_pairs_count_what_is_put_together() -> None:
    assert pair_f1(Counter({("a", "x"): 3, ("b", "y"): 2})) == 1
    # Of 1 pair of calls of one agent none is put together.
    assert pair_f1(Counter({("a", "x"): 1, ("a", "y"): 1})) == 0
    # 6 pairs found, 2 of them right, of 2.
    assert pair_f1(Counter({("a", "x"): 2, ("b", "x"): 2})) == pytest.approx(2 * 2 / (2 + 6))
    assert pair_f1(Counter()) == 1
