"""What the files for Prometheus and Grafana ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent.parent
RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
_VARIABLES = {"$__rate_interval": "5m", "$simulation": ".*", "$engine": ".*"}


class Query(NamedTuple):
    where: str
    expr: str
    """As Grafana sends it."""


def rules() -> Iterator[Mapping[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def queries() -> list[Query]:
    found = [Query(f"rule {one.get('record') or one['alert']}", one["expr"].strip()) for one in rules()]
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in panels(dashboard):
            found += [
                Query(f"{path.stem}: {panel['title']}", filled(one["expr"])) for one in panel["targets"]
            ]
        found += [
            Query(f"{path.stem}: annotation {one['name']}", filled(one["expr"]))
            for one in dashboard["annotations"]["list"]
        ]
        for variable in dashboard["templating"]["list"]:
            if asked := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.get("definition", "")):
                found.append(
                    Query(f"{path.stem}: variable {variable['name']}", f"group by ({asked[2]}) ({asked[1]})")
                )
    return found


def filled(expr: str) -> str:
    for name, value in _VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


def metrics_of(expr: str) -> set[str]:
    return set(re.findall(r"\b(?:\w+:)?(?:scalesim_|process_)\w+(?::\w+)?", re.sub(r'"[^"]*"', '""', expr)))


def labels_of(expr: str) -> set[str]:
    """All that it groups and matches by."""
    grouped = re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expr)
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expr)
    return {name.strip() for one in grouped for name in one.split(",") if name.strip()} | set(matched)
