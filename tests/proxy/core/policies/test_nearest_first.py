from scalesim.proxy.core.model import Owner
from scalesim.proxy.core.policies.nearest_first import plan
from scalesim.proxy.core.wanted import Candidate, View, Wanted


def _far(name: str, distance: float, used_at: float = 0.0) -> Candidate:
    return Candidate(Owner(name), distance, False, used_at, 50)


def _calling(name: str, used_at: float = 0.0, size: int | None = 50) -> Candidate:
    return Candidate(Owner(name), 0.0, True, used_at, size)


def _names(wanted: Wanted) -> list[str]:
    return [owner for owner, _ in wanted.order]


def test_the_nearest_comes_first() -> None:
    wanted = plan(View([_far("c", 3.0), _far("a", 1.0), _far("b", 2.0)], 0, 10))
    assert wanted == Wanted(((Owner("a"), 1.0), (Owner("b"), 2.0), (Owner("c"), 3.0)))


def test_ties_go_to_who_calls_now_then_to_the_most_recent_then_to_the_name() -> None:
    ties = [_far("d", 0.0, 1.0), _far("c", 0.0, 1.0), _far("b", 0.0, 2.0), _calling("a", 0.5)]
    assert _names(plan(View(ties, 0, 10))) == ["a", "b", "c", "d"]


def test_the_order_is_cut_to_the_nearest() -> None:
    candidates = [_far(f"{n:03}", float(n)) for n in reversed(range(100))]
    assert _names(plan(View(candidates, 0, 3))) == ["000", "001", "002"]


def test_activations_are_pinned_while_there_is_room_for_them() -> None:
    calling = [_calling("a", 9.0, 60), _calling("b", 8.0, 50), _calling("c", 7.0, 40), _calling("d", 6.0, 1)]
    assert plan(View(calling, 100, 10)).pins == ("a", "c")


def test_only_activations_of_known_size_are_pinned() -> None:
    assert plan(View([_far("a", 0.0), _calling("b", size=None), _calling("c", size=10)], 100, 10)).pins == (
        "c",
    )
