from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

import scalesim
from scalesim.proxy.access.keys import hash_of
from scalesim.proxy.cli.ending import PROBLEM, USAGE
from scalesim.proxy.settings import Settings

from .running import NOBODY, invoke, serving, told_by


def test_all_settings_are_listed_with_what_they_are_for() -> None:
    result = invoke("settings", environ={"SCALESIM_PORT": "no port at all"})
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert rows.keys() >= {one.name for one in dataclasses.fields(Settings)}
    assert "600" in rows["idle_after_s"]
    assert "port for clients" in rows["port"]


def test_the_help_names_the_commands() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for name in ("serve", "status", "doctor"):
        assert name in result.output


def test_a_new_key_is_shown_once_with_the_hash_that_belongs_into_the_config_file() -> None:
    told = invoke("keys", "new", "bob").output.split()
    key, hashed = told[told.index("key") + 1], told[told.index("hash") + 1]
    assert hash_of(key) == hashed
    assert key not in invoke("keys", "new").output


def test_nothing_that_help_says_in_brackets_is_taken_for_markup() -> None:
    said = " ".join(re.sub("[│╭╮╰╯─]", " ", invoke("serve", "--help").stdout).split())
    for default in ("[on]", "[all]", "[guard]", "[nearest_first]", "[NAME=]URL"):
        assert default in said


@pytest.mark.parametrize(
    ("words", "has"),
    [
        (("settings",), "settings"),
        (("recipes", "list"), "recipes"),
        (("keys", "new"), "key"),
    ],
)
def test_what_is_printed_can_be_had_as_json(words: tuple[str, ...], has: str) -> None:
    told = invoke(*words, "--json")
    assert told.exit_code == 0
    assert has in json.loads(told.stdout)


def test_a_key_is_hashed_from_standard_input() -> None:
    told = invoke("keys", "hash", "--json", stdin="a-key\n")
    assert json.loads(told.stdout) == {"hash": hash_of("a-key")}
    assert invoke("keys", "hash", stdin="").exit_code == USAGE


def test_the_version_is_told() -> None:
    assert invoke("--version").output == f"scalesim {scalesim.__version__}\n"


@pytest.mark.parametrize(
    "words", [["dance"], ["serve", "--prot", "1"], ["serve", "--port"], ["status", "extra"]]
)
def test_a_command_that_was_not_understood_ends_with_2(words: list[str]) -> None:
    assert invoke(*words).exit_code == USAGE


@pytest.mark.parametrize(
    ("words", "environ", "says"),
    [
        (["serve"], {}, "engine: missing"),
        (
            ["serve", "--engine", "a=http://a:1", "--engine", "a=http://b:1"],
            {},
            "--engine: two engines are called 'a'",
        ),
        (
            ["serve", "--engine", NOBODY, "--engine", "b"],
            {},
            "--engine: engine-1: 'b' is not the URL of an engine",
        ),
        (["serve", "--engine", NOBODY, "--port", "99999"], {}, "--port: 99999 is not a port (1 to 65535)"),
        (
            ["serve", "--engine", NOBODY],
            {"SCALESIM_PORT": "99999"},
            "SCALESIM_PORT: 99999 is not a port (1 to 65535)",
        ),
        (["serve", "--engine", NOBODY], {"SCALESIM_PROT": "1"}, "nearest known name is SCALESIM_PORT"),
        (
            ["serve", "--engine", NOBODY, "--mode", "maybe"],
            {},
            "--mode: 'maybe' is not one of off, shadow, on",
        ),
        (["serve", "--engine", NOBODY, "--config", "/none.toml"], {}, "'/none.toml' cannot be read"),
        (["serve", "--engine", NOBODY, "--admin-host", "0.0.0.0"], {}, "admin_keys: missing"),
        (["doctor", "--engine", "nonsense"], {}, "--engine: 'nonsense' is not the URL of an engine"),
        (["status"], {"SCALESIM_ADMIN_PORT": "x"}, "SCALESIM_ADMIN_PORT: x is not a port"),
        (["status", "--admin", "nonsense"], {}, "--admin: 'nonsense' is not a URL"),
    ],
)
def test_wrong_settings_end_with_2_and_a_line_that_says_which(
    words: list[str], environ: Mapping[str, str], says: str
) -> None:
    result = invoke(*words, environ=environ)
    assert result.exit_code == USAGE
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_port_in_use_is_a_problem_without_a_traceback() -> None:
    with serving("--engine", NOBODY) as (_, admin):
        port = admin.rpartition(":")[2]
        code, _, err = told_by(["serve", "--engine", NOBODY, "--port", port, "--admin-port", "0"])
    assert code == PROBLEM
    assert f"port {port}: Address already in use" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_config_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scalesim.toml"
    path.write_text(f'engine = "{NOBODY}"\nengine_name = "from-the-file"\n')
    with serving("--config", str(path)) as (_, admin):
        assert "from-the-file" in invoke("status", "--admin", admin).stdout


def test_recording_takes_all_options_of_serving() -> None:
    serve_help, record_help = (invoke(name, "--help").stdout for name in ("serve", "record"))
    options = set(re.findall(r"--[a-z-]+", serve_help))
    assert options
    assert set(re.findall(r"--[a-z-]+", record_help)) >= options | {
        "--full-text",
        "--max-bytes",
        "--salt-file",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--engine", NOBODY, "--max-bytes", "1"), "--max-bytes: 1 is not a number of bytes"),
        (("--engine", "nonsense"), "--engine: 'nonsense' is not the URL"),
    ],
)
def test_recording_refuses_bad_options_by_name(words: tuple[str, ...], says: str) -> None:
    result = invoke("record", "trace.jsonl", *words)
    assert result.exit_code == USAGE
    assert says in result.output


@pytest.mark.slow
def test_recording_is_serving_with_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with serving(str(path), "--engine", NOBODY, "--full-text", how="record") as (data, _):
        answer = httpx.post(f"{data}/v1/chat/completions", json={"prompt": "Hello."}, trust_env=False)
        assert answer.status_code == 502
    header, line = (json.loads(one) for one in path.read_text().splitlines())
    assert header["text"] is True
    assert line["outcome"] == "engine_failed"
    assert line["text"]["body"] == {"prompt": "Hello."}
    assert told_by(["record", str(tmp_path / "a" / "b"), "--engine", NOBODY])[0] == PROBLEM
