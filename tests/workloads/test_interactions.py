from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest

from scalesim.workloads.interactions import INTERACTION, Foreseen, interactions
from scalesim.workloads.program import Activation, Call, Known, Place, Program, Space, Step, Told, Wishes
from scalesim.workloads.scenarios import scenario

CALL = Call(({"role": "user", "content": "?"},), 1, "utterance")
SPACE = Space(radius=1.0, speed=4.0, cooldown=100.0)


def activation(agent: str, calls: int, trigger: str, acts_for: float) -> Activation:
    return Activation(agent, (CALL,) * calls, acts_for, trigger=trigger, planned_steps=acts_for)


def at(
    positions: Mapping[str, Place],
    walking: Mapping[str, Place],
    actions: Mapping[str, float],
    *met: tuple[str, str],
) -> Known:
    return Known(
        met=met,
        actions=actions,
        positions=positions,
        destinations={**positions, **walking},
        speeds={agent: SPACE.speed if agent in walking else 0.0 for agent in positions},
    )


def a_meeting() -> Program:
    """Ann walks to Bob, whom nothing but that makes call; Cem's action is over a step after they meet."""
    cem, bob = (50.0, 50.0), (7.0, 0.0)
    steps = (
        Step(
            0,
            (),
            {"Ann": 1.0, "Bob": 1.0, "Cem": 2.0},
            at(
                {"Ann": (0.0, 0.0), "Bob": bob, "Cem": cem},
                {"Ann": bob},
                {"Ann": 9.0, "Bob": 9.0, "Cem": 2.0},
            ),
        ),
        Step(
            1,
            (activation("Ann", 3, INTERACTION, 9.0), activation("Bob", 2, INTERACTION, 9.0)),
            {"Ann": 0.0, "Bob": 0.0, "Cem": 1.0},
            at(
                {"Ann": (4.0, 0.0), "Bob": bob, "Cem": cem},
                {"Ann": bob},
                {"Ann": 8.0, "Bob": 8.0, "Cem": 1.0},
            ),
        ),
        Step(
            2,
            (activation("Cem", 5, "plan", 9.0),),
            {"Ann": 8.0, "Bob": 8.0, "Cem": 0.0},
            at(
                {"Ann": (6.0, 0.0), "Bob": bob, "Cem": cem},
                {},
                {"Ann": 8.0, "Bob": 8.0, "Cem": 0.0},
                ("Ann", "Bob"),
            ),
        ),
    )
    return Program("interaction", ("Ann", "Bob", "Cem"), steps, space=SPACE)


def test_positions_foresee_a_meeting_that_plans_get_wrong() -> None:
    found = interactions(a_meeting())
    assert found is not None
    right, wrong = found.foreseen[Told.SPATIAL], found.foreseen[Told.PLAN]
    assert right == {INTERACTION: Foreseen(2, 1.0, 1.0), "plan": Foreseen(1, 1.0, None)}
    assert wrong == {INTERACTION: Foreseen(2, 0.0, 0.0), "plan": Foreseen(1, 1.0, None)}


def test_the_shares_are_those_of_all_calls_and_of_all_activations() -> None:
    found = interactions(a_meeting())
    assert found is not None
    assert (found.share_of_calls, found.share_of_activations) == (0.5, pytest.approx(2 / 3))


def test_where_nobody_has_a_place_there_is_nothing_to_tell() -> None:
    assert interactions(scenario("independent").generate(Wishes(agents=2, steps=1))) is None


def test_a_town_in_which_nobody_meets_follows_its_plans() -> None:
    wishes = Wishes(agents=3, steps=6, persona_tokens=1, growth_tokens=0, options={"tiles": 1e6})
    found = interactions(scenario("interaction").generate(wishes))
    assert found is not None
    assert (found.share_of_calls, found.share_of_activations) == (0.0, 0.0)
    assert [by_trigger["plan"].order for by_trigger in found.foreseen.values()] == [1.0, 1.0]
    assert str(found) == "Interactions trigger 0% of the calls, 0% of the activations."


def test_in_a_town_like_the_original_positions_put_those_who_meet_where_they_belong() -> None:
    wishes = Wishes(agents=30, steps=24, persona_tokens=1, growth_tokens=0, options={"tiles": 280})
    found = interactions(scenario("interaction").generate(wishes))
    assert found is not None
    order = {told: one[INTERACTION].order or math.nan for told, one in found.foreseen.items()}
    assert order[Told.SPATIAL] > order[Told.PLAN] + 0.05
    told = json.loads(json.dumps(found.as_json()))
    assert told["foreseen"]["spatial"][INTERACTION]["order"] == order[Told.SPATIAL]
    assert f"told plan, {order[Told.PLAN]:.3f} of the pairs" in str(found)
