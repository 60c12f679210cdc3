"""Machines of which each lacks one thing: it is found, and giving more of it helps more than more of anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from scalesim.workloads.planning.bottleneck import TOLD, bottleneck
from scalesim.workloads.program import Program, Wishes
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.causes import Cause, Idleness
from scalesim.workloads.replay.clock import Clock
from scalesim.workloads.replay.costs import Costs
from scalesim.workloads.replay.engine import Call, Engine, Sizes
from scalesim.workloads.replay.foresight import Foresight
from scalesim.workloads.replay.paths import Pieces
from scalesim.workloads.replay.player import play
from scalesim.workloads.replay.world import Setting
from scalesim.workloads.scenarios import scenario
from tests.workloads.replay import toy

COSTS = Costs(profiles.gpu("h100"), profiles.model("qwen2.5-7b"), profiles.server())
WIDE = Sizes(4_000_000, 8_000_000)
"""Nothing ever leaves it."""
TIGHT = Sizes(24_000)
"""Of a quarter of a million."""
MUCH = 50


def on(
    sizes: Sizes = WIDE, *, gpu: Mapping[str, float] = {}, weights: float = 15.2e9, **server: float
) -> Setting:
    costs = replace(
        COSTS,
        model=replace(COSTS.model, weight_bytes=weights),
        gpu=replace(COSTS.gpu, **gpu),
        server=replace(COSTS.server, **server),  # type: ignore[arg-type]
    )
    return Setting(costs, sizes, "stock")


def town(name: str = "independent", **wishes: object) -> Program:
    usual = Wishes(agents=60, steps=4, persona_tokens=2000, sketched=True, mean_gap_steps=2)
    return scenario(name).generate(replace(usual, **wishes))  # type: ignore[arg-type]


def more(setting: Setting) -> dict[Cause, Setting]:
    """The same machine with far more of one thing each."""
    costs, sizes = setting.costs, setting.sizes
    gpu, server = costs.gpu, costs.server

    def with_gpu(**figures: float) -> Setting:
        return replace(setting, costs=replace(costs, gpu=replace(gpu, **figures)))  # type: ignore[arg-type]

    return {
        Cause.AGAIN: replace(setting, sizes=replace(sizes, host_tokens=sizes.host_tokens + 10_000_000)),
        Cause.POOL: replace(setting, sizes=replace(sizes, capacity_tokens=MUCH * sizes.capacity_tokens)),
        Cause.SLOTS: replace(setting, sizes=replace(sizes, slots=MUCH * sizes.slots)),
        Cause.LINK: with_gpu(link_bytes_per_s=MUCH * gpu.link_bytes_per_s),
        Cause.LIMIT: replace(setting, costs=replace(costs, server=replace(server, max_running=10_000))),
        Cause.PREFILL: with_gpu(flops=MUCH * gpu.flops),
        Cause.DECODE: with_gpu(memory_bytes_per_s=MUCH * gpu.memory_bytes_per_s),
    }


LACKING: dict[Cause, tuple[Callable[[], tuple[Program, Setting]], set[Cause]]] = {
    Cause.PREFILL: (lambda: (town(persona_tokens=6000, output_share=0.05), on()), {Cause.PREFILL}),
    Cause.DECODE: (
        lambda: (
            town(agents=100, steps=2, persona_tokens=12_000, mean_gap_steps=1),
            on(gpu={"flops": 1e17}, weights=1e9),
        ),
        {Cause.DECODE},
    ),
    Cause.AGAIN: (
        lambda: (town(persona_tokens=4000, output_share=0.05), on(TIGHT)),
        {Cause.AGAIN, Cause.POOL, Cause.PREFILL},
    ),
    Cause.POOL: (
        lambda: (town(persona_tokens=500), on(Sizes(4_000), gpu={"flops": 1e17})),
        {Cause.POOL, Cause.DECODE},
    ),
    Cause.SLOTS: (
        lambda: (town(adapters=True), on(replace(WIDE, slots=2, adapter_bytes=1), gpu={"flops": 1e17})),
        {Cause.SLOTS, Cause.DECODE},
    ),
    Cause.LINK: (
        lambda: (
            town(output_share=0.2),
            on(Sizes(40_000, 4_000_000), gpu={"link_bytes_per_s": 1e9, "flops": 1e17}),
        ),
        {Cause.LINK, Cause.POOL},
    ),
    Cause.LIMIT: (lambda: (town(), on(max_running=2)), {Cause.LIMIT, Cause.DECODE}),
    Cause.CHAINS: (lambda: (town(agents=4, mean_gap_steps=1), on()), {Cause.DECODE}),
}
"""What lacks something, and what then helps. Whatever holds steps up, those of decoding are faster where memory is."""


@pytest.mark.slow
@pytest.mark.parametrize("lacks", LACKING, ids=str)
def test_what_a_machine_lacks_is_found_and_more_of_it_helps(lacks: Cause) -> None:
    made, expected = LACKING[lacks]
    program, setting = made()
    as_it_is = play(program, setting)
    found = bottleneck(as_it_is.causes)
    assert found.cause == lacks
    assert found.share > 0.4
    with_more = {cause: play(program, one).seconds / as_it_is.seconds for cause, one in more(setting).items()}
    assert {cause for cause, share in with_more.items() if share < 0.8} == expected, with_more


def test_calls_that_wait_on_one_engine_while_another_is_idle_are_badly_spread() -> None:
    idleness = Idleness()
    idleness.note("one", 0.0, is_idle=True, is_waited_on=False)
    idleness.note("other", 1.0, is_idle=False, is_waited_on=True)
    idleness.note("third", 2.0, is_idle=True, is_waited_on=False)
    idleness.note("other", 4.0, is_idle=False, is_waited_on=False)
    idleness.note("one", 9.0, is_idle=False, is_waited_on=False)
    assert idleness.seconds == (2.0 - 1.0) + 2 * (4.0 - 2.0)


def test_what_another_engine_has_computed_is_badly_spread_too() -> None:
    clock, pieces = Clock(), Pieces()
    one, other = (
        Engine(f"{number}", clock, toy.COSTS, Sizes(10_000), "stock", Foresight((), {}), number=number)
        for number in range(2)
    )
    path = pieces.path([("persona", 500), ("task", 100)])
    ended: list[Call] = []
    for number, engine in enumerate((one, other)):
        engine.submit(Call(number, "ann", path, 1, None, ended.append))
        clock.run_until(lambda: len(ended) == number + 1)  # noqa: B023  it is asked before the next
    assert one.account.seconds[Cause.PREFILL] > 0.5
    assert other.account.seconds[Cause.PREFILL] == 0
    assert other.account.seconds[Cause.SPREAD] == one.account.seconds[Cause.PREFILL]


def test_every_second_has_one_cause() -> None:
    setting = replace(on(Sizes(12_000, 20_000)), policy="nearest_first", engines=2)
    results = play(town(agents=20, steps=3, persona_tokens=500), setting)
    assert sum(results.causes.values()) == pytest.approx(1)
    shares = results.shares
    assert results.causes["link"] == pytest.approx(shares.load)
    assert results.causes["prefill"] + results.causes["again"] <= shares.prefill


def test_every_cause_is_told_in_words() -> None:
    assert TOLD.keys() == set(Cause)
