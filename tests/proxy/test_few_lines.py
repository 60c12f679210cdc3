from __future__ import annotations

import logging

from scalesim.proxy.few_lines import FewLines


class Now:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def record(name: str, line: int, text: str = "a bad request from %s", *args: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "file.py", line, text, args or ("Ann",), None)


def test_of_lines_that_come_with_every_request_one_a_second_is_written_and_the_others_are_counted() -> None:
    now = Now()
    few = FewLines(now)
    written = []
    for _ in range(3000):
        one = record("scalesim.proxy.data_plane.relay", 7)
        if few.filter(one):
            written.append(one.getMessage())
        now.at += 0.001
    assert written == [
        "a bad request from Ann",
        "a bad request from Ann (999 more like it were left out)",
        "a bad request from Ann (999 more like it were left out)",
    ]


def test_another_statement_has_a_line_of_its_own() -> None:
    few = FewLines(Now())
    assert few.filter(record("uvicorn.error", 7))
    assert few.filter(record("uvicorn.error", 8))
    assert not few.filter(record("uvicorn.error", 7))


def test_what_comes_with_no_request_is_always_written() -> None:
    few = FewLines(Now())
    assert all(few.filter(record("scalesim.proxy.app.assembly", 7)) for _ in range(100))


def test_a_percent_sign_in_what_a_client_sent_is_no_place_for_an_argument() -> None:
    now = Now()
    few = FewLines(now)
    for _ in range(2):
        few.filter(record("uvicorn.error", 7, "%s", "100%s"))
    now.at += 1.0
    one = record("uvicorn.error", 7, "%s", "100%s")
    assert few.filter(one)
    assert one.getMessage() == "100%s (1 more like it were left out)"
