from scalesim.proxy.core.actions import DropAdapter, FetchAdapter
from scalesim.proxy.core.adapters import LEAVING_LIMIT, Adapters
from scalesim.proxy.core.model import AgentName, Mode

from .conversation import BOTH, GPU, LORAS, TOWN, Conversation, key

ANN = AgentName("Ann")


def test_a_new_path_is_a_new_version_with_a_name_of_its_own() -> None:
    adapters = Adapters(10)
    assert [adapters.register("poet", path).key for path in ("/a", "/a", "/b", "/a")] == [  # type: ignore[union-attr]
        "poet",
        "poet",
        "poet@2",
        "poet@3",
    ]
    assert list(adapters.leaving) == ["poet", "poet@2"]
    assert list(adapters.by_key) == ["poet@3"]


def test_a_name_is_never_given_away_twice() -> None:
    adapters = Adapters(10)
    assert adapters.register("poet@2", "/other") is not None
    adapters.register("poet", "/a")
    poet = adapters.register("poet", "/b")
    assert poet is not None
    assert (poet.key, poet.version) == ("poet@3", 3)
    adapters.forget("poet@2")
    adapters.gone([key("poet@2"), key("poet")])
    again = adapters.register("poet@2", "/new")
    assert again is not None
    assert again.key == "poet@2@2"


def test_what_was_forgotten_comes_back_as_it_was_or_as_a_new_version() -> None:
    adapters = Adapters(10)
    adapters.register("poet", "/a")
    adapters.forget("poet")
    same = adapters.register("poet", "/a")
    assert same is not None
    assert (same.key, list(adapters.leaving)) == ("poet", [])
    adapters.forget("poet")
    other = adapters.register("poet", "/b")
    assert other is not None
    assert (other.key, list(adapters.leaving)) == ("poet@2", ["poet"])


def test_beyond_the_limit_they_are_refused() -> None:
    talk = Conversation(adapter_limit=1)
    talk.register("poet")
    talk.register("clerk")
    assert talk.controller.totals().refused == 1
    assert not talk.controller.knows_adapter("clerk")
    talk.register("poet", "/another/path")
    talk.forget_adapter("poet")
    talk.register("clerk")
    assert talk.controller.knows_adapter("clerk")


def test_what_is_to_be_dropped_is_bounded() -> None:
    adapters = Adapters(1)
    for number in range(LEAVING_LIMIT + 3):
        adapters.register("poet", f"/{number}")
    assert len(adapters.leaving) == LEAVING_LIMIT
    assert "poet" not in adapters.leaving


# Whose


def test_an_agent_runs_on_what_its_last_request_named_or_else_on_what_was_assigned() -> None:
    talk = Conversation()
    talk.register("poet")
    talk.call("Ann")
    assert talk.agent("Ann").adapter is None
    talk.assign("Ann", "poet")
    assert talk.agent("Ann").adapter == "poet"
    talk.call("Ann", adapter="stray")
    assert talk.agent("Ann").adapter == "stray"
    assert talk.controller.adapter_of(TOWN, ANN) == "poet"
    talk.call("Ann", adapter="poet")
    talk.assign("Ann", None)
    assert talk.agent("Ann").adapter is None


def test_a_new_version_reaches_all_to_whom_it_is_assigned() -> None:
    talk = Conversation()
    talk.register("poet", "/a")
    talk.assign("Ann", "poet")
    talk.call("Ann", adapter="poet")
    talk.register("poet", "/b")
    assert talk.agent("Ann").adapter == talk.controller.adapter_of(TOWN, ANN) == "poet@2"
    poet = talk.controller.adapter("poet")
    assert poet is not None
    assert (poet.version, poet.path, poet.agents) == (2, "/b", 1)


def test_what_is_forgotten_is_assigned_to_nobody_also_when_it_comes_back() -> None:
    talk = Conversation()
    talk.register("poet")
    talk.assign("Ann", "poet")
    talk.forget_adapter("poet")
    talk.register("poet")
    assert talk.controller.adapter_of(TOWN, ANN) is None
    talk.assign("Ann", "poet")
    assert talk.controller.adapter_of(TOWN, ANN) == "poet"


def test_an_unknown_adapter_is_assigned_to_nobody() -> None:
    talk = Conversation()
    talk.assign("Ann", "poet")
    assert talk.controller.totals().refused == 1
    assert not talk.controller.knows(TOWN, ANN)
    talk.forget_adapter("poet")
    assert talk.controller.adapter_of(TOWN, ANN) is None


def test_assignments_end_with_their_agents() -> None:
    talk = Conversation()
    talk.register("poet")
    for agent in ("Ann", "Bob"):
        talk.assign(agent, "poet")
    talk.leave("Ann")
    talk.finish()
    (poet,) = talk.controller.adapters()
    assert poet.agents == 0


# On engines


def test_every_engine_that_can_is_told_because_nobody_knows_where_the_first_call_goes() -> None:
    talk = Conversation()
    talk.find(features=BOTH | {"fetch_adapters"})
    talk.register("poet", "/p")
    talk.register("clerk", "/c")
    talk.assign("Ann", "poet")
    assert talk.plan() == [FetchAdapter(GPU, key("poet"), "/p")]
    talk.lose()
    assert talk.find(features=BOTH | {"fetch_adapters"}) == [FetchAdapter(GPU, key("poet"), "/p")]


def test_an_adapter_that_fails_does_not_hold_up_others() -> None:
    talk = Conversation()
    talk.find(features=LORAS)
    for name in ("broken", "clerk"):
        talk.register(name, f"/{name}")
        talk.assign(name, name)
    broken = talk.tick()
    assert broken == [FetchAdapter(GPU, key("broken"), "/broken")]
    talk.settle(broken, "no such file")
    assert talk.tick() == [FetchAdapter(GPU, key("clerk"), "/clerk")]


def test_a_drop_that_fails_is_tried_again_with_doubling_waits() -> None:
    talk = Conversation()
    talk.find(features=LORAS)
    talk.register("poet", "/p")
    talk.assign("Ann", "poet")
    talk.plan()
    talk.forget_adapter("poet")
    asked = []
    for _ in range(100):
        actions = talk.tick()
        assert all(isinstance(action, DropAdapter) for action in actions)
        asked += [talk.at] * len(actions)
        talk.settle(actions, "busy")
        talk.wait(0.125)
    assert asked == [0.0, 0.5, 1.5, 3.5, 7.5]


def test_a_running_call_of_whomever_keeps_its_adapter() -> None:
    talk = Conversation()
    talk.find(features=LORAS)
    talk.set_mode(Mode.OFF, "city")
    talk.register("poet", "/p")
    talk.assign("Ann", "poet")
    talk.plan()
    call = talk.start(None, simulation="city", adapter="poet")
    talk.forget_adapter("poet")
    assert talk.plan() == []
    talk.end(call)
    talk.call("Ann", simulation="city")
    talk.register("clerk")
    assert talk.plan() == [DropAdapter(GPU, key("poet"))]
