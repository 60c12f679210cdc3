from scalesim.proxy.core.model import AgentName, CallId
from scalesim.proxy.recognition.learned.families import Families

ANN, BEN = AgentName("Ann"), AgentName("Ben")


def play(families: Families, *, at_once: bool) -> None:
    for step in range(0, 40, 2):
        families.begins(CallId(step), ANN, "forum")
        if not at_once:
            families.ends(CallId(step))
        families.begins(CallId(step + 1), ANN, "market")
        families.ends(CallId(step))
        families.ends(CallId(step + 1))


def test_the_same_name_in_two_simulations_at_once_is_two_callers() -> None:
    families = Families()
    play(families, at_once=True)
    assert families.name(ANN, "forum") == ANN
    assert families.name(ANN, "market") == "Ann (2)"


def test_two_templates_one_after_the_other_are_one_caller() -> None:
    families = Families()
    play(families, at_once=False)
    assert families.name(ANN, "market") == ANN


def test_a_name_that_only_the_second_simulation_has_stays_as_it_is() -> None:
    families = Families()
    families.begins(CallId(1000), BEN, "market")
    play(families, at_once=True)
    assert families.name(BEN, "market") == BEN


def test_while_another_of_the_name_runs_it_is_doubtful() -> None:
    families = Families()
    families.begins(CallId(1), ANN, "forum")
    assert families.doubtful(ANN, "market")
    families.ends(CallId(1))
    assert not families.doubtful(ANN, "market")


def test_the_table_is_bounded() -> None:
    families = Families(most=5)
    for number in range(50):
        families.begins(CallId(number), AgentName(str(number)), "forum")
    assert families.size <= 5
