import pytest

from scalesim.workloads.recognition.cases import CASES, Case
from scalesim.workloads.recognition.forms import FORMS
from scalesim.workloads.recognition.suite import play


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [case for case in (*CASES, *FORMS) if case.name[0] != "5"], ids=lambda case: case.name
)
def test_callers_are_told_apart_from_their_prompts_alone(case: Case) -> None:
    outcome = play(case, seed=1)
    assert outcome.passed, outcome


def test_a_case_is_the_same_with_the_same_seed() -> None:
    case = next(case for case in CASES if case.name == "latecomers")
    one, other = play(case, 1), play(case, 1)
    assert (one.pairs, one.names, one.sure) == (other.pairs, other.names, other.sure)
