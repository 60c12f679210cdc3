"""`scalesim agents`: which a simulation has, when each calls next, where its memory is, and what happened to one of late."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .admin import Admin, Answered, KeyFile, Url, admin_of
from .ending import USAGE, fail
from .options import Config
from .output import console, size, span, table, wide_console, written

PAGE = 1000
"""As many as the proxy tells at once."""

agents = typer.Typer(help="Agents of a running proxy.", no_args_is_help=True)

Simulation = Annotated[
    str | None,
    typer.Option("--simulation", "-s", help="Whose agents [the only one there is].", metavar="NAME"),
]
Agent = Annotated[str, typer.Argument(metavar="AGENT")]


@agents.command("list")
def agents_list(
    simulation: Simulation = None,
    name_begins: Annotated[str | None, typer.Option(help="Names that begin so.", metavar="TEXT")] = None,
    engine: Annotated[str | None, typer.Option(help="Whose memory is there.", metavar="NAME")] = None,
    adapter: Annotated[
        str | None, typer.Option(help="Whose next call is expected to run on it.", metavar="NAME")
    ] = None,
    running: Annotated[bool | None, typer.Option("--running/--waiting", help="In an activation.")] = None,
    pinned: Annotated[bool | None, typer.Option("--pinned/--unpinned", help="By an operator.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Who knows when it calls next, like hinted or gap.", metavar="NAME")
    ] = None,
    nearer_than_s: Annotated[
        float | None, typer.Option(help="Expected within so many seconds.", metavar="SECONDS")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many [50].", metavar="N", min=1)] = 50,
    after: Annotated[
        str | None, typer.Option(help="Go on where a list ended, as it said.", metavar="CURSOR")
    ] = None,
    admin: Url = None,
    key_file: KeyFile = None,
    as_json: Answered = False,
    config: Config = None,
) -> None:
    """List agents, in the order in which they became known. All filters that are given must fit."""
    asked = admin_of(admin, key_file, config, answers_json=as_json)
    filters: dict[str, object] = {
        "name_begins": name_begins,
        "engine": engine,
        "adapter": adapter,
        "running": _word(running),
        "pinned": _word(pinned),
        "source": source,
        "nearer_than_s": nearer_than_s,
    }
    told = _pages(asked, simulation or _only_simulation(asked), filters, limit, after)
    if as_json:
        print(written(told))
        return
    output = wide_console()
    output.print(_listed(told["agents"]))
    shown, whole = len(told["agents"]), told["total"]
    output.print(f"\n{shown} of {whole} agents of {told['simulation']}", soft_wrap=True)
    if told["next"] is not None:
        output.print(f"more: the same with --after {told['next']}", soft_wrap=True)


@agents.command("show")
def agents_show(
    agent: Agent,
    simulation: Simulation = None,
    admin: Url = None,
    key_file: KeyFile = None,
    as_json: Answered = False,
    config: Config = None,
) -> None:
    """Show what is known of one agent, with what each source says of its next call."""
    asked = admin_of(admin, key_file, config, answers_json=as_json)
    told = asked.get("simulations", simulation or _only_simulation(asked), "agents", agent)
    if as_json:
        print(written(told))
    else:
        console().print(_detail(told))


@agents.command("story")
def agents_story(
    agent: Agent,
    simulation: Simulation = None,
    admin: Url = None,
    key_file: KeyFile = None,
    as_json: Answered = False,
    config: Config = None,
) -> None:
    """Tell what happened to one agent of late, the oldest first: what was expected, what was loaded, and what its calls found."""
    asked = admin_of(admin, key_file, config, answers_json=as_json)
    told = asked.get("simulations", simulation or _only_simulation(asked), "agents", agent, "story")
    if as_json:
        print(written(told))
        return
    output = console()
    if (found := told["recognised"]) is not None:
        output.print(
            f"recognised by {found['source']}, confidence {found['confidence']:.2f}: {found['why']}\n",
            soft_wrap=True,
        )
    happened = sorted(_happened(told), key=lambda one: -one[0])
    if not happened:
        output.print("nothing of late: only the agents that called last have a story")
        return
    output.print(table("ago", "", "what", rows=((span(ago), sort, what) for ago, sort, what in happened)))


def _only_simulation(asked: Admin) -> str:
    names = [one["simulation"] for one in asked.get("simulations")["simulations"]]
    match names:
        case [str(only)]:
            return only
        case []:
            fail(f"the proxy at {asked.url} knows no simulation yet: none has called")
    return fail(f"--simulation: missing; there are {', '.join(names[:20])}", USAGE)


def _pages(
    asked: Admin, simulation: str, filters: Mapping[str, object], limit: int, after: str | None
) -> dict[str, Any]:
    """As one page: few may fit on each of those that the proxy tells."""
    found: list[Any] = []
    while True:
        query = {**filters, "limit": min(PAGE, limit - len(found)), "after": after}
        told = asked.ask("GET", "simulations", simulation, "agents", query=query)
        found += told["agents"]
        after = told["next"]
        if after is None or len(found) >= limit:
            return {**told, "agents": found}


def _listed(agents: list[Mapping[str, Any]]) -> Table:
    """Columns that say nothing of anybody are left out: there is no room for them."""
    columns: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
        "agent": lambda one: one["name"],
        "calls next": _due,
        "says": lambda one: one["source"],
        "engine": lambda one: one["engine"],
        "adapter": lambda one: one["adapter"],
        "on device": lambda one: _memory(one["memories"]),
        "pinned": lambda one: _pin(one["pin"]),
    }
    cells = {name: [read(one) for one in agents] for name, read in columns.items()}
    shown = [name for name in columns if name == "agent" or any(cells[name])]
    return table(*shown, rows=zip(*(cells[name] for name in shown), strict=True))


def _word(choice: bool | None) -> str | None:
    return None if choice is None else str(choice).lower()


def _due(one: Mapping[str, Any]) -> str | None:
    if one["running"]:
        return "runs"
    return _expected(one) if one["source"] is not None else None


def _expected(one: Mapping[str, Any]) -> str:
    if one["overdue"] is not None:
        return f"overdue for {one['overdue']:.4g} {one['unit']}"
    return _far(one["distance"], one["unit"])


def _far(distance: float | None, unit: str | None) -> str:
    return "not expected" if distance is None else f"{distance:.4g} {unit}"


def _memory(memories: list[Mapping[str, Any]]) -> str | None:
    """Device memory over all that is known of."""
    known = [one for one in memories if one["device_bytes"] is not None]
    if not known:
        return None
    there = sum(one["device_bytes"] for one in known)
    missing = sum(one["missing_bytes"] or 0 for one in known)
    loading = ", loads" if any(one["loading"] for one in known) else ""
    return f"{size(there)}{f' of {size(there + missing)}' if missing else ''}{loading}"


def _pin(pin: Mapping[str, Any] | None) -> str | None:
    if pin is None:
        return None
    return "yes" if pin["in_force"] else "not in force"


def _detail(told: Mapping[str, Any]) -> RenderableType:
    facts: list[tuple[str, object]] = [
        ("agent", told["name"]),
        ("for engines", told["owner"]),
        ("calls next", _due(told)),
        ("says", told["source"]),
        ("activations", told["activations"]),
        ("calls now", told["running_calls"]),
        ("idle for", span(told["idle_s"])),
        ("prefix", None if told["size_tokens"] is None else f"{told['size_tokens']} tokens"),
        ("engine", told["engine"]),
        ("adapter", told["adapter"]),
    ]
    if (pin := told["pin"]) is not None:
        ends = "until it is taken back" if pin["ends_in_s"] is None else f"for {span(pin['ends_in_s'])} more"
        facts.append(("pinned", f"{ends}: {pin['reason']}{'' if pin['in_force'] else ' (not in force)'}"))
    lines: list[RenderableType] = [table("", "", rows=facts)]
    lines[0].show_header = False  # type: ignore[union-attr]
    if told["memories"]:
        rows = (
            (
                one["kind"],
                one["key"],
                size(one["device_bytes"]),
                size(one["missing_bytes"]),
                "yes" if one["loading"] else "",
            )
            for one in told["memories"]
        )
        lines += ["", table("memory", "name", "on device", "missing", "loads", rows=rows)]
    if told["estimates"]:
        rows_of = (
            (
                one["source"],
                _expected(one),
                f"± {one['spread']:.3g}",
                span(one["distance_s"]),
            )
            for one in told["estimates"]
        )
        lines += ["", table("source", "says", "off by", "that is", rows=rows_of)]
    return Group(*lines)


def _happened(told: Mapping[str, Any]) -> Iterator[tuple[float, str, Text]]:
    """How many seconds ago, of which sort, and what."""
    for one in told["estimates"]:
        yield one["ago_s"], "expected", Text(f"{_far(one['distance'], one['unit'])}, says {one['source']}")
    for one in told["moves"]:
        end = one["problem"] or one["result"] or "done"
        yield one["ago_s"], one["move"], Text(f"{one['kind']} {one['key']} on {one['engine']}: {end}")
    for one in told["calls"]:
        yield one["ago_s"], "call", Text(_call(one))


def _call(one: Mapping[str, Any]) -> str:
    parts = [f"{one['engine']}: {one['outcome']}"]
    if one["adapter"] is not None:
        parts.append(f"on {one['adapter']}")
    if one["prompt_tokens"] is not None:
        cached = "?" if one["cached_tokens"] is None else one["cached_tokens"]
        parts.append(f"{cached} of {one['prompt_tokens']} tokens were cached")
    if one["miss"] is not None:
        parts.append(f"missed: {one['miss']}")
    return ", ".join(parts)
