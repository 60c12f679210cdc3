"""What a leader says of itself and of what it wrote: the one value that all others look at. Pure."""

from __future__ import annotations

from typing import NamedTuple, cast

import orjson

from scalesim.proxy.core.plain import Forms, Garbled

from .marks import Mark
from .tables import Version

FORMAT = 1


class Head(NamedTuple):
    token: int
    leader: int
    """The number of the member."""
    url: str
    """Of its admin listener; may be empty."""
    written_at: float
    """On the group's clock."""
    mark: Mark
    """All that lies before it is written down."""
    next: dict[int, int]
    """Of each member, the record that the leader expects next."""
    tables: dict[str, Version]

    def written(self) -> bytes:
        return orjson.dumps([FORMAT, _HEAD.write(self, 0.0)])


_HEAD = Forms().of(Head)


def head_of(value: bytes) -> Head:
    """Raises `Garbled`."""
    try:
        found, plain = cast("list[object]", orjson.loads(value))
    except (ValueError, TypeError) as exc:
        raise Garbled(f"no head: {exc}") from exc
    if found != FORMAT:
        raise Garbled(f"a head of format {found}, and this one reads {FORMAT}")
    return cast("Head", _HEAD.read(plain, 0.0))
