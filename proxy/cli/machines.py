"""Options that say which machines are modelled, for the commands that play on models of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core import placement as rules

if TYPE_CHECKING:
    from scalesim.workloads.planning.machine import Machine


def on_machines(
    gpu: Annotated[
        str, typer.Option(help="Its profile: h100, h200, a100, l40s, a10g.", metavar="NAME")
    ] = "h100",
    model: Annotated[
        str, typer.Option(help="Its profile: qwen2.5-7b, qwen2.5-32b, llama-3.1-8b.", metavar="NAME")
    ] = "qwen2.5-7b",
    engines: Annotated[int, typer.Option(help="Of the same kind.", metavar="N", min=1)] = 1,
    tensor_parallel: Annotated[int, typer.Option(help="GPUs of each engine.", metavar="N", min=1)] = 1,
    host_gb: Annotated[
        float | None,
        typer.Option(
            help="Host memory of each engine for prefixes; 0: none [twice the device's].", metavar="GB", min=0
        ),
    ] = None,
    link: Annotated[float, typer.Option(help="Times the link of the profile.", metavar="FACTOR")] = 1.0,
    adapter_rank: Annotated[
        int, typer.Option(help="Of the LoRA adapter that each agent has; 0: none.", metavar="N", min=0)
    ] = 0,
    slots: Annotated[
        int | None,
        typer.Option(
            help="Adapters on an engine at once [a quarter of the agents, at most 125].", metavar="N", min=1
        ),
    ] = None,
    placement: Annotated[
        str, typer.Option(help="Which engine serves an agent.", metavar="RULE")
    ] = rules.DEFAULT,
    plan_every: Annotated[
        float, typer.Option(help="Least time between two plans of the proxy.", metavar="SECONDS")
    ] = 0.05,
    measured: Annotated[
        str | None,
        typer.Option(
            help="An engine that `scalesim calibrate` measured, in place of a GPU and a model.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """What `machine` takes."""


def machine(*, plan_every: float, **figures: Any) -> Machine:
    """Of what the options of `on_machines` were told."""
    from scalesim.workloads.planning.machine import Machine

    return Machine(plan_every_s=plan_every, **figures)
