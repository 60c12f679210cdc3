from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from scalesim.proxy.core import placement
from scalesim.proxy.core.placing import Why
from scalesim.workloads.cli import app
from scalesim.workloads.placement_cli import away_between, shared
from scalesim.workloads.placement_play import Away, Fleet, Outcome, play
from scalesim.workloads.program import Impossible, Program
from scalesim.workloads.robustness_play import Prompts

from .test_robustness_play import town_of

ROOM = 1_500
"""Tokens, of each of three engines."""
FLEET = Fleet(3, ROOM, placement.DEFAULT)


@pytest.fixture(scope="module")
def town() -> Program:
    return town_of(12)


def _play(town: Program, fleet: Fleet) -> Outcome:
    return play(town, Prompts(), fleet)


@pytest.mark.parametrize("rule", placement.names())
def test_every_rule_makes_the_calls_of_the_program(town: Program, rule: str) -> None:
    outcome = _play(town, replace(FLEET, rule=rule))
    assert outcome.calls == sum(1 for _ in town.calls()) == len(outcome.waits_s) == sum(outcome.whys.values())
    assert len(outcome.busy_s) == 3
    assert 1.0 <= outcome.imbalance < 3.0


def test_a_play_is_the_same_each_time(town: Program) -> None:
    assert _play(town, FLEET) == _play(town, FLEET)


def test_agents_that_stay_find_more(town: Program) -> None:
    by_memory, by_load = _play(town, FLEET), _play(town, replace(FLEET, rule="least_loaded"))
    assert by_memory.changes == 0 < by_load.changes
    assert by_memory.hits > by_load.hits


def test_distance_finds_more_than_recency(town: Program) -> None:
    assert _play(town, replace(FLEET, by_distance=True)).first_hits > _play(town, FLEET).first_hits


def test_the_agents_of_an_engine_that_is_away_live_elsewhere(town: Program) -> None:
    outcome = _play(town, replace(FLEET, away=Away(0, 4, 8)))
    assert outcome.shares_back[4:8] == [0.0] * 4
    assert max(outcome.shares_back[:4]) > 0.2
    assert outcome.whys[Why.LOST] > 0
    assert outcome.calls == sum(1 for _ in town.calls())


def test_who_shares_an_adapter_lives_on_fewer_engines(town: Program) -> None:
    adapted = shared(town, 8)
    assert Counter(adapted.adapters.values()) == {f"shared-{number}": 3 for number in range(8)}
    by_memory, by_hash = _play(adapted, FLEET), _play(adapted, replace(FLEET, rule="rendezvous"))
    assert sum(by_memory.adapter_places.values()) < sum(by_hash.adapter_places.values())


@pytest.mark.parametrize("text", ["4", "4:", "8:4", "4:12", "-1:4", "a:b"])
def test_an_engine_cannot_be_away_at_no_time(text: str) -> None:
    with pytest.raises(Impossible, match="FROM:TO"):
        away_between(text, 12)


def test_the_command_shows_every_rule() -> None:
    told = "placement --agents 6 --steps 4 --persona-tokens 50 --engines 2 --adapters 2 --away 1:2 --room 2"
    shown = CliRunner().invoke(app, told.split(), env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert all(shown.output.count(name) == 2 for name in placement.names())


def test_an_engine_that_is_too_small_for_a_call_is_refused() -> None:
    told = "placement --agents 6 --steps 4 --persona-tokens 50 --engines 4 --room 0.1"
    shown = CliRunner().invoke(app, told.split(), env={"COLUMNS": "200"})
    assert shown.exit_code == 2
    assert "more room, or fewer engines" in shown.output
