"""The folder: every module in it is a policy, found by its name."""

from pathlib import Path

import pytest

from scalesim.proxy.core import policies
from scalesim.proxy.core.planning import keep_invariants
from scalesim.proxy.core.wanted import Candidate, View

from ..conversation import own

ANN, BOB = own("Ann", "Bob")


def test_every_module_of_the_folder_is_found_by_name() -> None:
    modules = {path.stem for path in Path(policies.__path__[0]).glob("*.py")} - {"__init__"}
    assert modules == set(policies.names()) >= {"off", "lru", "nearest_first"}
    for name in modules:
        assert callable(policies.find(name))


@pytest.mark.parametrize("name", ["clairvoyant", "__init__", "..clock", ""])
def test_another_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="lru, nearest_first, off"):
        policies.find(name)


@pytest.mark.parametrize("name", policies.names())
def test_no_policy_of_ours_needs_to_be_corrected(name: str) -> None:
    view = View([Candidate(ANN, 0.0, True, 3.0, 70), Candidate(BOB, 2.0, False, 4.0, None)], 100, 1)
    wanted = policies.find(name)(view)
    assert keep_invariants(wanted, view) == wanted
    assert policies.find(name)(View([], 0, 1)).order == ()
