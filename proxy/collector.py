"""Keeps Python's garbage collector from holding the loop.

Nearly all that we make is gone as soon as nothing refers to it. The collector is there for the rare rest, circles of exceptions
and their tracebacks, and looks at all objects for it: with 100,000 agents 130 ms at a time, again and again while they are
created, and every half minute while 20,000 of them act. So what is there at the start is never looked at; young objects
are looked at in portions, twice and no more, since what a plan needs lives through many of them; and all others seldom
enough to be no part of the 99th percentile, yet before circles could fill the memory. A portion is larger than what a few dozen
calls hold while they run, or each of their objects would be looked at before it is given up: in portions of 300 that was a
twentieth of all that calls cost. It takes a fifth of a millisecond.
"""

from __future__ import annotations

import gc

THRESHOLDS = (5_000, 0, 2_100)
"""The youngest are collected when so many more were made than given up, together with the next older every other time, and all
after so many of these: 21 million objects."""


def keep_short() -> None:
    """Once all that stays has been made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
