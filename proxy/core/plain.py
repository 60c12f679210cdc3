"""Values of the core as plain ones (numbers, strings, lists, None), and back: what is written down so that another process
can read it.

The form follows from the types alone, so reading checks everything: `Garbled` is raised for whatever is not of its type.
Objects are lists of their fields, in order; unions of classes say which. Moments in seconds are moved between clocks by
`shift`: it is added when a value is written, and taken off again when it is read.
"""

from __future__ import annotations

import math
import types
import typing
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Annotated, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

from .model import Clock, Moment

Plain = object
"""None, a bool, an int, a float, a string, or a list of these."""
Write = Callable[[typing.Any, float], Plain]
Read = Callable[[Plain, float], typing.Any]

_NO_NUMBERS = {"inf": math.inf, "-inf": -math.inf}
"""What JSON has no number for."""


class Garbled(ValueError):
    """It was written by another version, or damaged: leave it alone."""


class _At:
    """Marks a float as a moment in seconds."""


At = Annotated[float, _At()]


class Form(NamedTuple):
    """How values of one type are written and read."""

    write: Write
    read: Read


@dataclass(frozen=True, slots=True)
class Fields:
    """Of a class that has no types in its fields' declarations, or others than its objects are written with."""

    types: Mapping[str, object]
    """Of the fields that are written, in order; all others are left as a new object has them."""
    made: Callable[[], object]
    """A new object, whose fields are then set."""


class Forms:
    """Of all types, made when they are first asked for."""

    def __init__(
        self, special: Mapping[type, Fields] | None = None, known: Mapping[object, Form] | None = None
    ) -> None:
        """`special` and `known`: classes that have another form than their declarations say."""
        self._special = dict(special or {})
        self._known = {**_SIMPLE, Moment: _MOMENT, **(known or {})}

    def of(self, kind: object) -> Form:
        found = self._known.get(kind)
        if found is None:
            found = self._known[kind] = self._made(kind)
        return found

    def _made(self, kind: object) -> Form:
        if isinstance(kind, typing.NewType):
            return self.of(kind.__supertype__)
        origin, args = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return _AT
        if origin in (Union, types.UnionType):
            return self._union(args)
        if origin in (tuple, list, frozenset, deque, Sequence):
            return self._sequence(cast("type", origin), args)
        if origin in (dict, OrderedDict, Mapping):
            return self._mapping(cast("type", origin), args)
        if isinstance(kind, type):
            if issubclass(kind, Enum):
                return _enum(kind)
            if kind in self._special:
                return self._object(kind, self._special[kind])
            if is_dataclass(kind) or issubclass(kind, tuple):
                return self._built(kind)
        raise TypeError(f"there is no form for {kind!r}")

    def _union(self, args: tuple[object, ...]) -> Form:
        some = [one for one in args if one is not types.NoneType]
        form = self._tagged(some) if len(some) > 1 else self.of(some[0])
        if len(some) == len(args):
            return form
        write, read = form
        return Form(
            lambda value, shift: None if value is None else write(value, shift),
            lambda plain, shift: None if plain is None else read(plain, shift),
        )

    def _tagged(self, kinds: Sequence[object]) -> Form:
        """One of several classes: its name comes first."""
        by_type = {kind: self.of(kind) for kind in kinds}
        names = {cast("type", kind).__name__: form for kind, form in by_type.items()}

        def write(value: object, shift: float) -> Plain:
            kind = type(value)
            return [kind.__name__, by_type[kind].write(value, shift)]

        def read(plain: Plain, shift: float) -> object:
            items = _items(plain, 2)
            form = names.get(items[0]) if isinstance(items[0], str) else None
            if form is None:
                raise Garbled(f"there is no {items[0]!r}")
            return form.read(items[1], shift)

        return Form(write, read)

    def _sequence(self, origin: type, args: tuple[object, ...]) -> Form:
        if origin is tuple and args[-1] is not Ellipsis:
            return self._fixed([self.of(one) for one in args], tuple)
        write, read = self.of(args[0])
        made = tuple if origin is Sequence else origin
        return Form(
            lambda value, shift: [write(one, shift) for one in value],
            lambda plain, shift: made([read(one, shift) for one in _items(plain)]),
        )

    def _mapping(self, origin: type, args: tuple[object, ...]) -> Form:
        """Keys and values in turns."""
        (write_key, read_key), (write, read) = map(self.of, args)
        made = OrderedDict if origin is OrderedDict else dict

        def written(value: Mapping[object, object], shift: float) -> Plain:
            plain: list[Plain] = []
            for key, one in value.items():
                plain += (write_key(key, shift), write(one, shift))
            return plain

        def back(plain: Plain, shift: float) -> Mapping[object, object]:
            items = _items(plain)
            if len(items) % 2:
                raise Garbled("a key without a value")
            pairs = zip(items[::2], items[1::2], strict=True)
            return made((read_key(key, shift), read(one, shift)) for key, one in pairs)

        return Form(written, back)

    def _fixed(self, forms: Sequence[Form], made: Callable[[list[object]], object]) -> Form:
        writes, reads = [form.write for form in forms], [form.read for form in forms]
        count = len(forms)

        def read(plain: Plain, shift: float) -> object:
            items = _items(plain, count)
            return made([one(item, shift) for one, item in zip(reads, items, strict=True)])

        return Form(
            lambda value, shift: [one(item, shift) for one, item in zip(writes, value, strict=True)], read
        )

    def _built(self, kind: type) -> Form:
        """A dataclass or a named tuple, made by its constructor, which may refuse what it is given."""
        hints = get_type_hints(kind, include_extras=True)
        if is_dataclass(kind):
            names = [one.name for one in fields(kind) if one.init]
        else:
            names = list(cast("typing.Any", kind)._fields)
        forms = [_AT if name == "at" else self.of(hints[name]) for name in names]
        plain = self._fixed(forms, lambda values: kind(*values))

        def read(value: Plain, shift: float) -> object:
            try:
                return plain.read(value, shift)
            except (TypeError, ValueError) as exc:
                raise Garbled(f"{kind.__name__}: {exc}") from exc

        return Form(lambda value, shift: plain.write([getattr(value, one) for one in names], shift), read)

    def _object(self, kind: type, special: Fields) -> Form:
        names = tuple(special.types)
        plain = self._fixed([self.of(one) for one in special.types.values()], list)

        def read(value: Plain, shift: float) -> object:
            known = cast("list[typing.Any]", plain.read(value, shift))
            made = special.made()
            for name, one in zip(names, known, strict=True):
                there = getattr(made, name)
                if isinstance(there, deque):
                    there.extend(one)  # it knows how many it may keep
                else:
                    setattr(made, name, one)
            return made

        return Form(lambda value, shift: plain.write([getattr(value, one) for one in names], shift), read)


def _items(plain: Plain, count: int | None = None) -> list[Plain]:
    if not isinstance(plain, list) or (count is not None and len(plain) != count):
        raise Garbled(f"{'a list' if count is None else f'{count} items'} expected, not {str(plain)[:60]!r}")
    return plain


def _exactly(kind: type) -> Form:
    def read(plain: Plain, shift: float) -> object:
        if type(plain) is not kind:
            raise Garbled(f"{kind.__name__} expected, not {str(plain)[:60]!r}")
        return plain

    return Form(lambda value, shift: value, read)


def _write_float(value: float, shift: float) -> Plain:
    # A moment that nobody reaches, a distance of whom nobody expects: JSON would make them null.
    return value if math.isfinite(value) else str(value)


def _read_float(plain: Plain, shift: float) -> float:
    if isinstance(plain, str) and plain in _NO_NUMBERS:
        return _NO_NUMBERS[plain]
    if type(plain) not in (float, int):
        raise Garbled(f"a number expected, not {str(plain)[:60]!r}")
    return float(cast("float", plain))


def _read_moment(plain: Plain, shift: float) -> Moment:
    name, value = _items(plain, 2)
    clock = cast("Clock", _CLOCK.read(name, shift))
    return Moment(clock, _read_float(value, shift) - (shift if clock is Clock.SECONDS else 0.0))


def _enum(kind: type[Enum]) -> Form:
    known = {one.value: one for one in kind}

    def read(plain: Plain, shift: float) -> Enum:
        found = known.get(plain) if isinstance(plain, str) else None
        if found is None:
            raise Garbled(f"no {kind.__name__}: {str(plain)[:60]!r}")
        return found

    return Form(lambda value, shift: value.value, read)


_SIMPLE: dict[object, Form] = {
    **{kind: _exactly(kind) for kind in (str, int, bool)},
    float: Form(_write_float, _read_float),
}
_AT = Form(
    lambda value, shift: _write_float(value + shift, shift),
    lambda plain, shift: _read_float(plain, shift) - shift,
)
_CLOCK = _enum(Clock)
_MOMENT = Form(
    lambda value, shift: [
        value.clock.value,
        _write_float(value.value + (shift if value.clock is Clock.SECONDS else 0.0), shift),
    ],
    _read_moment,
)
