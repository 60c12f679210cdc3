"""The rules for Prometheus and the dashboards for Grafana, against what a proxy publishes and against Prometheus itself."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.patience import PATIENCE_S

from .conftest import observed, program
from .queries import DASHBOARDS, ROOT, RULES, labels_of, metrics_of, panels, queries, rules

PROMTOOL, PROMETHEUS = program("promtool"), program("prometheus")
TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
OPERATIONS = ROOT / "docs/operations.md"
OF_PROMETHEUS = {"job", "instance", "alertname", "alertstate"}
NEEDS_PROMTOOL = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: `make prometheus`")
SPANS = {"scalesim_spans_total", "scalesim_spans_waiting"}
GROUP = set(re.findall(r'"(scalesim_group_\w+)"', (ROOT / "proxy/admin/metrics.py").read_text()))
"""Of proxies that serve together: the one that is asked here is alone."""
"""Published where traces are on."""


def promtool(*arguments: str) -> str:
    assert PROMTOOL is not None
    ran = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.anyio
@pytest.mark.slow
async def test_every_query_asks_for_what_a_proxy_publishes(exposed: str) -> None:
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposed):
        full = family.name + ("_total" if family.type == "counter" else "")
        labels.setdefault(full, set())
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    # A family without a sample yet is named by its first line alone.
    histograms = re.findall(r"^# TYPE (\S+) histogram", exposed, re.MULTILINE)
    names = {*labels, *(f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count"))}
    recorded = {one["record"]: one for one in rules() if "record" in one}
    every_label = set().union(*labels.values()) | OF_PROMETHEUS
    for where, expr in queries():
        asked = metrics_of(expr)
        assert asked <= names | recorded.keys() | SPANS | GROUP, where
        assert asked or re.match(r"(count\()?ALERTS|up\{", expr), where
        known = [labels[name] for name in asked if labels.get(name)]
        if len(known) == len(asked):
            allowed = set().union(*known) | OF_PROMETHEUS
            assert labels_of(expr) <= allowed, where
        else:
            assert labels_of(expr) <= every_label, where


def test_every_family_that_a_proxy_publishes_is_asked_for_or_told_of() -> None:
    """In a dashboard, a rule, or the page for operators: what nobody looks at need not be published."""
    source = (ROOT / "proxy/admin/metrics.py").read_text()
    published = set(re.findall(r'"((?:scalesim|process)_\w+)"', source))
    asked = {name for _, expr in queries() for name in metrics_of(expr)}
    told = OPERATIONS.read_text()
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {name for name in published - bare if name not in told} == set()


def test_every_alert_waits_says_how_bad_it_is_and_what_to_do() -> None:
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in OPERATIONS.read_text().splitlines()
        if line.startswith("#")
    }
    alerts = [one for one in rules() if "alert" in one]
    assert len({one["alert"] for one in alerts}) == len(alerts)
    for one in alerts:
        assert one["for"], one
        assert one["labels"]["severity"] in ("critical", "warning", "info"), one
        assert one["annotations"]["summary"], one
        assert one["annotations"]["description"], one
        page, _, anchor = one["annotations"]["runbook"].partition("#")
        assert (ROOT / page) == OPERATIONS
        assert anchor in anchors, one["alert"]


def test_every_alert_has_a_test() -> None:
    tested = "".join(path.read_text() for path in TESTS)
    assert {
        one["alert"] for one in rules() if f'alertname="{one.get("alert")}"' not in tested and "alert" in one
    } == set()


@NEEDS_PROMTOOL
@pytest.mark.slow
def test_promtool_finds_no_fault_in_rules_and_configuration(tmp_path: Path) -> None:
    promtool("check", "rules", *map(str, RULES))
    # The key is a file of the place where it runs.
    key = tmp_path / "key"
    key.write_text("key")
    written = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        written.replace("/etc/prometheus/secrets/admin_key", str(key)).replace(
            "rules/", f"{RULES[0].parent}/"
        )
    )
    promtool("check", "config", str(config))


@NEEDS_PROMTOOL
@pytest.mark.slow
def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", *map(str, TESTS))


@NEEDS_PROMTOOL
@pytest.mark.slow
def test_the_tests_of_alerts_notice_another_threshold(tmp_path: Path) -> None:
    for folder, paths in (("rules", RULES), ("tests", TESTS)):
        (tmp_path / folder).mkdir()
        for path in paths:
            (tmp_path / folder / path.name).write_text(path.read_text().replace("> 0.05", "> 0.5"))
    with pytest.raises(AssertionError, match="ScaleSimCallsFail"):
        promtool("test", "rules", str(tmp_path / "tests" / TESTS[0].name))


@NEEDS_PROMTOOL
@pytest.mark.slow
def test_promtool_reads_every_query_of_the_dashboards(tmp_path: Path) -> None:
    asked = [{"record": f"query_{number}", "expr": expr} for number, (_, expr) in enumerate(queries())]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": asked}]}))
    promtool("check", "rules", "--lint=none", str(path))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    dashboard: dict[str, Any] = json.loads(path.read_text())
    assert dashboard["uid"] == f"scalesim-{path.stem}"
    assert dashboard["schemaVersion"] >= 36
    found = list(panels(dashboard))
    assert len({one["id"] for one in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for panel in found:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies upon another"
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["targets"], panel["title"]
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", path.read_text())) - {"__rate_interval", "__all"}
    assert used <= variables


@asynccontextmanager
async def prometheus(folder: Path, admin: str, key: str) -> AsyncIterator[str]:
    """As deployed, but for where the proxy is and how often it is asked."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (folder / "admin_key").write_text(key)
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(path) for path in RULES]
    proxy = next(one for one in config["scrape_configs"] if one["job_name"] == "scalesim")
    proxy["authorization"]["credentials_file"] = str(folder / "admin_key")
    proxy["static_configs"] = [{"targets": [admin.removeprefix("http://")]}]
    config["scrape_configs"] = [proxy]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    assert PROMETHEUS is not None
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def until_ready(client: httpx.AsyncClient, url: str) -> None:
    while True:
        try:
            answer = await client.get(f"{url}/-/ready")
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if answer.status_code == 200:
            return
        await asyncio.sleep(0.1)  # it listens, and reads what it has


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed: `make prometheus`")
@pytest.mark.anyio
@pytest.mark.slow
async def test_prometheus_scrapes_a_proxy_and_answers_every_query(tmp_path: Path) -> None:
    async with observed(tmp_path) as proxy, prometheus(tmp_path, proxy.addresses.admin, proxy.key) as url:

        async def asked(expr: str) -> list[Any]:
            answer = await proxy.client.get(f"{url}/api/v1/query", params={"query": expr})
            told = answer.json()
            assert told["status"] == "success", (expr, told)
            result: list[Any] = told["data"]["result"]
            return result

        async with asyncio.timeout(2 * PATIENCE_S):
            await until_ready(proxy.client, url)
            await proxy.calls()
            while not await asked("instance:scalesim_added_seconds:p99_rate5m > 0"):
                await proxy.calls()
        empty = [(where, expr) for where, expr in queries() if not await asked(expr)]
        firing = await asked('ALERTS{alertstate="firing"}')
    assert firing == []
    unexpected = [
        one for one in empty if not one[0].startswith("rule ScaleSim") and not TROUBLE.search(one[1])
    ]
    assert not unexpected, "\n".join(f"{where}: {expr}" for where, expr in unexpected)


TROUBLE = re.compile(r"ALERTS|spans|scalesim_load_|scalesim_loads|prefetch|429")
"""What a proxy has nothing to say of as long as it is well: nothing failed, was refused or lost, nothing was loaded, and there are no traces."""
