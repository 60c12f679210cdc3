"""What a recipe may say: frozen data, read from TOML and checked by hand, so that each error names the file, the key and the value.

`docs/recipes.md` has the format in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Never, TypeVar

from scalesim.proxy.core.durations import MAX_RULES, RULES, Reading, Rule, Scale
from scalesim.proxy.core.model import Clock
from scalesim.proxy.toml_text import NotToml, loads

from .patterns import Pattern
from .places_in_toml import line_of

Made = TypeVar("Made")

MAX_BYTES = 64 * 1024
"""Of a file."""
MAX_CALLS = 32
MAX_MARKS = 8
MAX_ALL_MARKS = 64
"""Of a recipe. A request in which none of them is costs some .1 ms then, and 1 ms if they may be in `any` message."""
MAX_ALTERNATIVES = 4
MAX_TEXT = 200
"""Characters of any text in a recipe, but for notes and patterns."""
MIN_MARK = 8
"""Characters: a shorter text says nothing of who wrote it."""
_MAX_NOTE = 2_000


class RecipeError(ValueError):
    """Says which file and which key, and what is there to choose from."""

    def __init__(self, message: str, *, key: str = "", line: int | None = None) -> None:
        super().__init__(message)
        self.key = key
        """Where it is, like `calls[2].marks[1].text`; empty: nowhere in particular."""
        self.line = line
        """Of the text, from 1 on; None: not known."""


class Which(StrEnum):
    # That of an enumeration is written in Python, and places are keys of tables.
    __hash__ = str.__hash__

    FIRST = "first"
    LAST = "last"
    ANY = "any"
    """The first of them in which there is what is looked for."""
    LATEST = "latest"
    """The last of them in which there is what is looked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which message: `first system`, `last user`, `any tool`, `latest user`, `user 3`."""

    role: str
    """As it was sent; `system` stands for `developer` too, `message` for every role."""
    which: Which | int

    def __str__(self) -> str:
        return f"{self.role} {self.which}" if isinstance(self.which, int) else f"{self.which} {self.role}"


@dataclass(frozen=True, slots=True)
class Mark:
    """A text that stands in every request of a kind, and in no others."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Find:
    """Where in a request something stands: behind `after` (each word behind the one before), up to the first of `until`, or
    as `pattern` has it, or at `json` in the value that begins there."""

    place: Place
    after: tuple[str, ...] = ()
    from_end: bool = False
    """The first word of `after` is looked for from the end of the message."""
    until: tuple[str, ...] = ()
    pattern: Pattern | None = None
    json: tuple[str, ...] | None = None
    """Keys and indices; none: the value itself."""
    format: str = "number"
    """Of a clock: `number`, `iso`, or as `strptime` has it."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of request that a framework makes."""

    name: str
    marks: tuple[Mark, ...]
    who: tuple[Find, ...]
    """In this order. None: the request itself does not say who calls."""
    caller: str | None
    """All of these calls come from one caller of its own kind, and no agent: a game master, an evaluator."""
    confidence: float
    step: Find | None
    from_answer: bool
    """The request repeats an answer: it comes from whoever got that."""
    ends: bool
    """With its answer the agent has decided: its activation ends."""
    reading: Reading | None
    """How long the agent acts now, read out of the answer."""

    @property
    def weight(self) -> int:
        """How specific its marks are."""
        return sum(len(mark.text) for mark in self.marks)


@dataclass(frozen=True, slots=True)
class Source:
    """What the recipe was read from."""

    package: str
    """A package of PyPI or a repository."""
    version: str
    file: str


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    framework: str
    read_from: Source
    verified: bool
    """A real run of the framework was recognised with it."""
    clock: str
    """What `step` counts: `steps`, or `minutes` of the simulated world."""
    calls: tuple[Call, ...]
    """The first whose marks a request has is the one."""
    note: str = ""
    own: bool = False
    """From the user's folder."""


def parse(text: str, file: str, *, own: bool = False) -> Recipe:
    """Raises `RecipeError`."""
    try:
        value = loads(text)
    except NotToml as exc:
        raise RecipeError(f"{file}: not TOML: {exc}", line=exc.line) from exc
    try:
        return _recipe(_Table(value, file, ""), own)
    except RecipeError as exc:
        exc.line = line_of(text, exc.key)
        raise


def place_of(text: str) -> Place:
    """Raises `ValueError`."""
    words = text.split()
    roles = ("system", "user", "assistant", "tool", "message")
    if len(words) == 2:
        if words[0] in tuple(Which) and words[1] in roles:
            return Place(words[1], Which(words[0]))
        if words[0] in roles and words[1].isdecimal() and 1 <= int(words[1]) <= 8:
            return Place(words[0], int(words[1]))
    raise ValueError(
        f"must be first, last, any or latest and one of {', '.join(roles)}, or one of them and 1 to 8, not {text!r}"
    )


class _Table:
    """A table of the file whose keys are taken one by one; what is left in the end is unknown."""

    def __init__(self, value: Mapping[str, object], file: str, path: str) -> None:
        self._left = dict(value)
        self._file = file
        self._path = path

    def refuse(self, key: str, why: str) -> Never:
        raise RecipeError(f"{self._file}: {self._path}{key}: {why}", key=f"{self._path}{key}")

    def taken(self, known: Sequence[str]) -> None:
        for key in self._left:
            self.refuse(str(key), f"unknown key; there are {', '.join(known)}")

    def text(self, key: str, default: str | None = None, *, most: int = MAX_TEXT, least: int = 1) -> str:
        value = self._left.pop(key, default)
        if value is None:
            self.refuse(key, "is missing")
        if not isinstance(value, str) or (value != default and not least <= len(value) <= most):
            self.refuse(key, f"must be a text of {least} to {most} characters, not {_shown(value)}")
        return value

    def yes(self, key: str, default: bool | None = None) -> bool:
        value = self._left.pop(key, default)
        if value is None:
            self.refuse(key, "is missing")
        if not isinstance(value, bool):
            self.refuse(key, f"must be true or false, not {_shown(value)}")
        return value

    def number(self, key: str, default: float | None, low: float, high: float) -> float | None:
        value = self._left.pop(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.refuse(key, f"must be a number from {low:g} to {high:g}, not {_shown(value)}")
        return float(value)

    def texts(self, key: str, *, least: int = 1, most: int = 4) -> tuple[str, ...]:
        """One text or a list of them; () if there is none."""
        value = self._left.pop(key, [])
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or len(values) > most:
            self.refuse(key, f"must be a text or a list of at most {most}, not {_shown(value)}")
        for one in values:
            if not isinstance(one, str) or not least <= len(one) <= MAX_TEXT:
                self.refuse(key, f"must hold texts of {least} to {MAX_TEXT} characters, not {_shown(one)}")
        return tuple(values)

    def table(self, key: str) -> _Table | None:
        value = self._left.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse(key, f"must be a table, not {_shown(value)}")
        return _Table(value, self._file, f"{self._path}{key}.")

    def tables(self, key: str, most: int) -> list[_Table]:
        """One table or a list of them."""
        value = self._left.pop(key, [])
        values = [value] if isinstance(value, dict) else value
        if not isinstance(values, list) or len(values) > most:
            self.refuse(key, f"must be at most {most} tables, not {_shown(value)}")
        for one in values:
            if not isinstance(one, dict):
                self.refuse(key, f"must hold tables, not {_shown(one)}")
        return [
            _Table(one, self._file, f"{self._path}{key}[{index}].") for index, one in enumerate(values, 1)
        ]

    def mixed(self, key: str, most: int) -> list[str | _Table]:
        """A list of texts and tables."""
        value = self._left.pop(key, [])
        if not isinstance(value, list) or len(value) > most:
            self.refuse(key, f"must be a list of at most {most}, not {_shown(value)}")
        found: list[str | _Table] = []
        for index, one in enumerate(value, 1):
            if isinstance(one, dict):
                found.append(_Table(one, self._file, f"{self._path}{key}[{index}]."))
            elif isinstance(one, str):
                found.append(one)
            else:
                self.refuse(key, f"must hold names of rules and tables, not {_shown(one)}")
        return found

    def made(self, key: str, make: Callable[[], Made]) -> Made:
        """What `make` makes of the value of `key`; its `ValueError` names the key."""
        try:
            return make()
        except RecipeError:
            raise
        except ValueError as exc:
            self.refuse(key, str(exc))


_RECIPE = ("name", "framework", "read_from", "verified", "clock", "minutes_per_step", "note", "calls")
_SOURCE = ("package", "version", "file")
_CALL = ("name", "marks", "who", "caller", "confidence", "step", "from_answer", "ends", "durations")
_MARK = ("in", "text")
_FIND = ("in", "after", "from_end", "until", "pattern", "json")
_STEP = (*_FIND, "format")
_RULE = ("name", "pattern", "unit", "factor", "needs", "whole")
_CLOCKS = ("steps", "minutes")
_DAYTIME = frozenset({"day", "hour", "minute", "second"})


def _recipe(table: _Table, own: bool) -> Recipe:
    name = table.text("name", most=40)
    if not all(char.isascii() and (char.isalnum() or char in "-_.") for char in name):
        table.refuse("name", f"must be of a-z 0-9 - _ . only, not {name!r}")
    source = table.table("read_from")
    if source is None:
        table.refuse("read_from", "is missing")
    read_from = Source(source.text("package"), source.text("version"), source.text("file"))
    source.taken(_SOURCE)
    clock = table.text("clock", "steps")
    if clock not in _CLOCKS:
        table.refuse("clock", f"must be {' or '.join(_CLOCKS)}, not {clock!r}")
    minutes = table.number("minutes_per_step", None, 1e-4, 1e6)
    if clock == "minutes" and minutes is not None:
        table.refuse("minutes_per_step", "only where the clock counts steps")
    # A clock of minutes is one whose steps are a minute long.
    scale = Scale(Clock.STEPS, 1.0 if clock == "minutes" else 1 / minutes if minutes else 1.0)
    scaled = clock == "minutes" or minutes is not None
    recipe = Recipe(
        name=name,
        framework=table.text("framework"),
        read_from=read_from,
        verified=table.yes("verified"),
        clock=clock,
        calls=tuple(_call(one, scale, scaled) for one in table.tables("calls", MAX_CALLS)),
        note=table.text("note", "", most=_MAX_NOTE),
        own=own,
    )
    table.taken(_RECIPE)
    if not recipe.calls:
        table.refuse("calls", "is missing: without calls nothing is recognised")
    marks = sum(len(call.marks) for call in recipe.calls)
    if marks > MAX_ALL_MARKS:
        table.refuse("calls", f"all together may have {MAX_ALL_MARKS} marks, not {marks}")
    names = [call.name for call in recipe.calls]
    for one in names:
        if names.count(one) > 1:
            table.refuse("calls", f"two of them are named {one!r}")
    return recipe


def _call(table: _Table, scale: Scale, scaled: bool) -> Call:
    name = table.text("name")
    marks = tuple(_mark(one) for one in table.tables("marks", MAX_MARKS))
    if not marks:
        table.refuse("marks", "is missing: a call is recognised by its marks")
    who = tuple(_find(one, "name") for one in table.tables("who", MAX_ALTERNATIVES))
    caller = table.text("caller", "")
    from_answer = table.yes("from_answer", False)
    if who and caller:
        table.refuse("caller", "a call has who or caller, not both")
    confidence = table.number("confidence", 0.9, 0.0, 1.0)
    step = table.table("step")
    call = Call(
        name=name,
        marks=marks,
        who=who,
        caller=caller or None,
        confidence=0.0 if confidence is None else confidence,
        step=None if step is None else _find(step, "step"),
        from_answer=from_answer,
        ends=table.yes("ends", False),
        reading=_durations(table, scale, scaled),
    )
    table.taken(_CALL)
    return call


def _mark(table: _Table) -> Mark:
    mark = Mark(_place(table), table.text("text", least=MIN_MARK))
    table.taken(_MARK)
    return mark


def _place(table: _Table) -> Place:
    text = table.text("in")
    return table.made("in", lambda: place_of(text))


def _find(table: _Table, of: str) -> Find:
    """`of`: `name` or `step`, the group that a pattern must have."""
    place = _place(table)
    after = table.texts("after")
    from_end = table.yes("from_end", False)
    until = table.texts("until", least=0)
    text = table.text("pattern", "", most=10_000)
    path = table.text("json", "")
    if (bool(until), bool(text), bool(path)).count(True) != 1:
        table.refuse("until", "there must be one of until, pattern and json")
    if from_end and not after:
        table.refuse("from_end", "needs after")
    pattern = table.made("pattern", lambda: Pattern(text)) if text else None
    if pattern is not None:
        groups = pattern.groups
        if not (groups == {of} or (of == "step" and "hour" in groups and groups <= _DAYTIME)):
            wanted = f"(?P<{of}>…)" + (" or day, hour, minute and second" if of == "step" else "")
            table.refuse("pattern", f"its group must be {wanted}, not {', '.join(sorted(groups)) or 'none'}")
    form = table.text("format", "number") if of == "step" else "number"
    if form not in ("number", "iso") and "%" not in form:
        table.refuse("format", f"must be number, iso or like %Y-%m-%d %H:%M, not {form!r}")
    table.taken(_STEP if of == "step" else _FIND)
    where = f" behind {' … '.join(repr(word) for word in after)}" if after else ""
    return Find(
        place=place,
        after=after,
        from_end=from_end,
        until=until,
        pattern=pattern,
        json=tuple(part for part in path.split(".") if part) if path else None,
        format=form,
        why=f"in the {place} message{where}",
    )


def _durations(table: _Table, scale: Scale, scaled: bool) -> Reading | None:
    known = {rule.name: rule for rule in RULES}
    rules: list[Rule] = []
    for one in table.mixed("durations", MAX_RULES):
        if isinstance(one, _Table):
            rules.append(_rule(one))
        elif one in known:
            rules.append(known[one])
        else:
            table.refuse("durations", f"there is no rule {one!r}; there are {', '.join(known)}")
    if not rules:
        return None
    if not scaled:
        table.refuse("durations", 'needs clock = "minutes", or minutes_per_step')
    return table.made("durations", lambda: Reading(tuple(rules), scale))


def _rule(table: _Table) -> Rule:
    name = table.text("name")
    pattern = table.text("pattern", most=1_000)
    unit = table.text("unit", "minutes")
    factor = table.number("factor", 1.0, 1e-6, 1e6)
    needs = table.texts("needs", most=8)
    whole = table.yes("whole", False)
    table.taken(_RULE)
    return table.made("pattern", lambda: Rule(name, pattern, unit, factor or 1.0, needs, whole))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
