"""Parser of what says where distributed front ends are, and which engines are behind them."""

from __future__ import annotations

from scalesim.engine_adapters.front_kinds import KINDS
from scalesim.proxy.core.model import EngineId
from scalesim.proxy.engines.registry import Address, FrontOf

from .engine_parsers import engine_url, registered
from .parsers import as_number, one_of


def fronts(value: object) -> tuple[Address, ...]:
    """A table in TOML: for each name a table of `url`, `kind`, `engines` (URLs of those behind it), `weight` and `agent_hints`. Elsewhere
    `NAME=KIND URL [ENGINE ...]`, separated by commas."""
    told: dict[str, object] = {}
    if isinstance(value, str):
        for part in filter(None, map(str.strip, value.split(","))):
            name, _, said = part.partition("=")
            kind, *urls = said.split() or [""]
            if name in told:
                raise ValueError(f"{part!r} is not a front end of its own, like NAME=KIND URL [ENGINE ...]")
            told[name] = {"kind": kind, "url": next(iter(urls), None), "engines": urls[1:]}
    elif isinstance(value, dict):
        told = value
    if not told:
        raise ValueError(f"{value!r} is not a table of front ends, like NAME=KIND URL [ENGINE ...]")
    addresses = []
    for name, one in told.items():
        try:
            addresses.append(_front(name, one))
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
    return registered(addresses)


def _front(name: str, told: object) -> Address:
    known = {"url", "kind", "engines", "weight", "agent_hints"}
    if not isinstance(told, dict) or not told.keys() <= known:
        raise ValueError(f"it has {', '.join(sorted(known))}, and nothing else")
    kind = KINDS[one_of(*KINDS)(told.get("kind"))]
    urls, hints = told.get("engines", []), told.get("agent_hints", {})
    if not isinstance(urls, list):
        raise ValueError("engines: not a list of URLs")
    if urls and not kind.commands:
        raise ValueError(f"engines: of no use. {kind.gap}")
    if not isinstance(hints, dict) or not all(
        isinstance(one, int | float | bool | str) for one in hints.values()
    ):
        raise ValueError("agent_hints: not a table of numbers, words and switches")
    if hints and not kind.takes_hints:
        raise ValueError(f"agent_hints: {kind.name} takes none")
    weight = told.get("weight")
    return Address(
        EngineId(name),
        engine_url(told.get("url")),
        None if weight is None else as_number(weight),
        FrontOf(kind.name, tuple(map(engine_url, urls)), tuple(hints.items())),
    )
