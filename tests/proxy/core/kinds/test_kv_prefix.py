import pytest

from scalesim.proxy.core.kinds import AgentView, EngineView, Kind, Way, find
from scalesim.proxy.core.model import MemoryId, Owner, Part

ANN = Owner("town/Ann")
KV_PREFIX: Kind = find("kv_prefix")
HOST_TIER = frozenset({"load_kv_prefix", "warm_up"})
BOTH = frozenset({Part.PREFIXES, Part.WARM_UP})


def test_each_agent_has_a_prefix_of_its_own() -> None:
    assert KV_PREFIX.of_agent(AgentView(ANN)) == MemoryId("kv_prefix", ANN)


@pytest.mark.parametrize(
    ("tokens", "per_token", "size"),
    [(300, 57_344, 300 * 57_344), (0, 9, 0), (None, 9, None), (3, None, None)],
)
def test_its_size_is_that_of_its_tokens(tokens: int | None, per_token: int | None, size: int | None) -> None:
    assert KV_PREFIX.size_bytes(AgentView(ANN, None, tokens), EngineView(per_token)) == size


def test_what_has_a_copy_is_copied() -> None:
    assert KV_PREFIX.way(HOST_TIER, True, BOTH) is Way.COPY


def test_what_has_no_copy_is_computed_again() -> None:
    assert KV_PREFIX.way(HOST_TIER, False, BOTH) is Way.RECOMPUTE
    assert KV_PREFIX.way(frozenset({"warm_up"}), True, BOTH) is Way.RECOMPUTE


def test_an_engine_that_can_do_neither_loads_nothing_ahead() -> None:
    assert KV_PREFIX.way(frozenset({"load_lora"}), True, BOTH) is None
    assert KV_PREFIX.way(frozenset({"load_kv_prefix"}), False, BOTH) is None


def test_each_way_has_a_switch_of_its_own() -> None:
    copies, computes = frozenset({Part.PREFIXES}), frozenset({Part.WARM_UP})
    assert KV_PREFIX.way(HOST_TIER, True, copies) is Way.COPY
    assert KV_PREFIX.way(HOST_TIER, True, computes) is None, "a copy is not computed instead"
    assert KV_PREFIX.way(HOST_TIER, False, copies) is None
    assert KV_PREFIX.way(HOST_TIER, False, computes) is Way.RECOMPUTE
