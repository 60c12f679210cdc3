from __future__ import annotations

import pytest

from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.model import Clock, EngineId

from ..conversation import Conversation, own

FIVE = ("ann", "bob", "cleo", "dan", "eve")


def _rounds(talk: Conversation, rounds: int, agents: tuple[str, ...] = FIVE, call_s: float = 1.0) -> None:
    """One after the other; each is out of its activation before the next begins."""
    for agent in agents * rounds:
        call = talk.start(agent)
        talk.wait(call_s)
        talk.end(call)
        talk.wait(3.0)
        talk.plan()


def test_after_two_rounds_the_plan_orders_agents_by_turn() -> None:
    talk = Conversation()
    talk.find()
    _rounds(talk, 2)
    assert [(talk.distance(name), talk.agent(name).clock, talk.agent(name).source) for name in FIVE] == [
        (float(turn), Clock.TURNS, Source.TURNS) for turn in range(5)
    ]
    assert [owner for owner, _ in talk.engine.wanted.order] == list(own(*FIVE))
    for turn in range(5):
        _rounds(talk, 1, (FIVE[turn],))
        coming = own(*FIVE[turn + 1 :], *FIVE[: turn + 1])
        assert [owner for owner, _ in talk.engine.wanted.order] == list(coming)
    score = talk.town.accuracy[Source.TURNS]
    assert (score.order, score.time_error, score.clock) == (1.0, 0.0, Clock.TURNS)
    assert talk.town.in_charge is None


def test_distances_in_turns_reach_the_engine_in_seconds_by_the_measured_pace() -> None:
    talk = Conversation()
    talk.find()
    _rounds(talk, 3)
    order = dict(talk.engine.wanted.order)
    assert [order[owner] for owner in own(*FIVE)] == pytest.approx([0.0, 4.0, 8.0, 12.0, 16.0], abs=0.1)


@pytest.mark.parametrize("ticks", [False, True])
def test_a_simulation_that_pauses_an_hour_goes_on_in_the_same_order_at_the_same_pace(ticks: bool) -> None:
    talk = Conversation(idle_after_s=0.0)
    talk.find()

    def play(rounds: int) -> None:
        for _ in range(rounds):
            if ticks:
                talk.step()
            _rounds(talk, 1)

    play(4)
    before = dict(talk.engine.wanted.order)
    talk.wait(3600.0)
    talk.plan()
    assert dict(talk.engine.wanted.order) == before, "the passing of time changes nothing"
    play(1)
    _rounds(talk, 2)
    after = talk.engine.wanted.order
    assert [owner for owner, _ in after] == list(own(*FIVE))
    assert all(4.0 * turn <= away <= 5.0 * turn + 1.0 for turn, (_, away) in enumerate(after)), after
    if ticks:
        assert talk.town.pace_s == pytest.approx(20.0, rel=0.01)


def test_whoever_is_alone_has_no_turn() -> None:
    talk = Conversation(distance="turns")
    _rounds(talk, 4, ("ann",))
    assert talk.distance("ann") is None
    _rounds(talk, 1, ("bob",))
    _rounds(talk, 9, ("ann", "bob"))
    assert [talk.distance("ann"), talk.distance("bob")] == pytest.approx([0.0, 1.0], abs=0.01)


def test_bursts_are_not_read_off_the_traffic_of_a_simulation_that_tells_its_steps() -> None:
    for ticks in (False, True):
        talk = Conversation()
        # Both ways in turn, or it would be a round.
        for step in range(16):
            if ticks:
                talk.step()
            for agent in FIVE if step % 2 else FIVE[::-1]:
                talk.call(agent)
                talk.wait(0.01)
            talk.wait(60.0)
            talk.plan()
        sources = {talk.agent(name).source for name in FIVE}
        assert (Source.TURNS in sources) is not ticks


def test_who_leaves_has_no_turn_any_more() -> None:
    talk = Conversation()
    _rounds(talk, 3)
    talk.leave("cleo")
    assert talk.controller.sizes()["turn_agents"] == 4
    _rounds(talk, 1, ("ann", "bob"))
    assert talk.distance("dan") == pytest.approx(1.0), "nobody has to wait for cleo"


def test_an_engine_is_planned_for_when_agents_elsewhere_have_had_their_turn() -> None:
    talk = Conversation()
    talk.find()
    _rounds(talk, 3)
    assert not talk.engine.plan_due
    talk.call("fay", engine=EngineId("other"))
    assert talk.engine.plan_due
