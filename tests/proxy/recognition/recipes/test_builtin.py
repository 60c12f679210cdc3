from __future__ import annotations

import re
from pathlib import Path

import pytest

from scalesim.proxy.recognition.guess import CallerKind
from scalesim.proxy.recognition.recipes.choosing import Chooser
from scalesim.proxy.recognition.recipes.recipe import parse
from scalesim.proxy.recognition.recipes.shelf import Shelf

from .forms import FRAMEWORKS, Form, Framework

INDEX = Shelf().index
NAMES = (
    "Ann",
    "Anna",
    "A.*",
    "Müller-Lüdenscheidt",
    'Dwayne "The Rock" O\'Neil',
    "Ann von Ann",
    "Мария Иванова",
)


def forms(name: str, others: list[str]) -> list[Form]:
    return [form for framework in FRAMEWORKS for form in framework(name, others)]


def test_there_is_a_form_for_every_call_of_every_recipe() -> None:
    assert {(form.recipe, form.call) for form in forms("Ann", ["Bob"])} == {
        (recipe.name, call.name) for recipe in INDEX.recipes for call in recipe.calls
    }


def test_the_documentation_has_an_example_that_works_and_all_recipes() -> None:
    text = (Path(__file__).parents[4] / "docs" / "recipes.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert parse(example, "docs").calls[0].who
    rows = re.findall(r"^\| `([\w-]+)` \| [^|]+ \| (yes|no)\b", text, re.MULTILINE)
    assert dict(rows) == {recipe.name: "yes" if recipe.verified else "no" for recipe in INDEX.recipes}


def test_what_has_met_a_real_run_and_what_has_not() -> None:
    assert {recipe.name for recipe in INDEX.recipes if recipe.verified} == {
        *("agentsociety2", "concordia", "mesa-llm", "oasis", "silisocs", "sotopia")
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.__name__)
def test_each_request_is_known_and_its_caller_found(framework: Framework, name: str) -> None:
    others = [one for one in NAMES if one != name]
    chooser = Chooser()
    for form in framework(name, others):
        read = chooser.read(INDEX, "key", form.prompt)
        assert read is not None
        if form.recipe == "silisocs" and form.call in ("text", "structured") and "." in name:
            # A persona is a text of the scenario's, and a name of it ends where a sentence may.
            assert read.guess is None
            continue
        who = f"{form.who} ({form.recipe})" if form.other else form.who
        found = None if read.guess is None else read.guess.agent
        assert (read.recipe, read.call, found, read.step) == (form.recipe, form.call, who, form.step)
        if read.guess is not None:
            assert read.guess.source == f"recipe:{form.recipe}"
            assert read.step == form.step
            assert (read.guess.kind is CallerKind.OTHER) == form.other
            assert read.guess.why


def test_callers_are_not_told_apart_by_whom_they_speak_about() -> None:
    chooser = Chooser()
    found = {}
    for name in NAMES:
        for form in forms(name, [one for one in NAMES if one != name]):
            if form.other:
                read = chooser.read(INDEX, form.recipe, form.prompt)
                assert read is not None
                assert read.guess is not None
                found.setdefault((form.recipe, form.call), set()).add(read.guess.agent)
    assert {len(names) for names in found.values()} == {1}


def test_no_request_of_a_framework_has_the_marks_of_another() -> None:
    several = {
        (form.recipe, form.call): sorted(recipe.name for recipe, _ in INDEX.fitting(form.prompt))
        for form in forms("Ann", ["Bob"])
        if len(INDEX.fitting(form.prompt)) > 1
    }
    # The same words about the past, and the system message tells them apart.
    assert several == {("silisocs", "past"): ["concordia", "silisocs"]}
