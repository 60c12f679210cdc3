"""mesa-llm as it is: walkers on a grid, all at once in each step.

In the environment: OPENAI_BASE_URL, OPENAI_API_KEY, TRUTH (file), AGENTS, STEPS, and REASONING (react or cot).
"""

import os

import truth
from people import people

truth.watch()

from mesa.model import Model  # noqa: E402
from mesa.space import MultiGrid  # noqa: E402
from mesa_llm.llm_agent import LLMAgent  # noqa: E402
from mesa_llm.memory.st_lt_memory import STLTMemory  # noqa: E402
from mesa_llm.module_llm import ModuleLLM  # noqa: E402
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping  # noqa: E402
from mesa_llm.reasoning.cot import CoTReasoning  # noqa: E402
from mesa_llm.reasoning.react import ReActReasoning  # noqa: E402

AGENTS, STEPS = int(os.environ["AGENTS"]), int(os.environ["STEPS"])
REASONING = {"react": ReActReasoning, "cot": CoTReasoning}[os.environ.get("REASONING", "react")]
DO = "Decide on one action: move one step or speak to a neighbour."
SIDE = 10


class Walker(LLMAgent):
    def __init__(self, model, person):
        super().__init__(
            model=model,
            reasoning=REASONING,
            llm_model="openai/gpt-4o-mini",
            vision=1,
            internal_state=[f"mood: {person['temper']}"],
            step_prompt=DO,
            system_prompt=f"You are {person['text']}",
        )

    async def astep(self):
        self.apply_plan(await self.reasoning.aplan(prompt=DO, obs=self.generate_obs()))


class Town(Model):
    def __init__(self):
        super().__init__(seed=1)
        self.parallel_stepping = True
        self.grid = MultiGrid(SIDE, SIDE, torus=True)
        for person in people(AGENTS):
            self.grid.place_agent(
                Walker(self, person), (self.random.randrange(SIDE), self.random.randrange(SIDE))
            )

    def step(self):
        self.agents.shuffle_do("step")


def kind(*_, **options):
    if options.get("tool_choice") == "required":
        return "executor"
    return "reasoning" if options.get("tool_schema") else "memory"


truth.speaks(Walker, "astep", agent=lambda self: self.unique_id)
truth.speaks(STLTMemory, "_update_long_term_memory", agent=lambda self: self.agent.unique_id)
for method in ("generate", "agenerate"):
    truth.speaks(ModuleLLM, method, kind=kind)
enable_automatic_parallel_stepping(mode="asyncio")
town = Town()
for _ in range(STEPS):
    town.step()
