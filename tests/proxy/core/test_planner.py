"""Plans that are too large for one event."""

from __future__ import annotations

import pytest

from scalesim.proxy.core.actions import Action, Order
from scalesim.proxy.core.events import Idled
from scalesim.proxy.core.model import Mode, Owner
from scalesim.proxy.core.planner import PIECE

from .conversation import Conversation, own

NAMES = tuple(f"a{number:03}" for number in range(6 * PIECE))


def _town(capacity: int | None = None) -> Conversation:
    """As many as no event looks at; each has another distance."""
    talk = Conversation()
    talk.checked = False
    talk.find(capacity=capacity or 1_000_000)
    for number, name in enumerate(NAMES):
        talk.call(name, acts_for=float(number + 1))
    while talk.controller.dirty or talk.controller.behind:
        talk.plan()
        _worked_out(talk)
    talk.checked = True
    return talk


def _worked_out(talk: Conversation) -> list[Action]:
    actions: list[Action] = []
    while talk.controller.behind:
        actions += talk.idle()
    talk.settle(actions)
    return actions


def _order(actions: list[Action]) -> dict[Owner, float]:
    (order,) = [action for action in actions if isinstance(action, Order)]
    return dict(order.distances)


def test_a_large_plan_is_made_in_pieces_and_comes_out_whole() -> None:
    talk = _town()
    talk.act(NAMES[-1], 0.5)
    assert talk.tick() == [], "it is not done yet"
    assert talk.controller.dirty
    order = _order(_worked_out(talk))
    assert list(order) == [*own(NAMES[-1]), *own(*NAMES[:-1])]
    assert not talk.controller.dirty
    assert talk.tick() == []


def test_many_pieces_at_once_make_the_same_plan() -> None:
    talk, other = _town(), _town()
    for one in (talk, other):
        one.act(NAMES[-1], 0.5)
        assert one.tick() == []
    at_once = talk.post(Idled(talk.at, pieces=len(NAMES)))
    assert at_once, "one event was enough"
    assert at_once == _worked_out(other)


def test_what_comes_while_a_plan_is_made_is_for_the_next_one() -> None:
    talk = _town()
    talk.act(NAMES[-1], 0.5)
    talk.tick()
    talk.act(NAMES[-2], 0.25)
    first = _order(_worked_out(talk))
    assert next(iter(first)) == own(NAMES[-1])[0]
    assert talk.controller.dirty
    second = _order([*talk.tick(), *_worked_out(talk)])
    assert list(second)[:2] == [*own(NAMES[-2], NAMES[-1])]


def test_nothing_else_is_worked_out_in_the_piece_that_ends_a_plan() -> None:
    talk = _town()
    talk.act(NAMES[-1], 0.5)
    talk.tick()
    talk.act(NAMES[-2], 0.25)
    while not (actions := talk.idle()):
        assert talk.controller.planning
    assert talk.controller.sizes()["noted_agents"] == 1
    talk.settle(actions)
    talk.idle()
    assert talk.controller.sizes()["noted_agents"] == 0


@pytest.mark.parametrize("what", ["mode", "end", "lost", "booted"])
def test_a_plan_is_given_up_when_it_is_of_no_use_any_more(what: str) -> None:
    talk = _town()
    talk.act(NAMES[-1], 0.5)
    talk.tick()
    match what:
        case "mode":
            after = talk.set_mode(Mode.SHADOW)
        case "end":
            after = talk.finish()
        case "lost":
            talk.lose()
            after = []
        case _:
            after = talk.report(boot="boot-2", capacity=1_000_000)
    actions = [*after, *_worked_out(talk)]
    owners = {owner for action in actions if isinstance(action, Order) for owner, _ in action.distances}
    assert owners == (set(own(*NAMES)) if what == "booted" else set())


def test_what_an_engine_cannot_hold_is_in_no_plan() -> None:
    """Room for 200 memories of 100 tokens: half as many more are looked at."""
    talk = _town(20_000)
    talk.act(NAMES[-1], 0.5)
    talk.tick()
    assert list(_order(_worked_out(talk))) == [*own(NAMES[-1]), *own(*NAMES[:299])]


def test_the_middle_of_a_step_makes_a_plan_due_and_the_next_step_is_in_its_order() -> None:
    talk = Conversation(distance="gap")
    talk.find()
    talk.step()
    # Whoever did not come back with the step after its last one stays away for long.
    for gap in (1, 5, 1, 5, 1, 5, 1, 5, 1):
        talk.call("Ann", acts_for=1)
        for _ in range(gap):
            talk.wait(1.0)
            talk.step()
    talk.call("Bob", acts_for=1)
    near = _order(talk.plan())
    talk.wait(0.25)
    assert talk.plan() == []
    assert not talk.controller.dirty
    talk.wait(0.25)
    far = _order(talk.plan())
    assert (near[own("Bob")[0]], far[own("Bob")[0]]) == (2.0, 5.0)
    talk.wait(0.25)
    assert talk.plan() == []
