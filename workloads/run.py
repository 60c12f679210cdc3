"""`run`: a scenario or a recorded trace, played once against whatever speaks OpenAI's API at a URL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from . import calibration
from .engines import Engine, EngineUnfit, http_client
from .interactions import interactions
from .machine import command, commit, machine
from .noise import Noise, noisy
from .player import Target, play_program
from .program import Told, Wishes
from .records import write_calls
from .replay.trace_player import Pace
from .replay.traces import Trace
from .results import Play, Summary, TokenCounts
from .scenarios import scenario
from .traced import play_trace


async def run(
    name: str, wishes: Wishes, target: Target, out_dir: Path, console: Console, noise: Noise | None = None
) -> bool:
    """True if no call had an error. A target without a model takes the first that is offered. `noise` is that of the
    distances that are told.

    Raises `Impossible`, `EngineUnfit` or `HintRefused`.
    """
    generate = scenario(name).generate
    # Refuse what is impossible before anything takes time.
    generate(replace(wishes, agents=1, steps=1)).must_tell(target.told)
    headers = {"Authorization": f"Bearer {target.api_key}"}
    async with http_client(target.base_url, headers) as http:
        engine = Engine(http)
        target = replace(target, model=target.model or await engine.model())
        try:
            wishes = replace(wishes, chars_per_token=await calibration.of_engine(engine))
        except EngineUnfit:
            console.print(f"It does not tokenize: taking {wishes.chars_per_token:g} characters for a token.")
    program = generate(wishes)
    program = noisy(program, noise) if noise is not None else program
    play = Play("run", 0, 0, tuple(await play_program(program, target)))
    met = interactions(program)
    about = {
        "scenario": name,
        "told": target.told.value if target.admin_url is not None else Told.NONE.value,
        "noise": asdict(noise) if noise is not None else None,
        "calls_by_trigger": program.calls_by_trigger(),
        "interactions": None if met is None else met.as_json(),
        **asdict(wishes),
    }
    return _tell(play, target, about, out_dir, console)


async def run_trace(trace: Trace, pace: Pace, target: Target, out_dir: Path, console: Console) -> bool:
    """As `run`, of a recorded trace. Raises `Impossible` or `HintRefused`."""
    headers = {"Authorization": f"Bearer {target.api_key}"}
    async with http_client(target.base_url, headers) as http:
        target = replace(target, model=target.model or await Engine(http).model(), told=Told.NONE)
    traced = await play_trace(trace, target, pace)
    left_out = trace.left_out()
    if adapted := sum(call.adapter is not None for call in trace.calls):
        left_out.append(f"adapters of {adapted} calls: a trace has only hashes of their names")
    about = {
        "scenario": "trace",
        **asdict(pace),
        "agents": len({call.agent for call in trace.calls}),
        "left_out": left_out,
        "late_s": traced.late_s,
    }
    return _tell(Play("run", 0, 0, (traced.played,)), target, about, out_dir, console)


def _tell(play: Play, target: Target, about: Mapping[str, object], out_dir: Path, console: Console) -> bool:
    records = out_dir / "calls.jsonl"
    write_calls(records, [({"config": "run"}, play.calls)])
    where = {"command": command(), "commit": commit(), "machine": machine(), "url": target.base_url}
    told = Summary((play,), TokenCounts(), TokenCounts()).report()
    console.print_json(json.dumps({**where, **about, **told}))
    console.print(f"written: {records}", soft_wrap=True)
    return not any(call.error is not None for call in play.calls)
