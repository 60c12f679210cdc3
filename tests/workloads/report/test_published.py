from __future__ import annotations

from importlib import resources

import pytest

from scalesim.workloads.report import published

TEXT = (resources.files("scalesim.workloads.report") / "published.toml").read_text()


def test_shares_of_a_step_of_hicache_add_up_to_the_step() -> None:
    for agents, shares in published.read().shares["hicache"].items():
        assert sum(shares) == pytest.approx(1, abs=0.011), agents


def test_what_loading_costs_is_the_share_of_the_step_that_another_figure_gives() -> None:
    told = published.read()
    for agents, seconds in told.load_per_step.items():
        by_share = told.step_s["hicache"][agents] * told.shares["hicache"][agents][2]
        assert by_share == pytest.approx(seconds, rel=0.15), agents


def test_every_system_has_a_value_for_every_number_of_agents() -> None:
    told = published.read()
    for by_system in (told.step_s, told.ttft_s):
        assert len({tuple(values) for values in by_system.values()}) == 1
        assert by_system.keys() == {"sglang", "hicache", "scalesim"}
    assert len(told.active_percent) == 20


def test_a_list_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        published.parsed(TEXT.replace("seconds = [1.1, 2.5, 8.9, 17.3]", "seconds = [1.1, 2.5, 8.9]"))
