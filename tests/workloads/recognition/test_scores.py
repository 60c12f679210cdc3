from scalesim.workloads.recognition.scores import Told, pairs, right_of_sure


def test_names_do_not_matter_but_who_is_together_does() -> None:
    told = [Told("a", "x", 1), Told("a", "x", 1), Told("b", "y", 1), Told("b", "y", 1)]
    assert pairs(told, 0.5) == (1.0, 1.0)
    assert pairs([Told("a", "x", 1), Told("a", "y", 1)], 0.5).recall == 0


def test_two_callers_with_one_name_cost_precision() -> None:
    told = [Told("a", "x", 1), Told("a", "x", 1), Told("b", "x", 1)]
    assert pairs(told, 0.5).precision == 1 / 3


def test_below_the_threshold_nobody_is_named() -> None:
    told = [Told("a", "x", 0.4), Told("a", "x", 0.4)]
    assert pairs(told, 0.5).f1 == 0


def test_a_name_belongs_to_whom_it_was_given_most() -> None:
    told = [Told("a", "x", 0.9), Told("a", "x", 0.9), Told("b", "x", 0.9), Told("b", "x", 0.3)]
    assert right_of_sure(told[:3], 0.8) == (3, 2 / 3)
