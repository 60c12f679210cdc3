from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.workloads.program import (
    Activation,
    Call,
    Impossible,
    Known,
    Program,
    Space,
    Step,
    Told,
    Wishes,
    adapted,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agents", 0),
        ("steps", 0),
        ("persona_tokens", -5),
        ("growth_tokens", -1),
        ("chars_per_token", float("nan")),
    ],
)
def test_an_impossible_wish_is_refused_by_name_and_value(name: str, value: float) -> None:
    with pytest.raises(Impossible, match=f"{name} is {value}"):
        Wishes(**{name: value})  # type: ignore[arg-type]  # wrong on purpose


CALL = Call(({"role": "user", "content": "hello"},), 1, "plan")


def test_a_program_tells_what_it_has() -> None:
    plain = Program("town", ("Ann",), (Step(0, (), {"Ann": 3.0}),))
    assert plain.tells() == (Told.EXACT, Told.TICKS, Told.NONE)
    planned = Program("town", ("Ann",), (Step(0, (), {"Ann": 3.0}, Known(actions={"Ann": 3.0})),))
    assert planned.tells() == (Told.EXACT, Told.PLAN, Told.ANSWERS, Told.TICKS, Told.NONE)
    everything = Program("town", ("Ann",), planned.steps, space=Space(4, 30, 27), graph=())
    assert everything.tells() == tuple(Told)


def test_what_a_program_does_not_have_it_refuses_to_tell() -> None:
    program = Program("town", ("Ann",), (Step(0, (), {"Ann": 3.0}),))
    program.must_tell(Told.EXACT)
    program.must_tell(Told.NONE)
    with pytest.raises(Impossible, match="town has no 'spatial' to tell; it has exact, ticks, none"):
        program.must_tell(Told.SPATIAL)


def test_its_own_is_the_most_that_a_simulation_knows_of_itself() -> None:
    plain = Program("town", ("Ann",), (Step(0, (), {"Ann": 3.0}),))
    planned = Program("town", ("Ann",), (Step(0, (), {"Ann": 3.0}, Known(actions={"Ann": 3.0})),))
    assert plain.own() is Told.TICKS
    assert planned.own() is Told.PLAN
    assert replace(plain, graph=()).own() is Told.PATH
    assert replace(planned, space=Space(4, 30, 27)).own() is Told.SPATIAL


def test_calls_are_counted_by_what_triggered_them() -> None:
    activations = (
        Activation("Ann", (CALL, CALL), 1.0),
        Activation("Bob", (CALL,), 1.0, trigger="interaction"),
    )
    step = Step(0, activations, {"Ann": 0.0, "Bob": 0.0})
    assert Program("town", ("Ann", "Bob"), (step, step)).calls_by_trigger() == {"interaction": 2, "plan": 4}


def test_each_agent_has_an_adapter_where_they_are_wished_for() -> None:
    step = Step(0, (Activation("Bob", (CALL,), 1.0),), {"Ann": 1.0, "Bob": 0.0})
    program = Program("town", ("Ann", "Bob"), (step,))
    assert adapted(program, Wishes()) is program
    assert adapted(program, Wishes(adapters=True)).adapters == {"Ann": "ad-0", "Bob": "ad-1"}
    assert adapted(program, Wishes(adapters=True)).steps[0].activations[0].adapter == "ad-1"
