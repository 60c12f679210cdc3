"""`run`: a scenario, played once against whatever speaks OpenAI's API at a URL."""

from __future__ import annotations

import json
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
from .results import Play, Summary, TokenCounts
from .scenarios import scenario


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
    records = out_dir / "calls.jsonl"
    write_calls(records, [({"config": "run"}, play.calls)])
    met = interactions(program)
    about = {
        "command": command(),
        "commit": commit(),
        "machine": machine(),
        "url": target.base_url,
        "scenario": name,
        "told": target.told.value if target.admin_url is not None else Told.NONE.value,
        "noise": asdict(noise) if noise is not None else None,
        "calls_by_trigger": program.calls_by_trigger(),
        "interactions": None if met is None else met.as_json(),
    }
    told = Summary((play,), TokenCounts(), TokenCounts()).report()
    console.print_json(json.dumps({**about, **asdict(wishes), **told}))
    console.print(f"written: {records}", soft_wrap=True)
    return not any(call.error is not None for call in play.calls)
