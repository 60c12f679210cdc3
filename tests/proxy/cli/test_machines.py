from __future__ import annotations

from inspect import signature

from scalesim.proxy.cli.machines import machine, on_machines
from scalesim.workloads.planning.machine import Machine


def test_a_machine_of_which_nothing_is_told_is_the_usual_one() -> None:
    told = {name: one.default for name, one in signature(on_machines).parameters.items()}
    assert machine(**told) == Machine()
