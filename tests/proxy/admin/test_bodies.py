from __future__ import annotations

import re

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from scalesim.proxy.admin.answer_rules import AnswersBody
from scalesim.proxy.admin.bodies import (
    SIMULATION_PATTERN,
    ActionsBody,
    DistancesBody,
    Name,
    SpaceBody,
    TimeUnit,
    UpdateBody,
)
from scalesim.proxy.core.model import Clock
from scalesim.proxy.data_plane.acts_for import acts_for_of
from scalesim.proxy.data_plane.identity import Recogniser
from scalesim.proxy.errors import CallRefused


def is_taken_by_the_data_plane(simulation: str, agent: str) -> bool:
    headers = [(b"x-simulation-id", simulation.encode()), (b"x-agent-id", agent.encode())]
    try:
        Recogniser().recognise("/v1/chat/completions", headers, None)
    except CallRefused:
        return False
    return True


@pytest.mark.parametrize(
    "agent", ["Ann", "Ann Lee", "Zoë", "a/b", "x" * 256, "x" * 257, "a\tb", "a\x7fb", "a\x85b"]
)
def test_agents_have_the_same_names_in_hints_as_in_calls(agent: str) -> None:
    try:
        taken = bool(TypeAdapter(Name).validate_python(agent))
    except ValidationError:
        taken = False
    assert taken is is_taken_by_the_data_plane("town", agent)


@pytest.mark.parametrize("agent", ["Ann", " Ann", "Ann\t", " Ann Lee ", "\u00a0Zoë\u2003"])
def test_space_around_names_is_dropped_in_hints_as_in_calls(agent: str) -> None:
    headers = [(b"x-agent-id", agent.encode())]
    called = Recogniser().recognise("/v1/chat/completions", headers, None).agent
    assert TypeAdapter(Name).validate_python(agent) == called == agent.strip()


@pytest.mark.parametrize("agent", ["", " ", "\u2003\t"])
def test_a_name_that_is_only_space_is_refused(agent: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(agent)


@pytest.mark.parametrize("simulation", ["town", "Town.2_a-b", "x" * 64, "x" * 65, "a b", "a/b", "Zoë"])
def test_simulations_have_the_same_names_in_hints_as_in_calls(simulation: str) -> None:
    assert bool(re.match(SIMULATION_PATTERN, simulation)) is is_taken_by_the_data_plane(simulation, "Ann")


def test_both_halves_of_an_update_are_merged() -> None:
    body = UpdateBody(agent_data={"1": 2, "2": 0}, timestep_data={"2": [1, "3"]}, timestep_cnt=None)
    assert list(body.distances()) == [("1", 2.0), ("2", 0.0), ("1", 2.0), ("3", 2.0)]


@pytest.mark.parametrize(
    ("kind", "field", "rest"),
    [
        (DistancesBody, "unit", {"distances": {}}),
        (ActionsBody, "unit", {"durations": {}}),
        (SpaceBody, "unit", {"radius": 4, "speed": 1, "cooldown": 0}),
        (AnswersBody, "unit", {"rules": [], "per_minute": 1.0}),
    ],
)
def test_steps_and_seconds_are_told_and_no_clock_of_our_own(
    kind: type[BaseModel], field: str, rest: dict[str, object]
) -> None:
    for unit in ("steps", "seconds"):
        assert getattr(kind.model_validate({field: unit, **rest}), field) == unit
    with pytest.raises(ValidationError, match="'steps' or 'seconds'"):
        kind.model_validate({field: "turns", **rest})
    assert "turns" not in str(kind.model_json_schema())


def test_every_unit_is_a_clock() -> None:
    assert [unit.clock for unit in TimeUnit] == [Clock.STEPS, Clock.SECONDS]


def test_a_header_tells_no_turns() -> None:
    for value in (b"3 turns", b"3 turn"):
        with pytest.raises(CallRefused, match="is no duration"):
            acts_for_of([(b"x-agent-acts-for", value)])
