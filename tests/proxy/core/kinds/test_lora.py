from scalesim.proxy.core.kinds import AgentView, EngineView, Kind, Way, find
from scalesim.proxy.core.model import AdapterName, MemoryId, Owner, Part

LORA: Kind = find("lora")
CALM = AdapterName("calm")
ABLE = frozenset({"load_lora", "load_kv_prefix", "warm_up"})


def test_agents_may_share_an_adapter() -> None:
    shared = MemoryId("lora", "calm")
    assert (
        LORA.of_agent(AgentView(Owner("town/Ann"), CALM))
        == LORA.of_agent(AgentView(Owner("town/Bob"), CALM))
        == shared
    )


def test_an_agent_on_the_base_model_needs_none() -> None:
    assert LORA.of_agent(AgentView(Owner("town/Ann"))) is None


def test_its_size_is_that_of_a_slot() -> None:
    ann = AgentView(Owner("town/Ann"), CALM, 300)
    assert LORA.size_bytes(ann, EngineView(9, 323_000_000)) == 323_000_000
    assert LORA.size_bytes(ann, EngineView(9)) is None


def test_it_is_copied_or_not_loaded_at_all() -> None:
    assert LORA.way(ABLE, True, frozenset({Part.ADAPTERS})) is Way.COPY
    assert LORA.way(ABLE, True, frozenset(Part) - {Part.ADAPTERS}) is None
    assert LORA.way(ABLE, False, frozenset(Part)) is None
    assert LORA.way(ABLE - {"load_lora"}, True, frozenset(Part)) is None
