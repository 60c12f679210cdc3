"""A JSON request body: read once, and given more fields without touching the bytes that were there."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from .headers import Headers


def parsed_object(headers: Headers, raw: bytes) -> dict[str, object] | None:
    """The body as an object; None for everything else, which is the engine's to judge."""
    fields = dict(headers)
    media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if not (media_type == b"application/json" or media_type.endswith(b"+json")):
        return None
    if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        return None
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def with_fields(raw: bytes, parsed: Mapping[str, object], fields: Mapping[str, object]) -> bytes:
    """`raw`, the bytes of the object `parsed`, with `fields` put before its last brace; all other bytes stay.

    A field that was there with another value is then there twice. Of two, every parser in question takes the last; to
    write the body anew would change numbers, and fails where it is nested deeply.
    """
    wanted = {key: value for key, value in fields.items() if parsed.get(key) != value}
    if not wanted:
        return raw
    end = raw.rindex(b"}")
    comma = b"," if parsed else b""
    return raw[:end] + comma + orjson.dumps(wanted)[1:-1] + raw[end:]
