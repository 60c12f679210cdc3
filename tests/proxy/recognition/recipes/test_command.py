from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scalesim.proxy.cli.commands import cli
from scalesim.proxy.recording.trace import SCHEMA, VERSION

from .forms import Form, mesa_llm, oasis
from .test_recipe import HEAD


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["recipes", *map(str, words)])


def trace(path: Path, forms: list[Form], *, text: bool) -> Path:
    header = {
        "schema": SCHEMA,
        "version": VERSION,
        "text": text,
        "start_unix_s": 0,
        "part": 0,
        "block_size": 512,
    }
    lines: list[dict[str, object]] = [{**header, "bytes_per_token": 4, "salt_id": "x"}]
    for form in forms:
        unknown = ("session_id", "output_length", "step", "model", "adapter", "first_byte_ms", "status")
        line: dict[str, object] = dict.fromkeys((*unknown, "prompt_tokens", "cached_tokens"))
        line |= {
            "timestamp": 0,
            "request_id": "1",
            "input_length": 1,
            "hash_ids": [],
            "cut": False,
            "simulation": "x",
        }
        line |= {
            "kind": "agent",
            "source": "",
            "confidence": 0,
            "route": "/v1/chat/completions",
            "stream": False,
        }
        line |= {"end_ms": 1, "outcome": "done"}
        if text:
            body = {
                "messages": [
                    message._asdict() | {"content": message.text} for message in form.prompt.messages
                ]
            }
            line["text"] = {"simulation": "x", "agent": None, "adapter": None, "body": body, "answer": ""}
        lines.append(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_trace_with_text_shows_what_would_be_found(tmp_path: Path) -> None:
    told = run(
        "test",
        trace(tmp_path / "trace.jsonl", [*oasis("Ann", ["Bob"]), *mesa_llm("Ann", ["Bob"])], text=True),
    )
    assert told.exit_code == 0
    assert told.stdout.startswith("8 calls; 0 of no known framework")
    assert "    Ann: 3 calls; act: in the first system message behind 'Your name is '" in told.stdout


def test_programs_get_the_same_as_json(tmp_path: Path) -> None:
    told = run("test", trace(tmp_path / "trace.jsonl", oasis("Ann", ["Bob"]), text=True), "--json")
    found = json.loads(told.stdout)
    assert (found["calls"], found["unknown"], found["skipped_lines"]) == (3, 0, 0)
    assert {one["caller"] for one in found["callers"]} == {"Ann"}


def test_a_trace_without_text_is_refused(tmp_path: Path) -> None:
    told = run("test", trace(tmp_path / "trace.jsonl", oasis("Ann", ["Bob"]), text=False))
    assert told.exit_code == 1
    assert "only `scalesim record --full-text` writes such a trace" in told.stderr


@pytest.mark.parametrize("command", ["list", "test"])
def test_a_recipe_that_is_wrong_is_told_and_nothing_else_done(tmp_path: Path, command: str) -> None:
    (tmp_path / "mine.toml").write_text(HEAD)
    told = run(command, *([tmp_path / "t"] if command == "test" else []), "--folder", tmp_path)
    assert told.exit_code == 1
    assert told.stderr == "mine.toml: calls: is missing: without calls nothing is recognised\n"
    assert told.stdout == ""


def test_a_missing_trace_is_told(tmp_path: Path) -> None:
    told = run("test", tmp_path / "none.jsonl")
    assert told.exit_code == 2
    assert told.stderr == f"{tmp_path}/none.jsonl: No such file or directory\n"


def test_recipes_are_listed() -> None:
    told = run("list")
    assert told.exit_code == 0
    assert "OASIS (CAMEL-AI)" in told.stdout
