"""The folder: every module in it is a rule, found by its name."""

from pathlib import Path

import pytest

from scalesim.proxy.core import placement
from scalesim.proxy.core.model import EngineId
from scalesim.proxy.core.placing import Asked, Bounds, Site


def test_every_module_of_the_folder_is_found_by_name() -> None:
    modules = {path.stem for path in Path(placement.__path__[0]).glob("*.py")} - {"__init__"}
    assert modules == set(placement.names()) >= {"by_memory", "least_loaded", "rendezvous", "round_robin"}
    assert placement.DEFAULT in modules


@pytest.mark.parametrize("name", ["random", "__init__", "..placing", ""])
def test_another_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="by_memory, least_loaded, rendezvous, round_robin"):
        placement.find(name)


@pytest.mark.parametrize("name", placement.names())
@pytest.mark.parametrize("key", ["town/Ann", None])
def test_where_there_is_one_engine_every_rule_takes_it(name: str, key: str | None) -> None:
    only = Site(EngineId("a"), running=1_000, held_tokens=10**9)
    assert placement.find(name)(Asked(key), [only], Bounds()).engine == "a"
