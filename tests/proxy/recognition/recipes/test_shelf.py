from __future__ import annotations

import os
from pathlib import Path

import pytest

from scalesim.proxy.recognition.recipes.recipe import MAX_BYTES
from scalesim.proxy.recognition.recipes.shelf import MAX_FILES, Changes, Shelf

from .test_recipe import CALL, HEAD, WHO


def written(path: Path, name: str, more: str = "") -> None:
    path.write_text(HEAD.replace("mine", name, 1) + CALL + WHO + more)
    # As an editor would much later.
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


def names(shelf: Shelf) -> set[str]:
    return {recipe.name for recipe in shelf.index.recipes} - {recipe.name for recipe in Shelf().index.recipes}


def test_without_a_folder_there_are_the_recipes_of_the_package() -> None:
    shelf = Shelf()
    assert shelf.sizes() == {"recipes": 11}
    assert shelf.reload() == Changes()


def test_files_come_change_and_go(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    assert shelf.reload() == Changes()
    written(tmp_path / "a.toml", "ours")
    assert shelf.reload() == Changes(loaded=("a.toml",))
    assert names(shelf) == {"ours"}
    before = shelf.index
    assert shelf.reload() == Changes()
    assert shelf.index is before
    written(tmp_path / "a.toml", "theirs")
    assert shelf.reload() == Changes(loaded=("a.toml",))
    assert names(shelf) == {"theirs"}
    (tmp_path / "a.toml").unlink()
    assert shelf.reload() == Changes(gone=("a.toml",))
    assert names(shelf) == set()


def test_an_invalid_file_is_refused_and_what_it_said_before_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    written(tmp_path / "a.toml", "ours")
    shelf.reload()
    written(tmp_path / "a.toml", "ours", "cofidence = 1")
    (problem,) = shelf.reload().problems
    assert problem.startswith("a.toml: calls[1].cofidence: unknown key; ")
    assert problem.endswith(" (what it said before stays in force)")
    assert names(shelf) == {"ours"}
    assert shelf.reload().problems == ()
    assert shelf.problems == (problem,)
    (tmp_path / "a.toml").write_text("#" * (MAX_BYTES + 1))
    assert shelf.reload().problems == ("a.toml: larger than 64 KB (what it said before stays in force)",)
    assert names(shelf) == {"ours"}
    written(tmp_path / "a.toml", "ours", "confidence = 1")
    assert shelf.reload() == Changes(loaded=("a.toml",))
    assert shelf.problems == ()


def test_an_invalid_file_does_not_keep_the_others_out(tmp_path: Path) -> None:
    written(tmp_path / "a.toml", "ours")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "c.toml").write_text("#" * (MAX_BYTES + 1))
    (tmp_path / "d.toml").mkdir()
    (tmp_path / "e.toml").symlink_to("nowhere")
    (tmp_path / ".f.toml").write_text("x")
    (tmp_path / "g.txt").write_text("x")
    shelf = Shelf(tmp_path)
    assert shelf.reload() == Changes(
        loaded=("a.toml",),
        problems=(
            "b.toml: not UTF-8: invalid start byte at byte 0",
            "c.toml: larger than 64 KB",
            "d.toml: not a file",
            "e.toml: No such file or directory",
        ),
    )
    assert names(shelf) == {"ours"}


def test_a_recipe_of_the_users_takes_the_place_of_a_built_in_one(tmp_path: Path) -> None:
    written(tmp_path / "a.toml", "oasis")
    shelf = Shelf(tmp_path)
    shelf.reload()
    assert [recipe.own for recipe in shelf.index.recipes if recipe.name == "oasis"] == [True]
    (tmp_path / "a.toml").unlink()
    shelf.reload()
    assert [recipe.own for recipe in shelf.index.recipes if recipe.name == "oasis"] == [False]


def test_of_two_files_with_one_name_the_first_counts(tmp_path: Path) -> None:
    for file in ("a.toml", "b.toml"):
        written(tmp_path / file, "ours")
    shelf = Shelf(tmp_path)
    assert shelf.reload().problems == ("b.toml: name: 'ours' is taken by a.toml; not used",)
    (tmp_path / "a.toml").unlink()
    assert shelf.reload() == Changes(gone=("a.toml",))
    assert names(shelf) == {"ours"}


def test_only_so_many_files_are_read(tmp_path: Path) -> None:
    for index in range(MAX_FILES + 1):
        written(tmp_path / f"{index:03}.toml", f"r{index}")
    shelf = Shelf(tmp_path)
    assert shelf.reload().problems == (f"{MAX_FILES:03}.toml: not read: at most {MAX_FILES} files are",)
    assert len(names(shelf)) == MAX_FILES


def test_a_folder_that_is_missing_is_told_once(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "later")
    assert shelf.reload().problems == (f"{tmp_path}/later: no such folder",)
    assert shelf.reload() == Changes()
    (tmp_path / "later").mkdir()
    written(tmp_path / "later" / "a.toml", "ours")
    assert shelf.reload() == Changes(loaded=("a.toml",))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_tried_again(tmp_path: Path) -> None:
    written(tmp_path / "a.toml", "ours")
    (tmp_path / "a.toml").chmod(0)
    shelf = Shelf(tmp_path)
    assert shelf.reload().problems == ("a.toml: Permission denied",)
    (tmp_path / "a.toml").chmod(0o600)
    assert shelf.reload() == Changes(loaded=("a.toml",))


def test_another_folder_takes_the_place_of_the_first_and_none_leaves_what_is_built_in(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder / "a.toml", folder)
    shelf = Shelf(tmp_path / "first")
    shelf.reload()
    shelf.folder = tmp_path / "second"
    shelf.reload()
    assert names(shelf) == {"second"}
    assert shelf.own("second") == tmp_path / "second" / "a.toml"
    shelf.folder = None
    assert shelf.reload().gone == ("a.toml",)
    assert (names(shelf), shelf.own("second")) == (set(), None)
