"""The tables of the documentation, made from the results that commands wrote: what a page says is what was measured. Pure.

In a page, a comment says which table follows, and of which files of docs/results:

    <!-- table: comparison compare.json -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
"""A file of results."""
Read = Callable[[str], Result]
"""By its name. Raises `OSError` if there is none."""

_MARK = re.compile(r"<!-- table: (?P<kind>[a-z-]+)(?P<files>( [\w.-]+\.json)+) -->")
_LINE = "---"
_CALLED = {
    "all-no-host": "all",
    "overlap-lora-fifo": "overlapped, lora-fifo",
    "warm-up": "warm-up (and order)",
}
"""What pages call a configuration, where that is not its name."""


class NoSuchTable(Exception):
    """A page asks for what cannot be made; the message says which and why."""


def written(page: str, read: Read) -> str:
    """The page with its tables as they should be. Raises `NoSuchTable`."""
    out: list[str] = []
    is_old = False
    for line in page.split("\n"):
        is_old = is_old and line.startswith("|")
        if is_old:
            continue
        out.append(line)
        mark = _MARK.fullmatch(line.strip())
        if mark is not None:
            out += [_row(cells) for cells in _table(mark["kind"], mark["files"].split(), read)]
            is_old = True
    return "\n".join(out)


def _table(kind: str, files: Sequence[str], read: Read) -> list[list[str]]:
    if kind not in TABLES:
        raise NoSuchTable(f"there is no table {kind!r}; there are {', '.join(sorted(TABLES))}")
    try:
        return list(TABLES[kind](dict(zip(files, map(read, files), strict=True))))
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise NoSuchTable(f"{kind} of {', '.join(files)}: {type(exc).__name__}: {exc}") from exc


def _row(cells: Sequence[str]) -> str:
    if set(cells) == {_LINE}:
        return "|" + "|".join(cells) + "|"
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def _head(*names: str) -> Iterator[list[str]]:
    yield list(names)
    yield [_LINE] * len(names)


def _of_one(results: Mapping[str, Result]) -> Result:
    (result,) = results.values()
    return result


def _share(value: float | None, digits: int = 3) -> str:
    """`.420`, `1.000`, and nothing for what is unknown."""
    return "" if value is None else re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def _times(value: float) -> str:
    return f"{value:.2f}"


def _ttft(config: Result) -> str:
    return f"{config['ttft_s']['mean']:.2f} / {config['ttft_s']['p95']:.2f}"


def _spent(config: Result, *kinds: str) -> str:
    return " / ".join(_share(config["time_share"][kind], 2) for kind in kinds)


def _comparison(results: Mapping[str, Result]) -> Iterator[list[str]]:
    yield from _head(
        "", "wall s", "speedup", "TTFT mean / p95 s", "first calls", "Belady", "all calls", "decode / prefill"
    )
    for result in results.values():
        before = f"{result['persona_tokens']:,}: " if len(results) > 1 else ""
        for name, config in result["configs"].items():
            yield [
                before + name,
                f"{config['wall_s']:.1f}",
                _times(result["speedup_over_stock"][name]),
                _ttft(config),
                *(_share(config["first_call_hit_rate"]), _share(config["belady"]["first_call_hit_rate"])),
                _share(config["prefix_hit_rate"]),
                _spent(config, "decode", "prefill"),
            ]


_IN_WORDS = {
    "stock": "stock SGLang",
    "off": "through the proxy, switched off",
    "on": "**the simulation says when agents call next**",
    "on-nohints": "nothing said, the proxy learns",
}


def _shown_first(results: Mapping[str, Result]) -> Iterator[list[str]]:
    """For those who have never heard of it."""
    result = _of_one(results)
    yield from _head(
        *("", "speedup", "first calls of returning agents found in the cache"),
        *("the best any eviction could (Belady)", "mean TTFT"),
    )
    for name, config in result["configs"].items():
        cells = [
            _times(result["speedup_over_stock"][name]),
            f"{config['first_call_hit_rate'] * 100:.0f} %",
            f"{config['belady']['first_call_hit_rate'] * 100:.0f} %",
            f"{config['ttft_s']['mean']:.2f} s",
        ]
        if name == "on":
            cells = [cell if place == 2 else f"**{cell}**" for place, cell in enumerate(cells)]
        yield [_IN_WORDS[name], *cells]


def _estimators(results: Mapping[str, Result]) -> Iterator[list[str]]:
    result = _of_one(results)
    yield from _head("", "pairs in order", "all calls", "of Belady", "first calls", "of Belady", "of the law")
    for name, row in result["estimators"]["rows"].items():
        nobody_plays = name.startswith("(")
        told = {} if nobody_plays else result["configs"][name].get("order_accuracy") or {}
        order = ", ".join(f"{source} {_share(right, 2)}" for source, right in sorted(told.items()))
        yield [
            name.strip("()") if nobody_plays else f"`{name}`",
            "" if nobody_plays else order or "-",
            *(_share(row["all_calls"]), _share(row["all_of_belady"]), _share(row["first_calls"])),
            *(_share(row["first_of_belady"]), _share(row["first_of_law"])),
        ]


def _memory(results: Mapping[str, Result]) -> Iterator[list[str]]:
    over = ["over hicache"] if all("hicache" in one["configs"] for one in results.values()) else []
    yield from _head(
        *("", "wall s", *over, "over stock", "TTFT mean / p95 s", "decode / prefill / load", "load hidden"),
        *("adapter hits", "coverage", "precision"),
    )
    for result in results.values():
        before = f"{result['scenario']}: " if len(results) > 1 else ""
        for name, config in result["configs"].items():
            loads = config.get("prefetch") or {}
            if not loads.get("issued"):
                loads = {}
            is_all = name.startswith("all")
            times = [
                _times(result[f"speedup_{one}"][name])
                for one in (*(["over_hicache"] if over else []), "over_stock")
            ]
            yield [
                before + (f"**{_CALLED.get(name, name)}**" if is_all else _CALLED.get(name, name)),
                f"{config['wall_s']:.1f}",
                *(f"**{one}**" if is_all else one for one in times),
                _ttft(config),
                _spent(config, "decode", "prefill", "load"),
                _share(config["load_hidden"], 2),
                _share(config["adapter_hit_rate"]),
                *(_share(loads.get("coverage"), 2), _share(loads.get("precision"), 2)),
            ]


def _beside(results: Mapping[str, Result]) -> Iterator[list[str]]:
    """Two links beside each other."""
    links = [(result["link"] or {}).get("name", "off") for result in results.values()]
    columns = [f"{link}: wall s|over hicache|over stock|load s|adapter hits".split("|") for link in links]
    yield from _head("", *(name for names in columns for name in names))
    for name in next(iter(results.values()))["configs"]:
        cells = [name]
        for result in results.values():
            config = result["configs"][name]
            cells += [
                f"{config['wall_s']:.1f}",
                _times(result["speedup_over_hicache"][name]),
                _times(result["speedup_over_stock"][name]),
                f"{config['load_s']:.1f}",
                _share(config["adapter_hit_rate"]),
            ]
        yield cells


def _over_hicache(results: Mapping[str, Result]) -> Iterator[list[str]]:
    """Of what was played more than once, each result in turn."""
    found: dict[str, list[str]] = {}
    for result in results.values():
        for name, times in result["speedup_over_hicache"].items():
            if name not in ("hicache", "stock"):
                found.setdefault(name, []).append(_times(times))
    yield from _head(*(_CALLED.get(name, name) for name in found))
    yield [", ".join(times) for times in found.values()]


_BY_AGENTS = (
    ("round of planning until its orders are out, p99 ms", "tick_p99_ms", "10"),
    ("with all that it leaves for later, p99 ms", "round_p99_ms", ""),
    ("pieces of it, p99 ms", "piece_p99_ms", "1"),
    ("loop held, p99 ms", "loop_held_ms_p99", "1"),
    ("distances of all at once, s", "bulk_update_s", "1"),
    ("rounds later then, at most, ms", "tick_later_in_bulk_ms_max", "20"),
    ("bytes of an idle agent", "bytes_per_idle_agent", "2,048"),
)
"""What it is called for people, in the results, and what is aimed at."""


def _core(results: Mapping[str, Result]) -> Iterator[list[str]]:
    by_agents = _of_one(results)["details"]["by_agents"]
    yield from _head("", *(f"{int(agents):,}" for agents in by_agents), "aim")
    for about, key, aim in _BY_AGENTS:
        yield [about, *(_three_figures(one[key]) for one in by_agents.values()), aim]


def _three_figures(value: float) -> str:
    """Of what is below ten, two; whole numbers of what is large."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _recognition(results: Mapping[str, Result]) -> Iterator[list[str]]:
    yield from _head("finding out who calls, us", "mean", "p99")
    found = _of_one(results)["results"]["recognition_us"]
    for case in sorted(found, key=lambda case: int(case.split()[1])):
        rung, size = case.split()
        one = found[case]
        yield [f"{rung}, {int(size) // 1024} KB", f"{one['mean']:.0f}", f"{one['p99']:.0f}"]


_WRONG = {
    "sigma": "lognormal error, s",
    "early": "early returns, p",
    "every": "updates every so many steps",
    "missing": "share of agents of whom nothing is told",
}
_ADVERSE = {
    "reverses": "order reversed",
    "reverses, believed": "order reversed, and believed",
    "flips": "reversed only while distance is in charge",
    "flips, believed": "the same, and believed",
}


def _wrong(results: Mapping[str, Result]) -> Iterator[list[str]]:
    result = _of_one(results)
    yield from _head("what is told", "with guard", "without")
    curves = {_WRONG[name]: curve["points"] for name, curve in result["curves"].items()}
    # The first point of each curve is the exact one.
    yield _found("exact", next(iter(curves.values()))[:1])
    for about, points in curves.items():
        values = " / ".join(re.sub(r"^0\.", ".", f"{point['value']:g}") for point in points[1:])
        yield _found(f"{about} = {values}", points[1:])
    for name, about in _ADVERSE.items():
        yield _found(about, [result["adversaries"][name]])


def _found(about: str, points: Sequence[Result]) -> list[str]:
    guarded, unguarded = (
        " / ".join(_share(point[kind]["first_calls"]["of_belady"]) for point in points)
        for kind in ("guarded", "unguarded")
    )
    return [about, guarded, "the same" if guarded == unguarded else unguarded]


def _no_names(results: Mapping[str, Result]) -> Iterator[list[str]]:
    yield from _head("", "names in the headers", "no names at all", "what is left")
    for result in results.values():
        rows = result["estimators"]["rows"]
        named, unnamed = (rows[name] for name in ("on-nohints", "on-noids"))
        of_belady = [_share(row["first_of_belady"]) for row in (named, unnamed)]
        yield [result["scenario"], *of_belady, _share(unnamed["first_calls"] / named["first_calls"])]


_STUDIED: Mapping[str, tuple[str, int | None]] = {
    "step_s": ("step, s", 2),
    "ttft_s": ("TTFT, s", 2),
    "first_calls": ("first calls", None),
    "first_of_belady": ("of Belady", None),
    "all_calls": ("all calls", None),
    "all_of_belady": ("all, of Belady", None),
    "on_device": ("prefixes found", None),
    "adapters": ("adapters found", None),
    "load": ("time loading", None),
    "hidden": ("hidden", None),
    "could_be_hidden": ("bound", None),
    "demand_gb": ("GB waited for", 0),
    "ahead_gb": ("GB ahead", 0),
    "wasted_gb": ("GB for nothing", 0),
    "moves": ("moves", 0),
}
"""Of a study's columns: what the table calls them, and digits behind the point; None: they are shares."""


def study_heads(result: Result) -> list[str]:
    """But for the first, which has what is varied."""
    return [*result["names"][1:], *(_STUDIED[name][0] for name in result["columns"])]


def study_cells(result: Result, row: Result) -> list[str]:
    return [
        *(f"{row[name]:g}" if isinstance(row[name], int | float) else row[name] for name in result["names"]),
        *(_studied(row[name], _STUDIED[name][1]) for name in result["columns"]),
    ]


def _studied(value: float | None, digits: int | None) -> str:
    if digits is None:
        return _share(value)
    return "" if value is None else f"{value:.{digits}f}"


def _study(results: Mapping[str, Result]) -> Iterator[list[str]]:
    result = _of_one(results)
    yield from _head(result["names"][0], *study_heads(result))
    for row in result["rows"]:
        yield study_cells(result, row)


def _belady_share(results: Mapping[str, Result]) -> Iterator[list[str]]:
    """A row a policy, best first by what it finds over all scenarios."""
    rows = _of_one(results)["rows"]
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    shares = {(row["policy"], row["scenario"]): row for row in rows}
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    policies.sort(key=lambda policy: -sum(shares[policy, name]["first_of_belady"] for name in scenarios))
    yield from _head("policy", *(f"{name}: first calls / all" for name in scenarios))
    for policy in policies:
        yield [
            policy,
            *(
                f"{_share(shares[policy, name]['first_of_belady'])} / {_share(shares[policy, name]['all_of_belady'])}"
                for name in scenarios
            ),
        ]


TABLES: Mapping[str, Callable[[Mapping[str, Result]], Iterator[list[str]]]] = {
    "belady-share": _belady_share,
    "beside": _beside,
    "comparison": _comparison,
    "core": _core,
    "estimators": _estimators,
    "memory": _memory,
    "no-names": _no_names,
    "over-hicache": _over_hicache,
    "recognition": _recognition,
    "shown-first": _shown_first,
    "study": _study,
    "wrong": _wrong,
}
"""By the name in a page's comment."""
