from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core import events as events_module
from scalesim.proxy.core.durations import RULES, Reading, Rule, Scale
from scalesim.proxy.core.events import (
    CallSent,
    CallStarted,
    DistanceHinted,
    Event,
    Idled,
    PolicySet,
    PreviewAsked,
    ReadingSet,
    Rehomed,
    Settled,
    Ticked,
)
from scalesim.proxy.core.model import AgentName, CallId, Clock, EngineId, SimulationId
from scalesim.proxy.core.plain import Garbled
from scalesim.proxy.state import records
from scalesim.proxy.state.senders import Running

NUMBERS = st.integers(0, 1 << 62)
FLOATS = st.floats(allow_nan=False)
MOMENTS = st.integers(-(1 << 30), 1 << 30).map(lambda number: number / 1024)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

st.register_type_strategy(float, FLOATS)
st.register_type_strategy(int, NUMBERS)
st.register_type_strategy(str, NAMES)
READINGS = st.builds(
    Reading,
    st.lists(st.sampled_from(RULES), unique_by=lambda rule: rule.name, max_size=3).map(tuple),
    st.builds(Scale, st.sampled_from(Clock), st.floats(1e-3, 1e6)),
)
st.register_type_strategy(Reading, READINGS)


def events(kind: type[Event]) -> st.SearchStrategy[Any]:
    known = {"at": MOMENTS} | {
        name: READINGS | st.none() for name in ("reading",) if name in get_type_hints(kind)
    }
    return st.builds(kind, **known)


@pytest.mark.parametrize("kind", records.KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(st.data())
def test_what_is_written_is_read_the_same(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(events(kind))
    for one in fields(event):
        if isinstance(value := getattr(event, one.name), list):
            event = replace(event, **{one.name: tuple(value)})  # which sequence it is makes no difference
    batch = records.batch([records.written(event, 1024.0)])
    assert records.read(batch, 1024.0) == [event]
    [there] = records.read(batch, 512.0)
    assert there is not None
    assert not isinstance(there, Running)
    assert there.at == event.at + 512.0


def test_every_event_is_a_record_or_concerns_nobody_else() -> None:
    """What is added there has to travel, or to be put among those of each process's own."""
    all_of_them = {
        one
        for one in vars(events_module).values()
        if is_dataclass(one) and getattr(one, "__module__", "") == events_module.__name__
    }
    assert all_of_them == set(records.KINDS)
    of_engines = {kind for kind in records.KINDS if "engine" in get_type_hints(kind)}
    assert of_engines - {CallStarted, CallSent, PolicySet, PreviewAsked, Rehomed} == (
        set(records.OWN) - {Settled, Idled, Ticked}
    )


def test_a_rule_of_an_operator_is_read_with_its_pattern() -> None:
    rule = Rule("own", "for (?P<amount>[0-9]{1,6}+)")
    reading = Reading((rule,), Scale(Clock.STEPS, 0.2))
    event = ReadingSet(1.0, SimulationId("town"), reading)
    [found] = records.read(records.batch([records.written(event, 0.0)]), 0.0)
    assert found == event
    assert isinstance(found, ReadingSet)
    assert found.reading is not None
    assert found.reading.acts_for("he sleeps for 30") == (6.0, Clock.STEPS)


def test_infinite_distances_and_huge_numbers_travel() -> None:
    event = DistanceHinted(
        1.0, SimulationId("t"), Clock.STEPS, {AgentName("a"): math.inf, AgentName("b"): 1e300}
    )
    assert records.read(records.batch([records.written(event, 0.0)]), 0.0) == [event]


def start(number: int = 1) -> CallStarted:
    return CallStarted(1.0, CallId(number), SimulationId("t"), None, EngineId("gpu"))


def test_what_runs_stands_between_events() -> None:
    batch = [records.written(start(), 0.0), records.running([CallId(1)]), records.written(start(2), 0.0)]
    assert records.read(records.batch(batch), 0.0) == [start(), Running((CallId(1),)), start(2)]


@pytest.mark.parametrize("batch", [b"", b"\x00[]", b"\x01[]", b"\x02[", b"\x02\xff"])
def test_what_cannot_be_read_at_all_is_garbled(batch: bytes) -> None:
    with pytest.raises(Garbled):
        records.read(batch, 0.0)


@pytest.mark.parametrize(
    "item",
    [
        b"7",
        b"null",
        b"[]",
        b'["Unheard",[]]',
        b'["Ticked",[]]',
        b'["Ticked",["soon"]]',
        b'["Ticked",["inf"]]',
        b'["CallStarted",[1.0,"7","t",null,"gpu",null]]',
        b'["CallStarted",[1.0,true,"t",null,"gpu",null]]',
        b'["CallEnded",[1.0,7,"gone fishing",null,null,null,false]]',
        b'["Running",["a"]]',
    ],
)
def test_one_bad_record_leaves_the_others_readable(item: bytes) -> None:
    good = records.written(Ticked(1.0), 0.0)
    assert records.read(records.batch([good, item, good]), 0.0) == [Ticked(1.0), None, Ticked(1.0)]


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_otherwise(noise: bytes) -> None:
    try:
        items = records.read(b"\x02[" + noise + b"]", 0.0)
    except Garbled:
        return
    assert isinstance(items, list)


def test_a_call_takes_little_room() -> None:
    event = CallStarted(
        81234.123456, CallId((1 << 62) - 1), SimulationId("town"), AgentName("agent-1234"), EngineId("gpu-1")
    )
    assert len(records.written(event, 1.7e9)) < 110
