from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from anyio import to_thread
from typer.testing import CliRunner, Result

import scalesim
from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.cli.commands import cli
from scalesim.proxy.cli.ending import PROBLEM, USAGE
from scalesim.proxy.access.keys import hash_of
from scalesim.proxy.app import running
from scalesim.proxy.settings import Settings
from tests.proxy.test_app import settings_for, until
from tests.support.serve import serve as served

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SCALESIM_")}
NOBODY = "http://127.0.0.1:9"


def invoke(*words: str, environ: Mapping[str, str] | None = None) -> Result:
    return CliRunner(env=dict.fromkeys(set(os.environ) - set(ENVIRONMENT))).invoke(
        cli, list(words), env=environ
    )


def command(*words: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scalesim.proxy", *words],
        env=ENVIRONMENT | dict(environ or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_all_settings_are_listed_with_what_they_are_for() -> None:
    result = invoke("settings", environ={"SCALESIM_PORT": "no port at all"})
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert rows.keys() >= {one.name for one in dataclasses.fields(Settings)}
    assert "600" in rows["idle_after_s"]
    assert "port for clients" in rows["port"]


def told_by(words: list[str], environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    process = command(*words, environ=environ)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@contextmanager
def serving(
    *words: str, environ: Mapping[str, str] | None = None, how: str = "serve"
) -> Iterator[tuple[str, str]]:
    """A proxy in a process of its own; yields the URLs that it printed."""
    process = command(how, "--port", "0", "--admin-port", "0", *words, environ=environ)
    assert process.stdout is not None
    try:
        urls = [process.stdout.readline().split()[1] for _ in ("data", "admin")]
        yield urls[0], urls[1]
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "ending" in out
    assert "Traceback" not in err


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


def test_a_status_without_a_proxy_is_a_problem() -> None:
    result = invoke("status", "--admin", NOBODY)
    assert result.exit_code == PROBLEM
    assert result.stderr.startswith(f"no proxy answers at {NOBODY}: ")


def test_a_doctor_without_an_engine_says_what_to_do() -> None:
    result = invoke("doctor", "--engine", NOBODY)
    assert result.exit_code == PROBLEM
    assert "answers       no" in result.stdout
    assert "to do         start the engine" in result.stdout


@pytest.mark.slow
def test_a_port_in_use_is_a_problem_without_a_traceback() -> None:
    with serving("--engine", NOBODY) as (_, admin):
        port = admin.rpartition(":")[2]
        code, _, err = told_by(["serve", "--engine", NOBODY, "--port", port, "--admin-port", "0"])
    assert code == PROBLEM
    assert f"port {port}: Address already in use" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_status_of_a_proxy_without_its_engine_is_a_problem() -> None:
    with serving("--engine", NOBODY) as (_, admin):
        shown, as_json = invoke("status", "--admin", admin), invoke("status", "--admin", admin, "--json")
    assert (shown.exit_code, as_json.exit_code) == (PROBLEM, PROBLEM)
    assert "engine-0" in shown.stdout
    assert json.loads(as_json.stdout)["engines"][0]["up"] is False


@pytest.mark.slow
def test_the_status_of_a_locked_proxy_needs_its_key() -> None:
    with serving("--engine", NOBODY, environ={"SCALESIM_ADMIN_KEYS": "s3cret"}) as (_, admin):
        without = invoke("status", "--admin", admin)
        with_key = invoke("status", "--admin", admin, environ={"SCALESIM_ADMIN_KEYS": "s3cret"})
    assert without.exit_code == PROBLEM
    assert "set SCALESIM_ADMIN_KEYS" in without.stderr
    assert "engine-0" in with_key.stdout


@pytest.mark.slow
def test_the_config_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scalesim.toml"
    path.write_text(f'engine = "{NOBODY}"\nengine_name = "from-the-file"\n')
    with serving("--config", str(path)) as (_, admin):
        assert "from-the-file" in invoke("status", "--admin", admin).stdout


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("extended", [True, False])
async def test_the_doctor_says_what_an_engine_can_do(extended: bool) -> None:
    async with served(EmulatedEngine(extended=extended).app) as url:
        code, out, _ = await to_thread.run_sync(told_by, ["doctor", "--engine", url])
    assert code == (0 if extended else PROBLEM)
    assert "answers       yes" in out
    assert ("plugin        active" in out) is extended
    assert ("to do         nothing" in out) is extended


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_doctor_asks_each_of_several_engines() -> None:
    async with served(EmulatedEngine().app) as url:
        words = ["doctor", "--engine", f"a={url}", "--engine", f"b={NOBODY}"]
        code, out, _ = await to_thread.run_sync(told_by, words)
    assert code == PROBLEM
    assert re.findall(r"answers +(yes|no)", out) == ["yes", "no"]


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("both", [True, False])
async def test_the_doctor_looks_behind_a_front_end(both: bool) -> None:
    async with served(EmulatedEngine().app) as front, served(EmulatedEngine().app) as engine:
        fronts = f"main=smg {front} {engine} {'' if both else NOBODY}"
        code, out, _ = await to_thread.run_sync(told_by, ["doctor"], {"SCALESIM_FRONTS": fronts})
    assert code == (0 if both else PROBLEM)
    assert re.findall("in front of 1 of [12]", out) == [f"in front of 1 of {1 if both else 2}"]
    assert (f"{NOBODY}: no answer" in out) is not both


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_status_of_a_proxy_with_its_engine_is_good() -> None:
    async with served(EmulatedEngine().app) as url, running(settings_for(url)) as addresses:
        async with httpx.AsyncClient(trust_env=False) as client:
            await until(client, addresses, up=True)
        code, out, _ = await to_thread.run_sync(told_by, ["status", "--admin", addresses.admin])
    assert code == 0
    assert f"engine-0 at {url}: up" in " ".join(out.split())


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
