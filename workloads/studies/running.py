"""Plays the variants of a study, several at a time, and puts together what is written of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

from scalesim.workloads.machine import provenance

from .variant import HOST_GB, PERSONA_TOKENS, STEPS, Study, measured

SCHEMA = 1

Row = dict[str, object]


def rows_of(study: Study, seed: int, jobs: int, progress: Callable[[], None] = lambda: None) -> list[Row]:
    """In the order of the variants. Raises `Impossible`."""
    variants = study.variants(seed)
    with ProcessPoolExecutor(min(jobs, len(variants))) as pool:
        plays = [pool.submit(measured, variant) for variant in variants]
        for play in plays:
            play.add_done_callback(lambda _: progress())
        try:
            return [play.result() for play in plays]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def as_json(name: str, study: Study, seed: int, rows: Sequence[Row]) -> dict[str, object]:
    first, *_ = study.variants(seed)
    settings = {
        "gpu": "h100",
        "model": "qwen2.5-7b",
        "steps": STEPS,
        "persona_tokens_without_host": PERSONA_TOKENS,
        "host_gb": HOST_GB,
    }
    return {
        **provenance(SCHEMA, seed, settings),
        "study": name,
        "title": study.title,
        "about": study.about,
        "names": list(first.names),
        "columns": list(study.columns),
        "rows": list(rows),
    }
