"""camel-oasis as it is, Reddit mode: everybody acts in every step, then five at most are interviewed.

In the environment: OPENAI_API_BASE_URL (camel's name for it), OPENAI_API_KEY, TRUTH (file), AGENTS, STEPS.
"""

import asyncio
import json
import os
from pathlib import Path

import truth
from people import people

truth.watch()
Path("log").mkdir(exist_ok=True)  # oasis logs there when it is imported

import oasis  # noqa: E402
from camel.models import ModelFactory  # noqa: E402
from camel.types import ModelPlatformType, ModelType  # noqa: E402
from camel.utils.token_counting import BaseTokenCounter  # noqa: E402
from oasis import ActionType, LLMAction, ManualAction, generate_reddit_agent_graph  # noqa: E402
from oasis.social_agent.agent import SocialAgent  # noqa: E402

AGENTS, STEPS = int(os.environ["AGENTS"]), int(os.environ["STEPS"])
INTERVIEWS = min(5, AGENTS)
ACTIONS = [
    ActionType.LIKE_POST,
    ActionType.CREATE_POST,
    ActionType.CREATE_COMMENT,
    ActionType.SEARCH_POSTS,
    ActionType.TREND,
    ActionType.REFRESH,
    ActionType.DO_NOTHING,
    ActionType.FOLLOW,
]


class Letters(BaseTokenCounter):
    """The built-in one downloads a table."""

    def count_tokens_from_messages(self, messages):
        return sum(len(str(one.get("content") or "")) // 4 + 4 for one in messages)

    def encode(self, text):
        return list(text.encode())

    def decode(self, token_ids):
        return bytes(token_ids).decode()


for method, kind in (("perform_action_by_llm", "act"), ("perform_interview", "interview")):
    truth.speaks(
        SocialAgent,
        method,
        agent=lambda self, *_, **__: self.social_agent_id,
        kind=lambda *_, kind=kind, **__: kind,
    )


def profile(person):
    return {
        "username": person["name"],
        "bio": person["trade"],
        "persona": person["text"] * 3,
        "mbti": person["type"],
        "gender": person["gender"],
        "age": person["age"],
        "country": person["place"],
    }


async def main():
    model = ModelFactory.create(
        model_platform=ModelPlatformType.OPENAI, model_type=ModelType.GPT_4O_MINI, token_counter=Letters()
    )
    graph = await generate_reddit_agent_graph(
        profile_path="profiles.json", model=model, available_actions=ACTIONS
    )
    env = oasis.make(agent_graph=graph, platform=oasis.DefaultPlatformType.REDDIT, database_path="reddit.db")
    await env.reset()
    agents = [agent for _, agent in env.agent_graph.get_agents()]
    await env.step(
        {
            agent: ManualAction(
                action_type=ActionType.CREATE_POST, action_args={"content": f"Hello number {number}."}
            )
            for number, agent in enumerate(agents[:3])
        }
    )
    for _ in range(STEPS):
        await env.step({agent: LLMAction() for agent in agents})
    question = {"prompt": "What do you think about trains?"}
    await env.step(
        {
            agent: ManualAction(action_type=ActionType.INTERVIEW, action_args=question)
            for agent in agents[:INTERVIEWS]
        }
    )
    await env.close()


Path("profiles.json").write_text(json.dumps([profile(one) for one in people(AGENTS)]))
asyncio.run(main())
