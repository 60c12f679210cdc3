"""Brings compose.yaml up for real, with podman, and takes it down again: `make test-compose`.

Needs root, podman with netavark, aardvark-dns and iptables, debootstrap (or PYTHON_IMAGE and REDIS_IMAGE), and network access
for the packages. Where crun refuses the machine's cgroups: `runtime = "runc"` in /etc/containers/containers.conf.
Images are kept: they are the cache of the next run. Logs are kept in out/compose.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .stack import PROMETHEUS, ROOT, Stack, base_images, printed_commands, run, stack_of, until

SERVICES = ("engine", "proxy", "redis")
# In megabytes, with the base image. What is measured stands in docs/deploying.md.
MOST_MB = {"proxy": 220, "bench": 420, "engine": 1750}

pytestmark = [pytest.mark.containers, pytest.mark.slow]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack_of(ROOT / "out" / "compose", tmp_path_factory.mktemp("stack") / "secrets") as stack:
        stack.as_printed("deploy/secrets.sh")
        stack.as_printed("docker compose up --build --detach")
        for service in ("redis", "proxy", "engine"):
            stack.wait_until_healthy(service)
        until("the engine is up", lambda: True if engine_is_up(stack) else None)
        yield stack


def engine_is_up(stack: Stack) -> bool:
    return all(engine["up"] and engine["extended"] for engine in stack.ask("/admin/v1/status")["engines"])


def call_until_served(stack: Stack, agent: str) -> None:
    """As OpenAI's clients do: again and again."""

    def served() -> bool | None:
        try:
            return True if stack.call(agent).status_code == 200 else None
        except httpx.TransportError:
            return None

    until(f"a call of {agent} is served", served)
    stack.note(f"a call of {agent} was served")


def test_a_chat_completion_goes_through_the_proxy_to_the_engine_and_its_agent_is_known(stack: Stack) -> None:
    call, look = [command for command in printed_commands() if command.startswith("curl ")]
    answer = json.loads(stack.as_printed(call))
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] == 8
    assert [agent["name"] for agent in json.loads(stack.as_printed(look))["agents"]] == ["Ann"]


def test_the_admin_listener_wants_its_key_and_knows_the_extended_engine_and_its_group(stack: Stack) -> None:
    assert httpx.get(f"{stack.admin}/admin/v1/status").status_code == 401
    status = stack.ask("/admin/v1/status")
    (engine,) = status["engines"]
    assert engine["up"]
    assert engine["extended"], engine
    assert status["group"]["role"] == "leads", status["group"]


@pytest.mark.parametrize("service", SERVICES)
def test_whoever_breaks_into_a_container_is_nobody_there(stack: Stack, service: str) -> None:
    assert stack.execute(service, "id", "-u").stdout.strip() == "10001"
    status = dict(
        line.split(":\t", 1) for line in stack.execute(service, "cat", "/proc/1/status").stdout.splitlines()
    )
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    for place in ("/etc/new", "/usr/new", "/opt/new"):
        refused = stack.execute(service, "touch", place)
        assert refused.returncode != 0
    assert (
        "Read-only file system"
        in stack.execute(service, "sh", "-c", "touch /etc/new || touch /var/tmp/new").stderr
    )
    assert stack.execute(service, "touch", "/tmp/new").returncode == 0


@pytest.mark.parametrize("service", SERVICES)
def test_limits_are_in_force_and_no_secret_is_in_the_environment(stack: Stack, service: str) -> None:
    about = stack.inspect(service)
    assert about["HostConfig"]["Memory"] > 0
    assert about["HostConfig"]["PidsLimit"] > 0
    secrets = Path(stack.environment["SECRETS"])
    told = json.dumps(about)
    assert not [path.name for path in secrets.iterdir() if path.read_text().strip() in told]


@pytest.mark.parametrize("service", ["engine", "redis"])
def test_the_engine_and_redis_publish_no_port_and_reach_nothing(stack: Stack, service: str) -> None:
    assert not run("podman", "port", stack.container(service)).stdout.strip()
    routes = stack.execute(service, "cat", "/proc/net/route").stdout.splitlines()[1:]
    assert not [route for route in routes if route.split()[1] == "00000000"], "there is a way out"


def test_redis_wants_its_password(stack: Stack) -> None:
    assert "NOAUTH" in stack.execute("redis", "redis-cli", "dbsize").stdout
    of_health = ("redis-cli", "--no-auth-warning", "--user", "health", "--pass", "-")
    assert "PONG" in stack.execute("redis", *of_health, "ping").stdout
    assert "NOPERM" in stack.execute("redis", *of_health, "dbsize").stdout


def calls_placed(stack: Stack) -> int:
    calls: dict[str, int] = stack.ask("/admin/v1/placement")["calls"]
    return sum(calls.values())


def test_a_simulation_is_played_through_the_proxy(stack: Stack) -> None:
    placed = calls_placed(stack)
    coloured = stack.as_printed("docker compose --profile bench run --rm bench")
    seen = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    (stack.folder / "bench.log").write_text(seen)
    # On a machine that never built it, the image's building comes first, with braces of its own.
    results = re.search(r"^\{$.*^\}$", seen, re.MULTILINE | re.DOTALL)
    assert results is not None, seen
    told = json.loads(results[0])
    assert told["scenario"] == "independent"
    assert told["told"] == "exact"
    assert told["agents"] == 6
    assert told["calls"] > 0
    assert told["errors"] == 0
    assert told["cached_tokens"] > 0
    assert calls_placed(stack) - placed >= told["calls"], "the proxy did not see them"


def test_the_images_are_small_and_hold_neither_compilers_nor_caches(stack: Stack) -> None:
    sizes = {}
    for name in MOST_MB:
        image = stack.environment[f"{name.upper()}_IMAGE"]
        size = int(run("podman", "image", "inspect", "--format", "{{.Size}}", image).stdout) / 1e6
        sizes[name] = size
        look = "command -v gcc cc make pip pip3 apt-get; ls -d /root/.cache /var/lib/apt/lists/*_* /wheels 2>/dev/null"
        found = run(
            "podman", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", look, check=False
        )
        assert set(found.stdout.split()) <= {"/usr/bin/apt-get"}, found.stdout  # Debian's own
        stack.note(f"image of {name}: {size:.0f} MB")
    assert {name: size for name, size in sizes.items() if size > MOST_MB[name]} == {}


def test_traces_need_nothing_more_than_is_in_the_image_of_the_proxy(stack: Stack) -> None:
    look = "import opentelemetry.sdk.trace, opentelemetry.exporter.otlp.proto.http.trace_exporter as e; print(e.__name__)"
    found = stack.execute("proxy", "python", "-c", look)
    assert found.stdout.strip() == "opentelemetry.exporter.otlp.proto.http.trace_exporter", found.stderr


def test_the_plugin_is_put_into_an_image_of_sglang_and_changes_nothing_else_there(stack: Stack) -> None:
    """A Python with pip stands in for SGLang's image, which has gigabytes and wants a GPU."""
    base = "localhost/scalesim-sglang-standin:test"
    recipe = f"FROM {stack.environment['PYTHON_IMAGE']}\nRUN python3 -m venv /opt/sglang\nENV PATH=/opt/sglang/bin:$PATH\n"
    run("podman", "build", "--tag", base, "-", given=recipe)
    image = "localhost/scalesim-engine-gpu:test"
    stack.environment.update({"SGLANG_IMAGE": base, "ENGINE_GPU_IMAGE": image})
    stack.compose("--profile", "gpu", "build", "engine-gpu")

    def inside(*command: str) -> subprocess.CompletedProcess[str]:
        confined = ("--read-only", "--cap-drop", "all", "--network", "none", "--rm")
        return run("podman", "run", *confined, image, *command, check=False)

    look = "from importlib.metadata import entry_points as e; print(*sorted(p.name for p in e(group='sglang.srt.plugins')))"
    assert inside("python3", "-c", look).stdout.split() == ["scalesim", "scalesim_cpu", "scalesim_meter"]
    assert inside("id", "-u").stdout.strip() == "10001"
    assert inside("sh", "-c", "touch /kernels/one && echo kept").stdout.strip() == "kept"
    told = inside()
    assert told.returncode != 0
    assert "GPU_MODEL: the name of a folder with a model" in told.stderr


def test_an_engine_that_is_killed_comes_back_and_is_used_again(stack: Stack) -> None:
    call_until_served(stack, "Ben")
    known = stack.agents("town")
    killed = stack.kill("engine")
    call_until_served(stack, "Ben")
    stack.wait_until_it_is_back("engine", killed)
    until("the engine is up", lambda: True if engine_is_up(stack) else None)
    assert stack.agents("town") >= known


def test_a_proxy_that_is_killed_comes_back_and_knows_its_agents(stack: Stack) -> None:
    call_until_served(stack, "Eve")
    known = stack.agents("town")
    assert "Eve" in known
    called = time.monotonic()

    def is_written() -> bool | None:
        lag_s = stack.ask("/admin/v1/status")["group"]["lag_s"]
        return True if lag_s is not None and lag_s < time.monotonic() - called else None

    until("what it knows is written", is_written, 60)
    stack.wait_until_it_is_back("proxy", stack.kill("proxy"))

    def knows_them() -> bool | None:
        try:
            return True if stack.agents("town") >= known else None
        except httpx.HTTPError:
            return None

    until("the proxy knows its agents, of whom none has called", knows_them, 60)
    stack.note(f"the proxy knows its {len(known)} agents")
    call_until_served(stack, "Eve")


def keys_in_redis(stack: Stack) -> int:
    password = (Path(stack.environment["SECRETS"]) / "redis_password").read_text()
    count = "read REDISCLI_AUTH; export REDISCLI_AUTH; redis-cli dbsize"
    return int(stack.execute("redis", "sh", "-c", count, given=password + "\n").stdout.split()[-1])


def test_while_redis_is_killed_calls_are_served_and_it_is_filled_again(stack: Stack) -> None:
    known = stack.agents("town")
    killed = stack.kill("redis")
    assert stack.call("Ann").status_code == 200
    stack.note("a call of Ann was served at once")
    stack.wait_until_it_is_back("redis", killed)
    status = until(
        "a proxy leads again",
        lambda: group if (group := stack.ask("/admin/v1/status")["group"])["role"] == "leads" else None,
        60,
    )
    stack.note(f"redis is back, the proxy leads: {status}")
    assert stack.agents("town") >= known
    until("Redis holds again what is known", lambda: True if keys_in_redis(stack) else None, 60)


def test_prometheus_sees_the_proxy_and_the_engine(stack: Stack) -> None:
    if not (ROOT / "deploy" / "prometheus" / "prometheus.yml").exists():
        pytest.skip("deploy/prometheus is not there")
    stack.environment.update(base_images(PROMETHEUS))
    # Grafana's image is in no package of Debian.
    more = "" if "GRAFANA_IMAGE" in os.environ else " prometheus"
    stack.as_printed("docker compose --profile observability up --detach", more)
    port = stack.environment["PROMETHEUS_PORT"]

    def up() -> dict[str, str] | None:
        try:
            answer = httpx.get(
                f"http://127.0.0.1:{port}/api/v1/query", params={"query": "up"}, timeout=10
            ).json()
        except httpx.HTTPError:
            return None
        jobs = {one["metric"]["job"]: one["value"][1] for one in answer["data"]["result"]}
        return jobs if jobs == {"scalesim": "1", "engine": "1"} else None

    stack.note(f"Prometheus sees {until('Prometheus sees both', up, 120)}")
    stack.wait_until_healthy("prometheus")


def test_what_runs_is_shown_and_replaced_and_ends(stack: Stack) -> None:
    shown = stack.as_printed("docker compose ps")
    assert all(f"{stack.project}_{service}_1" in shown for service in SERVICES)
    assert "leads its group" in stack.as_printed("docker compose logs proxy")
    stack.as_printed("docker compose build")
    stack.keep_logs()
    stack.as_printed("docker compose up --detach")
    call_until_served(stack, "Ann")


def test_without_secrets_it_does_not_come_up(stack: Stack, tmp_path: Path) -> None:
    environment = stack.environment | {"SECRETS": str(tmp_path)}
    other = Stack(f"scalesim-none-{os.getpid()}", environment, stack.folder, stack.client, stack.admin)
    try:
        said = other.compose("up", "--detach", "--no-build", "redis", check=False)
        assert not other.container("redis")
        assert "redis.acl" in said
    finally:
        other.compose("down", "--volumes", check=False)


def test_down_leaves_nothing_running_and_every_command_of_the_page_was_tried(stack: Stack) -> None:
    stack.keep_logs()
    stack.as_printed("docker compose down")
    assert not [service for service in SERVICES if stack.container(service)]
    of_clusters = {command for command in printed_commands() if command.startswith("kubectl ")}
    assert set(printed_commands()) - of_clusters == set(stack.ran)
