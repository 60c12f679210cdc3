"""Plays a program: step by step, each agent's calls one after the other, all agents side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scalesim.proxy.core.model import AgentName, owner_of
from scalesim.workloads.program import Activation, Program, Step, Told
from scalesim.workloads.records import CallKey
from scalesim.workloads.telling import Teller

from .foresight import Foresight
from .paths import Path
from .results import Results, StepTime
from .work import Prompts
from .world import SIMULATION, Asked, Ended, Setting, World


def play(
    program: Program,
    setting: Setting,
    told: Told = Told.EXACT,
    progress: Callable[[int, float], None] = lambda calls, seconds: None,
    chars_per_token: float = 4.0,
    watch: Callable[[Ended], None] = lambda ended: None,
    paths: Mapping[CallKey, Path] | None = None,
) -> Results:
    """`progress` and `watch` as of `World`. `paths`: the prompts of the program's calls, where they are known to the token. Raises
    `Impossible` for calls that fit nowhere, or what there is not to tell."""
    return _Play(program, setting, told, progress, chars_per_token, watch, paths).run()


@dataclass(slots=True, eq=False)
class _Chain:
    step: Step
    activation: Activation
    index: int = 0


class _Play:
    def __init__(
        self,
        program: Program,
        setting: Setting,
        told: Told,
        progress: Callable[[int, float], None],
        chars_per_token: float,
        watch: Callable[[Ended], None],
        paths: Mapping[CallKey, Path] | None,
    ) -> None:
        self._program = program
        self._told = told
        self._teller = Teller(program, told, SIMULATION)
        self._prompts = Prompts(chars_per_token)
        self._paths = paths
        self._owners = {agent: str(owner_of(SIMULATION, AgentName(agent))) for agent in program.agents}
        self._foresight = Foresight(program.steps, self._owners)
        self._world = World(setting, len(program.agents), self._foresight, progress, watch)
        self._open = 0
        """Chains of the present step that go on."""

    def run(self) -> Results:
        world, proxy = self._world, self._world.proxy
        clock, steps = world.clock, []
        if proxy is not None:
            proxy.post_all(self._teller.begin(clock.now))
        for step in self._program.steps:
            began, calls = clock.now, world.ended
            self._foresight.begin_step(step)
            if proxy is not None:
                proxy.post_all(self._teller.begin_step(began, step))
                proxy.post_all(self._teller.tell(began, step))
            world.begin_step()
            chains = [_Chain(step, activation) for activation in step.activations if activation.calls]
            self._open = len(chains)
            for chain in chains:
                self._call(chain)
            clock.run_until(lambda: not self._open)
            steps.append(StepTime(step.index, clock.now - began, world.ended - calls, len(step.activations)))
        played: dict[str, object] = {
            "scenario": self._program.scenario,
            "agents": len(self._program.agents),
            "steps": len(self._program.steps),
            "told": self._told.value,
        }
        return world.results(tuple(steps), played)

    def _call(self, chain: _Chain) -> None:
        activation = chain.activation
        call = activation.calls[chain.index]
        is_last = chain.index + 1 == len(activation.calls)
        asked = Asked(
            activation.agent,
            self._path(chain),
            call.max_tokens,
            activation.adapter,
            begins=chain.index == 0,
            acts_for=self._teller.acts_for(chain.step, activation) if is_last else None,
            said=self._teller.said(call),
        )

        def ends() -> None:
            if is_last:
                self._foresight.end_activation(self._owners[activation.agent], activation.acts_for_steps)
                self._world.end_activation()

        self._world.call(asked, lambda _: self._go_on(chain), ends)

    def _path(self, chain: _Chain) -> Path:
        activation = chain.activation
        if self._paths is not None:
            return self._paths[chain.step.index, activation.agent, chain.index]
        return self._prompts.path(activation.calls[chain.index], activation.adapter)

    def _go_on(self, chain: _Chain) -> None:
        chain.index += 1
        if chain.index < len(chain.activation.calls):
            self._call(chain)
        else:
            self._open -= 1
