"""The folder: every module in it is a kind, found by its name; more can be handed in."""

from pathlib import Path

import pytest

from scalesim.proxy.core import kinds
from scalesim.proxy.core.kinds import AgentView, EngineView, Kind
from scalesim.proxy.core.model import AdapterName, MemoryId, Owner, Part

from . import model_kind

ANN = AgentView(Owner("town/Ann"), AdapterName("calm"), 300)
MORE: dict[str, Kind] = {model_kind.name: model_kind}
ALL = [*kinds.names(), model_kind.name]


def test_every_module_of_the_folder_is_found_by_name() -> None:
    modules = {path.stem for path in Path(kinds.__path__[0]).glob("*.py")} - {"__init__"}
    assert modules == set(kinds.names()) >= {"kv_prefix", "lora"}
    for name in modules:
        assert kinds.find(name).name == name


@pytest.mark.parametrize("name", ["vector_index", "__init__", "..model", ""])
def test_another_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"kv_prefix, lora$"):
        kinds.find(name)
    with pytest.raises(ValueError, match=r"kv_prefix, lora, model$"):
        kinds.find(name, MORE)


def test_a_kind_that_lives_elsewhere_is_handed_in() -> None:
    assert kinds.find("model", MORE) is model_kind
    assert kinds.find("lora", MORE) is kinds.find("lora")


@pytest.mark.parametrize("name", ALL)
def test_a_kind_names_memory_of_its_own_and_is_loaded_only_where_that_is_possible(name: str) -> None:
    kind = kinds.find(name, MORE)
    memory = kind.of_agent(ANN)
    assert memory is not None
    assert memory.kind == kind.name
    assert kind.of_agent(ANN) == memory
    assert (kind.size_bytes(ANN, EngineView(100, 7_000)) or 0) > 0
    able = frozenset({f"load_{name}"})
    everything = frozenset(Part)
    assert kind.way(able, True, everything) is kinds.Way.COPY
    assert kind.way(able, False, everything) is None
    assert kind.way(frozenset(), True, everything) is None
    assert kind.way(able | {"warm_up"}, True, frozenset()) is None


def test_the_third_kind_has_a_memory_for_each_agent() -> None:
    assert model_kind.of_agent(ANN) == MemoryId("model", Owner("town/Ann"))
    assert model_kind.size_bytes(ANN, EngineView()) == 1 << 30
