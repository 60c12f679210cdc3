from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from scalesim.workloads.calibrate_link import PAIR, search, weighed
from scalesim.workloads.engines import EngineUnfit
from scalesim.workloads.link_search import Weighed
from tests.workloads.test_bench_memory import LINK, FakeFleet, order, prepared, screen, shown
from tests.workloads.test_memory_results import play

pytestmark = [pytest.mark.anyio]


def test_what_was_seen_is_the_mean_over_the_plays() -> None:
    lookups = {"hit": 10.0, "miss": 3.0, "loading": 1.0}
    plays = [
        play("stock", wall_s=10, load=1.0, adapter_lookups=lookups),
        play("hicache", wall_s=9, load=3.0),
        play("stock", wall_s=12, load=2.0, adapter_lookups=lookups, place=(0, 1)),
        play("hicache", wall_s=11, load=5.0, place=(0, 1)),
    ]
    assert weighed(plays) == Weighed(11, 1.5, 10, 4.0, 4)


def test_an_engine_without_a_meter_cannot_be_calibrated() -> None:
    with pytest.raises(EngineUnfit, match="without the meter"):
        weighed([play("stock", load=None), play("hicache")])


@pytest.mark.slow
async def test_each_round_plays_on_engines_with_the_link_proposed_by_the_one_before(tmp_path: Path) -> None:
    console = screen()
    asked = order(tmp_path, *PAIR)
    async with AsyncExitStack() as stack:
        fleet = FakeFleet(stack)
        # The link changes nothing in a fake engine, so the search cannot succeed.
        assert not await search(asked, prepared(asked), LINK, fleet, 2, console)
        links = [build.link for build, _ in fleet.engines_by_key]
    rounds = json.loads((tmp_path / "result.json").read_text())["rounds"]
    assert len(rounds) == 2
    assert rounds[0]["link"] == LINK.as_json()
    assert rounds[1]["link"] == rounds[0]["proposed"]
    assert [link and link.as_json() for link in links] == [rounds[0]["link"]] * 2 + [rounds[1]["link"]] * 2
    assert "to be tried next: --link paper:" in shown(console)
