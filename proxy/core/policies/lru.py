"""Recency, which is what engines do by themselves: no order, no pins. The baseline to compare others with."""

from __future__ import annotations

from ..wanted import View, Wanted


def plan(view: View) -> Wanted:
    return Wanted()
