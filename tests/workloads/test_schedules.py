from __future__ import annotations

import math

from scalesim.workloads.schedules import agent_names, steps_until


def test_names_have_the_same_length_and_the_order_of_the_numbers() -> None:
    assert agent_names(1) == ("agent-0",)
    assert agent_names(10)[-1] == "agent-9"
    assert agent_names(11)[2] == "agent-02"


def test_steps_until_looks_at_this_step_and_those_after() -> None:
    assert [steps_until([2, 5], step) for step in range(7)] == [2, 1, 0, 2, 1, 0, math.inf]
