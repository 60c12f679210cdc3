"""What changed between two pictures, as RFC 7396 has it: a JSON merge patch, whose `null` takes something away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """Neither holds None. Lists are replaced as a whole."""
    changed: Json = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := patch(old, value):
                changed[key] = inner
        elif old != value or key not in before:
            changed[key] = value
    return changed


def without_none(value: Mapping[str, Any]) -> Json:
    """What is not known is left out: in a patch, None means that it is gone."""
    return {
        key: without_none(inner) if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if inner is not None
    }
