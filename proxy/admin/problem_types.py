"""What a problem's `type` says, so that programs need not read its text. Where the status says it all, it is `about:blank`."""

from __future__ import annotations

from enum import StrEnum

PATH = "/admin/v1/problems"


class ProblemType(StrEnum):
    INVALID = "invalid-request"
    UNKNOWN_SIMULATION = "unknown-simulation"
    UNKNOWN_AGENT = "unknown-agent"
    UNKNOWN_ADAPTER = "unknown-adapter"
    UNKNOWN_ENGINE = "unknown-engine"
    UNKNOWN_OPERATION = "unknown-operation"
    UNKNOWN_PROBLEM = "unknown-problem"
    NO_ROOM = "no-room"
    NAME_TAKEN = "name-taken"
    REGISTRY_FULL = "registry-full"
    ENDED_MEANWHILE = "ended-meanwhile"
    TOO_MANY_OPERATIONS = "too-many-operations"
    PIN_BUDGET_FULL = "pin-budget-full"
    CANNOT_PIN = "cannot-pin"
    CANNOT_LOAD = "cannot-load"
    MODE_NOT_ON = "mode-not-on"
    NO_MEMORY = "no-memory"
    ADAPTER_IN_USE = "adapter-in-use"
    NO_PLAN = "no-plan"

    @property
    def uri(self) -> str:
        """A relative one: the proxy itself answers what it means."""
        return f"{PATH}/{self.value}"


MEANINGS: dict[ProblemType, str] = {
    ProblemType.INVALID: "The request is not as it is described. `errors` names the first places, and what is wrong there.",
    ProblemType.UNKNOWN_SIMULATION: "No simulation of that name has called or was created. PUT it first.",
    ProblemType.UNKNOWN_AGENT: "The simulation has no agent of that name: it did not call, nothing was told of it, or it left.",
    ProblemType.UNKNOWN_ADAPTER: "No adapter is registered under that name. PUT it first.",
    ProblemType.UNKNOWN_ENGINE: "No engine is registered under that name. POST it first.",
    ProblemType.UNKNOWN_OPERATION: "It was never begun, was forgotten, or is from before the proxy's last start.",
    ProblemType.UNKNOWN_PROBLEM: "No problem is called so.",
    ProblemType.NO_ROOM: "A table is full. What had room was taken; end or forget something, or try again later.",
    ProblemType.NAME_TAKEN: "Another engine has that name or address. Remove it first, or take another name.",
    ProblemType.REGISTRY_FULL: "There are as many engines as there may be. Remove one first.",
    ProblemType.ENDED_MEANWHILE: "The simulation was ended while it was told of. What was told before that is gone with it.",
    ProblemType.TOO_MANY_OPERATIONS: "As many operations run as may do so at a time. Wait for one, or stop it.",
    ProblemType.PIN_BUDGET_FULL: "Operators have pinned as much there as they may. Take back a pin first: `pinned` and `budget` "
    "say how much it is.",
    ProblemType.CANNOT_PIN: "Nothing can be pinned there: the engine takes no pins or is not up, or pins are switched off.",
    ProblemType.CANNOT_LOAD: "Nothing can be loaded ahead there: the engine is not up or loads nothing, or that is switched off.",
    ProblemType.MODE_NOT_ON: "Nothing is sent for a simulation whose mode is not `on`. Set the mode first.",
    ProblemType.NO_MEMORY: "The agent has no memory on an engine, as far as is known: no call of it has ended yet.",
    ProblemType.ADAPTER_IN_USE: "The adapter is assigned to agents, or pinned, and would come back at once. Take that back first.",
    ProblemType.NO_PLAN: "No plan was made in time. Try again.",
}
