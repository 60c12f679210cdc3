from __future__ import annotations

from scalesim.proxy.recognition.recipes.choosing import (
    EVERY,
    EVERY_FITTING,
    FIRST,
    LATELY,
    MARKED,
    Chooser,
    Index,
)
from scalesim.proxy.recognition.recipes.recipe import Recipe, parse

from .forms import prompt


def recipe(name: str, *calls: tuple[str, str], own: bool = False) -> Recipe:
    """Of calls with their names and marks."""
    head = f"name = '{name}'\nframework = 'x'\nverified = false\nread_from = {{ package = 'x', version = '1', file = 'x' }}\n"
    kinds = (
        f"[[calls]]\nname = '{call}'\nmarks = [{{ in = 'last user', text = '{mark}' }}]\ncaller = '{call}'\n"
        for call, mark in calls
    )
    return parse(head + "".join(kinds), f"{name}.toml", own=own)


def chosen(chooser: Chooser, index: Index, text: str, key: str = "") -> tuple[str, str] | None:
    read = chooser.read(index, key, prompt(("user", text)))
    return None if read is None else (read.recipe, read.call)


def test_the_first_call_whose_marks_are_there_is_the_one() -> None:
    index = Index([recipe("town", ("master", "You are the master"), ("act", "You are the"))])
    assert chosen(Chooser(), index, "You are the master of all") == ("town", "master")
    assert chosen(Chooser(), index, "You are the baker") == ("town", "act")
    assert chosen(Chooser(), index, "You are a baker") is None


def test_of_two_that_fit_a_first_call_the_more_specific_one_is_chosen_and_the_users_before_all() -> None:
    short, long = recipe("short", ("act", "You are the")), recipe("long", ("act", "You are the baker"))
    assert chosen(Chooser(), Index([long, short]), "You are the baker") == ("long", "act")
    own = recipe("own", ("act", "You are the"), own=True)
    assert chosen(Chooser(), Index([long, own]), "You are the baker") == ("own", "act")


def test_of_two_that_fit_the_one_that_fitted_more_calls_lately_is_chosen_for_each_key() -> None:
    index = Index(
        [
            recipe("town", ("act", "You are the"), ("rest", "Time to rest")),
            recipe("city", ("act", "You are the baker")),
        ]
    )
    chooser = Chooser()
    assert chosen(chooser, index, "You are the baker", "a") == ("city", "act")
    assert chosen(chooser, index, "Time to rest", "a") == ("town", "rest")
    assert chosen(chooser, index, "You are the baker", "a") == ("town", "act")
    assert chosen(chooser, index, "You are the baker", "b") == ("city", "act")


def test_what_fitted_long_ago_does_not_count() -> None:
    index = Index(
        [
            recipe("town", ("act", "You are the"), ("rest", "Time to rest")),
            recipe("city", ("act", "You are the baker")),
        ]
    )
    chooser = Chooser()
    chosen(chooser, index, "Time to rest")
    found = [chosen(chooser, index, "You are the baker") for _ in range(LATELY + 2 * EVERY_FITTING)]
    assert found[: LATELY - 1] == [("town", "act")] * (LATELY - 1)
    assert found[-1] == ("city", "act")


def test_the_recipe_of_a_simulation_that_is_known_is_asked_first() -> None:
    index = Index([recipe("town", ("act", "You are the"), ("rest", "Time to rest"))])
    chooser = Chooser()
    for _ in range(FIRST + 2 * EVERY):
        assert chosen(chooser, index, "You are the baker") == ("town", "act")
        assert chosen(chooser, index, "Time to rest") == ("town", "rest")
        assert chosen(chooser, index, "Hello") is None


def test_another_simulation_under_the_same_key_is_known_too() -> None:
    index = Index([recipe("town", ("act", "You are the")), recipe("city", ("act", "You live in"))])
    chooser = Chooser()
    for _ in range(FIRST + EVERY):
        chosen(chooser, index, "You are the baker")
    for _ in range(EVERY):
        assert chosen(chooser, index, "You live in Oslo") == ("city", "act")
        assert chosen(chooser, index, "You are the baker") == ("town", "act")


def test_where_nothing_is_known_for_long_only_some_calls_are_looked_at() -> None:
    index = Index([recipe("town", ("act", "You are the"))])
    chooser = Chooser()
    for _ in range(FIRST):
        assert chosen(chooser, index, "Hello") is None
    known = [chosen(chooser, index, "You are the baker") is not None for _ in range(3 * EVERY)]
    assert known == [False] * (EVERY - 2) + [True] * (2 * EVERY + 2)


def test_new_recipes_are_asked_at_once() -> None:
    old = recipe("town", ("act", "You are the"))
    chooser = Chooser()
    for _ in range(FIRST + EVERY):
        chosen(chooser, Index([old]), "You are the baker")
    index = Index([old, recipe("own", ("act", "You are the"), own=True)])
    assert chosen(chooser, index, "You are the baker") == ("own", "act")


def test_keys_are_forgotten() -> None:
    chooser = Chooser(max_keys=3)
    index = Index([recipe("town", ("act", "You are the"))])
    for key in range(10):
        chosen(chooser, index, "You are the baker", str(key))
        chosen(chooser, index, "Hello", f"other {key}")
    assert chooser.sizes() == {"recipe_keys": 3, "recipe_shapes": 1}


def test_sequences_of_roles_are_forgotten_and_unknown_roles_are_one() -> None:
    chooser = Chooser()
    index = Index([recipe("town", ("act", "You are the"))])
    for number in range(1_000):
        chooser.read(index, "", prompt((f"role {number}", "x"), ("user", "You are the")))
    assert chooser.sizes()["recipe_shapes"] == 1
    for number in range(1_000):
        roles = ["user" if number >> bit & 1 else "assistant" for bit in range(10)]
        chooser.read(index, str(number), prompt(*[(role, "You are the") for role in roles]))
    assert chooser.sizes()["recipe_shapes"] <= 512


def test_marks_are_looked_for_at_the_beginning_and_the_end_of_a_message() -> None:
    index = Index([recipe("town", ("act", "You are the"))])
    far = "x" * MARKED
    assert chosen(Chooser(), index, f"You are the{far}{far}") == ("town", "act")
    assert chosen(Chooser(), index, f"{far}{far}You are the") == ("town", "act")
    assert chosen(Chooser(), index, f"{far}You are the{far}") is None


def test_without_recipes_nothing_is_known() -> None:
    assert chosen(Chooser(), Index(), "You are the baker") is None
    assert Chooser().read(Index(), "", prompt()) is None
