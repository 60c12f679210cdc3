"""What operators chose is in force with whoever goes on."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from scalesim.proxy.core import choosing, policies
from scalesim.proxy.core.events import AdapterPinned, AgentPinned, AgentUnpinned, EstimatorSet, PolicySet
from scalesim.proxy.core.model import AgentName, EngineId, SimulationId
from scalesim.proxy.core.plain import Garbled

from .conversation import GPU, LORAS, TOWN, Conversation

OTHER = EngineId("other")
SHIFT = 1024.0
"""The clock of the second process is behind that of the first by so much."""


def chosen() -> Conversation:
    talk = Conversation()
    talk.at = 2048.0
    for engine in (GPU, OTHER):
        talk.find(engine, features=LORAS, slots=8)
    talk.register("poet", "/poet")
    for name in ("Ann", "Bob", "Eve"):
        talk.call(name, prompt=40)
    talk.post(PolicySet(talk.at, None, "cost_aware"))
    talk.post(PolicySet(talk.at, OTHER, "lru"))
    talk.post(EstimatorSet(talk.at, TOWN, "gap"))
    talk.post(AgentPinned(talk.at, TOWN, AgentName("Eve"), math.inf, "the judge"))
    talk.post(AgentPinned(talk.at, TOWN, AgentName("Ann"), 60.0, ""))
    talk.post(AdapterPinned(talk.at, "poet", 30.0, "the king speaks"))
    return talk


def written(talk: Conversation) -> Any:
    return json.loads(json.dumps(talk.controller.keeping.choices(0.0)))


def given(
    plain: Any, talk: Conversation, *, policy: str = "nearest_first", later_s: float = 0.0
) -> Conversation:
    """Another process, that knows the agents and adapters of this one, and then what was chosen."""
    known, other = talk.controller.keeping, Conversation(policy=policy)
    other.at, other.checked = talk.at + later_s - SHIFT, False
    into = other.controller.keeping
    into.restore_adapters(known.adapters())
    for simulation in known.simulations():
        into.restore_simulation(simulation, known.simulation(simulation, 0.0), SHIFT, other.at)
        for name in known.agents(simulation):
            into.restore_agent(simulation, name, known.agent(simulation, name, 0.0, talk.at), SHIFT, other.at)
    into.restore_choices(plain, SHIFT, other.at)
    into.restored()
    for engine in (GPU, OTHER):
        other.find(engine, features=LORAS, slots=8)
    other.plan()
    other.controller.check()
    return other


def seen(talk: Conversation) -> dict[str, object]:
    core = talk.controller
    pins = [(one.name, one.pin) for _, one in core.pins(0, 10)]
    adapters = [(one.name, one.pin) for one in core.pinned_adapters()]
    return {
        "policies": (core.policy(), core.policy(GPU), core.policy(OTHER)),
        "estimator": talk.town.estimator,
        "pins": [
            (name, pin.since, pin.until, pin.reason) for name, pin in pins + adapters if pin is not None
        ],
    }


def test_policies_estimators_and_pins_are_kept() -> None:
    talk = chosen()
    assert seen(given(written(talk), talk)) == {
        "policies": ("cost_aware", "cost_aware", "lru"),
        "estimator": "gap",
        "pins": [
            ("Eve", 1024.0, math.inf, "the judge"),
            ("Ann", 1024.0, 1084.0, ""),
            ("poet", 1024.0, 1054.0, "the king speaks"),
        ],
    }


def test_pins_that_were_kept_are_in_force_end_and_are_taken_back_as_others() -> None:
    talk = chosen()
    other = given(written(talk), talk)
    # Bob is pinned by the plan itself: he may call at any moment.
    assert other.controller.engines()[0].wanted.pins[:2] == ("town/Eve", "town/Ann")
    other.wait(60.0)
    other.plan()
    assert [name for name, *_ in seen(other)["pins"]] == ["Eve"]  # type: ignore[attr-defined]
    other.post(AgentUnpinned(other.at, TOWN, AgentName("Eve")))
    assert seen(other)["pins"] == []
    other.controller.check()


def test_what_ended_meanwhile_is_over() -> None:
    talk = chosen()
    other = given(written(talk), talk, later_s=45.0)
    assert [name for name, *_ in seen(other)["pins"]] == ["Eve", "Ann"]  # type: ignore[attr-defined]


def test_a_policy_that_the_settings_were_given_since_goes_before_one_that_was_chosen_before() -> None:
    talk = chosen()
    assert seen(given(written(talk), talk, policy="off"))["policies"] == ("off", "off", "lru")


def test_nothing_is_made_of_whom_nobody_knows_any_more() -> None:
    talk = chosen()
    plain = written(talk)
    talk.leave("Eve")
    talk.forget_adapter("poet")
    assert [name for name, *_ in seen(given(plain, talk))["pins"]] == ["Ann"]  # type: ignore[attr-defined]
    empty = Conversation()
    assert empty.controller.keeping.restore_choices(plain, SHIFT, 1024.0)
    assert empty.controller.keeping.simulations() == []
    assert not empty.controller.pins(0, 10)


def test_names_of_another_version_are_left_out() -> None:
    talk = chosen()
    plain = json.loads(json.dumps(written(talk)).replace('"lru"', '"horoscope"').replace('"gap"', '"tarot"'))
    other = given(plain, talk)
    assert seen(other)["policies"] == ("cost_aware", "cost_aware", "cost_aware")
    assert seen(other)["estimator"] == choosing.AUTO
    assert not other.controller.keeping.restore_choices(plain, SHIFT, other.at)


@pytest.mark.parametrize("plain", [None, 7, [], [1, 2], ["lru", "lru", [], [], [["town", "Ann", 3]], []]])
def test_what_is_garbled_is_refused_and_changes_nothing(plain: Any) -> None:
    talk = chosen()
    before = seen(talk)
    with pytest.raises(Garbled):
        talk.controller.keeping.restore_choices(plain, 0.0, talk.at)
    assert seen(talk) == before


def test_who_chose_nothing_keeps_nothing_but_the_policy_of_the_settings() -> None:
    talk = Conversation(policy="lru")
    talk.call("Ann")
    assert written(talk) == ["lru", "lru", [], [], [], []]
    assert {"lru", "cost_aware"} < set(policies.names())
    assert talk.controller.keeping.simulations() == [SimulationId("town")]
