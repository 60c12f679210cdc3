"""By which estimator a simulation's distances are worked out, and by which policy memory leaves engines.

An estimator is a simulation's own. A policy is an engine's: one order stands there, of all simulations whose agents it
holds, so none of them can have a policy to itself.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field

from scalesim.proxy.core import policies
from scalesim.proxy.core.events import EstimatorSet, PolicySet
from scalesim.proxy.core.model import EngineId, SimulationId

from .answers import SimulationAnswer, example
from .bodies import EnginePath, SimulationPath, body_example, known_estimator
from .desk import Desk

ESTIMATORS = {
    "auto": "The nearest of what is known: told before learned, unless another was measured to be right more often.",
    "hinted": "Only what the simulation tells outright.",
    "plan": "Only how long the simulation says that agents act.",
    "answers": "Only how long the LLM's answers say that agents act.",
    "spatial": "Only when agents meet, by their positions.",
    "path": "Only when a wave comes along the graph.",
    "turns": "Only the order in which agents call, as it was learned.",
    "gap": "Only how long agents usually stay away, as it was learned.",
}
POLICIES = {
    "nearest_first": "Whose agent calls last leaves first.",
    "cost_aware": "What is worth least leaves first: chance of use, times seconds to bring it back, per byte.",
    "lru": "What was used longest ago leaves first, as engines have it by themselves.",
    "off": "Nothing is ordered, pinned or loaded, but what an operator asks for.",
}


def _policy(name: str) -> str:
    policies.find(name)
    return name


class EstimatorBody(BaseModel):
    model_config = body_example(name="gap")

    name: Annotated[str, AfterValidator(known_estimator)] = Field(
        description="auto, or the one that alone is asked.", json_schema_extra={"enum": list(ESTIMATORS)}
    )


class PolicyBody(BaseModel):
    model_config = body_example(name="cost_aware")

    name: Annotated[str, AfterValidator(_policy)] = Field(json_schema_extra={"enum": list(POLICIES)})


class ChoiceAnswer(BaseModel):
    name: str
    about: str


class EstimatorsAnswer(BaseModel):
    model_config = example({"estimators": [{"name": "gap", "about": ESTIMATORS["gap"]}]})

    estimators: list[ChoiceAnswer]


class PoliciesAnswer(BaseModel):
    model_config = example(
        {
            "policy": "nearest_first",
            "engines": {"engine-0": "nearest_first", "engine-1": "lru"},
            "policies": [{"name": "lru", "about": POLICIES["lru"]}],
        }
    )

    policy: str = Field(description="Of all engines that have none of their own.")
    engines: dict[str, str] = Field(description="By which memory leaves each.")
    policies: list[ChoiceAnswer] = Field(description="That may be chosen.")


class SimulationPolicyAnswer(BaseModel):
    model_config = example({"simulation": "town", "engines": {"engine-0": "nearest_first"}})

    simulation: str
    engines: dict[str, str] = Field(
        description="By which memory leaves the engines that hold memory of its agents. To change it: PUT "
        "/admin/v1/engines/ENGINE/policy."
    )


def choice_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1")
    of_a_simulation = "/simulations/{simulation}"
    of_an_engine = "/engines/{engine}/policy"
    controller = desk.controller

    @router.get("/estimators", tags=["simulations"])
    async def estimators() -> EstimatorsAnswer:
        """Which there are."""
        return EstimatorsAnswer(
            estimators=[ChoiceAnswer(name=name, about=about) for name, about in ESTIMATORS.items()]
        )

    @router.put(of_a_simulation + "/estimator", tags=["simulations"])
    async def set_estimator(simulation: SimulationPath, body: EstimatorBody) -> SimulationAnswer:
        """By which its agents' distances are worked out from now on. auto: by all of them. With a single one, of whom that
        knows nothing, nothing is known."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        desk.post(EstimatorSet(desk.clock(), name, body.name))
        return SimulationAnswer.of(desk.simulation(name))

    @router.get(of_a_simulation + "/policy", tags=["simulations"])
    async def policy_of_a_simulation(simulation: SimulationPath) -> SimulationPolicyAnswer:
        """It has none of its own: an engine has one order for all that it holds."""
        known = desk.simulation(simulation)
        return SimulationPolicyAnswer(
            simulation=known.id, engines={engine: controller.policy(engine) for engine in known.engines}
        )

    @router.get("/policies", tags=["engines"])
    async def every_policy() -> PoliciesAnswer:
        """Which there are, and by which memory leaves each engine now."""
        return _policies()

    @router.put("/policy", tags=["engines"])
    async def set_policy(body: PolicyBody) -> PoliciesAnswer:
        """Of all engines that have none of their own, until the settings are given another."""
        desk.post(PolicySet(desk.clock(), None, body.name))
        return _policies()

    @router.put(of_an_engine, tags=["engines"])
    async def set_policy_of_an_engine(engine: EnginePath, body: PolicyBody) -> PoliciesAnswer:
        """Of one engine, until it is taken back or the engine is removed."""
        desk.check_engine(engine)
        desk.post(PolicySet(desk.clock(), EngineId(engine), body.name))
        return _policies()

    @router.delete(of_an_engine, status_code=HTTPStatus.NO_CONTENT, tags=["engines"])
    async def take_back_policy_of_an_engine(engine: EnginePath) -> None:
        """It has that of all engines again."""
        desk.check_engine(engine)
        desk.post(PolicySet(desk.clock(), EngineId(engine), None))

    def _policies() -> PoliciesAnswer:
        return PoliciesAnswer(
            policy=controller.policy(),
            engines={
                entry.address.name: controller.policy(entry.address.name) for entry in desk.fleet.registry
            },
            policies=[ChoiceAnswer(name=name, about=about) for name, about in POLICIES.items()],
        )

    return router
