"""What operators pin: agents' memory, and adapters in their slots."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field, JsonValue, StringConstraints

from scalesim.proxy.core.events import AdapterPinned, AdapterUnpinned, AgentPinned, AgentUnpinned
from scalesim.proxy.core.model import AgentName, SimulationId
from scalesim.proxy.core.pins import PinRoom, Refusal

from .adapter_answers import AdapterAnswer
from .answers import AgentAnswer, PinAnswer, example
from .bodies import AdapterPath, AgentPath, Amount, SimulationPath, body_example
from .desk import Desk
from .paging import Cursor, Limit
from .problem_types import ProblemType
from .problems import Problem

_PIN: dict[str, JsonValue] = {
    "reason": "the judge of all disputes",
    "since_s": 12.5,
    "ends_in_s": 887.5,
    "in_force": True,
}


class PinBody(BaseModel):
    model_config = body_example(reason="the judge of all disputes", for_s=900)

    for_s: Amount | None = Field(None, description="Seconds. null: until it is taken back.")
    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
    ] = Field("", description="For whoever looks at it later.")

    @property
    def lasts_s(self) -> float:
        return math.inf if self.for_s is None else self.for_s


class PinnedAgentAnswer(BaseModel):
    simulation: str
    agent: str
    engine: str | None = Field(description="Where its memory is.")
    size_tokens: int | None
    pin: PinAnswer


class PinnedAdapterAnswer(BaseModel):
    adapter: str
    engines: list[str] = Field(description="That were told, as far as is known.")
    pin: PinAnswer


class PinBudgetAnswer(BaseModel):
    pinned_tokens: int
    budget_tokens: int = Field(description="That operators may pin: half of what may be pinned at all.")


class PinsAnswer(BaseModel):
    model_config = example(
        {
            "agents": [
                {"simulation": "town", "agent": "Ann", "engine": "engine-0", "size_tokens": 2210, "pin": _PIN}
            ],
            "adapters": [{"adapter": "pirate", "engines": ["engine-0"], "pin": _PIN}],
            "budgets": {"engine-0": {"pinned_tokens": 2210, "budget_tokens": 2750}},
            "next": "17",
        }
    )

    agents: list[PinnedAgentAnswer] = Field(description="In the order in which they were pinned first.")
    adapters: list[PinnedAdapterAnswer] = Field(description="All of them: there are fewer than slots.")
    budgets: dict[str, PinBudgetAnswer] = Field(description="Of each engine that takes pins.")
    next: str | None = Field(description="For `after`, to get more agents; null: there are none.")


def pin_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["pins"])
    of_an_agent = "/admin/v1/simulations/{simulation}/agents/{agent:path}/pin"
    of_an_adapter = "/admin/v1/adapters/{name}/pin"
    controller = desk.controller

    @router.get("/admin/v1/pins")
    async def pins(after: Cursor = None, limit: Limit = 100) -> PinsAnswer:
        """What operators have pinned, and how much more they may pin. What plans pin is not in it."""
        page, now = controller.pins(int(after or 0), limit + 1), desk.clock()
        agents = [
            (
                PinnedAgentAnswer(
                    simulation=simulation,
                    agent=one.name,
                    engine=one.engine,
                    size_tokens=one.size_tokens,
                    pin=pin,
                ),
                one.pin.number,
            )
            for simulation, one in page[:limit]
            if one.pin is not None and (pin := PinAnswer.of(one.pin, one.pin_in_force, now)) is not None
        ]
        return PinsAnswer(
            agents=[one for one, _ in agents],
            adapters=[
                PinnedAdapterAnswer(adapter=one.name, engines=sorted(one.pinned_on), pin=pin)
                for one in controller.pinned_adapters()
                if (pin := PinAnswer.of(one.pin, bool(one.pinned_on), now)) is not None
            ],
            budgets={
                engine: PinBudgetAnswer(pinned_tokens=pinned, budget_tokens=budget)
                for engine, (pinned, budget) in controller.pin_budgets().items()
            },
            next=str(agents[-1][1]) if len(page) > limit else None,
        )

    @router.put(of_an_agent)
    async def pin_agent(simulation: SimulationPath, agent: AgentPath, body: PinBody) -> AgentAnswer:
        """Its prefix leaves the engine last, as that of one that calls now, until this is taken back or its time is over. Again:
        the time begins anew. It is in force while the simulation is on."""
        name = SimulationId(simulation)
        desk.agent(name, agent)
        _check(controller.pin_room(name, AgentName(agent)), f"the memory of {agent!r}", "tokens")
        desk.post(AgentPinned(desk.clock(), name, AgentName(agent), body.lasts_s, body.reason))
        return AgentAnswer.of(desk.agent(name, agent), desk.clock())

    @router.delete(of_an_agent, status_code=HTTPStatus.NO_CONTENT)
    async def unpin_agent(simulation: SimulationPath, agent: AgentPath) -> None:
        """Takes an operator's pin back. Where there is none, nothing changes."""
        name = SimulationId(simulation)
        desk.agent(name, agent)
        desk.post(AgentUnpinned(desk.clock(), name, AgentName(agent)))

    @router.put(of_an_adapter)
    async def pin_adapter(name: AdapterPath, body: PinBody) -> AdapterAnswer:
        """Where it is in a slot, it leaves that last, until this is taken back or its time is over."""
        desk.adapter(name)
        _check(controller.adapter_pin_room(name), f"the adapter {name!r}", "slots")
        desk.post(AdapterPinned(desk.clock(), name, body.lasts_s, body.reason))
        return AdapterAnswer.of(desk.adapter(name), desk.clock())

    @router.delete(of_an_adapter, status_code=HTTPStatus.NO_CONTENT)
    async def unpin_adapter(name: AdapterPath) -> None:
        """Takes an operator's pin back. Where there is none, nothing changes."""
        desk.adapter(name)
        desk.post(AdapterUnpinned(desk.clock(), name))

    return router


def _check(room: PinRoom | None, what: str, unit: str) -> None:
    """Raises `Problem` where there is no room for the pin."""
    match None if room is None else room.refusal:
        case None:
            return
        case Refusal.NO_MEMORY:
            type_, why = (
                ProblemType.NO_MEMORY,
                "no engine has any, as far as is known: no call of it has ended yet",
            )
        case Refusal.CANNOT_PIN:
            type_, why = (
                ProblemType.CANNOT_PIN,
                "its engine takes no pins or is not up, or pins are switched off",
            )
        case Refusal.FULL:
            assert room is not None
            type_ = ProblemType.PIN_BUDGET_FULL
            why = f"it takes {room.asked} {unit}, and operators have pinned {room.pinned} of the {room.budget} they may"
        case Refusal.TOO_MANY:
            type_, why = ProblemType.PIN_BUDGET_FULL, "there are as many pins as there may be"
    more = {} if room is None else {"pinned": room.pinned, "budget": room.budget}
    raise Problem(HTTPStatus.CONFLICT, f"{what} cannot be pinned: {why}; nothing was changed", type_, **more)
