"""Recipes over the admin API of a whole proxy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scalesim.proxy.recognition.recipes.recipe import MAX_BYTES
from tests.support.patience import PATIENCE_S

from .offices import CHAT, Town, town

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # every server takes a quarter of a second to stop

MINE = """name = "mine"
framework = "My town"
verified = false

[read_from]
package = "my-town"
version = "1"
file = "town.py"

[[calls]]
name = "act"
confidence = 0.9
marks = [
    { in = "first system", text = "You live in my town" },
]
who = { in = "first system", after = "Your name is ", until = ["."] }

[[calls]]
name = "judge"
caller = "judge"
marks = { in = "last user", text = "Who of them was right?" }
"""
PROMPT = "You live in my town. Your name is Ann."
SUMMARY = {
    "name": "mine",
    "framework": "My town",
    "read_from": {"package": "my-town", "version": "1", "file": "town.py"},
    "verified": False,
    "own": True,
    "clock": "steps",
    "kinds": 2,
    "calls": 0,
    "named": 0,
    "confidence": None,
}
ACT = {
    "name": "act",
    "marks": [{"place": "first system", "text": "You live in my town"}],
    "names_by": ["in the first system message behind 'Your name is '"],
    "caller": None,
    "confidence": 0.9,
    "from_answer": False,
    "ends": False,
    "tells_step": False,
    "tells_duration": False,
}
JUDGE = ACT | {
    "name": "judge",
    "marks": [{"place": "last user", "text": "Who of them was right?"}],
    "names_by": [],
    "caller": "judge",
}
FOUND = {
    "recipe": "mine",
    "request": "act",
    "agent": "Ann",
    "kind": "agent",
    "confidence": 0.9,
    "why": "act: in the first system message behind 'Your name is '",
    "step": None,
    "from_answer": False,
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shelf(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("shelf")
    for name in ("recipes", "traces"):
        (folder / name).mkdir()
    options = {"recipes_folder": folder / "recipes", "traces_folder": folder / "traces"}
    text = "".join(f'{name} = "{path}"\n' for name, path in options.items()) + "traces_full_text = true\n"
    async with town(folder, text) as one:
        yield one


def of(recipes: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in recipes["recipes"] if one["name"] == name]
    return dict(found)


async def speak(one: Town, system: str) -> None:
    body = {"model": "emulated", "messages": [{"role": "system", "content": system}], "max_tokens": 2}
    assert (await one.data.post(CHAT, json=body)).status_code == 200


async def test_a_recipe_that_is_put_is_in_force_counts_what_it_fits_and_can_be_deleted(shelf: Town) -> None:
    put = await shelf.admin.put("/recipes/mine", json={"text": MINE})
    assert put.status_code == 201
    assert put.json() == SUMMARY | {"note": "", "requests": [ACT, JUDGE], "text": MINE}
    assert (shelf.folder / "recipes" / "mine.toml").read_text() == MINE
    await speak(shelf, PROMPT)
    await speak(shelf, "You live in my town. You have no name.")
    counted = SUMMARY | {"calls": 2, "named": 1, "confidence": 0.9}
    listed = (await shelf.admin.get("/recipes")).json()
    assert of(listed, "mine") == counted
    assert (listed["folder"], listed["problems"]) == (str(shelf.folder / "recipes"), [])
    again = await shelf.admin.put("/recipes/mine", json={"text": MINE.replace("My town", "My city")})
    assert (again.status_code, again.json()["framework"]) == (200, "My city")
    deleted = await shelf.admin.delete("/recipes/mine")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await shelf.admin.get("/recipes/mine")).status_code == 404
    assert not list((shelf.folder / "recipes").iterdir())


async def test_a_recipe_of_ones_own_takes_the_place_of_a_built_in_one_until_it_is_deleted(
    shelf: Town,
) -> None:
    before = (await shelf.admin.get("/recipes/oasis")).json()
    assert (before["own"], before["text"].startswith('name = "oasis"\n')) == (False, True)
    await shelf.admin.put("/recipes/oasis", json={"text": MINE.replace('"mine"', '"oasis"')})
    taken = (await shelf.admin.get("/recipes/oasis")).json()
    assert (taken["own"], taken["framework"]) == (True, "My town")
    await shelf.admin.delete("/recipes/oasis")
    assert (await shelf.admin.get("/recipes/oasis")).json() == before


async def test_a_built_in_recipe_cannot_be_deleted_and_an_unknown_one_is_not_found(shelf: Town) -> None:
    built_in = await shelf.admin.delete("/recipes/oasis")
    assert (built_in.status_code, built_in.json()["detail"]) == (
        409,
        "the recipe 'oasis' comes with the proxy and cannot be deleted; one of your own with its name takes its place; "
        "nothing was changed",
    )
    unknown = await shelf.admin.delete("/recipes/nothing")
    assert (unknown.status_code, unknown.json()["detail"]) == (
        404,
        "there is no recipe 'nothing'; nothing was changed",
    )


async def test_a_recipe_is_validated_without_being_kept(shelf: Town) -> None:
    good = await shelf.admin.post("/recipes/validate", json={"text": MINE})
    assert good.status_code == 200
    assert good.json() == {"name": "mine", "framework": "My town", "requests": [ACT, JUDGE]}
    assert (await shelf.admin.get("/recipes/mine")).status_code == 404


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "says"),
    [
        ('version = "1"', "version = ", 7, None, "recipe: not TOML: Invalid value"),
        ('"You live in my town"', '"short"', 14, "calls[1].marks[1].text", "must be a text of 8 to 200"),
        ('caller = "judge"', "caller = 3", 20, "calls[2].caller", "must be a text"),
        ('name = "judge"\n', "", 18, "calls[2].name", "is missing"),
        ("verified = false", "verified = 3", 3, "verified", "must be true or false"),
        ('file = "town.py"', 'fil = "town.py"', 5, "read_from.file", "is missing"),
        ("confidence = 0.9", "confidence = 2", 12, "calls[1].confidence", "must be a number"),
    ],
)
async def test_a_wrong_recipe_is_refused_with_its_line(
    shelf: Town, old: str, new: str, line: int, key: str | None, says: str
) -> None:
    text = MINE.replace(old, new)
    assert text != MINE
    for answer in (
        await shelf.admin.post("/recipes/validate", json={"text": text}),
        await shelf.admin.put("/recipes/mine", json={"text": text}),
    ):
        told = answer.json()
        assert answer.status_code == 422
        assert (told["line"], told["key"]) == (line, key)
        assert says in told["detail"]
    assert not list((shelf.folder / "recipes").iterdir())


async def test_a_recipe_is_kept_under_its_own_name_alone(shelf: Town) -> None:
    other = await shelf.admin.put("/recipes/other", json={"text": MINE})
    assert (other.status_code, other.json()["detail"]) == (
        422,
        "name: the text says 'mine', and it is to be kept as 'other'; nothing was changed",
    )
    for name in ("..", ".hidden", "%2e%2e%2fmine", "a" * 41):
        assert (await shelf.admin.put(f"/recipes/{name}", json={"text": MINE})).status_code in (404, 405, 422)
    assert not list((shelf.folder / "recipes").iterdir())
    assert sorted(path.name for path in shelf.folder.iterdir()) == ["recipes", "scalesim.toml", "traces"]


async def test_a_file_of_somebody_else_is_not_overwritten(shelf: Town) -> None:
    wrong = shelf.folder / "recipes" / "mine.toml"
    wrong.write_text("mine =")
    answer = await shelf.admin.put("/recipes/mine", json={"text": MINE})
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "mine.toml is there, and holds another recipe, or one that is wrong; nothing was changed",
    )
    assert wrong.read_text() == "mine ="
    async with asyncio.timeout(PATIENCE_S):
        while not (told := (await shelf.admin.get("/recipes")).json()["problems"]):
            pass
    assert told[0].startswith("mine.toml: not TOML")
    wrong.unlink()
    await shelf.admin.put("/recipes/mine", json={"text": MINE})
    await shelf.admin.delete("/recipes/mine")


async def test_a_recipe_of_the_largest_size_gets_through_and_a_larger_one_is_refused(shelf: Town) -> None:
    fits = MINE + "#" * (MAX_BYTES - len(MINE))
    assert (await shelf.admin.post("/recipes/validate", json={"text": fits})).status_code == 200
    larger = await shelf.admin.post("/recipes/validate", json={"text": fits + "#"})
    assert larger.status_code == 422
    huge = await shelf.admin.post("/recipes/validate", json={"text": "#" * 1_000_000})
    assert huge.status_code == 413


async def test_a_piece_of_text_is_tried_with_a_recipe_that_is_not_kept(shelf: Town) -> None:
    without = await shelf.admin.post("/recipes/test", json={"prompt": PROMPT})
    assert without.json() == {"found": None, "fitting": [], "trace": None}
    found = await shelf.admin.post("/recipes/test", json={"prompt": PROMPT, "recipe": MINE})
    assert found.json() == {"found": FOUND, "fitting": ["mine"], "trace": None}
    body = {"messages": [{"role": "system", "content": "You live in my town. Nobody has a name."}]}
    request = await shelf.admin.post("/recipes/test", json={"request": body, "recipe": MINE})
    nameless = {"agent": None, "kind": None, "confidence": None, "why": ""}
    assert request.json()["found"] == FOUND | nameless
    assert (await shelf.admin.get("/recipes/mine")).status_code == 404


async def test_a_recipe_is_tried_on_a_trace(shelf: Town) -> None:
    await shelf.admin.post("/traces", json={"name": "full", "full_text": True})
    for _ in range(2):
        await speak(shelf, PROMPT)
    await speak(shelf, "Another framework altogether.")
    await shelf.admin.post("/traces/full/stop")
    tried = await shelf.admin.post("/recipes/test", json={"trace": "full", "recipe": MINE})
    counts = {"named": 2, "from_answer": 0, "with_step": 0, "with_duration": 0}
    assert tried.json() == {
        "found": None,
        "fitting": [],
        "trace": {
            "calls": 3,
            "was_cut": False,
            "unknown": 1,
            "without_prompt": 0,
            "skipped_lines": 0,
            "kinds": [{"recipe": "mine", "request": "act", "calls": 2, **counts}],
            "callers": [
                {"recipe": "mine", "caller": "Ann", "kind": "agent", "calls": 2, "why": FOUND["why"]}
            ],
            "beginnings": [{"text": "Another framework altogether.", "calls": 1}],
            "agreement": None,
        },
    }
    await shelf.admin.delete("/traces/full")


async def test_a_trace_of_hashes_cannot_be_tried_nor_one_that_is_not_there(shelf: Town) -> None:
    await shelf.admin.post("/traces", json={"name": "hashed"})
    await speak(shelf, PROMPT)
    await shelf.admin.post("/traces/hashed/stop")
    hashed = await shelf.admin.post("/recipes/test", json={"trace": "hashed"})
    assert (hashed.status_code, hashed.json()["detail"]) == (
        409,
        "trace: 'hashed' has no call with its text: only one in full text can be tried",
    )
    unknown = await shelf.admin.post("/recipes/test", json={"trace": "none"})
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "trace: there is no trace 'none'")
    await shelf.admin.delete("/traces/hashed")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "body: give one of prompt, request and trace"),
        ({"prompt": "a", "trace": "b"}, "body: give one of prompt, request and trace"),
        (
            {"request": {"messages": 3}},
            "request: there is no prompt in it, for the route '/v1/chat/completions'",
        ),
        ({"prompt": "a", "route": "/health"}, "request: there is no prompt in it, for the route '/health'"),
        ({"trace": "../etc"}, "trace: String should match pattern"),
        ({"prompt": "a", "recipe": "x ="}, "recipe: not TOML"),
    ],
)
async def test_a_trial_of_nothing_is_refused(shelf: Town, body: dict[str, Any], says: str) -> None:
    answer = await shelf.admin.post("/recipes/test", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)


async def test_changes_of_recipes_stand_in_the_log(shelf: Town, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "scalesim.audit"):
        await shelf.admin.put("/recipes/mine", json={"text": MINE})
        await shelf.admin.put("/recipes/mine", json={"text": MINE})
        await shelf.admin.delete("/recipes/mine")
    assert [one.getMessage() for one in caplog.records if one.name == "scalesim.audit"] == [
        "an operator without a key: the recipe 'mine' was put",
        "an operator without a key: the recipe 'mine' was replaced",
        "an operator without a key: the recipe 'mine' was deleted",
    ]


async def test_without_a_folder_nothing_is_put(tmp_path: Path) -> None:
    async with town(tmp_path) as one:
        refused = await one.admin.put("/recipes/mine", json={"text": MINE})
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            "there is no folder for recipes of your own: set recipes_folder; nothing was changed",
        )
        assert (await one.admin.get("/recipes")).json()["folder"] is None


async def test_a_folder_that_does_not_let_us_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    async with town(tmp_path, recipes_folder=str(folder)) as one:
        refused = await one.admin.put("/recipes/mine", json={"text": MINE})
        assert (refused.status_code, refused.json()["detail"]) == (
            503,
            "the folder of recipes: No such file or directory; nothing was changed",
        )
