"""What recipes would find in a recorded trace: for the command line and for operators."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice

from scalesim.proxy.recognition.prompt import prompt_of
from scalesim.proxy.recognition.recipes.choosing import Index
from scalesim.proxy.recognition.recipes.trial import Recorded, TracedTrial, try_out
from scalesim.proxy.recording.trace import Call, Reading, Text

MOST_CALLS = 20_000
"""That are looked at while the proxy runs."""
_BREATH_S = 50e-6


def recorded_calls(trace: Reading) -> Iterator[Recorded]:
    """Those with their text."""
    return (_recorded(call, call.text) for call in trace if call.text is not None)


def trial_of(index: Index, lines: Iterable[bytes]) -> TracedTrial:
    """To be run in a thread of its own: it lets the others run between any two calls."""
    trace = Reading(lines)
    calls = recorded_calls(trace)
    trial = try_out(index, _with_breaths(islice(calls, MOST_CALLS)))
    return TracedTrial(trial, next(calls, None) is not None, trace.skips)


def _with_breaths(calls: Iterable[Recorded]) -> Iterator[Recorded]:
    for call in calls:
        yield call
        time.sleep(_BREATH_S)


def _recorded(call: Call, text: Text) -> Recorded:
    # What was less than said outright may be what is to be tested.
    told = text.agent if call.confidence >= 1.0 else None
    prompt = None if text.body is None else prompt_of(call.route, text.body)
    return Recorded(text.simulation, prompt, text.answer, told)
