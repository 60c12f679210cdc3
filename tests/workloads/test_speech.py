from __future__ import annotations

from scalesim.workloads.program import Activation, Call, Program, Step
from scalesim.workloads.speech import spoken


def test_the_longest_answer_says_how_long_the_agent_is_busy_and_no_other() -> None:
    calls = tuple(Call((), tokens, "plan") for tokens in (8, 60, 12))
    acting = Activation("Ann", calls, 3.0, planned_steps=3.0)
    met = Activation("Bob", calls, 3.0)
    program = Program("town", ("Ann", "Bob"), (Step(0, (acting, met), {}),))
    ann, bob = spoken(program).steps[0].activations
    assert [call.says for call in ann.calls] == [None, "takes 15 minutes", None]
    assert bob == met
