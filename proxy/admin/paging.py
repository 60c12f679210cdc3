"""How lists are paged: `limit` of them, and `after` what the page before said in `next`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Cursor = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9]{1,18}$",
        description="`next` of the page before this one. Left out: from the beginning.",
    ),
]
