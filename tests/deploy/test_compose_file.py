"""What can be said of compose.yaml without running it."""

from __future__ import annotations

import hashlib
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are another package, for one call

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$\{[A-Z_]+(:[-?][^}]*)?\}")
SECRET = re.compile(r"key|token(?!s)|secret|password", re.IGNORECASE)
FILE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = FILE["services"]
BUILT = sorted(name for name in SERVICES if "build" in SERVICES[name])
# What no user of these images is by chance: 10001 is ours, the others are those of the images of Prometheus and Grafana.
USERS = {"prometheus": "65534:65534", "grafana": "472:472"}

each_service = pytest.mark.parametrize("name", sorted(SERVICES))
each_built = pytest.mark.parametrize("name", BUILT)


def dockerfile(name: str) -> list[str]:
    path: str = SERVICES[name]["build"]["dockerfile"]
    return (ROOT / path).read_text().splitlines()


def stages(name: str) -> dict[str, list[str]]:
    """The lines of each stage of its Dockerfile, by the stage's name."""
    found: dict[str, list[str]] = {}
    for line in dockerfile(name):
        if line.startswith("FROM "):
            found[line.split(" AS ")[-1] if " AS " in line else "last"] = []
        if found:
            found[list(found)[-1]].append(line)
    return found


def image_stage(name: str) -> list[str]:
    """The stage that becomes the image."""
    every = stages(name)
    return every[SERVICES[name]["build"].get("target", list(every)[-1])]


@each_service
def test_every_image_comes_from_a_variable(name: str) -> None:
    assert VARIABLE.fullmatch(SERVICES[name]["image"])


@each_built
def test_every_image_is_built_on_one_that_comes_from_a_variable(name: str) -> None:
    arguments = SERVICES[name]["build"]["args"]
    (base,) = {"PYTHON_IMAGE", "SGLANG_IMAGE"} & set(arguments)
    assert VARIABLE.fullmatch(arguments[base])
    bases = {line.split()[1] for line in dockerfile(name) if line.startswith("FROM ")}
    assert bases - set(stages(name)) == {f"${{{base}}}"}


@each_built
def test_images_hold_no_pip_cache_and_nothing_that_was_only_needed_to_build(name: str) -> None:
    assert any("PIP_NO_CACHE_DIR=1" in line for line in dockerfile(name))
    if name == "engine-gpu":
        return  # all its layers are those of the image it is built on
    assert not [line for line in image_stage(name) if "pip install" in line or "apt-get" in line]


@each_service
def test_every_service_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if SERVICES[name]["restart"] == "no":
        assert check == {"disable": True}, "what ends by itself says itself how it went"
    else:
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@each_service
def test_no_service_runs_as_root_or_may_become_anything(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == USERS.get(name, "10001:10001")
    if name in BUILT:
        assert "USER 10001" in image_stage(name)
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]


@each_service
def test_file_systems_are_read_only_but_for_volumes_and_bounded_memory(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert all(re.fullmatch(r"/tmp:(exec,)?size=\d+[mg]", one) for one in service["tmpfs"])
    binds = [one for one in service.get("volumes", []) if not one.split(":")[0].isidentifier()]
    assert all(one.endswith(":ro") for one in binds), binds


@each_service
def test_every_service_has_limits(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert VARIABLE.fullmatch(limits["cpus"]), "a machine may have fewer"
    assert "max-size" in SERVICES[name]["logging"]["options"], "logs end"


@each_service
def test_every_service_that_stays_is_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == ("no" if name == "bench" else "unless-stopped")


@each_service
def test_secrets_are_files_and_never_values(name: str) -> None:
    service = SERVICES[name]
    secrets = {key: value for key, value in service.get("environment", {}).items() if SECRET.search(key)}
    assert all(value.startswith("/run/secrets/") for value in secrets.values()), secrets
    assert not SECRET.search(" ".join(service.get("build", {}).get("args", []))), (
        "build arguments stay in the image"
    )
    used = {one if isinstance(one, str) else one["source"] for one in service.get("secrets", [])}
    assert used <= set(FILE["secrets"])


def test_each_service_is_given_the_secrets_that_it_needs_alone() -> None:
    given = {
        name: sorted(one if isinstance(one, str) else one["source"] for one in service["secrets"])
        for name, service in SERVICES.items()
        if "secrets" in service
    }
    assert given == {
        "proxy": ["proxy.toml", "redis_password"],
        "redis": ["redis.acl"],
        "prometheus": ["admin_key"],
        "grafana": ["grafana_password"],
        "bench": ["admin_key"],
    }


def test_the_example_of_the_environment_sets_nothing() -> None:
    lines = (ROOT / "deploy" / "env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
    names = re.findall(r"^#([A-Z_]+)=", "\n".join(lines), re.MULTILINE)
    assert [name for name in names if SECRET.search(name)] == ["SECRETS"], "the folder; no key is asked for"


def test_the_example_of_the_environment_shows_each_variable_with_its_default() -> None:
    text = (ROOT / "compose.yaml").read_text()
    used = dict(re.findall(r"(?<!\$)\$\{([A-Z_]+)(?::-([^}]*))?\}", text))
    described = dict(
        re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE)
    )
    assert described.pop("COMPOSE_PROFILES") == "", "which Compose itself reads"
    assert described == used


def test_only_clients_reach_the_proxy_and_only_where_that_is_said() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.pop("proxy") == [
        "${CLIENT_ADDRESS:-127.0.0.1}:${CLIENT_PORT:-8000}:8000",
        "127.0.0.1:${ADMIN_PORT:-8001}:8001",
    ]
    assert set(published) == {"prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


@pytest.mark.parametrize("name", ["engine", "engine-gpu", "redis"])
def test_engines_and_redis_are_reached_through_the_proxy_only_and_reach_nothing(name: str) -> None:
    assert all(FILE["networks"][network]["internal"] for network in SERVICES[name]["networks"])
    assert set(SERVICES["proxy"]["networks"]) >= set(SERVICES[name]["networks"])


def test_redis_is_reached_by_the_proxy_alone() -> None:
    assert [name for name, service in SERVICES.items() if "state" in service["networks"]] == [
        "proxy",
        "redis",
    ]


def test_profiles_are_those_that_are_described() -> None:
    assert {name: service.get("profiles") for name, service in SERVICES.items()} == {
        "engine": None,
        "proxy": None,
        "redis": None,
        "engine-gpu": ["gpu"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
        "bench": ["bench"],
    }


def test_the_proxy_is_given_longer_to_end_than_it_gives_its_calls() -> None:
    # `drain_s` is 20 by default.
    assert SERVICES["proxy"]["stop_grace_period"] == "30s"


def test_images_are_built_from_listed_folders_only() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert not {"!.env", "!.git", "!.venv", "!.models", "!secrets"} & set(rules)


def made(folder: Path) -> dict[str, str]:
    subprocess.run([ROOT / "deploy" / "secrets.sh", folder], check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_secrets_are_made_once_and_each_reader_gets_no_more_than_it_needs(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    secrets = made(folder)
    assert set(secrets) == {Path(one["file"]).name for one in FILE["secrets"].values()}
    keys = [secrets[name] for name in ("admin_key", "redis_password", "grafana_password")]
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)
    assert len(set(keys)) == 3

    def digest(name: str) -> str:
        return hashlib.sha256(secrets[name].encode()).hexdigest()

    assert tomllib.loads(secrets["proxy.toml"]) == {"admin_keys": [f"sha256:{digest('admin_key')}"]}
    assert f"user default on sanitize-payload #{digest('redis_password')} " in secrets["redis.acl"]
    assert secrets["redis_password"] not in secrets["redis.acl"]
    assert made(folder) == secrets


def test_other_users_of_the_machine_cannot_reach_the_secrets_but_those_in_containers_can(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "secrets"
    made(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}


def test_secrets_are_never_committed_nor_sent_to_a_build() -> None:
    assert {"/secrets/", ".env"} <= set((ROOT / ".gitignore").read_text().splitlines())


def test_prometheus_looks_for_the_engine_of_each_profile() -> None:
    written = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    (engines,) = [one for one in written["scrape_configs"] if one["job_name"] == "engine"]
    (looked_for,) = engines["dns_sd_configs"]
    assert sorted(looked_for["names"]) == [name for name in sorted(SERVICES) if name.startswith("engine")]
    assert looked_for["port"] == 30000
    assert "engine" in SERVICES["prometheus"]["networks"]


def test_the_image_of_the_proxy_can_trace() -> None:
    assert [
        line for line in stages("proxy")["build"] if "requirements.py /source/pyproject.toml otel" in line
    ]
