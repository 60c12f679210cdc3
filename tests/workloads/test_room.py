from __future__ import annotations

import pytest

from scalesim.workloads.program import Activation, Call, Impossible, Program, Step, Wishes
from scalesim.workloads.room import room
from scalesim.workloads.scenarios import scenario


def test_room_is_the_share_of_the_prefixes_in_the_middle_of_the_run_and_what_runs() -> None:
    def step(index: int, persona: int) -> Step:
        messages = ({"role": "system", "content": "x" * persona}, {"role": "user", "content": "y" * 188})
        return Step(index, (Activation("Ann", (Call(messages, 20, "plan"),), 1.0),), {"Ann": 0.0, "Bob": 9.0})

    # At two characters a token, and six tokens for the frame of each message.
    program = Program("town", ("Ann", "Bob"), (step(0, 1988), step(1, 3988), step(2, 5988)))
    planned = room(program, Wishes(chars_per_token=2), 0.5)
    assert planned.prefix_tokens == 2000
    assert planned.running_tokens == 94 + 6 + 20
    assert planned.largest_call_tokens == 3000 + 120
    # Half of two agents' prefixes would be too small for the largest call.
    assert planned.capacity_tokens == 3120 + 256
    assert room(program, Wishes(chars_per_token=2), 2).capacity_tokens == 8000 + 120


def test_a_quarter_of_a_town_of_long_personas_is_mostly_prefixes() -> None:
    wishes = Wishes()
    planned = room(scenario("independent").generate(wishes), wishes, 0.25)
    assert planned.prefix_tokens == pytest.approx(2250, abs=100)
    assert planned.capacity_tokens == round(0.25 * 24 * planned.prefix_tokens) + planned.running_tokens
    assert planned.running_tokens < 0.1 * planned.capacity_tokens
    assert f"{planned.capacity_tokens:,} tokens = 0.25 of 24 agents" in str(planned)


@pytest.mark.parametrize("share", [0, -1, float("nan")])
def test_no_room_at_all_is_refused(share: float) -> None:
    wishes = Wishes(agents=2, steps=1)
    with pytest.raises(Impossible):
        room(scenario("independent").generate(wishes), wishes, share)


def test_the_busiest_step_may_be_given_room() -> None:
    wishes = Wishes(agents=24, steps=12)
    program = scenario("independent").generate(wishes)
    average, busiest = room(program, wishes, 0.25), room(program, wishes, 0.25, busiest=True)
    assert busiest.prefix_tokens == average.prefix_tokens
    most = max(len(step.activations) for step in program.steps)
    assert average.running_tokens < busiest.running_tokens <= most * busiest.largest_call_tokens
    assert str(busiest).endswith("calls that run in the busiest step")
