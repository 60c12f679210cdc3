"""What was found beside what could have been found: no policy finds more than the bounds of its own calls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.workloads.program import Told, Wishes
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.clock import Clock
from scalesim.workloads.replay.costs import Costs
from scalesim.workloads.replay.engine import Sizes
from scalesim.workloads.replay.player import play
from scalesim.workloads.replay.recording import Found, Recording
from scalesim.workloads.replay.world import Ended, Setting, policy_names
from scalesim.workloads.scenarios import scenario

from .toy import COPY_S, COSTS, OVERHEAD_S, Asking, engine

H100 = Costs(profiles.gpu("h100"), profiles.model("qwen2.5-7b"), profiles.server())
SLOW_LOADS = replace(H100, server=replace(H100.server, load_overhead_s=0.02))
WISHES = Wishes(agents=40, steps=5, seed=3, persona_tokens=500, growth_tokens=32, sketched=True)


@pytest.mark.parametrize("policy", policy_names())
def test_no_policy_finds_more_than_belady_on_its_own_calls(policy: str) -> None:
    recording = Recording(H100)
    setting = Setting(H100, Sizes(8_000), policy, engines=2)
    results = play(scenario("independent").generate(WISHES), setting, watch=recording.note)
    everything, firsts = recording.found(8_000)
    assert everything.prompt == results.prompt_tokens
    assert everything.cached / everything.prompt == results.hits.all_calls
    assert firsts.cached / firsts.prompt == results.hits.first_calls
    assert 0 < everything.cached <= everything.belady <= everything.prompt
    # Of the first calls alone it might find less than somebody else: it gives up what costs least of all of them.
    assert firsts.belady <= firsts.prompt


@pytest.mark.parametrize("name", ["independent", "interaction", "diffusion"])
@pytest.mark.parametrize("policy", ["stock", "ttl", "kvflow", "nearest_first", "cost_aware"])
def test_no_policy_hides_more_than_the_link_could(policy: str, name: str) -> None:
    recording = Recording(SLOW_LOADS)
    sizes = Sizes(8_000, 40_000, slots=6, adapter_bytes=80_000_000)
    program = scenario(name).generate(replace(WISHES, adapters=True))
    results = play(program, Setting(SLOW_LOADS, sizes, policy), Told.EXACT, watch=recording.note)
    hidden = recording.hidden()
    assert 0 <= hidden.hidden_s <= hidden.bound_s <= hidden.needed_s
    assert not hidden.hidden_s or results.moved.ahead
    assert sum(one.call.waited_bytes for one in recording.ended) == results.moved.demand


def test_what_a_call_waits_for_could_have_been_loaded_since_it_was_given_up() -> None:
    clock = Clock()
    recording = Recording(COSTS)
    town = Asking(clock, engine(clock, 1001, host_tokens=5000))
    for owner in ("ann", "bob", "cem", "ann"):
        call = town.call([(owner, 500)], 1, owner)
        town.finish()
        recording.note(Ended("toy", call, True))  # type: ignore[arg-type]
    # Ann's was in use until the first call ended; half a second for each of the others.
    assert call.waited_bytes == 499 * COSTS.bytes_per_token, "the last token is always computed"
    assert call.began_s == pytest.approx(1.5)
    hidden = recording.hidden()
    assert hidden.needed_s == pytest.approx(499 * COPY_S + OVERHEAD_S)
    assert hidden.hidden_s == 0
    assert hidden.bound_s == pytest.approx(hidden.needed_s)


def test_of_nothing_that_could_be_found_there_is_no_share() -> None:
    assert Found().of_belady is None
    assert Found(10, 3, 6).of_belady == 0.5
