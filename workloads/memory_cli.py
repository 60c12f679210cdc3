"""The commands of the memory benchmark: `bench-memory` and `calibrate-link`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import command_line as common
from .bench_memory import Order, bench_memory
from .builds import Device
from .calibrate_link import PAIR, calibrate_link
from .command_line import DEFAULT
from .memory_configurations import PART_BY_PART, SEARCHED, TOGETHER, WITH_HOST_TIER, WITHOUT_HOST_TIER, usual
from .program import Told

Room = Annotated[float, typer.Option(help="Share of the agents' prefixes and adapters that fits.")]
Rank = Annotated[int, typer.Option(help="Of the adapters.")]
LinkSetting = Annotated[
    str,
    typer.Option(
        metavar="LINK",
        help="off, paper, h100, or NAME:BYTES_PER_S:ADAPTER_OVERHEAD_S:PREFIX_OVERHEAD_S.",
    ),
]
OutputShare = Annotated[
    float, typer.Option(help="Of the tokens that the scenario generates; less lets prefilling weigh more.")
]
MaxEngines = Annotated[int, typer.Option(min=2, help="Engines that are up side by side.")]
LeadIn = Annotated[int, typer.Option(help="Steps at the beginning that are played and not measured.")]
OneFile = Annotated[bool, typer.Option("--one-file", help="All adapters are one file under many names.")]
ModelPath = Annotated[Path, typer.Option(help="The model the engines load.")]
OnDevice = Annotated[Device, typer.Option("--device", help="What engines compute on.")]
GPU_ENGINE_TIMEOUT_S = 1200.0
"""Models of GPUs are large, and their graphs are captured first."""


def add_to(app: typer.Typer) -> None:
    app.command("bench-memory")(bench_memory_command)
    app.command("calibrate-link")(calibrate_link_command)


def bench_memory_command(
    scenario: common.ScenarioName = PART_BY_PART,
    agents: common.Agents = 24,
    steps: common.Steps = 12,
    seed: common.Seed = 1,
    persona_tokens: common.PersonaTokens = 2000,
    growth_tokens: common.GrowthTokens = 64,
    option: common.Options = None,
    output_share: OutputShare = 1.0,
    repeats: common.Repeats = 3,
    room: Room = 0.25,
    rank: Rank = 8,
    lead_in: LeadIn = 2,
    one_file: OneFile = False,
    link: LinkSetting = "off",
    no_host_tier: Annotated[
        bool, typer.Option("--no-host-tier", help="No engine has one: prefixes are computed again.")
    ] = False,
    configs: Annotated[
        str | None,
        typer.Option(
            help=f"Of {', '.join(WITH_HOST_TIER)}; without a host tier of {', '.join(WITHOUT_HOST_TIER)}."
            f" The usual ones are all of these; of other scenarios than {PART_BY_PART}, {', '.join(TOGETHER)}."
            " The reference is hicache, or else the first. Only when named, stock with a host tier and other settings:"
            f" {', '.join(SEARCHED)}."
        ),
    ] = None,
    told: Annotated[
        Told | None,
        typer.Option(help="What the simulation tells (what one like it knows of itself), if it has that."),
    ] = None,
    wrong_adapter: Annotated[str | None, typer.Option(metavar="CONFIG", hidden=True)] = None,
    max_engines: MaxEngines = 3,
    json_path: common.JsonPath = None,
    png_path: common.PngPath = None,
    out_dir: common.OutDir = None,
    model_path: ModelPath = DEFAULT.model,
    engine_env: common.EngineEnv = DEFAULT.engine_env,
    device: OnDevice = Device.CPU,
    scalesim: common.ProxyCommand = DEFAULT.scalesim,
) -> None:
    """Plays one program with an adapter for each agent, with each part of memory control alone and with all of them."""
    out = out_dir or common.new_out_dir("bench-memory")
    json_file = json_path or out / "bench-memory.json"
    names = configs.split(",") if configs is not None else usual(not no_host_tier, scenario)
    with common.understood():
        wishes = common.wishes(agents, steps, seed, persona_tokens, growth_tokens, option)
        order = Order(
            wishes=replace(wishes, output_share=output_share, adapters=True),
            names=tuple(name.strip() for name in names if name.strip()),
            room=room,
            repeats=repeats,
            most_engines=max_engines,
            out_dir=out,
            json_path=json_file,
            png_path=png_path or json_file.with_suffix(".png"),
            scenario=scenario,
            told=told,
            host_tier=not no_host_tier,
            link=link,
            rank=rank,
            lead_in=lead_in,
            one_file=one_file,
            wrong_adapter=wrong_adapter,
            installation=replace(
                DEFAULT,
                model=model_path.absolute(),
                engine_env=engine_env.absolute(),
                device=device,
                engine_timeout_s=DEFAULT.engine_timeout_s if device is Device.CPU else GPU_ENGINE_TIMEOUT_S,
                scalesim=scalesim.absolute(),
            ),
        )
    common.finish(bench_memory(order, Console()))


def calibrate_link_command(
    scenario: common.ScenarioName = PART_BY_PART,
    agents: common.Agents = 24,
    steps: common.Steps = 12,
    seed: common.Seed = 1,
    persona_tokens: common.PersonaTokens = 2000,
    growth_tokens: common.GrowthTokens = 64,
    option: common.Options = None,
    output_share: OutputShare = 1.0,
    repeats: common.Repeats = 1,
    room: Room = 0.25,
    rank: Rank = 8,
    lead_in: LeadIn = 2,
    one_file: OneFile = False,
    link: LinkSetting = "paper",
    rounds: Annotated[int, typer.Option(min=1, help="Links that are tried at most.")] = 4,
    json_path: common.JsonPath = None,
    out_dir: common.OutDir = None,
    model_path: ModelPath = DEFAULT.model,
    engine_env: common.EngineEnv = DEFAULT.engine_env,
) -> None:
    """Plays stock and hicache, and proposes the link with which loads weigh what they weighed in the paper."""
    out = out_dir or common.new_out_dir("calibrate-link")
    json_file = json_path or out / "calibrate-link.json"
    with common.understood():
        wishes = common.wishes(agents, steps, seed, persona_tokens, growth_tokens, option)
        order = Order(
            wishes=replace(wishes, output_share=output_share, adapters=True),
            names=PAIR,
            room=room,
            repeats=repeats,
            most_engines=len(PAIR),
            out_dir=out,
            json_path=json_file,
            png_path=json_file.with_suffix(".png"),
            scenario=scenario,
            link=link,
            rank=rank,
            lead_in=lead_in,
            one_file=one_file,
            installation=replace(DEFAULT, model=model_path.absolute(), engine_env=engine_env.absolute()),
        )
    common.finish(calibrate_link(order, rounds, Console()))
