"""The same packages through the proxy to SGLang itself, with a small model: a few agents, a few steps.

With `make smollm2` it is SmolLM2 that answers. Else it is the random model, which says nonsense in the right form; OASIS then
does nothing in its steps, since a model's tool calls are only read with a parser for that model.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from scalesim.workloads.builds import EngineBuild, Flavour
from scalesim.workloads.compare import ANY_GRAMMAR
from scalesim.workloads.servers import ROOT, Installation, Server, Servers

from .playing import INSIDE, MESA_LLM, OASIS, Client, play
from .scored import Scored, scored

pytestmark = [pytest.mark.clients, pytest.mark.engine, pytest.mark.slow, pytest.mark.anyio]

CAPACITY_TOKENS = 24_000
SMOLLM2 = ROOT / ".models" / "smollm2"
RANDOM = ROOT / ".models" / "random-256x8"
TIMEOUT_S = 900


@dataclass(frozen=True)
class Model:
    name: str
    folder: Path
    is_slow: bool
    """On a CPU a prompt takes it the better part of a minute: two agents and one step are enough."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    if SMOLLM2.exists():
        return Model("SmolLM2", SMOLLM2, is_slow=True)
    folder = Path(tmp_path_factory.mktemp("model")) / "ending"
    maker = [str(ROOT / ".engine" / "bin" / "python"), str(INSIDE / "ending_model.py"), str(RANDOM)]
    subprocess.run([*maker, str(folder)], check=True, capture_output=True)
    return Model("a random model", folder, is_slow=False)


@pytest.fixture(scope="module")
def engine(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    installation = replace(Installation(), model=model.folder)
    missing = installation.missing()
    assert not missing, f"run `make setup` first: {', '.join(map(str, missing))} not found"
    with Servers(installation, Path(tmp_path_factory.mktemp("engine"))) as running:
        build = EngineBuild(Flavour.EXTENDED, settings=ANY_GRAMMAR)
        server = running.start_engine("sglang", build, CAPACITY_TOKENS)
        asyncio.run(running.engine_is_up(server))
        yield server


@pytest.mark.parametrize(
    ("client", "agents", "interviews", "calls_per_step"),
    [pytest.param(OASIS, 6, 5, 1, id="oasis"), pytest.param(MESA_LLM, 4, 0, 2, id="mesa-llm")],
)
async def test_sglang_serves_it_and_its_agents_are_known(
    client: Client,
    agents: int,
    interviews: int,
    calls_per_step: int,
    model: Model,
    engine: Server,
    servers: Servers,
    tmp_path: Path,
    rows: list[Scored],
) -> None:
    steps = 2
    if model.is_slow:
        agents, steps, interviews = 2, 1, min(interviews, 2)
    played = await play(
        client,
        engine.url,
        servers,
        tmp_path,
        agents=agents,
        steps=steps,
        timeout_s=TIMEOUT_S,
    )
    rows.append(scored(client.name, f"SGLang, {model.name}", played))
    assert [truth.status for truth in played.truths] == [200] * (agents * steps * calls_per_step + interviews)
    for truth, call in played.joined():
        assert call.text is not None
        assert call.text.body == orjson.loads(truth.body)
        if truth.kind != "executor":
            assert (call.text.simulation, call.source) == (client.name, f"recipe:{client.name}")
    assert rows[-1].right >= 0.99
    assert rows[-1].f1 >= 0.99
