from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.engine_adapters.emulated import tokens
from scalesim.proxy.core.config import ControllerConfig
from scalesim.proxy.core.model import Mode
from scalesim.workloads.noise import Noise, noisy
from scalesim.workloads.program import Hints, Program, Told, Wishes
from scalesim.workloads.robustness_play import PARTS, Played, Prompts, play
from scalesim.workloads.scenarios import scenario

ROOM = 2_100
"""Tokens: a quarter of the town's prefixes, and what else runs in a step."""
GUARDED = ControllerConfig(parts=PARTS)
BARE = replace(GUARDED, guard=False)
BELIEVING = replace(BARE, distance="hinted")


def town_of(steps: int) -> Program:
    wishes = Wishes(
        agents=24, steps=steps, persona_tokens=200, growth_tokens=2, output_share=0.05, chars_per_token=5.5
    )
    return scenario("independent").generate(wishes)


@pytest.fixture(scope="module")
def town() -> Program:
    return town_of(12)


def play_of(program: Program, config: ControllerConfig | None, against: Program | None = None) -> Played:
    return play(program, Prompts(), ROOM, config, against)


def found(played: Played) -> list[int]:
    return [call.cached for call in played.calls]


def test_prompts_are_what_the_engine_makes_of_their_messages(town: Program) -> None:
    prompts = Prompts()
    for _, _, _, call in town.calls():
        assert prompts.of(call.messages) == tokens.render_chat(call.messages)


def test_every_play_makes_the_calls_of_the_program_at_the_same_times(town: Program) -> None:
    lies = noisy(town, Noise(reversed=True))
    untold = play_of(town, None)
    for played in (play_of(town, GUARDED), play_of(lies, BELIEVING), play_of(town, GUARDED, lies)):
        assert [(call.key, call.start_s, call.end_s) for call in played.calls] == [
            (call.key, call.start_s, call.end_s) for call in untold.calls
        ]
        assert found(played) != found(untold)
    assert sorted(call.key for call in untold.calls) == sorted(
        (step.index, activation.agent, index) for step, activation, index, _ in town.calls()
    )


def test_a_play_is_the_same_each_time(town: Program) -> None:
    assert play_of(town, GUARDED) == play_of(town, GUARDED)


def test_an_engine_that_is_sent_nothing_is_as_one_without_a_proxy(town: Program) -> None:
    assert found(play_of(town, replace(GUARDED, mode=Mode.OFF))) == found(play_of(town, None))


def test_exact_distances_find_more_than_recency_and_wrong_ones_less_than_exact_ones(town: Program) -> None:
    exact = sum(found(play_of(town, BELIEVING)))
    assert exact > sum(found(play_of(town, None)))
    assert exact > sum(found(play_of(noisy(town, Noise(reversed=True)), BELIEVING)))


def test_hints_without_errors_are_as_good_as_exact_distances(town: Program) -> None:
    assert found(play_of(noisy(town, Noise()), BARE)) == found(play_of(town, BARE))


def test_where_hints_are_empty_the_proxy_only_learns(town: Program) -> None:
    silent = replace(town, steps=tuple(replace(step, hints=Hints()) for step in town.steps))
    assert found(play_of(silent, BARE)) == found(play_of(noisy(town, Noise(missing=1)), BARE))
    assert found(play_of(silent, BARE)) != found(play_of(town, BARE))


def test_the_more_is_told_the_more_is_found() -> None:
    town = town_of(16)  # in which there is time to learn, too
    by_told = {
        told: sum(found(play(town, Prompts(), ROOM, BARE, told=told)))
        for told in (Told.NONE, Told.ANSWERS, Told.PLAN)
    }
    assert by_told[Told.NONE] < by_told[Told.ANSWERS] <= by_told[Told.PLAN] == sum(found(play_of(town, BARE)))


def test_where_there_is_no_guard_who_waits_for_distance_to_be_in_charge_always_lies(town: Program) -> None:
    lies = noisy(town, Noise(reversed=True))
    played = play_of(town, BARE, lies)
    assert played.guard is None
    assert found(played) == found(play_of(lies, BARE))


def test_who_lies_only_to_distance_brings_it_back_in_charge() -> None:
    wishes = Wishes(
        agents=30, steps=30, persona_tokens=10, growth_tokens=0, output_share=0.01, chars_per_token=5.5
    )
    town = scenario("rhythm").generate(wishes)
    lies = noisy(town, Noise(reversed=True))
    always, sometimes = (
        play(program, Prompts(), 4_000, replace(BELIEVING, guard=True), against).guard
        for program, against in ((lies, None), (town, lies))
    )
    assert always is not None
    assert sometimes is not None
    assert sometimes.switches > always.switches == 1
