"""Which recipe a request belongs to: the one whose marks it has, and of several the one that fitted most calls lately.

All marks of all recipes are looked for in one pass over the messages in which they may stand, some 2 us a kilobyte. Once a
simulation is known, its recipe is asked first, mark by mark, and the others only now and then.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..prompt import Message, Prompt
from .patterns import Literals
from .reading import Read, messages_at, pieces, read
from .recipe import Call, Place, Recipe

MARKED = 4 * 1024
"""Characters of a message in which marks are looked for: so many from its beginning, and so many to its end."""
LATELY = 64
"""Calls of a simulation or an API key by which recipes are counted: such as all of them were asked of."""
FIRST = 64
EVERY, EVERY_FITTING = 16, 128
"""All recipes are asked of the first so many calls of a key, of every so many later, and of those that its own does not fit: of
each 16th where there is no such recipe, of each 128th where there is one."""
_MAX_SHAPES = 512
MAX_KEYS = 1024
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})

_Marks = tuple[tuple[int, str], ...]
"""Of a call: the numbers of their places, and their texts."""


class _Kind(NamedTuple):
    recipe: Recipe
    order: int
    call: Call
    marks: _Marks


class _Shape(NamedTuple):
    """Of requests with these roles in this order."""

    at: tuple[tuple[int, ...], ...]
    """By the number of a place: which messages are meant, in the order in which they are tried."""
    looked_at: tuple[int, ...]
    """All of these."""


class Index:
    """All recipes, and their marks in one table. The recipes do not change: a new index takes its place."""

    __slots__ = ("_calls", "_kinds", "_literals", "_places", "_shapes", "recipes")

    def __init__(self, recipes: Iterable[Recipe] = ()) -> None:
        self.recipes: Sequence[Recipe] = tuple(recipes)
        # By its longest mark: what is not there need not be looked at.
        self._kinds: dict[str, list[_Kind]] = {}
        self._calls: dict[str, list[_Kind]] = {}
        numbers: dict[Place, int] = {}
        words: dict[str, None] = {}
        for recipe in self.recipes:
            for order, call in enumerate(recipe.calls):
                marks = tuple(
                    (numbers.setdefault(mark.place, len(numbers)), mark.text) for mark in call.marks
                )
                kind = _Kind(recipe, order, call, marks)
                longest = max(call.marks, key=lambda mark: len(mark.text))
                self._kinds.setdefault(longest.text, []).append(kind)
                self._calls.setdefault(recipe.name, []).append(kind)
                words.update(dict.fromkeys(word for _, word in marks))
        self._literals = Literals(words)
        self._places = tuple(numbers)
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def fitting(self, prompt: Prompt) -> list[tuple[Recipe, Call]]:
        """Of each recipe that has a call with all its marks in the request, the first."""
        messages = prompt.messages
        at, looked_at = self._shape(messages)
        there = {index: self._marks_in(messages[index]) for index in looked_at}
        found: dict[str, _Kind] = {}
        for word in dict.fromkeys(word for words in there.values() for word in words):
            for kind in self._kinds.get(word, ()):
                best = found.get(kind.recipe.name)
                if best is not None and best.order < kind.order:
                    continue
                if all(any(text in there[i] for i in at[number]) for number, text in kind.marks):
                    found[kind.recipe.name] = kind
        return [(kind.recipe, kind.call) for kind in found.values()]

    def fits(self, recipe: Recipe, prompt: Prompt) -> Call | None:
        """As `fitting`, of one recipe."""
        messages = prompt.messages
        at = self._shape(messages).at
        for kind in self._calls[recipe.name]:
            for number, word in kind.marks:
                for index in at[number]:
                    if _has(word, messages[index].text):
                        break
                else:
                    break
            else:
                return kind.call
        return None

    @property
    def shapes(self) -> int:
        """Sequences of roles for which the places of marks are kept."""
        return len(self._shapes)

    def _shape(self, messages: Sequence[Message]) -> _Shape:
        # Roles are texts of the client's, of any length.
        shape = tuple([message.role if message.role in _ROLES else "" for message in messages])
        known = self._shapes.get(shape)
        if known is None:
            if len(self._shapes) == _MAX_SHAPES:
                self._shapes.clear()
            at = tuple(tuple(messages_at(place, messages)) for place in self._places)
            looked_at = tuple(sorted({index for some in at for index in some}))
            known = self._shapes[shape] = _Shape(at, looked_at)
        return known

    def _marks_in(self, message: Message) -> Sequence[str]:
        looked_at = pieces(message.text, MARKED)
        if len(looked_at) == 1:
            return self._literals.in_(looked_at[0])
        return [word for piece in looked_at for word in self._literals.in_(piece)]


def _has(word: str, text: str) -> bool:
    if len(text) <= 2 * MARKED:
        return word in text
    return text.find(word, 0, MARKED) >= 0 or text.find(word, len(text) - MARKED) >= 0


class Chooser:
    """Reads requests. Keeps which recipes fitted the last calls of each simulation or API key, for at most `max_keys` of them.

    Begins anew when the recipes change.
    """

    def __init__(self, *, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._lately: OrderedDict[str, _Lately] = OrderedDict()
        self._index: Index | None = None

    def sizes(self) -> dict[str, int]:
        shapes = 0 if self._index is None else self._index.shapes
        return {"recipe_keys": len(self._lately), "recipe_shapes": shapes}

    def read(self, index: Index, key: str, prompt: Prompt) -> Read | None:
        """`key` is the simulation if it was told, else what stands for the API key. None: no recipe knows such requests."""
        if index is not self._index:
            self._index = index
            self._lately.clear()
        lately = self._of(key)
        if not lately.all_due():
            if lately.favourite is None:
                return None
            call = index.fits(lately.favourite, prompt)
            if call is not None:
                return read(lately.favourite, call, prompt)
        fitting = index.fitting(prompt)
        lately.fitted([recipe for recipe, _ in fitting])
        # The names last, so that the order of the marks in the request decides nothing.
        fitting.sort(key=lambda one: (lately.calls(one[0]), one[0].own, one[1].weight, one[0].name))
        lately.favour(fitting[-1][0] if fitting else None)
        return read(*fitting[-1], prompt) if fitting else None

    def _of(self, key: str) -> _Lately:
        lately = self._lately.get(key)
        if lately is None:
            lately = self._lately[key] = _Lately()
            if len(self._lately) > self._max_keys:
                self._lately.popitem(last=False)
        else:
            self._lately.move_to_end(key)
        return lately


class _Lately:
    """How often each recipe fitted, of the last calls that all were asked of."""

    __slots__ = ("_asked", "_counts", "_last", "favourite")

    def __init__(self) -> None:
        self._asked = 0
        self._counts: dict[str, int] = {}
        self._last: deque[list[str]] = deque()
        self.favourite: Recipe | None = None
        """What fitted most often. None: nothing did."""

    def all_due(self) -> bool:
        self._asked += 1
        # Not of calls whose prompts are learned from (`learned.pace`): those are dear enough.
        every = EVERY if self.favourite is None else EVERY_FITTING
        return self._asked <= FIRST or self._asked % every == every - 1

    def calls(self, recipe: Recipe) -> int:
        return self._counts.get(recipe.name, 0)

    def fitted(self, recipes: list[Recipe]) -> None:
        counts, last = self._counts, self._last
        if len(last) == LATELY:
            for name in last.popleft():
                counts[name] -= 1
        last.append([recipe.name for recipe in recipes])
        for recipe in recipes:
            counts[recipe.name] = counts.get(recipe.name, 0) + 1

    def favour(self, recipe: Recipe | None) -> None:
        """What was chosen now is asked first from now on, unless another fitted more often."""
        known = self.favourite
        if recipe is not None and (known is None or self.calls(recipe) >= self.calls(known)):
            self.favourite = recipe
        elif known is not None and not self.calls(known):
            self.favourite = None
