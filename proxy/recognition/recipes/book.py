"""The recipes in force, as operators see and change them: those of the user's folder are written and deleted here, one change at a
time, and every change is in force once it was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from scalesim.proxy import whole_file

from .choosing import Index
from .recipe import MAX_BYTES, Recipe, RecipeError, parse
from .shelf import MAX_FILES, Changes, Shelf


class BookRefused(Exception):
    """Nothing was changed; the message says why."""


class NoFolder(BookRefused):
    """There is no folder for recipes of one's own: set `recipes_folder`."""


class UnknownRecipe(BookRefused):
    """There is none of that name."""


class IsBuiltIn(BookRefused):
    """It comes with the proxy: only one of the user's can take its place."""


class FolderFull(BookRefused):
    """The folder holds as many files as are read, or another recipe in the file of that name."""


class CannotWrite(BookRefused):
    """The disk, or the folder, does not let us."""


class Book:
    """`opened` is told of the recipes whenever they were read."""

    def __init__(self, shelf: Shelf, opened: Callable[[Index], None] = lambda _: None) -> None:
        self.shelf = shelf
        self._opened = opened
        self._turn = asyncio.Lock()

    async def reload(self) -> Changes:
        """What changed in the folder since it was last looked at; it may be on a slow disk."""
        async with self._turn:
            return await self._reload()

    def find(self, name: str) -> Recipe:
        """Raises `UnknownRecipe`."""
        found = next((one for one in self.shelf.index.recipes if one.name == name), None)
        if found is None:
            raise UnknownRecipe(f"there is no recipe {name!r}")
        return found

    async def text(self, name: str) -> str:
        """As it stands in its file now. Raises `UnknownRecipe` and `CannotWrite`."""
        self.find(name)
        try:
            text = await asyncio.to_thread(self.shelf.text, name)
        except (OSError, UnicodeDecodeError) as exc:
            raise CannotWrite(f"the file of {name!r} cannot be read: {exc}") from exc
        if text is None:
            raise UnknownRecipe(f"there is no recipe {name!r} any more")
        return text

    async def put(self, name: str, text: str) -> bool:
        """Whether it is new in the folder. It takes the place of the user's recipe of that name, or of a built-in one. Raises
        `RecipeError` and `BookRefused`."""
        async with self._turn:
            folder = self._folder()
            recipe = await asyncio.to_thread(checked, text)  # a long text takes its time
            if recipe.name != name:
                raise RecipeError(
                    f"name: the text says {recipe.name!r}, and it is to be kept as {name!r}",
                    key="name",
                    line=1,
                )
            known = self.shelf.own(name)
            path = known or folder / f"{name}.toml"
            if known is None and self.shelf.files >= MAX_FILES:
                raise FolderFull(f"the folder has {MAX_FILES} files, and no more are read: delete one")
            if known is None and await asyncio.to_thread(path.exists):
                raise FolderFull(f"{path.name} is there, and holds another recipe, or one that is wrong")
            await _to_disk(_write, path, text)
            await self._reload()
            return known is None

    async def delete(self, name: str) -> None:
        """Raises `BookRefused`."""
        async with self._turn:
            self._folder()
            self.find(name)
            path = self.shelf.own(name)
            if path is None:
                raise IsBuiltIn(
                    f"the recipe {name!r} comes with the proxy and cannot be deleted; one of your own with its name takes its place"
                )
            await _to_disk(path.unlink)
            await self._reload()

    def _folder(self) -> Path:
        """Raises `NoFolder`."""
        if self.shelf.folder is None:
            raise NoFolder("there is no folder for recipes of your own: set recipes_folder")
        return self.shelf.folder

    async def _reload(self) -> Changes:
        changes = await asyncio.to_thread(self.shelf.reload)
        self._opened(self.shelf.index)
        return changes


def checked(text: str) -> Recipe:
    """As one of the user's. Raises `RecipeError`."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise RecipeError(f"it is larger than {MAX_BYTES // 1024} KB")
    return parse(text, "recipe", own=True)


def with_recipe(index: Index, recipe: Recipe) -> Index:
    """As if it were in the folder, too."""
    return Index((*(one for one in index.recipes if one.name != recipe.name), recipe))


async def _to_disk(act: Callable[..., None], *arguments: object) -> None:
    """Raises `CannotWrite`."""
    try:
        await asyncio.to_thread(act, *arguments)
    except OSError as exc:
        raise CannotWrite(f"the folder of recipes: {exc.strerror or exc}") from exc


def _write(path: Path, text: str) -> None:
    whole_file.replace(path, text.encode("utf-8", "replace"), 0o644)  # what is new is hidden, and not read
