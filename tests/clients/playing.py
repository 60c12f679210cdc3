"""A real client in its own process, through a proxy in its own process, to an engine; and all that three sides know of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from scalesim.proxy.data_plane.answers import text_of
from scalesim.proxy.recording.files import lines_of
from scalesim.proxy.recording.trace import Call, Reading
from scalesim.workloads.servers import ROOT, Servers, free_port

INSIDE = Path(__file__).parent / "inside"
ENVIRONMENTS = ROOT / ".clients"
ON_ITS_OWN = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "OMP_NUM_THREADS"})
"""What a client inherits. Above all no API keys and no addresses of other servers."""


@dataclass(frozen=True, slots=True)
class Client:
    name: str
    script: str
    base_url: str
    """The variable in which it looks for it."""

    @property
    def python(self) -> Path:
        return ENVIRONMENTS / self.name / "bin" / "python"


OASIS = Client("oasis", "oasis_town.py", "OPENAI_API_BASE_URL")
MESA_LLM = Client("mesa-llm", "mesa_llm_town.py", "OPENAI_BASE_URL")


@dataclass(frozen=True, slots=True)
class Truth:
    """One request, as the client's process knows it."""

    at: float
    path: str
    agent: str | None
    """None: of nobody in particular."""
    kind: str | None
    sha256: str
    body: str
    headers: Sequence[str]
    status: int | None
    answer_sha256: str | None
    answer: str | None

    @property
    def caller(self) -> str:
        return f"agent {self.agent}" if self.agent is not None else f"no agent: {self.kind}"


@dataclass(frozen=True, slots=True)
class Played:
    truths: Sequence[Truth]
    """Those that were answered. What a client's library sent once more, since its idle connection was closed meanwhile, is left
    out: the proxy has not seen it."""
    calls: Sequence[Call]
    """As the proxy recorded them, in the order in which they came."""
    seconds: float

    def joined(self) -> Iterator[tuple[Truth, Call]]:
        """By body and answer; of those that are equal in both, in the order in which they came."""
        waiting: defaultdict[tuple[str, str], deque[Call]] = defaultdict(deque)
        for call in self.calls:
            assert call.text is not None
            waiting[_key(call.text.body, call.text.answer)].append(call)
        for truth in self.truths:
            found = waiting[_key(orjson.loads(truth.body), text_of((truth.answer or "").encode()))]
            assert found, f"the proxy has not recorded a request of {truth.caller}: {truth.body[:300]}"
            yield truth, found.popleft()
        assert not any(waiting.values()), "the proxy has recorded calls that no client made"

    def alike(self) -> int:
        """Requests of which somebody else's are equal in body and answer: there `joined` may take one for the other."""
        callers: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for truth in self.truths:
            callers[truth.body, text_of((truth.answer or "").encode())][truth.caller] += 1
        return sum(sum(counts.values()) for counts in callers.values() if len(counts) > 1)


async def play(
    client: Client,
    engine_url: str,
    servers: Servers,
    folder: Path,
    *,
    agents: int,
    steps: int,
    proxy: Mapping[str, str] | None = None,
    timeout_s: float = 600,
) -> Played:
    """`proxy` are its settings."""
    assert client.python.exists(), f"run `make clients` first: {client.python} is not there"
    port, admin_port, trace, truth = free_port(), free_port(), folder / "trace.jsonl", folder / "truth.jsonl"
    command = [str(servers.installation.scalesim), "record", str(trace), "--full-text"]
    command += ["--engine", engine_url, "--port", str(port), "--admin-port", str(admin_port)]
    settings = {f"SCALESIM_{name.upper()}": value for name, value in (proxy or {}).items()}
    server = servers.spawn(f"proxy-{folder.name}", command, settings, f"http://127.0.0.1:{port}")
    # Ready, not only healthy: the proxy has found the engine and what it can do.
    await servers.healthy(server, f"http://127.0.0.1:{admin_port}/ready", 180)
    environment = {
        **{name: value for name, value in os.environ.items() if name in ON_ITS_OWN},
        **{"AGENTS": str(agents), "STEPS": str(steps), "TRUTH": str(truth)},
        **{client.base_url: f"{server.url}/v1", "OPENAI_API_KEY": "none"},
        # Else litellm looks for a price list on the Internet, three times, before it is imported.
        **{"LITELLM_LOCAL_MODEL_COST_MAP": "True", "ANONYMIZED_TELEMETRY": "False", "HF_HUB_OFFLINE": "1"},
    }
    try:
        seconds = await _run(client, environment, folder, timeout_s)
    finally:
        # It asks its engine to forget the plan, and that may be a server of this very loop.
        await asyncio.to_thread(servers.stop, server)
    reading = Reading(lines_of(trace))
    calls = sorted(reading, key=lambda call: call.timestamp)
    assert (reading.lost, reading.skips) == (0, 0)
    rows = [json.loads(line) for line in truth.read_text().splitlines()]
    return Played(_answered([Truth(**row) for row in sorted(rows, key=_at)]), calls, seconds)


async def _run(client: Client, environment: Mapping[str, str], folder: Path, timeout_s: float) -> float:
    log = folder / f"{client.name}.log"
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *(str(client.python), str(INSIDE / client.script)),
            cwd=folder,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
        try:
            async with asyncio.timeout(timeout_s):
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    end = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    assert status == 0, f"{client.name} ended with status {status}; the end of {log}:\n{end}"
    return loop.time() - started_at


def _answered(truths: Sequence[Truth]) -> Sequence[Truth]:
    answered = [truth for truth in truths if truth.status is not None]
    again = Counter((truth.caller, truth.sha256) for truth in answered)
    lost = [truth for truth in truths if truth.status is None and not again[truth.caller, truth.sha256]]
    assert not lost, f"{len(lost)} requests were never answered, the first one of {lost[0].caller}"
    return answered


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def is_with_one_more_piece(got: bytes, sent: bytes) -> bool:
    """Whether taking one run of bytes out of `got` leaves `sent`."""
    unequal = (at for at, (one, other) in enumerate(zip(got, sent, strict=False)) if one != other)
    begin = next(unequal, min(len(got), len(sent)))
    return len(got) >= len(sent) and got.endswith(sent[begin:])


def _key(body: Any, answer: str) -> tuple[str, str]:
    return sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)), answer


def _at(row: Mapping[str, Any]) -> float:
    return float(row["at"])
