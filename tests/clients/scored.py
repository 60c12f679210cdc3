"""How well callers were told apart in what a client has played, and the table of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from scalesim.proxy.recognition.ladder import THRESHOLD
from scalesim.workloads.recognition.scores import Told, pairs, right_of_sure

from .playing import Played


@dataclass(frozen=True, slots=True)
class Scored:
    client: str
    setup: str
    agents: int
    calls: int
    """Of agents. Those of other callers are `others`."""
    others: int
    names: int
    """Given to them."""
    precision: float
    recall: float
    f1: float
    named: int
    """Calls whose caller was found with a confidence of the run's threshold or more."""
    right: float
    """Of them."""
    f1_of_sure: float
    """If nobody below the usual threshold had been named."""
    right_of_sure: float
    sources: dict[str, int]
    """Calls by what named their caller; the empty name: nothing."""
    alike: int
    seconds: float


def scored(client: str, setup: str, played: Played) -> Scored:
    told: list[Told] = []
    truths: set[str] = set()
    sources: Counter[str] = Counter()
    others = 0
    for truth, call in played.joined():
        if truth.agent is None:
            others += 1
            continue
        assert call.text is not None
        truths.add(truth.caller)
        agent = None if call.text.agent is None else f"{call.text.simulation}/{call.text.agent}"
        told.append(Told(truth.caller, agent, call.confidence))
        sources[call.source if agent is not None else ""] += 1
    # Who is below the run's own threshold has no name in the trace.
    of_agents = pairs(told, 0.0)
    named, right = right_of_sure(told, 0.0)
    return Scored(
        client=client,
        setup=setup,
        agents=len(truths),
        calls=len(told),
        others=others,
        names=len({one.name for one in told if one.name is not None}),
        precision=of_agents.precision,
        recall=of_agents.recall,
        f1=of_agents.f1,
        named=named,
        right=right,
        f1_of_sure=pairs(told, THRESHOLD).f1,
        right_of_sure=right_of_sure(told, THRESHOLD)[1],
        sources=dict(sources),
        alike=played.alike(),
        seconds=played.seconds,
    )


def show(rows: Sequence[Scored], console: Console) -> None:
    table = Table("client", "set-up", "agents", "calls", "others", "names", "pair F1", "precision", "recall", "named", "right", f"F1 at {THRESHOLD:g}", "right", "named by", "alike", "s")  # fmt: skip
    for one in rows:
        by = ", ".join(
            f"{name or 'nobody'} {count}" for name, count in sorted(one.sources.items(), key=lambda n: -n[1])
        )
        table.add_row(
            *(one.client, one.setup, str(one.agents), str(one.calls), str(one.others), str(one.names)),
            *(f"{one.f1:.4f}", f"{one.precision:.4f}", f"{one.recall:.4f}"),
            *(f"{one.named / one.calls:.3f}" if one.calls else "-", f"{one.right:.4f}"),
            *(f"{one.f1_of_sure:.4f}", f"{one.right_of_sure:.4f}"),
            *(by, str(one.alike), f"{one.seconds:.0f}"),
        )
    console.print(table)


def write(rows: Sequence[Scored], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps([asdict(one) for one in rows], option=orjson.OPT_INDENT_2))
