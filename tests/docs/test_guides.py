"""There is a guide for each framework whose requests are recognised, and it claims no more than was tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scalesim.proxy.recognition.recipes.recipe import Recipe
from scalesim.proxy.recognition.recipes.shelf import Shelf

from .pages import ROOT

GUIDES = ROOT / "docs" / "guides"
RECIPES = Shelf().index.recipes
RUN_BY_TESTS = {path.stem for path in (ROOT / "tests" / "clients" / "requirements").glob("*.txt")}
HEADINGS = ["Base URL", "What is recognised", "What can be told besides", "Known limits"]


def guide(recipe: Recipe) -> Path:
    return GUIDES / f"{recipe.name}.md"


def tried(recipe: Recipe) -> str:
    if recipe.name in RUN_BY_TESTS:
        return "through the proxy"
    return "recorded" if recipe.verified else "read"


def test_there_is_a_guide_for_each_recipe_and_no_other() -> None:
    assert {path.stem for path in GUIDES.glob("*.md")} - {"README"} == {recipe.name for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_guide_says_what_was_tried_of_which_version_and_no_more(recipe: Recipe) -> None:
    text = guide(recipe).read_text()
    said = re.search(r"^Tried: ([a-z ]+)\. Version: (.+?)[,;.(]? ", text, re.MULTILINE)
    assert said is not None
    assert said[1] == tried(recipe)
    assert recipe.read_from.version[:8] in text
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS


def test_the_table_of_guides_says_the_same() -> None:
    rows = re.findall(
        r"^\| \[[^]]+\]\(([a-z0-9-]+)\.md\) \|.*\| ([a-z ]+) \|$",
        (GUIDES / "README.md").read_text(),
        re.MULTILINE,
    )
    assert dict(rows) == {recipe.name: tried(recipe) for recipe in RECIPES}
