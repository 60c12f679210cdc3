"""The page shows what was found, and nothing else."""

from __future__ import annotations

import json

from tests.engine_adapters.capability_table import BEGIN, END, PAGE, RESULTS, Row, page_with, table


def test_the_page_shows_what_the_contract_found() -> None:
    page = PAGE.read_text()
    assert page == page_with(page, json.loads(RESULTS.read_text()))


def test_what_an_engine_did_not_show_is_not_taken_for_granted() -> None:
    shown = table({"engines": {"one": {Row.ORDER: "yes", Row.PIN: "no"}}})
    assert f"| {Row.ORDER} | yes |" in shown
    assert f"| {Row.PIN} | - |" in shown
    assert f"| {Row.LOAD} | **not shown** |" in shown


def test_only_what_stands_between_the_marks_is_written_anew() -> None:
    page = f"before\n{BEGIN}\nwhat stood there\n{END}\nafter\n"
    written = page_with(page, {"engines": {"one": {}}})
    assert written.startswith("before\n")
    assert written.endswith(f"{END}\nafter\n")
    assert "what stood there" not in written
