from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from scalesim.workloads.replay.profiles import Server, parsed
from scalesim.workloads.report import fit, published
from scalesim.workloads.report.points import Played

PUBLISHED = published.read()
TRUE = {"bandwidth_share": 0.4, "prefill_overhead_s": 0.03, "adapter_overhead_s": 0.09}


def made_up(server: Server) -> dict[int, Played]:
    """Times in proportion to the free figures, of a machine that is as published where they are the true ones."""
    found = {}
    for agents in fit.FITTED_ON:
        whole, shares = PUBLISHED.step_s["hicache"][agents], PUBLISHED.shares["hicache"][agents]
        decode = whole * shares[0] * TRUE["bandwidth_share"] / server.bandwidth_share
        prefill = whole * shares[1] * (0.2 + 0.8 * server.prefill_overhead_s / TRUE["prefill_overhead_s"])
        load = whole * shares[2] * server.adapter_overhead_s / TRUE["adapter_overhead_s"]
        step = decode + prefill + load + whole * shares[3]
        found[agents] = Played(step, decode, prefill, load, 1.0, 0.1, 1.0, 1, 0)
    return found


def test_there_are_fewer_free_figures_than_published_times() -> None:
    assert len(fit.FREE) < len(fit.FITTED_ON)
    assert fit.FREE.keys() == fit.BEGIN.keys()


def test_the_figures_are_found_that_the_times_were_made_with() -> None:
    found = fit.fit(PUBLISHED, made_up, fit.base_server())
    assert found.values == pytest.approx(TRUE, rel=0.02)
    assert found.error < 0.01
    assert found.data == 16


def test_only_hicache_with_few_agents_is_looked_at() -> None:
    others = replace(
        PUBLISHED,
        step_s={
            system: {
                agents: 1e9 if system != "hicache" or agents > 200 else told for agents, told in of.items()
            }
            for system, of in PUBLISHED.step_s.items()
        },
        shares={"hicache": {n: of for n, of in PUBLISHED.shares["hicache"].items() if n <= 200}},
        speedup={},
        ttft_s={},
    )
    assert fit.fit(others, made_up, fit.base_server()) == fit.fit(PUBLISHED, made_up, fit.base_server())


def test_what_cannot_be_better_is_left_as_it_is() -> None:
    def always_the_same(_: Server) -> Mapping[int, Played]:
        return made_up(replace(fit.base_server(), **TRUE))  # type: ignore[arg-type]

    found = fit.fit(PUBLISHED, always_the_same, fit.base_server())
    assert found.values == fit.BEGIN
    assert found.plays < 20


def test_the_profile_that_is_written_is_the_one_that_was_found() -> None:
    found = fit.fit(PUBLISHED, made_up, fit.base_server())
    text = fit.profile_text(found, "from a test")
    assert parsed(Server, text, "written") == found.server
    assert text.count("# fitted") == len(fit.FREE)
