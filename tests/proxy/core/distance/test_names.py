"""The folder: every module in it is an estimator, found by its name."""

from pathlib import Path

import pytest

from scalesim.proxy.core import distance


def test_every_module_of_the_folder_is_found_by_name() -> None:
    modules = {path.stem for path in Path(distance.__path__[0]).glob("*.py")} - {"__init__"}
    expected = {"hinted", "plan", "answers", "path", "spatial", "gap", "blend"}
    assert modules == set(distance.names()) >= expected
    for name in modules:
        assert callable(distance.find(name))


@pytest.mark.parametrize("name", ["astrology", "__init__", "..clock", ""])
def test_another_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="answers, blend, gap, hinted, path, plan, spatial"):
        distance.find(name)
