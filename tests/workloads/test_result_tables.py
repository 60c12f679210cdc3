"""What the documentation's tables say is what is in docs/results."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from scalesim.workloads.result_tables import NoSuchTable, written
from scalesim.workloads.tables_cli import pages, result

PLAYED = {
    "persona_tokens": 2000,
    "speedup_over_stock": {"stock": 1.0, "on": 1.25},
    "configs": {
        name: {
            "wall_s": wall_s,
            "ttft_s": {"mean": 1.0, "p95": 2.5},
            "first_call_hit_rate": hits,
            "prefix_hit_rate": 1.0,
            "belady": {"first_call_hit_rate": 0.7},
            "time_share": {"decode": 0.4, "prefill": 0.555},
        }
        for name, wall_s, hits in (("stock", 10.0, 0.42), ("on", 8.0, 0.6825))
    },
}
PAGE = """Before.

<!-- table: comparison one.json -->
| an | old |
|---|---|
| table | 1 |

After.

| another | table |
|---|---|
"""


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_table_of_the_documentation_is_what_was_measured(page: Path) -> None:
    text = page.read_text()
    assert written(text, result) == text, "python -m workloads tables"


def test_a_figure_that_was_not_measured_is_found() -> None:
    (page,) = (page for page in pages() if page.name == "benchmarks.md")
    text = page.read_text()
    stale = text.replace("| on | 118.6 |", "| on | 18.6 |")
    assert stale != text
    assert written(stale, result) == text


def test_a_table_takes_the_place_of_the_old_one_and_all_else_stays() -> None:
    new = written(PAGE, lambda _: PLAYED)
    assert new.splitlines()[2:7] == [
        "<!-- table: comparison one.json -->",
        "| | wall s | speedup | TTFT mean / p95 s | first calls | Belady | all calls | decode / prefill |",
        "|---|---|---|---|---|---|---|---|",
        "| stock | 10.0 | 1.00 | 1.00 / 2.50 | .420 | .700 | 1.000 | .40 / .56 |",
        "| on | 8.0 | 1.25 | 1.00 / 2.50 | .682 | .700 | 1.000 | .40 / .56 |",
    ]
    assert new.endswith("\n\nAfter.\n\n| another | table |\n|---|---|\n")
    assert written(new, lambda _: PLAYED) == new


def test_of_several_results_each_row_says_of_which_it_is() -> None:
    short = copy.deepcopy(PLAYED) | {"persona_tokens": 1000}
    two = PAGE.replace("one.json", "one.json two.json")
    rows = written(two, {"one.json": PLAYED, "two.json": short}.__getitem__).splitlines()[5:9]
    assert [row.split(" | ")[0] for row in rows] == [
        "| 2,000: stock",
        "| 2,000: on",
        "| 1,000: stock",
        "| 1,000: on",
    ]


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ("nonsense one.json", "there is no table 'nonsense'"),
        ("comparison none.json", "comparison of none.json: FileNotFoundError"),
        ("memory one.json", "memory of one.json: KeyError"),
    ],
)
def test_what_cannot_be_made_is_named(mark: str, why: str) -> None:
    def read(name: str) -> dict[str, object]:
        return result(name) if name == "none.json" else dict(PLAYED)

    with pytest.raises(NoSuchTable, match=why):
        written(PAGE.replace("comparison one.json", mark), read)
