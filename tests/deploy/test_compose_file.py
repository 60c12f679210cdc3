"""What can be said of compose.yaml without running it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are another package, for one call

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$\{[A-Z_]+(:[-?][^}]*)?\}")
SECRET = re.compile(r"key|token(?!s)|secret|password", re.IGNORECASE)
FILE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = FILE["services"]

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def dockerfile(name: str) -> list[str]:
    path: str = SERVICES[name]["build"]["dockerfile"]
    return (ROOT / path).read_text().splitlines()


@each_service
def test_every_image_comes_from_a_variable(name: str) -> None:
    assert VARIABLE.fullmatch(SERVICES[name]["image"])
    assert VARIABLE.fullmatch(SERVICES[name]["build"]["args"]["PYTHON_IMAGE"])
    bases = [line.split()[1] for line in dockerfile(name) if line.startswith("FROM ")]
    assert bases
    assert set(bases) == {"${PYTHON_IMAGE}"}


@each_service
def test_every_service_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@each_service
def test_no_service_runs_as_root(name: str) -> None:
    uid, _, gid = SERVICES[name]["user"].partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert f"USER {uid}" in dockerfile(name)
    assert SERVICES[name]["cap_drop"] == ["ALL"]


@each_service
def test_secrets_are_required_variables_without_a_default(name: str) -> None:
    secrets = {key: value for key, value in SERVICES[name]["environment"].items() if SECRET.search(key)}
    assert all(re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value) for value in secrets.values()), secrets
    assert not SECRET.search(" ".join(SERVICES[name]["build"]["args"])), "build arguments stay in the image"


def test_the_example_of_the_environment_holds_no_key() -> None:
    lines = (ROOT / "deploy" / "env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert given == {"SCALESIM_ADMIN_KEYS": ""}


def test_the_admin_listener_is_published_on_this_machine_only() -> None:
    published = {port.rsplit(":", 1)[1]: port for port in SERVICES["proxy"]["ports"]}
    assert published["8001"].startswith("127.0.0.1:")
    assert published["8000"].startswith("${CLIENT_ADDRESS:-127.0.0.1}:")


def test_the_engine_is_reached_through_the_proxy_only() -> None:
    assert "ports" not in SERVICES["engine"]
    assert all(FILE["networks"][network]["internal"] for network in SERVICES["engine"]["networks"])


def test_every_variable_is_in_the_example_of_the_environment() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    described = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))
    assert used == described


def test_images_are_built_from_listed_folders_only() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert not {"!.env", "!.git", "!.venv", "!.models"} & set(rules)
