"""Where recipes come from: those of the package, and those of the user's folder, read again when they change.

A file that is wrong is refused with a message, and what it said before stays in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .choosing import Index
from .recipe import MAX_BYTES, Recipe, RecipeError, parse

BUILTIN = Path(__file__).parent / "builtin"
MAX_FILES = 64
"""Of the user's folder."""


@dataclass(slots=True)
class _File:
    stamp: tuple[int, int, int]
    recipe: Recipe | None
    """The last that was right."""
    problem: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look at the folder brought, a line each. Problems are told once, when they come up."""

    loaded: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Shelf:
    """`reload` is called every few seconds, and does no more than look at the folder as long as nothing changes there.

    A recipe of the user takes the place of a built-in one of the same name. Raises `RecipeError` if a built-in one is wrong.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        """Of the user's recipes. Another one counts from the next `reload` on."""
        builtin = _builtin()
        self._builtin = {recipe.name: recipe for _, recipe in builtin}
        self._builtin_files = {recipe.name: path for path, recipe in builtin}
        self._files: dict[Path, _File] = {}
        self._told: frozenset[str] = frozenset()
        self.index = Index(self._builtin.values())
        self.problems: tuple[str, ...] = ()
        """What is wrong now."""

    def sizes(self) -> dict[str, int]:
        return {"recipes": len(self.index.recipes)}

    def reload(self) -> Changes:
        if self.folder is None and not self._files:
            return Changes()
        before = self._own()
        problems = [] if self.folder is None else self._look(self.folder)
        if self.folder is None:
            self._files = {}
        own = self._own()
        chosen: dict[str, tuple[Path, Recipe]] = {}
        for path, recipe in own.items():
            if recipe.name in chosen:
                first = chosen[recipe.name][0].name
                problems.append(f"{path.name}: name: {recipe.name!r} is taken by {first}; not used")
            else:
                chosen[recipe.name] = (path, recipe)
        if own != before:
            merged = self._builtin | {name: recipe for name, (_, recipe) in chosen.items()}
            self.index = Index(merged.values())
        self.problems = tuple(problems)
        new = tuple(problem for problem in problems if problem not in self._told)
        self._told = frozenset(problems)
        return Changes(
            loaded=tuple(path.name for path, recipe in own.items() if before.get(path) is not recipe),
            gone=tuple(path.name for path in before if path not in own),
            problems=new,
        )

    def own(self, name: str) -> Path | None:
        """The file of the user's recipe of that name that is in force. None: it is a built-in one, or there is none."""
        return next((path for path, recipe in self._own().items() if recipe.name == name), None)

    def text(self, name: str) -> str | None:
        """Of the recipe in force, as it stands in its file now; None: there is none. Raises `OSError` and `UnicodeDecodeError`."""
        path = self.own(name)
        if path is None and name in self._builtin:
            path = self._builtin_files[name]
        return None if path is None else path.read_text("utf-8")

    @property
    def files(self) -> int:
        """Of the user's folder."""
        return len(self._files)

    def _own(self) -> Mapping[Path, Recipe]:
        return {path: file.recipe for path, file in self._files.items() if file.recipe is not None}

    def _look(self, folder: Path) -> list[str]:
        """Brings `_files` up to date; returns what is wrong."""
        try:
            paths = sorted(path for path in folder.glob("*.toml") if not path.name.startswith("."))
        except OSError as exc:
            return [f"{folder}: {exc.strerror or exc}"]
        if not folder.is_dir():
            self._files = {}
            return [f"{folder}: no such folder"]
        files: dict[Path, _File] = {}
        for path in paths[:MAX_FILES]:
            files[path] = _looked_at(path, self._files.get(path))
        self._files = files
        problems = [file.problem for file in files.values() if file.problem is not None]
        problems += [f"{path.name}: not read: at most {MAX_FILES} files are" for path in paths[MAX_FILES:]]
        return problems


def _looked_at(path: Path, known: _File | None) -> _File:
    last = None if known is None else known.recipe
    kept = "" if last is None else " (what it said before stays in force)"
    stamp = (0, 0, 0)
    try:
        told = path.stat()
        stamp = (told.st_mtime_ns, told.st_size, told.st_ino)
        if known is not None and known.stamp == stamp:
            return known
        if not path.is_file():
            return _File(stamp, last, f"{path.name}: not a file{kept}")
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            return _File(stamp, last, f"{path.name}: larger than {MAX_BYTES // 1024} KB{kept}")
        return _File(stamp, parse(content.decode(), path.name, own=True), None)
    except OSError as exc:
        # Looked at again next time: what changes may be its mode, of which the stamp tells nothing.
        return _File((0, 0, 0), last, f"{path.name}: {exc.strerror or exc}{kept}")
    except UnicodeDecodeError as exc:
        return _File(stamp, last, f"{path.name}: not UTF-8: {exc.reason} at byte {exc.start}{kept}")
    except RecipeError as exc:
        return _File(stamp, last, f"{exc}{kept}")


def _builtin() -> list[tuple[Path, Recipe]]:
    return [(path, parse(path.read_text("utf-8"), path.name)) for path in sorted(BUILTIN.glob("*.toml"))]
