"""`calibrate-link`: finds the link with which loads weigh what they weighed in the paper. How: see `links` and `link_search`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from rich.console import Console
from rich.table import Table

from .bench_memory import Order, Prepared, prepare
from .comparison import number, table_of
from .configurations import passes
from .engines import EngineUnfit
from .fleet import ChildProcesses, Fleet
from .link_search import LEAST_RATIO, LOAD_SHARE, MOST_RATIO, Weighed, propose
from .links import Link
from .measuring import play_all, print_errors
from .memory_configurations import REFERENCE, STOCK, configurations
from .memory_results import load_s
from .program import Impossible
from .results import Play, mean, summaries
from .servers import Servers

PAIR = (REFERENCE, STOCK)


async def calibrate_link(order: Order, rounds: int, console: Console) -> bool:
    """True if the last link played meets both targets. Writes what was seen of each to the JSON of the order.

    Raises as `bench_memory`, and `Impossible` for an order that starts without a link.
    """
    order = replace(order, names=PAIR)
    prepared = prepare(order, console)
    if prepared.conditions.link is None:
        raise Impossible("the search has to start somewhere: give a link that is not off")
    with Servers(order.installation, order.out_dir) as servers:
        fleet = ChildProcesses(servers, prepared.capacity_tokens, order.most_engines)
        return await search(order, prepared, prepared.conditions.link, fleet, rounds, console)


async def search(
    order: Order, prepared: Prepared, start: Link, fleet: Fleet, rounds: int, console: Console
) -> bool:
    link, fits = start, False
    told: list[dict[str, object]] = []
    for _ in range(rounds):
        conditions = replace(prepared.conditions, link=link)
        groups = passes(PAIR, order.most_engines, None, configurations(True), conditions)
        plays = await play_all(prepared.program, groups, fleet, prepared.rules, console)
        if any(call.error is not None for play in plays for call in play.calls):
            print_errors(plays, console)
            return False
        seen = weighed(plays)
        console.print(f"Link: {link}.")
        console.print(_table(plays))
        proposed = propose(seen, link, prepared.adapter_bytes)
        console.print(
            f"load share of {REFERENCE} {seen.load_share:.3f} (wanted {LOAD_SHARE}), wall time of {STOCK} over"
            f" {REFERENCE} {seen.ratio:.3f} (wanted {LEAST_RATIO} to {MOST_RATIO}): {'fits' if seen.fits else 'does not fit'}."
        )
        told.append(
            {"link": link.as_json(), "load_share": seen.load_share, "stock_over_hicache": seen.ratio}
            | {"fits": seen.fits, "seen": asdict(seen), "proposed": proposed.as_json()}
        )
        fits = seen.fits
        if fits:
            break
        link = proposed
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps({"rounds": told}, indent=2) + "\n")
    console.print(f"{'found' if fits else 'to be tried next'}: --link {link.setting()}", soft_wrap=True)
    console.print(f"written: {order.json_path}", soft_wrap=True)
    return fits


def weighed(plays: Sequence[Play]) -> Weighed:
    """Means over the plays. Raises `EngineUnfit` where engines do not tell how their time divides."""
    stock = [play for play in plays if play.configuration == STOCK]
    hicache = [play for play in plays if play.configuration == REFERENCE]
    return Weighed(
        stock_wall_s=_mean([play.wall_s for play in stock]),
        stock_load_s=_mean([load_s(play) for play in stock]),
        hicache_wall_s=_mean([play.wall_s for play in hicache]),
        hicache_load_s=_mean([load_s(play) for play in hicache]),
        adapter_loads=_mean([_adapter_loads(play) for play in stock]),
    )


def _adapter_loads(play: Play) -> float:
    """That calls waited for."""
    return sum(count for result, count in play.adapter_lookups.items() if result != "hit")


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    found = mean(known)
    if found is None or len(known) < len(values):
        raise EngineUnfit("the engines do not tell how their time divides: they run without the meter")
    return found


def _table(plays: Sequence[Play]) -> Table:
    table = table_of(
        "shares of the wall time", "wall s", "decode", "prefill", "load", "other", "adapter\nloads"
    )
    told = summaries(plays, None, 0)
    for name, summary in told.items():
        shares = summary.time_share() or {}
        table.add_row(
            name,
            number(mean([play.wall_s for play in summary.plays]), 1),
            *(number(shares.get(kind), 3) for kind in ("decode", "prefill", "load", "other")),
            number(mean([_adapter_loads(play) for play in summary.plays]), 0),
        )
    return table
