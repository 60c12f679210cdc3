"""The table of capabilities in docs/engines.md, out of what the contract found: `python -m tests.engine_adapters.capability_table`
writes it anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results" / "engines.json"
PAGE = ROOT / "docs" / "engines.md"
BEGIN, END = "<!-- found by the contract: begin -->", "<!-- end -->"


class Row(StrEnum):
    VERSION = "version"
    MODELS = "lists its models"
    CAPACITY = "tells how many tokens it has room for"
    CACHED = "tells how much of a prompt it had cached"
    ENDS = "ends a call that nobody waits for"
    ORDER = "who calls last leaves first"
    PIN = "pinned agents stay"
    EVICT = "an agent's memory is given up at once"
    RESIDENCY = "tells whose memory it holds"
    LOAD = "brings a prefix back before its call"
    WARM_UP = "caches a prompt and generates nothing"
    ADAPTER = "an agent's LoRA adapter answers"
    FETCH = "adapters come and go while it runs"


def table(results: Mapping[str, Any]) -> str:
    engines: Mapping[str, Mapping[str, str]] = results["engines"]
    lines = ["| | " + " | ".join(engines) + " |", "|---" * (len(engines) + 1) + "|"]
    for row in Row:
        cells = [found.get(row, "**not shown**") for found in engines.values()]
        lines.append(f"| {row} | " + " | ".join("-" if cell == "no" else cell for cell in cells) + " |")
    return "\n".join(lines)


def page_with(page: str, results: Mapping[str, Any]) -> str:
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(results)}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(), json.loads(RESULTS.read_text())))
