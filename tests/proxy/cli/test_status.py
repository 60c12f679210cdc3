from __future__ import annotations

import json
import signal
from pathlib import Path

import httpx
import pytest
from anyio import to_thread

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.access.keys import hash_of
from scalesim.proxy.app import running
from scalesim.proxy.cli.ending import PROBLEM, UNREACHABLE, USAGE
from tests.proxy.test_app import settings_for, until
from tests.support.serve import serve as served

from .running import NOBODY, command, invoke, serving, told_by


def test_without_a_proxy_the_line_says_what_to_do() -> None:
    result = invoke("status", "--admin", NOBODY)
    assert result.exit_code == UNREACHABLE
    assert result.stderr.startswith(f"no proxy answers at {NOBODY}: ")
    assert "scalesim serve" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_environment_says_where_the_proxy_is() -> None:
    result = invoke("status", environ={"SCALESIM_ADMIN": "http://127.0.0.1:11"})
    assert result.stderr.startswith("no proxy answers at http://127.0.0.1:11: ")


@pytest.mark.slow
def test_a_proxy_without_its_engine_is_a_problem() -> None:
    with serving("--engine", NOBODY) as (_, admin):
        shown, as_json = invoke("status", "--admin", admin), invoke("status", "--admin", admin, "--json")
    assert (shown.exit_code, as_json.exit_code) == (PROBLEM, PROBLEM)
    assert "engine-0" in shown.stdout
    assert json.loads(as_json.stdout)["engines"][0]["up"] is False


@pytest.mark.slow
def test_a_locked_proxy_needs_its_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret-that-is-long-enough\nmore\n")
    keys = {"SCALESIM_ADMIN_KEYS": "s3cret-that-is-long-enough"}
    with serving("--engine", NOBODY, environ=keys) as (_, admin):
        asked = ("status", "--admin", admin)
        without, from_environment = invoke(*asked), invoke(*asked, environ=keys)
        from_file = invoke(*asked, "--key-file", str(file))
        named = invoke(*asked, environ={"SCALESIM_ADMIN_KEY_FILE": str(file)})
        hashed = invoke(*asked, environ={"SCALESIM_ADMIN_KEYS": hash_of("s3cret-that-is-long-enough")})
    assert without.exit_code == PROBLEM
    assert "--key-file" in without.stderr
    for told in (from_environment, from_file, named):
        assert "engine-0" in told.stdout
    assert hashed.exit_code == USAGE
    assert "give --key-file" in hashed.stderr


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"sha256:00\n", None])
def test_a_file_without_a_key_is_refused_and_not_shown(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    told = invoke("status", "--admin", NOBODY, "--key-file", str(file))
    assert told.exit_code == USAGE
    assert told.stderr.startswith(f"--key-file: {file}")
    assert "sha256:00" not in told.stderr


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_proxy_with_its_engine_is_fine() -> None:
    async with served(EmulatedEngine().app) as url, running(settings_for(url)) as addresses:
        async with httpx.AsyncClient(trust_env=False) as client:
            await until(client, addresses, up=True)
        code, out, _ = await to_thread.run_sync(told_by, ["status", "--admin", addresses.admin])
    assert code == 0
    assert f"engine-0: {url}, " in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.anyio
async def test_what_is_no_proxy_counts_as_none() -> None:
    async with served(EmulatedEngine().app) as url:
        told = await to_thread.run_sync(lambda: invoke("status", "--admin", url))
    assert told.exit_code == UNREACHABLE
    assert "is not the admin listener of a proxy" in told.stderr


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [True, False])
def test_watching_looks_again_until_ctrl_c_also_while_the_proxy_is_away(as_json: bool) -> None:
    words = ("--watch", "--every", "0.1", *(("--json",) if as_json else ()))
    with serving("--engine", NOBODY) as (_, admin):
        watching = command("status", "--admin", admin, *words)
        assert watching.stdout is not None
        mark = '"version"' if as_json else "scalesim 0"
        looks = (line for line in watching.stdout if mark in line)
        assert [next(looks), next(looks)]
    assert any("no proxy answers" in line for line in watching.stdout)
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=300)
    assert watching.returncode == UNREACHABLE
    assert err == ""
