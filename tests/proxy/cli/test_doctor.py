"""The real command, against real listeners. What it makes of what it finds is tested check by check."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.cli.ending import PROBLEM, UNREACHABLE, USAGE
from tests.proxy.state.servers import RedisServer, redis_server
from tests.proxy.state.test_member import cluster, cluster_of_three, tls_server  # noqa: F401  fixtures
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

from .running import NOBODY, invoke, serving, told_by

ANY_PORT = {"SCALESIM_PORT": "0", "SCALESIM_ADMIN_PORT": "0"}


def examined(*words: str, environ: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    result = invoke("doctor", "--json", *words, environ=ANY_PORT | dict(environ or {}))
    assert result.stderr == ""
    return result.exit_code, json.loads(result.stdout)


def about(told: dict[str, Any], what: str) -> list[tuple[str, str]]:
    return [(one["level"], one["says"]) for one in told["findings"] if one["about"] == what]


def test_an_engine_that_does_not_answer_is_a_fault_with_what_to_do() -> None:
    result = invoke("doctor", "--engine", NOBODY, environ=ANY_PORT)
    assert result.exit_code == UNREACHABLE
    assert re.search(rf"fault +engine engine-0 +no answer at {NOBODY}", result.stdout)
    assert "-> start it" in result.stdout
    assert result.stdout.splitlines()[-1] == "faults: 1, warnings: 0"


def test_its_lines_fit_a_narrow_terminal_and_need_no_colour() -> None:
    result = invoke("doctor", "--engine", NOBODY, environ=ANY_PORT)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout


def test_without_an_engine_there_is_a_fault() -> None:
    code, told = examined()
    assert code == PROBLEM
    assert about(told, "engines") == [("fault", "there is none")]
    assert not told["ok"]


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("extended", [True, False])
async def test_it_says_what_an_engine_can_do(extended: bool) -> None:
    async with served(EmulatedEngine(extended=extended, host_tokens=1000).app) as url:
        code, told = await to_thread.run_sync(lambda: examined("--engine", url))
    assert code == (0 if extended else PROBLEM)
    assert told["ok"] is extended
    found = about(told, "engine engine-0")
    assert (("ok", "the plugin is active, version 0.5.23+emulated") in found) is extended
    assert any(level == "fault" and "not active" in says for level, says in found) is not extended
    assert about(told, "clock") == [("ok", "as that of engine-0, within 5 s")]


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_engine_without_a_host_tier_is_a_warning_and_no_fault() -> None:
    async with served(EmulatedEngine().app) as url:
        code, told = await to_thread.run_sync(lambda: examined("--engine", url))
    assert (code, told["warnings"]) == (0, 1)
    assert any("--enable-hierarchical-cache" in one["todo"] for one in told["findings"])


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_wrong_key_for_an_engine_is_told_as_such() -> None:
    async with served(EmulatedEngine(api_key="right").app) as url:
        code, told = await to_thread.run_sync(
            lambda: examined("--engine", url, environ={"SCALESIM_ENGINE_API_KEY": "wrong"})
        )
    assert code == PROBLEM
    assert "wrong" not in json.dumps(told)
    assert any("engine_api_key" in one["todo"] for one in told["findings"])


@pytest.mark.slow
@pytest.mark.anyio
async def test_each_of_several_engines_is_asked() -> None:
    async with served(EmulatedEngine().app) as url:
        words = ["doctor", "--json", "--engine", f"a={url}", "--engine", f"b={NOBODY}"]
        code, out, _ = await to_thread.run_sync(told_by, words, ANY_PORT)
    assert code == UNREACHABLE
    told = json.loads(out)
    assert about(told, "engine a")[0][0] == "ok"
    assert about(told, "engine b")[0][0] == "fault"


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("both", [True, False])
async def test_it_looks_behind_a_front_end(both: bool) -> None:
    async with served(EmulatedEngine().app) as front, served(EmulatedEngine().app) as engine:
        fronts = f"main=smg {front} {engine} {'' if both else NOBODY}"
        code, told = await to_thread.run_sync(lambda: examined(environ={"SCALESIM_FRONTS": fronts}))
    assert code == (0 if both else UNREACHABLE)
    assert f"in front of 1 of {1 if both else 2}" in about(told, "front end main")[0][1]
    assert about(told, f"front end main > {engine}")[0] == (
        "ok",
        "the plugin is active, version 0.5.23+emulated",
    )
    assert bool(about(told, f"front end main > {NOBODY}")) is not both


def test_a_port_that_somebody_has_is_told_with_who_that_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, told = examined("--engine", NOBODY, environ={"SCALESIM_PORT": str(port)})
    assert code == UNREACHABLE
    ((level, says),) = about(told, f"port {port}")
    assert level == "fault"
    assert "pytest" in says or "python" in says


@pytest.mark.slow
def test_ports_of_a_proxy_that_runs_already_are_no_fault() -> None:
    with serving("--engine", NOBODY) as (data, admin):
        ports = [url.rpartition(":")[2] for url in (data, admin)]
        _, told = examined(
            "--engine", NOBODY, environ={"SCALESIM_PORT": ports[0], "SCALESIM_ADMIN_PORT": ports[1]}
        )
    for port in ports:
        ((level, says),) = about(told, f"port {port}")
        assert level == "ok"
        assert "a proxy runs there already" in says


def test_faults_of_the_config_file_are_findings_and_those_of_options_are_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "scalesim.toml"
    path.write_text('prot = 1\nmode = "maybe"\n')
    code, told = examined("--config", str(path))
    assert code == PROBLEM
    assert [one["says"].partition(":")[0] for one in told["findings"]] == [
        f"prot in {path}",
        f"mode in {path}",
    ]
    wrong = invoke("doctor", "--json", "--engine", "nonsense")
    assert (wrong.exit_code, wrong.stdout) == (USAGE, "")


def test_a_config_file_with_keys_that_everybody_may_read_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "scalesim.toml"
    path.write_text(f'engine = "{NOBODY}"\nadmin_keys = ["a-plain-key-that-is-long-enough"]\n')
    path.chmod(0o644)
    _, told = examined("--config", str(path))
    assert [level for level, _ in about(told, "config file")] == ["ok", "warning"]
    path.chmod(0o600)
    _, told = examined("--config", str(path))
    assert [level for level, _ in about(told, "config file")] == ["ok"]
    assert "a-plain-key" not in json.dumps(told)


@pytest.mark.slow
def test_a_redis_is_looked_at(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as redis:
        _, told = examined("--engine", NOBODY, environ={"SCALESIM_REDIS": redis.url()})
    found = about(told, "redis")
    assert found[0][1].startswith("answers: redis ")
    assert [says for level, says in found if level == "fault"] == [
        "it drops keys when its memory is full, also such as other proxies still need"
    ]
    assert any("asks for no password" in says for level, says in found if level == "warning")
    assert about(told, "clock") == [("ok", "as that of redis, within 5 s")]


@pytest.mark.slow
@pytest.mark.parametrize("password", ["right-right-right", "wrong", None])
def test_a_redis_with_a_password_is_told_apart_from_one_that_is_gone(
    tmp_path: Path, password: str | None
) -> None:
    secret = {} if password is None else {"SCALESIM_REDIS_PASSWORD": password}
    with redis_server(tmp_path, "--requirepass", "right-right-right") as redis:
        _, told = examined("--engine", NOBODY, environ={"SCALESIM_REDIS": redis.url(), **secret})
        found = about(told, "redis")
    if password == "right-right-right":
        assert ("ok", "it asks for a password") in found
    else:
        ((level, says),) = found
        assert level == "fault"
        assert says.startswith("it cannot be used: ")
    _, told = examined("--engine", NOBODY, environ={"SCALESIM_REDIS": redis.url(), **secret})
    ((level, says),) = about(told, "redis")
    assert says.startswith("no answer: ")
    assert "right-right" not in json.dumps(told)


@pytest.mark.slow
def test_a_redis_over_tls_is_told_apart_from_one_whose_certificate_is_not_trusted(
    tls_server: RedisServer,  # noqa: F811  the fixture
) -> None:
    authority = f"?ssl_ca_certs={tls_server.folder / 'redis.pem'}"
    trusted = {"SCALESIM_REDIS": tls_server.url(":secret@", "rediss", authority)}
    found = about(examined("--engine", NOBODY, environ=trusted)[1], "redis")
    assert {level for level, _ in found} == {"ok"}
    assert ("ok", "over TLS") in found
    unknown = {"SCALESIM_REDIS": tls_server.url(":secret@", "rediss")}
    ((level, says),) = about(examined("--engine", NOBODY, environ=unknown)[1], "redis")
    assert level == "fault"
    assert says.startswith("its certificate is not trusted: ")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["cluster", "cluster_of_three"])
def test_a_cluster_is_told_as_one(which: str, request: pytest.FixtureRequest) -> None:
    server: RedisServer = request.getfixturevalue(which)
    until = time.monotonic() + PATIENCE_S
    while True:
        found = about(examined("--engine", NOBODY, environ={"SCALESIM_REDIS": server.url()})[1], "redis")
        if "ClusterDownError" not in found[0][1]:  # its nodes take a moment to agree that it is up
            break
        assert time.monotonic() < until, "the cluster does not come up"
    assert ", a cluster; the group default is led by nobody now" in found[0][1]
