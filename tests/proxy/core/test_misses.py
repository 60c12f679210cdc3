from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.events import Settled
from scalesim.proxy.core.misses import Cause, Found, LastCall, Place
from scalesim.proxy.core.model import (
    LORA,
    AdapterName,
    EngineId,
    LoadResult,
    LoadState,
    Mode,
    Outcome,
    Part,
    Usage,
)

from .conversation import GPU, HOST_TIER, LORAS, TOWN, Conversation, lora, pool, prefix

OTHER = EngineId("other")
CROWD = ("Bob", "Cem", "Dee", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon")
"""With Ann and 100 tokens each, as many as the engine holds."""


def causes(talk: Conversation) -> list[Cause | None]:
    """Of Ann's calls."""
    story = talk.controller.story(TOWN, talk.agent("Ann").name)
    assert story is not None
    return [call.miss for call in story.calls]


def known(**config: object) -> Conversation:
    """Ann has called twice and found 80 tokens, and acts."""
    talk = Conversation(**config)
    talk.find(features=HOST_TIER)
    talk.call("Ann", cached=0)
    talk.call("Ann", cached=80, acts_for=9)
    talk.step()
    return talk


def crowded(**distances: float) -> Conversation:
    """Ten agents fill the engine, whose distances are in force; then an eleventh calls."""
    talk = Conversation()
    talk.find()
    for name in ("Ann", *CROWD):
        talk.call(name, acts_for=1)
    talk.step()
    talk.hint(**{**dict.fromkeys(CROWD, 5.0), **distances})
    talk.plan()
    talk.call("Kim")
    return talk


def test_the_first_call_of_an_agent_is_a_miss_as_it_was_never_seen() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann", prompt=90, cached=44)
    talk.call("Bob", prompt=90, cached=45)  # prompts share their beginning
    assert causes(talk) == [Cause.NEVER_SEEN]
    assert talk.town.counters.misses == {Cause.NEVER_SEEN: 1}


def test_an_agent_that_comes_to_another_engine_was_never_seen_there() -> None:
    talk = known()
    talk.call("Ann", engine=OTHER, cached=0)
    talk.call("Ann", engine=OTHER, cached=80)
    assert causes(talk) == [Cause.NEVER_SEEN, None, Cause.NEVER_SEEN, None]


def test_half_of_what_was_found_before_is_a_hit_and_less_is_a_miss() -> None:
    for cached, miss in ((40, None), (39, Cause.EVICTED_NEAR)):
        talk = known()
        talk.call("Ann", prompt=1000, cached=cached)
        assert causes(talk)[-1] is miss


def test_before_anything_was_found_half_of_what_the_last_call_left_is_expected() -> None:
    for cached, miss in ((50, None), (49, Cause.EVICTED_NEAR)):
        talk = Conversation()
        talk.find()
        talk.call("Ann", prompt=90, output=10, cached=0)
        talk.call("Ann", prompt=500, cached=cached)
        assert causes(talk)[-1] is miss


def test_a_miss_does_not_lower_what_is_expected() -> None:
    talk = known()
    for _ in range(30):
        talk.call("Ann", cached=0)
    talk.call("Ann", prompt=200, cached=30)
    assert causes(talk)[-1] is Cause.EVICTED_NEAR


def test_memory_that_had_to_leave_for_nearer_memory_was_evicted_far() -> None:
    talk = crowded(Ann=50)
    talk.call("Ann", cached=0)
    assert causes(talk) == [Cause.NEVER_SEEN, Cause.EVICTED_FAR]


def test_memory_that_should_have_stayed_by_its_distance_was_evicted_near() -> None:
    talk = crowded(Ann=1, Bob=50)
    talk.call("Ann", cached=0)
    assert causes(talk) == [Cause.NEVER_SEEN, Cause.EVICTED_NEAR]


def test_where_nobody_plays_the_cache_the_cause_is_unknown() -> None:
    talk = known(guard=False)
    talk.call("Ann", cached=0)
    assert causes(talk)[-1] is Cause.UNKNOWN


@pytest.mark.parametrize(
    ("state", "cached", "miss"),
    [
        (None, 80, Cause.PREFETCH_LATE),
        (LoadState.LOADED, 80, None),
        (LoadState.NO_ROOM, 80, Cause.PREFETCH_REFUSED),
        (LoadState.ABSENT, 0, Cause.PREFETCH_REFUSED),
    ],
)
def test_a_call_whose_prefix_is_on_the_host_says_what_became_of_its_load(
    state: LoadState | None, cached: int, miss: Cause | None
) -> None:
    """Tokens from the host count as cached: that the call waited for them is told by residency alone."""
    talk = known()
    talk.hint(Ann=1)
    (load,) = talk.report(pools=[pool(free=1000)], memories={prefix("Ann"): (0, 500)})[-1:]
    if state is not None:
        talk.post(Settled(talk.at, load, None, LoadResult(state)))
    talk.call("Ann", cached=cached)
    assert causes(talk)[-1] is miss


def test_a_load_that_failed_counts_as_refused() -> None:
    talk = known()
    talk.hint(Ann=1)
    (load,) = talk.report(pools=[pool(free=1000)], memories={prefix("Ann"): (0, 500)})[-1:]
    talk.settle([load], "broken")
    talk.call("Ann")
    assert causes(talk)[-1] is Cause.PREFETCH_REFUSED


def test_a_load_that_waits_for_its_turn_is_late() -> None:
    talk = known(loads_in_flight=1)
    talk.call("Bob", acts_for=9)
    talk.hint(Bob=1, Ann=2)
    on_host = dict.fromkeys((prefix("Ann"), prefix("Bob")), (0, 300))
    talk.report(pools=[pool(free=1000)], memories=on_host)
    assert talk.engine.loading == (prefix("Bob"),)
    talk.call("Ann", cached=80)
    assert causes(talk)[-1] is Cause.PREFETCH_LATE


def test_a_prefix_on_the_host_that_nobody_loads_ahead_was_evicted() -> None:
    talk = known(parts=frozenset(Part) - {Part.PREFIXES})
    talk.hint(Ann=1)
    talk.report(pools=[pool(free=1000)], memories={prefix("Ann"): (0, 500)})
    talk.call("Ann", cached=80)
    assert causes(talk)[-1] is Cause.EVICTED_NEAR


def test_a_prompt_that_begins_otherwise_than_the_memory_on_the_device_has_changed() -> None:
    talk = known()
    talk.report(pools=[pool(free=1000)], memories={prefix("Ann"): (500, 0)})
    talk.call("Ann", cached=20)
    talk.call("Ann", cached=20)  # that is now what is found
    assert causes(talk)[-2:] == [Cause.PREFIX_CHANGED, None]


def test_what_is_left_of_a_prefix_without_a_copy_is_no_memory_on_the_device() -> None:
    talk = known()
    # 80 tokens were found before, of 10 bytes each.
    talk.report(pools=[pool(free=1000, capacity=10_000)], memories={prefix("Ann"): (300, 0)})
    talk.call("Ann", cached=20)
    assert causes(talk)[-1] is Cause.EVICTED_NEAR


def test_a_call_on_another_adapter_than_the_last_one_has_another_prefix() -> None:
    talk = known()
    talk.call("Ann", adapter="poet", cached=0)
    talk.call("Ann", adapter="poet", cached=80)
    assert causes(talk)[-2:] == [Cause.PREFIX_CHANGED, None]


def test_an_adapter_that_is_in_no_slot_is_missing_once() -> None:
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    talk.call("Ann", adapter="poet", cached=0)
    talk.report(pools=[pool(LORA, free=300)], memories={lora("poet"): (0, 100)})
    for _ in range(2):
        talk.call("Ann", adapter="poet", cached=80)
    assert causes(talk)[-2:] == [Cause.ADAPTER_MISSING, None]


def test_an_adapter_on_which_another_call_runs_is_not_missing() -> None:
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    talk.call("Ann", adapter="poet", cached=0)
    talk.report(pools=[pool(LORA, free=300)], memories={lora("poet"): (0, 100)})
    talk.start("Bob", adapter="poet")
    talk.call("Ann", adapter="poet", cached=80)
    assert causes(talk)[-1] is None


def test_an_engine_that_does_not_tell_of_adapters_misses_none() -> None:
    talk = known()
    talk.call("Ann", adapter="poet", cached=80)
    assert causes(talk)[-1] is None


def test_an_engine_that_started_anew_has_forgotten_everything() -> None:
    talk = known()
    talk.lose()
    talk.find(boot="boot-2", features=HOST_TIER)
    talk.call("Ann", cached=0)
    talk.call("Ann", cached=0)
    assert causes(talk)[-2:] == [Cause.ENGINE_RESTARTED, Cause.EVICTED_NEAR]


def test_an_engine_that_was_only_out_of_reach_has_not_started_anew() -> None:
    talk = known()
    talk.lose()
    talk.find(features=HOST_TIER)
    talk.call("Ann", cached=80)
    assert causes(talk)[-1] is None


def test_what_is_not_measured_and_what_failed_is_no_miss() -> None:
    talk = known()
    before = talk.town.counters.misses
    talk.call("Ann", cached=None)
    talk.call("Ann", prompt=None)
    talk.call("Ann", cached=0, outcome=Outcome.CLIENT_GONE)
    assert causes(talk)[-3:] == [None, None, None]
    assert talk.town.counters.misses == before == {Cause.NEVER_SEEN: 1}
    talk.call("Ann", cached=80)
    assert causes(talk)[-1] is None


def test_misses_of_callers_that_are_not_known_are_not_counted() -> None:
    talk = Conversation()
    talk.find()
    talk.end(talk.start(None), cached=0)
    assert talk.town.counters.misses == {}


def test_misses_are_explained_in_every_mode() -> None:
    for mode in Mode:
        talk = known(mode=mode)
        talk.lose()
        talk.find(boot="boot-2", features=HOST_TIER)
        talk.call("Ann", cached=0)
        assert talk.town.counters.misses == {Cause.NEVER_SEEN: 1, Cause.ENGINE_RESTARTED: 1}


def test_what_is_copied_of_the_counts_does_not_change() -> None:
    talk = known()
    before = talk.town.counters
    talk.call("Bob")
    assert (before.misses, talk.town.counters.misses) == ({Cause.NEVER_SEEN: 1}, {Cause.NEVER_SEEN: 2})


TOKENS = st.integers(0, 200)
LAST = st.builds(
    LastCall,
    st.sampled_from([GPU, OTHER]),
    st.sampled_from([None, "boot-1", "boot-2"]),
    st.none() | st.just(AdapterName("poet")),
    st.none() | st.integers(1, 200),
)
FOUND = st.builds(
    Found,
    last=st.none() | LAST,
    seen=st.booleans(),
    adapter=st.none() | st.just(AdapterName("poet")),
    size_tokens=st.none() | TOKENS,
    rank=st.none(),
    prefix=st.none() | st.sampled_from(Place),
    adapter_missing=st.booleans(),
    coming=st.booleans(),
    refused=st.booleans(),
    kept_by_distance=st.none() | st.booleans(),
)
USAGE = st.none() | st.builds(Usage, TOKENS, st.none() | TOKENS, TOKENS)


@given(FOUND, USAGE, st.sampled_from([None, "boot-1"]))
@settings(max_examples=50, deadline=None)
def test_every_miss_has_a_cause_and_nothing_else_has_one(
    found: Found, usage: Usage | None, boot_id: str | None
) -> None:
    cause = found.cause(usage, boot_id)
    is_miss = found.is_short(usage) or found.prefix is Place.HOST or found.adapter_missing
    assert (cause is not None) == is_miss
    left = found.left(GPU, boot_id, usage, cause)
    before = None if found.last is None else found.last.reusable_tokens
    cached = None if usage is None else usage.cached
    assert left.reusable_tokens is None or 0 < left.reusable_tokens <= max(before or 0, cached or 0)
