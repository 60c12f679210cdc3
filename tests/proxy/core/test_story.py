from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.proxy.core import story as stories
from scalesim.proxy.core.actions import FetchAdapter, Pin, Unpin
from scalesim.proxy.core.misses import Cause
from scalesim.proxy.core.model import (
    LORA,
    AdapterName,
    AgentName,
    Clock,
    LoadState,
    MemoryId,
    Outcome,
    Source,
)
from scalesim.proxy.core.story import ENTRY_LIMIT, Called, Expected, Move, Moved, StorySnapshot

from .conversation import GPU, HOST_TIER, LORAS, TOWN, Conversation, lora, pool, prefix


def story_of(talk: Conversation, agent: str) -> StorySnapshot:
    known = talk.controller.story(TOWN, AgentName(agent))
    assert known is not None
    return known


def test_an_agent_that_did_not_call_has_an_empty_story_and_an_unknown_one_has_none() -> None:
    talk = Conversation()
    talk.hint(Ann=3)
    assert story_of(talk, "Ann") == StorySnapshot()
    assert talk.controller.story(TOWN, AgentName("Bob")) is None
    assert talk.controller.sizes()["stories"] == 0


def test_a_story_tells_of_calls_and_what_they_found() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann", prompt=90, cached=0, output=10, acts_for=2)
    talk.step()
    talk.hint(Bob=0, Ann=1)
    talk.call("Bob", acts_for=3)
    talk.plan()
    talk.wait(1.0)
    talk.call("Ann", prompt=120, cached=80, outcome=Outcome.DONE)
    assert story_of(talk, "Ann").calls == (
        Called(0.0, GPU, None, Outcome.DONE, False, None, 90, 0, 90, Cause.NEVER_SEEN),
        Called(1.0, GPU, None, Outcome.DONE, True, 0, 120, 80, 100, None),
    )


def test_a_story_tells_what_was_expected_after_an_activation_and_as_the_next_one_began() -> None:
    talk = Conversation()
    talk.step()
    talk.call("Ann", acts_for=4)
    for distance in (3, 2):
        talk.wait(1.0)
        talk.step()
        talk.hint(Ann=distance)
    talk.wait(1.0)
    talk.step()
    talk.call("Ann")
    talk.call("Ann")
    talk.wait(1.0)
    talk.hint(Ann=9)
    assert story_of(talk, "Ann").estimates == (
        Expected(0.0, 4.0, Clock.STEPS, 0.0, Source.PLAN),
        Expected(3.0, 1.0, Clock.STEPS, 0.0, Source.HINTED),
        Expected(4.0, 9.0, Clock.STEPS, 0.0, Source.HINTED),
    )


def test_what_is_told_during_an_activation_is_expected_after_it() -> None:
    talk = Conversation()
    talk.step()
    call = talk.start("Ann")
    talk.hint(Ann=5)
    assert story_of(talk, "Ann").estimates == ()
    talk.end(call, acts_for=7)
    assert [one.distance for one in story_of(talk, "Ann").estimates] == [7.0]


def test_a_call_that_comes_with_what_was_just_told_repeats_nothing() -> None:
    talk = Conversation()
    talk.call("Ann", acts_for=4)
    talk.call("Ann")
    assert [one.distance for one in story_of(talk, "Ann").estimates] == [4.0]


def test_a_story_tells_of_pins_and_loads_when_they_are_carried_out() -> None:
    talk = Conversation()
    talk.find(features=HOST_TIER)
    talk.call("Ann")
    pins = [action for action in talk.tick() if isinstance(action, Pin)]
    assert story_of(talk, "Ann").moves == ()
    talk.wait(1.0)
    talk.settle(pins)
    talk.act("Ann", 1)
    talk.step()
    unpins = [action for action in talk.tick() if isinstance(action, Unpin)]
    talk.wait(1.0)
    talk.settle(unpins, "the engine is gone")
    (load,) = talk.report(pools=[pool(free=1000)], memories={prefix("Ann"): (0, 500)})[-1:]
    talk.wait(1.0)
    talk.settle([load], state=LoadState.NO_ROOM)
    ann = prefix("Ann")
    assert story_of(talk, "Ann").moves == (
        Moved(1.0, GPU, ann, Move.PIN, None, ""),
        Moved(2.0, GPU, ann, Move.UNPIN, None, "the engine is gone"),
        Moved(3.0, GPU, ann, Move.LOAD, LoadState.NO_ROOM, ""),
    )


def test_a_story_tells_of_the_adapter_on_which_the_agent_calls_next() -> None:
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    talk.register("poet")
    talk.call("Ann", acts_for=1)
    talk.call("Bob", acts_for=1)
    talk.assign("Ann", "poet")
    fetches = talk.tick()[-1:]
    talk.wait(1.0)
    talk.settle(fetches)
    talk.step()
    (load,) = talk.report(pools=[pool(LORA, free=300)], memories={lora("poet"): (0, 100)})[-1:]
    talk.wait(1.0)
    talk.settle([load], "no answer")
    poet = MemoryId(LORA, AdapterName("poet"))
    assert story_of(talk, "Ann").moves == (
        Moved(1.0, GPU, poet, Move.FETCH, None, ""),
        Moved(2.0, GPU, poet, Move.LOAD, None, "no answer"),
    )
    assert story_of(talk, "Bob").moves == ()
    assert talk.controller.sizes()["story_adapters"] == 1


def test_moves_of_prefix_and_adapter_are_told_in_their_order() -> None:
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    talk.register("poet")
    talk.call("Ann")
    talk.assign("Ann", "poet")
    actions = talk.tick()
    for kind in (FetchAdapter, Pin):
        talk.wait(1.0)
        talk.settle([action for action in actions if isinstance(action, kind)])
    assert [one.move for one in story_of(talk, "Ann").moves] == [Move.FETCH, Move.PIN]


def test_an_action_from_before_the_engine_was_lost_is_no_move() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann")
    actions = talk.tick()
    talk.lose()
    talk.settle(actions)
    assert story_of(talk, "Ann").moves == ()


def test_of_each_sort_only_the_last_entries_are_kept() -> None:
    talk = Conversation()
    talk.find()
    for number in range(ENTRY_LIMIT + 3):
        talk.wait(1.0)
        talk.call("Ann", prompt=100 + number, acts_for=1)
        talk.plan()
        talk.step()
        talk.plan()
    told = story_of(talk, "Ann")
    last = 100 + ENTRY_LIMIT + 3
    assert [call.prompt_tokens for call in told.calls] == list(range(last - ENTRY_LIMIT, last))
    assert (len(told.estimates), len(told.calls)) == (ENTRY_LIMIT, ENTRY_LIMIT)
    assert len(told.moves) <= ENTRY_LIMIT


def test_only_those_who_called_last_have_a_story(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories, "STORY_LIMIT", 2)
    talk = Conversation()
    for agent in ("Ann", "Bob", "Ann", "Cem"):
        talk.call(agent)
    assert talk.controller.sizes()["stories"] == 2
    assert [len(story_of(talk, agent).calls) for agent in ("Ann", "Bob", "Cem")] == [2, 0, 1]


def test_only_adapters_that_moved_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories, "ADAPTER_LIMIT", 2)
    talk = Conversation()
    talk.find(features=LORAS, slots=4)

    def fetch(agent: str, adapter: str) -> None:
        talk.call(agent, acts_for=1)
        talk.register(adapter)
        talk.assign(agent, adapter)
        talk.plan()

    fetch("Ann", "poet")
    fetch("Bob", "clerk")
    talk.step()
    on_host = dict.fromkeys((lora("poet"), lora("clerk")), (0, 100))
    talk.settle(talk.report(pools=[pool(LORA, free=100)], memories=on_host))  # there is room for Ann's
    fetch("Cem", "bard")
    moves = {agent: [one.move for one in story_of(talk, agent).moves] for agent in ("Ann", "Bob", "Cem")}
    assert moves == {"Ann": [Move.FETCH, Move.LOAD], "Bob": [], "Cem": [Move.FETCH]}
    assert talk.controller.sizes()["story_adapters"] == 2


def test_an_agent_that_leaves_takes_its_story_along() -> None:
    talk = Conversation()
    call = talk.start("Ann")
    talk.leave("Ann")
    assert talk.controller.sizes()["stories"] == 0
    talk.call("Ann")
    talk.end(call)
    (called,) = story_of(talk, "Ann").calls
    assert called.miss is Cause.NEVER_SEEN


def test_the_end_of_a_simulation_takes_its_stories_along() -> None:
    talk = Conversation()
    talk.call("Ann")
    talk.call("Bob")
    talk.finish()
    talk.tick()
    assert talk.controller.sizes()["stories"] == 0


def test_a_story_that_was_read_does_not_change() -> None:
    talk = Conversation()
    talk.call("Ann")
    before = story_of(talk, "Ann")
    copy = replace(before)
    talk.call("Ann")
    assert before == copy != story_of(talk, "Ann")
