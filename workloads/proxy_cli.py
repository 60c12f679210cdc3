"""The command `bench-proxy`: proxies side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from . import command_line as common
from .bench_proxy.bench import Order, bench_proxy
from .bench_proxy.contestants import contestants
from .bench_proxy.loads import LOADS
from .program import Impossible
from .servers import ROOT

Choice = TypeVar("Choice")

_CONTESTANTS = {one.name: one for one in contestants()}
_LOADS = {one.name: one for one in LOADS}


def add_to(app: typer.Typer) -> None:
    app.command("bench-proxy")(bench_proxy_command)


def bench_proxy_command(
    proxies: Annotated[
        list[str] | None,
        typer.Option(
            "--proxy", metavar="NAME", help=f"Of {'; '.join(_CONTESTANTS)}; as often as needed (all)."
        ),
    ] = None,
    loads: Annotated[
        list[str] | None,
        typer.Option("--load", metavar="NAME", help=f"Of {'; '.join(_LOADS)}; as often as needed (all)."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times each is measured under each load.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of each measurement, after its warm-up.")] = 3.0,
    warm_up: Annotated[float, typer.Option(metavar="SECONDS", help="Before each measurement.")] = 0.5,
    grace: Annotated[float, typer.Option(metavar="SECONDS", help="For the last answers to come.")] = 30.0,
    seed: common.Seed = 1,
    named: Annotated[
        bool,
        typer.Option("--named", help="Requests say in X-Agent-ID whose they are, not in the prompt alone."),
    ] = False,
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] = ROOT / "out" / "bench-proxy.json",
    out_dir: common.OutDir = None,
) -> None:
    """Measures what proxies add to a call and what a call costs them, on the same mock engine."""
    with common.understood():
        order = Order(
            contestants=chosen("proxy", proxies, _CONTESTANTS),
            loads=chosen("load", loads, _LOADS),
            rounds=rounds,
            seconds=seconds,
            warm_up_s=warm_up,
            grace_s=grace,
            seed=seed,
            named=named,
            out_dir=out_dir or common.new_out_dir("bench-proxy"),
            json_path=json_path,
        )
    common.finish(bench_proxy(order, common.console()))


def chosen(what: str, names: list[str] | None, known: Mapping[str, Choice]) -> list[Choice]:
    """Those with these names, all without any. Raises `Impossible`."""
    if unknown := [name for name in names or () if name not in known]:
        raise Impossible(f"no {what} {unknown[0]!r}; there are {'; '.join(known)}")
    return [one for name, one in known.items() if names is None or name in names]
