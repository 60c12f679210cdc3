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


def with_fields(raw: bytes, parsed: Mapping[str, object], fields: Mapping[str, str]) -> bytes:
    """`raw`, the bytes of the object `parsed`, with `fields` in it.

    New fields are put before the last brace and all other bytes stay; only a field that must change its value makes
    the body be written anew.
    """
    wanted = {key: value for key, value in fields.items() if parsed.get(key) != value}
    if not wanted:
        return raw
    if any(key in parsed for key in wanted):
        return orjson.dumps({**parsed, **wanted})
    end = raw.rindex(b"}")
    comma = b"," if parsed else b""
    return raw[:end] + comma + orjson.dumps(wanted)[1:-1] + raw[end:]
