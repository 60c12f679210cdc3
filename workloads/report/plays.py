"""Plays points side by side, and keeps what came of them: a point is played once for each state of the code that it goes through."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from scalesim.workloads.replay.profiles import Server
from scalesim.workloads.servers import ROOT

from .points import Played, Point, played, program_of

_FOLDERS = ("workloads/replay", "workloads/scenarios", "proxy/core")
_FILES = (
    *(
        f"workloads/{name}.py"
        for name in ("authors", "graphs", "plans", "program", "schedules", "telling", "town")
    ),
    *("workloads/report/points.py", "engine_adapters/sglang_plugin/ledger.py"),
)
"""With the folders, all that a play goes through."""


def all_of(
    points: Sequence[Point],
    server: Server,
    seed: int,
    cache: Path,
    jobs: int,
    ended: Callable[[int], None] = lambda _: None,
) -> dict[Point, Played]:
    """`ended` is told how many have ended. Raises `Impossible`."""
    state = fingerprint()
    files = {point: cache / f"{_key(point, server, seed, state)}.json" for point in points}
    found = {point: one for point, file in files.items() if (one := _kept(file)) is not None}
    ended(len(found))
    # The long ones first, so that none of them is left over in the end.
    missing = sorted((point for point in points if point not in found), key=_effort, reverse=True)
    if missing:
        cache.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(min(jobs, len(missing)), mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(_play, point, server, seed): point for point in missing}
            for future in as_completed(futures):
                point, one = futures[future], future.result()
                _keep(files[point], one)
                found[point] = one
                ended(len(found))
    return {point: found[point] for point in points}


def fingerprint(root: Path = ROOT) -> str:
    """Of the code and the profiles."""
    total = hashlib.sha256()
    for path in _sources(root):
        total.update(path.name.encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def _sources(root: Path) -> Iterable[Path]:
    for folder in _FOLDERS:
        yield from sorted(path for path in (root / folder).rglob("*") if path.suffix in (".py", ".toml"))
    yield from (root / name for name in _FILES)


def _key(point: Point, server: Server, seed: int, state: str) -> str:
    told = json.dumps([asdict(point), asdict(server), seed, state], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _play(point: Point, server: Server, seed: int) -> Played:
    return played(point, server, program_of(point, seed))


def _effort(point: Point) -> tuple[bool, float]:
    return point.system == "scalesim", point.active or point.agents / 5


def _kept(file: Path) -> Played | None:
    try:
        return Played(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None


def _keep(file: Path, one: Played) -> None:
    """Two commands may play the same at once: what one of them has half written, the other must not read."""
    half = file.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps(asdict(one)))
    half.replace(file)
