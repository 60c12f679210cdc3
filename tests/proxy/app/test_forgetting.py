from __future__ import annotations

from scalesim.proxy.app.forgetting import Forgetting
from scalesim.proxy.core.actions import FetchAdapter
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    AdapterAssigned,
    AdapterForgotten,
    AdapterRegistered,
    AgentLeft,
    EngineFound,
    EngineLost,
    EngineRemoved,
    Event,
    Settled,
    Ticked,
)
from scalesim.proxy.core.model import AdapterName, AgentName, Capabilities, EngineId, Owner, SimulationId
from scalesim.proxy.warm_up import PrefixStore


class Warming:
    """Of a warm-up what the forgetting needs."""

    def __init__(self) -> None:
        self.given_up: list[Owner] = []

    def give_up(self, owner: Owner) -> None:
        self.given_up.append(owner)


class Learning:
    """A core, a store that has learned of agents' calls, and what forgets."""

    def __init__(self) -> None:
        self.core = Controller(ControllerConfig())
        self.store = PrefixStore(1_000_000)
        self.warming = Warming()
        self.left: list[Owner] = []
        self.gone: list[EngineId] = []
        self._forgetting = Forgetting(
            self.store,
            self.warming,
            self.core,
            agent_left=self.left.append,
            engine_left=(self.gone.append,),
        )

    def tell(self, *events: Event) -> None:
        for event in events:
            self.core.handle(event)
            self._forgetting(event)

    def assign(self, agent: str, adapter: str | None) -> None:
        self.tell(AdapterAssigned(0.0, TOWN, AgentName(agent), adapter))

    def call(self, agent: str, adapter: str | None = None) -> None:
        """On that adapter, else on the one assigned."""
        named = self.core.adapter_of(TOWN, AgentName(agent)) if adapter is None else AdapterName(adapter)
        self.store.remember(
            Owner(f"town/{agent}"), "/generate", {"text": agent, "lora_path": named}, 9, named
        )

    def known(self, agent: str) -> list[object]:
        return [prefix.fields.get("lora_path") for prefix in self.store.prefixes_of(Owner(f"town/{agent}"))]


TOWN = SimulationId("town")
ENGINE = EngineId("engine-0")


def test_what_ran_on_another_adapter_is_not_sent_after_an_assignment() -> None:
    made = Learning()
    made.tell(AdapterRegistered(0.0, "pirate", "/a"), AdapterRegistered(0.0, "poet", "/b"))
    made.assign("Ann", "pirate")
    made.call("Ann")
    made.call("Bob")
    made.assign("Ann", "pirate")
    assert (made.known("Ann"), made.warming.given_up) == (["pirate"], [])
    made.assign("Ann", "poet")
    made.assign("Bob", "poet")
    assert (made.known("Ann"), made.known("Bob")) == ([], [])
    assert made.warming.given_up == ["town/Ann", "town/Bob"]


def test_what_ran_on_a_superseded_or_forgotten_adapter_is_not_sent_any_more() -> None:
    made = Learning()
    made.tell(AdapterRegistered(0.0, "pirate", "/a"), AdapterRegistered(0.0, "pirate2", "/b"))
    for agent, adapter in (("Ann", "pirate"), ("Bob", "pirate2")):
        made.assign(agent, adapter)
        made.call(agent)
    made.call("Eve")
    made.call("Zoe", "from elsewhere")
    made.tell(AdapterRegistered(0.0, "pirate", "/a"))
    assert made.known("Ann") == ["pirate"]
    made.tell(AdapterRegistered(0.0, "pirate", "/anew"))
    assert (made.known("Ann"), made.warming.given_up) == ([], ["town/Ann"])
    made.call("Ann")
    assert made.known("Ann") == ["pirate@2"]
    made.tell(AdapterForgotten(0.0, "pirate"))
    assert (made.known("Ann"), made.warming.given_up) == ([], ["town/Ann", "town/Ann"])
    assert (made.known("Bob"), made.known("Eve"), made.known("Zoe")) == (
        ["pirate2"],
        [None],
        ["from elsewhere"],
    )


def test_what_ran_on_a_name_that_the_engine_has_from_elsewhere_is_not_sent_any_more() -> None:
    made = Learning()
    found = Capabilities("fake", "1", True, frozenset({"order", "residency", "adapters", "fetch_adapters"}))
    made.tell(EngineFound(0.0, ENGINE, found), AdapterRegistered(0.0, "pirate", "/a"))
    made.assign("Ann", "pirate")
    made.call("Ann")
    (fetch,) = [one for one in made.core.handle(Ticked(0.0)) if isinstance(one, FetchAdapter)]
    made.tell(Settled(0.0, fetch, "refused: it has that from /b", name_taken=True))
    assert made.core.adapter_of(TOWN, AgentName("Ann")) == "pirate@2"
    assert (made.known("Ann"), made.warming.given_up) == ([], ["town/Ann"])


def test_an_agent_that_leaves_is_forgotten_by_all_who_keep_something_for_it() -> None:
    made = Learning()
    made.call("Ann")
    made.tell(AgentLeft(0.0, TOWN, AgentName("Ann")))
    assert (made.known("Ann"), made.left) == ([], [Owner("town/Ann")])


def test_an_engine_that_was_removed_is_forgotten_by_all_who_keep_something_for_it() -> None:
    made = Learning()
    made.tell(EngineLost(0.0, ENGINE, "unplugged"))
    assert made.gone == [], "it may come back"
    made.tell(EngineRemoved(0.0, ENGINE))
    assert made.gone == [ENGINE]
