from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from scalesim.proxy.core.controller import ControllerConfig
from scalesim.proxy.core.model import Part
from scalesim.workloads.program import Impossible, Program, Told, Wishes
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.costs import Costs
from scalesim.workloads.replay.engine import Sizes
from scalesim.workloads.replay.player import play
from scalesim.workloads.replay.results import Results
from scalesim.workloads.replay.rules import OWN
from scalesim.workloads.replay.world import Setting, policy_names
from scalesim.workloads.scenarios import scenario

H100 = Costs(profiles.gpu("h100"), profiles.model("qwen2.5-7b"), profiles.server())
WISHES = Wishes(agents=40, steps=5, seed=3, persona_tokens=500, growth_tokens=32, sketched=True)
TIGHT = Sizes(8_000)
"""Of the twenty thousand tokens of all personas."""


def program(name: str = "independent", wishes: Wishes = WISHES) -> Program:
    return scenario(name).generate(wishes)


def played(policy: str, sizes: Sizes = TIGHT, **setting: object) -> Results:
    return play(program(), Setting(H100, sizes, policy, **setting))  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", policy_names())
def test_the_same_seed_gives_the_same_results_to_the_bit(policy: str) -> None:
    sizes = Sizes(8_000, 30_000)
    one, other = (json.dumps(played(policy, sizes, engines=2).as_json()) for _ in range(2))
    assert one == other


def test_with_adapters_too() -> None:
    wishes = replace(WISHES, adapters=True)
    sizes = Sizes(8_000, 30_000, slots=6, adapter_bytes=80_000_000)
    one, other = (
        json.dumps(play(program(wishes=wishes), Setting(H100, sizes, "nearest_first")).as_json())
        for _ in range(2)
    )
    assert one == other
    assert json.loads(one)["moved"]["ahead"] > 0


def test_of_a_lead_in_nothing_is_told_and_all_that_it_left_is_there() -> None:
    def part(first: int, last: int, results: Results) -> float:
        return sum(step.seconds for step in results.steps[first:last])

    asked, setting = program(), Setting(H100, Sizes(8_000, 30_000), "nearest_first")
    whole, after = play(asked, setting), play(asked, setting, lead_in=3)
    # Sums of seconds begin at 0 again, and are rounded otherwise.
    assert [pytest.approx(asdict(step)) for step in whole.steps[3:]] == [asdict(step) for step in after.steps]
    assert after.seconds == pytest.approx(part(3, 5, whole))
    assert after.calls == sum(step.calls for step in whole.steps[3:])
    cached = round(after.hits.all_calls * after.prompt_tokens)
    assert after.computed_tokens + cached == after.prompt_tokens
    assert after.new_agents < whole.new_agents
    assert sum(after.causes.values()) == pytest.approx(1)
    assert after.control is not None
    assert whole.control is not None
    assert 0 < after.control.plans < whole.control.plans
    with pytest.raises(Impossible, match="lead_in is 5"):
        play(asked, setting, lead_in=5)


@pytest.mark.parametrize("policy", policy_names())
def test_every_call_is_played_and_all_tokens_are_accounted_for(policy: str) -> None:
    asked, results = program(), played(policy)
    calls = list(asked.calls())
    assert results.calls == len(calls) == sum(step.calls for step in results.steps)
    assert results.output_tokens == sum(call.max_tokens for *_, call in calls)
    cached = round(results.hits.all_calls * results.prompt_tokens)
    assert results.computed_tokens + cached == results.prompt_tokens
    assert sum(step.seconds for step in results.steps) == pytest.approx(results.seconds)
    shares = results.shares
    assert shares.decode + shares.prefill + shares.load + shares.wait == pytest.approx(1)


def test_left_alone_the_proxy_s_engines_do_what_engines_do_by_themselves() -> None:
    stock = played("stock")
    for policy in ("off", "lru"):
        assert played(policy).hits == stock.hits
        assert played(policy).seconds == stock.seconds


def test_who_knows_more_finds_more() -> None:
    hits = {policy: played(policy).hits.all_calls for policy in ("stock", "nearest_first", "belady")}
    assert hits["stock"] < hits["nearest_first"] <= hits["belady"] + 0.01


def test_where_everything_fits_all_rules_are_equal() -> None:
    assert len({played(policy, Sizes(900_000)).seconds for policy in OWN}) == 1


def test_more_engines_are_faster() -> None:
    assert played("nearest_first", engines=3).seconds < played("nearest_first").seconds


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("interaction", Told.SPATIAL),
        ("diffusion", Told.PATH),
        ("rhythm", Told.TICKS),
        ("independent", Told.NONE),
    ],
)
def test_every_scenario_is_played_with_what_it_has_to_tell(name: str, told: Told) -> None:
    asked = program(name)
    assert play(asked, Setting(H100, TIGHT), told).calls == sum(1 for _ in asked.calls())


def test_what_there_is_not_to_tell_is_refused() -> None:
    with pytest.raises(Impossible, match="has no 'path' to tell"):
        play(program(), Setting(H100, TIGHT), Told.PATH)


def test_a_sketch_is_as_long_as_what_it_stands_for() -> None:
    text = program(wishes=replace(WISHES, sketched=False))
    one, other = play(text, Setting(H100, TIGHT, "stock")), played("stock")
    assert one.prompt_tokens == pytest.approx(other.prompt_tokens, rel=0.03)


def test_a_call_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(Impossible, match="larger than the 300 of engine-0"):
        played("stock", Sizes(300))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"policy": "best"}, "no policy 'best'; there is cost_aware"),
        ({"placement": "best"}, "no placement 'best'"),
        ({"engines": 0}, "there are 0 engines"),
        ({"plan_every_s": 0.0}, "plan_every_s is 0.0"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(Impossible, match=says):
        Setting(H100, TIGHT, **wrong)  # type: ignore[arg-type]


def test_adapters_come_ahead_without_an_order_too() -> None:
    wishes = replace(WISHES, adapters=True)
    sizes = Sizes(8_000, 30_000, slots=10, adapter_bytes=80_000_000)
    config = ControllerConfig(parts=frozenset({Part.ADAPTERS}))
    results = play(program(wishes=wishes), Setting(H100, sizes, "nearest_first", config=config))
    assert results.moved.ahead > 0
