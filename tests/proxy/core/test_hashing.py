from collections import Counter

import pytest

from scalesim.proxy.core.hashing import weighted_score
from scalesim.proxy.core.model import EngineId

ENGINES = {EngineId(name): 1.0 for name in "abcd"}
SCORE = 68.86202408775146
KEYS = [f"town/agent-{number}" for number in range(4000)]


def _places(parts: dict[EngineId, float]) -> dict[str, EngineId]:
    return {key: max(parts, key=lambda engine: weighted_score(key, engine, parts[engine])) for key in KEYS}


def test_a_score_is_the_same_in_every_process_and_version() -> None:
    assert weighted_score("town/Ann", EngineId("a"), 1.0) == pytest.approx(SCORE, rel=1e-12)


def test_each_engine_gets_keys_in_proportion_to_its_part() -> None:
    counts = Counter(_places({**ENGINES, EngineId("d"): 3.0}).values())
    assert {engine: round(count / len(KEYS), 1) for engine, count in counts.items()} == {
        "a": 0.2,
        "b": 0.2,
        "c": 0.2,
        "d": 0.5,
    }


def test_an_engine_that_leaves_moves_only_its_own_keys() -> None:
    before = _places(ENGINES)
    after = _places({engine: part for engine, part in ENGINES.items() if engine != "b"})
    assert all(after[key] == engine for key, engine in before.items() if engine != "b")


def test_a_growing_part_only_takes_keys() -> None:
    before, after = _places(ENGINES), _places({**ENGINES, EngineId("a"): 2.0})
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved
    assert {after[key] for key in moved} == {"a"}


def test_a_name_that_is_no_text_has_a_place_too() -> None:
    assert weighted_score("town/\udcff", EngineId("a"), 1.0) > 0
