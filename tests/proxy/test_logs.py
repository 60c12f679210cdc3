from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from scalesim.proxy.logs import KINDS, LINES, WINDOW_S, JsonFormat, RateLimit, TextFormat, log_to, request_id

log = logging.getLogger("scalesim.test")


def record(line: int = 1, text: str = "it is %s", *told: object) -> logging.LogRecord:
    return logging.LogRecord("scalesim.test", logging.WARNING, "here.py", line, text, told or ("so",), None)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _of_a_request() -> Iterator[None]:
    token = request_id.set("req-1")
    yield
    request_id.reset(token)


def test_a_line_of_json_says_what_when_where_and_for_which_request() -> None:
    said = json.loads(JsonFormat().format(record()))
    assert said.pop("time").endswith("+00:00")
    assert said == {
        "level": "warning",
        "logger": "scalesim.test",
        "message": "it is so",
        "request_id": "req-1",
    }


def test_a_line_of_text_names_its_request() -> None:
    assert TextFormat().format(record()).endswith("WARNING scalesim.test: it is so [request req-1]")


def test_outside_of_a_request_none_is_named() -> None:
    request_id.set("")
    assert "request_id" not in json.loads(JsonFormat().format(record()))
    assert TextFormat().format(record()).endswith("it is so")


def test_a_line_of_json_is_one_line_whatever_it_says() -> None:
    line = JsonFormat().format(record(1, "it is %s", 'a "quoted"\nline\x1b[31m'))
    assert "\n" not in line
    assert "\x1b" not in line
    assert json.loads(line)["message"] == 'it is a "quoted"\nline\x1b[31m'


def test_a_traceback_is_part_of_its_line() -> None:
    out = io.StringIO()
    logger = logging.Logger("scalesim.test")
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormat())
    logger.addHandler(handler)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logger.exception("it failed")
    (line,) = out.getvalue().splitlines()
    assert "RuntimeError: broken" in json.loads(line)["traceback"]


def test_of_lines_of_one_kind_so_many_are_written_and_the_rest_is_counted() -> None:
    clock = Clock()
    limit = RateLimit(clock)
    written = [limit.filter(record()) for _ in range(LINES + 5)]
    assert written == [True] * LINES + [False] * 5
    assert limit.suppressed == 5
    assert limit.filter(record(line=2)), "another kind is not concerned"
    clock.now = WINDOW_S
    next_one = record()
    assert limit.filter(next_one)
    assert json.loads(JsonFormat().format(next_one))["suppressed"] == 5
    assert "[5 such lines before it were not written]" in TextFormat().format(next_one)


def test_of_a_line_of_which_none_was_left_out_nothing_is_said() -> None:
    clock = Clock()
    limit = RateLimit(clock)
    limit.filter(record())
    clock.now = WINDOW_S
    assert limit.filter(one := record())
    assert "suppressed" not in json.loads(JsonFormat().format(one))


def test_no_more_kinds_are_remembered_than_there_is_room_for() -> None:
    limit = RateLimit(Clock())
    for line in range(KINDS + 10):
        limit.filter(record(line))
    assert len(limit._kinds) == KINDS


def test_all_that_is_logged_goes_where_it_was_told() -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    out = io.StringIO()
    try:
        limit = log_to(out, "info", "json")
        for _ in range(LINES + 1):
            log.info("hello")
        log.debug("not at this level")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert {json.loads(line)["message"] for line in out.getvalue().splitlines()} == {"hello"}
    assert limit.suppressed == 1
