"""Wants nothing: engines are left alone."""

from __future__ import annotations

from ..wanted import View, Wanted


def plan(view: View) -> Wanted:
    return Wanted()
