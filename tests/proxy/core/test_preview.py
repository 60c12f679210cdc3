from __future__ import annotations

import pytest

from scalesim.proxy.core.actions import Action, FetchAdapter, Load, Order, Pin
from scalesim.proxy.core.events import Idled, PreviewAsked
from scalesim.proxy.core.model import AgentName, Clock, EngineId, Mode, Part
from scalesim.proxy.core.preview import Preview

from .conversation import GPU, HOST_TIER, LORAS, TOWN, Conversation, own, pool, prefix


def _preview(talk: Conversation, *, shadow: bool = False, limit: int = 100) -> Preview:
    before = talk.controller.preview(GPU)
    assert talk.post(PreviewAsked(talk.at, GPU, shadow, limit)) == []
    assert talk.controller.dirty
    assert talk.controller.behind
    while (made := talk.controller.preview(GPU)) is before:
        assert talk.post(Idled(talk.at)) == []
    assert made is not None
    return made


def _actions(preview: Preview) -> list[Action]:
    return [one.action for one in preview.actions]


def _due(**config: object) -> Conversation:
    """Bob calls, Ann was told to come in 20 s; nothing was planned for that yet."""
    talk = Conversation(**config)  # type: ignore[arg-type]
    talk.find(features=HOST_TIER)
    talk.call("Ann")
    talk.call("Bob")
    talk.act("Ann", 20.0, Clock.SECONDS)
    return talk


def test_what_would_be_done_is_what_is_done_next() -> None:
    talk = _due()
    preview = _preview(talk)
    assert preview.actions
    assert _actions(preview) == talk.tick()
    assert (preview.policy, preview.by_distance, preview.waits) == ("nearest_first", True, "")
    assert [(one.agent, one.distance_s, one.in_activation) for one in preview.order] == [
        ("Bob", 0.0, True),
        ("Ann", 20.0, False),
    ]
    assert (preview.ordered, preview.pins, preview.pinned_tokens, preview.pin_budget_tokens) == (
        2,
        own("Bob"),
        100,
        500,
    )
    assert {type(one.action): one.why for one in preview.actions} == {
        Order: "nearest_first of 2 agents, town/Bob the nearest at 0",
        Pin: "town/Bob: in an activation",
    }


def test_nothing_would_be_done_where_all_that_is_wanted_is_in_force() -> None:
    talk = _due()
    while talk.plan():
        pass
    assert _actions(_preview(talk)) == []
    assert talk.tick() == []


def test_to_ask_changes_nothing() -> None:
    asked, other = _due(), _due()
    memories = {prefix("Ann"): (0, 100), prefix("Bob"): (100, 0)}
    for talk in (asked, other):
        talk.settle(talk.report(pools=[pool(free=500)], memories=memories))
    for _ in range(3):
        _preview(asked)
        _preview(asked, shadow=True)
    assert asked.engine == other.engine
    assert asked.tick() == other.tick()
    assert asked.controller.totals() == other.controller.totals()


def test_loads_and_fetches_are_told_with_their_reasons() -> None:
    talk = Conversation(parts=frozenset(Part) - {Part.PIN})
    talk.find(features=HOST_TIER | LORAS, slots=4)
    talk.call("Ann")
    talk.act("Ann", 20.0, Clock.SECONDS)
    talk.plan()
    talk.settle(talk.report(pools=[pool(free=500)], memories={prefix("Ann"): (100, 0)}))
    talk.plan()
    talk.register("poet")
    talk.assign("Ann", "poet")
    preview = _preview(talk)
    assert [one.why for one in preview.actions if isinstance(one.action, FetchAdapter)] == [
        "it is assigned to 1 agents"
    ]
    assert not any(isinstance(one, Load) for one in _actions(preview))
    assert preview.adapters == (("poet", 20.0),)
    assert talk.controller.sizes()["hosting_queue"] == 1


def test_what_would_be_done_if_those_in_shadow_were_on_is_told_apart() -> None:
    talk = _due(mode=Mode.SHADOW)
    assert (_preview(talk).ordered, _preview(talk, shadow=True).ordered) == (0, 2)
    assert _preview(talk, shadow=True).shadow


def test_only_so_many_are_named() -> None:
    talk = _due()
    preview = _preview(talk, limit=1)
    assert ([one.agent for one in preview.order], preview.ordered) == (["Bob"], 2)


def test_what_is_on_its_way_is_waited_for() -> None:
    talk = _due()
    talk.tick()
    talk.call("Cem")
    talk.act("Bob", 10.0, Clock.SECONDS)
    assert _preview(talk).waits == "what is on its way to the engine has to arrive first"
    talk.lose()
    assert _preview(talk).waits == "the engine cannot be reached"


def test_a_plan_that_is_due_is_made_first() -> None:
    talk = _due()
    talk.post(PreviewAsked(talk.at, GPU))
    actions = talk.tick()
    assert [type(action) for action in actions] == [Order, Pin]
    made = talk.controller.preview(GPU)
    while made is None:
        talk.post(Idled(talk.at))
        made = talk.controller.preview(GPU)
    assert _actions(made) == []
    assert not talk.controller.planning


@pytest.mark.parametrize("what", ["mode", "end", "lost", "removed"])
def test_a_preview_survives_what_makes_a_plan_be_given_up(what: str) -> None:
    talk = Conversation()
    talk.find(capacity=1_000_000)
    for number in range(400):
        talk.call(f"agent-{number}")
        talk.act(f"agent-{number}", 100.0 + number, Clock.SECONDS)
    while talk.plan() or talk.controller.behind:
        pass
    talk.post(PreviewAsked(talk.at, GPU))
    talk.idle()
    assert talk.controller.preview(GPU) is None
    match what:
        case "mode":
            talk.settle(talk.set_mode(Mode.SHADOW))
        case "end":
            talk.settle(talk.finish())
        case "lost":
            talk.lose()
        case _:
            talk.lose()
            talk.remove()
    for _ in range(200):
        talk.plan()
        talk.idle()
    made = talk.controller.preview(GPU)
    assert (made is None) is (what == "removed")
    assert made is None or made.ordered == 0 or what == "lost"
    assert not talk.controller.planning


def test_of_an_unknown_engine_nothing_is_foreseen() -> None:
    talk = Conversation()
    talk.post(PreviewAsked(talk.at, EngineId("nowhere")))
    assert talk.controller.preview(EngineId("nowhere")) is None
    assert not talk.controller.knows(TOWN, AgentName("Ann"))
