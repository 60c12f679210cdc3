import pytest

from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.events import AgentLeft, Idled, Interacted, Moved, SpaceSet
from scalesim.proxy.core.model import AgentName, Clock
from scalesim.proxy.core.space import Motion, SpaceRules

from ..conversation import TOWN, Conversation

STEPS = SpaceRules(Clock.STEPS, 4.0, 1.0, 20.0, 12.0)
SECONDS = SpaceRules(Clock.SECONDS, 4.0, 1.0, 20.0, 120.0)


def town(rules: SpaceRules = STEPS, distance: str = "spatial") -> Conversation:
    """Ann walks towards Bob, who stands: they meet in six."""
    talk = Conversation(distance=distance)
    talk.find()
    talk.post(SpaceSet(talk.at, TOWN, rules))
    move(talk, Ann=Motion((0.0, 0.0), (10.0, 0.0)), Bob=Motion((10.0, 0.0)))
    return talk


def move(talk: Conversation, **motions: Motion) -> None:
    told = {AgentName(name): motion for name, motion in motions.items()}
    assert talk.post(Moved(talk.at, TOWN, told)) == []
    talk.post(Idled(talk.at))


def test_the_distance_is_the_time_until_two_come_near_enough() -> None:
    talk = town()
    assert (talk.distance("Ann"), talk.distance("Bob")) == (6.0, 6.0)
    assert (talk.agent("Ann").source, talk.agent("Ann").clock) == (Source.SPATIAL, Clock.STEPS)
    talk.step()
    talk.step()
    assert talk.distance("Ann") == 4.0


def test_a_space_may_live_on_the_clock_of_the_wall() -> None:
    talk = town(SECONDS)
    talk.wait(2.0)
    talk.tick()
    assert (talk.distance("Ann"), talk.agent("Ann").clock) == (4.0, Clock.SECONDS)


def test_nothing_is_known_without_a_space_or_a_position_or_anybody_near() -> None:
    talk = Conversation(distance="spatial")
    move(talk, Ann=Motion((0.0, 0.0)))
    assert talk.controller.totals().refused == 1
    talk.hint(Ann=1)
    assert talk.distance("Ann") is None
    talk = town()
    talk.hint(Zoe=1)
    move(talk, Cem=Motion((100.0, 0.0)))
    assert (talk.distance("Zoe"), talk.distance("Cem")) == (None, None)


def test_after_an_interaction_the_same_two_wait_for_the_end_of_their_cooldown() -> None:
    talk = town()
    move(talk, Ann=Motion((9.0, 0.0)))
    assert talk.distance("Ann") == 0.0
    talk.post(Interacted(talk.at, TOWN, [(AgentName("Ann"), AgentName("Bob"))]))
    talk.tick()
    assert (talk.distance("Ann"), talk.distance("Bob")) == (20.0, 20.0)


def test_an_activation_uses_up_the_meeting_that_was_due() -> None:
    talk = town()
    move(talk, Ann=Motion((9.0, 0.0)))
    talk.call("Ann")
    assert (talk.distance("Ann"), talk.distance("Bob")) == (None, 0.0)


def test_who_leaves_is_not_met() -> None:
    talk = town()
    talk.post(AgentLeft(talk.at, TOWN, AgentName("Bob")))
    talk.tick()
    assert talk.distance("Ann") is None
    assert talk.controller.sizes()["positions"] == 1


def test_the_same_rules_again_change_nothing_and_others_forget_all_positions() -> None:
    talk = town()
    talk.post(SpaceSet(talk.at, TOWN, STEPS))
    assert talk.distance("Ann") == 6.0
    talk.post(SpaceSet(talk.at, TOWN, SECONDS))
    assert talk.distance("Ann") is None
    assert talk.controller.sizes()["positions"] == 0


@pytest.mark.parametrize(("action", "expected"), [(3.0, Source.PLAN), (9.0, Source.SPATIAL)])
def test_an_agent_calls_when_its_action_ends_or_it_meets_somebody_whichever_is_first(
    action: float, expected: Source
) -> None:
    talk = town(distance="blend")
    assert talk.agent("Ann").source is Source.SPATIAL
    talk.act("Ann", action)
    assert (talk.distance("Ann"), talk.agent("Ann").source) == (min(action, 6.0), expected)


def test_a_distance_that_was_told_has_all_in_it() -> None:
    talk = town(distance="blend")
    talk.hint(Ann=9)
    assert (talk.distance("Ann"), talk.agent("Ann").source) == (9.0, Source.HINTED)


def test_what_was_learned_is_no_reason_to_overlook_a_meeting() -> None:
    talk = town(distance="blend")
    for _ in range(4):
        talk.step()
        talk.call("Cem", acts_for=1)
        for _ in range(7):
            talk.step()
    talk.call("Cem")
    talk.wait(3.0)
    talk.tick()
    learned = talk.agent("Cem")
    assert learned.source is Source.GAP
    assert learned.distance == pytest.approx(7.5, abs=0.5)
    move(talk, Cem=Motion((10.0, 9.0), (10.0, 0.0)))
    assert (talk.distance("Cem"), talk.agent("Cem").source) == (5.0, Source.SPATIAL)


def test_meetings_that_never_came_are_not_expected() -> None:
    talk = town()
    assert talk.distance("Ann") == 6.0
    for number in range(2, 34, 2):
        move(talk, **{f"p{one}": Motion((100.0 * number, 0.0)) for one in (number, number + 1)})
    talk.step()
    talk.step()
    for number in range(2, 34, 2):
        move(talk, **{f"p{one}": Motion((100.0 * number, 0.0)) for one in (number, number + 1)})
    move(talk, Bob=Motion((10.0, 0.1)))
    assert talk.distance("Ann") is None
