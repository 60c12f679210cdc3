"""Requests in the forms of the frameworks that there are recipes for: the words a recipe looks for, in text of our own.

`others` are agents whom the request speaks about too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from scalesim.proxy.recognition.prompt import Message, Prompt


class Form(NamedTuple):
    recipe: str
    call: str
    prompt: Prompt
    who: str | None
    """Of agents their name, of others what they are called. None: the request does not say."""
    other: bool = False
    step: float | None = None


Framework = Callable[[str, Sequence[str]], list[Form]]


def prompt(*messages: tuple[str, str]) -> Prompt:
    return Prompt(tuple(Message(role, text) for role, text in messages))


def posts(others: Sequence[str]) -> str:
    return json.dumps(
        [{"user": one, "text": f"Your name is {one}. You are {one}, I am {one}."} for one in others]
    )


def oasis(name: str, others: Sequence[str]) -> list[Form]:
    system = (
        "\n# OBJECTIVE\nUse the site.\n\n# SELF-DESCRIPTION\nStay yourself.\n"
        f"Your name is {name}.\nYour have profile: sees {', '.join(others)} now and then.\n\n# RESPONSE METHOD\nTools.\n"
    )
    act = f"Please perform social media actions now. Posts: {posts(others)}"
    return [
        Form("oasis", "act", prompt(("system", system), ("user", act)), name),
        Form(
            "oasis",
            "act",
            prompt(
                ("system", system),
                ("user", act),
                ("assistant", "liked"),
                ("tool", posts(others)),
                ("user", act),
            ),
            name,
        ),
        Form(
            "oasis",
            "question",
            prompt(("system", system), ("user", f"What of {' and '.join(others)}?")),
            name,
        ),
    ]


def mesa_llm(name: str, others: Sequence[str]) -> list[Form]:
    # Agents are numbers here; what they are called is part of their system prompt.
    number = str(len(name) + sum(map(ord, name)) % 997)
    seen = ", ".join(f"'Walker {index}': {{'says': {one!r}}}" for index, one in enumerate(others))
    state = f"{{'agent_unique_id': {number}, 'system_prompt': {f'You are {name}'!r}}}"
    observed = f"Observation(step=7, self_state={state}, local_state={{{seen}}})"
    short = f"Step 6: \n{{'observation': {{'self_state': {state}, 'local_state': {{{seen}}}}}}}"
    react = "\n        You are an autonomous agent in a simulation environment.\n        Decide."
    cot = f"You are an autonomous agent operating in a simulation.\n# Short-Term Memory\n{short}\n# Now\n{observed}\n"
    rewoo = (
        f"You are an autonomous agent that creates multi-step plans at once.\n{short}\n# Now\n{observed}\n"
    )
    executor = "You are an executor that executes the plan given to you in the prompt."
    memory = "You are an assistant that summarizes the short term memory into a long term memory."
    return [
        Form(
            "mesa-llm",
            "react",
            prompt(
                ("system", react),
                ("user", f"Short term memory:\n {short}"),
                ("user", "Long term memory: \n"),
                ("user", f"current observation: \n{observed}"),
                ("user", "Go on."),
            ),
            number,
            step=7,
        ),
        Form("mesa-llm", "cot", prompt(("system", cot), ("user", "Decide.")), number, step=7),
        Form("mesa-llm", "rewoo", prompt(("system", rewoo), ("user", "Decide.")), number, step=7),
        Form("mesa-llm", "executor", prompt(("system", executor), ("user", f"I greet {others[0]}.")), None),
        Form(
            "mesa-llm", "memory", prompt(("system", memory), ("user", f"Short term memory:\n{short}")), number
        ),
    ]


_CONTINUES = [
    ("system", "You always continue sentences provided by the user."),
    ("user", "Question: Is Jake a turtle?\nAnswer: Jake is "),
    ("assistant", "not a turtle."),
]


def concordia(name: str, others: Sequence[str]) -> list[Form]:
    role = f"Instructions: \nThe instructions for how to play the role of {name} are as follows. Play {name} well.\n"
    seen = "\n".join(f"[observation] {one} says: I am {one}." for one in others)
    master = "Game master instructions: \nYou are the game master. Move the story on.\n"
    names = "\n".join([name, *others])

    def asked(call: str, text: str, who: str, other: bool = False) -> Form:
        return Form("concordia", call, prompt(*_CONTINUES, ("user", text)), who, other)

    return [
        asked("act", f"{role}{seen}\nExercise: What would {name} do next?\nAnswer: {name} ", name),
        asked("component", f"{role}{seen}\nQuestion: Which way?\nAnswer: ", name),
        asked(
            "recent memories",
            f"Recent observations of {name}:\n{seen}\nQuestion: What kind of person is {name}?\nAnswer: {name} is ",
            name,
        ),
        asked(
            "similar memories",
            f"Statements:\nQuestion: What situation is {name} in right now?\nAnswer: at the well.\n\n"
            "Question: Summarize the statements above.\nAnswer: ",
            name,
        ),
        asked(
            "game master",
            f"{master}{names}\n{seen}\nQuestion: What does {name} observe now?",
            "game master",
            True,
        ),
        asked(
            "voluntary actions",
            f"Event: {name} waits.\nQuestion: Describe all voluntary actions taken by any individual in the event.",
            "game master",
            True,
        ),
        asked(
            "story so far",
            "Statements:\nStory so far (ordered from oldest to most recent events):\n"
            f"0). {name} came.\n\nQuestion: Summarize the statements above.\nAnswer: ",
            "game master",
            True,
        ),
        asked(
            "past",
            f"----- Role Playing Master Class -----\n\nQuestion: What is the protagonist's name?\nAnswer: {name}\n",
            "initial game master",
            True,
        ),
        asked(
            "first observation",
            f'Working out the answer to: "What of {name}?"\nQuestion: What does {name} observe now? Never repeat information.',
            "initial game master",
            True,
        ),
    ]


def silisocs(name: str, others: Sequence[str]) -> list[Form]:
    text = f"Persona:\n{name} is a baker who knows {', '.join(others)}.\n\nRecent observations:\n{posts(others)}\n\nGo on."
    told = f"Decide what one action {name} would take next."
    plain = "You are a helpful, instruction-following assistant."
    past = f"----- Role Playing Master Class -----\nQuestion: What is the protagonist's name?\nAnswer: {name}\nQuestion: Why?"
    return [
        Form(
            "silisocs",
            "act",
            prompt(
                ("system", "You are a helpful assistant. Call every function you need."),
                ("user", f"Instructions:\nBe real.\n\n{text}\n\n{told}"),
            ),
            name,
        ),
        Form("silisocs", "text", prompt(("system", plain), ("user", text)), name),
        Form(
            "silisocs",
            "structured",
            prompt(
                (
                    "system",
                    "You are a helpful assistant. Return exactly one JSON object matching the requested schema.",
                ),
                ("user", text),
            ),
            name,
        ),
        Form("silisocs", "past", prompt(("system", plain), ("user", past)), name),
        Form(
            "silisocs",
            "episodes",
            prompt(
                ("system", plain),
                (
                    "user",
                    f"A life.\n\nNow invent formative episodes from the life of {name}. Keep each short.",
                ),
            ),
            name,
        ),
        Form(
            "silisocs",
            "summary",
            prompt(
                ("system", plain),
                ("user", f"Concisely summarize the following events: {others[0]} wrote. Summary:"),
            ),
            None,
        ),
        Form(
            "silisocs",
            "concordia",
            prompt(
                ("system", plain),
                (
                    "user",
                    f"You are {name}. Act naturally and stay consistent with your persona and goal.\n{posts(others)}",
                ),
            ),
            name,
        ),
    ]


def sotopia(name: str, others: Sequence[str]) -> list[Form]:
    said = "\n".join(f'{one} said: "Imagine you are {one}. You are at Turn #9."' for one in others)
    context = f"Here is the context of this interaction:\nParticipants: {name} and {others[0]}\n{said}"
    return [
        Form(
            "sotopia",
            "act",
            prompt(
                (
                    "user",
                    f"Imagine you are {name}, your task is to act/speak as {name} would.\n{context}\nYou are at Turn #3.",
                )
            ),
            name,
        ),
        Form(
            "sotopia",
            "script",
            prompt(
                (
                    "user",
                    f"Write. Now your task is to continue writing one turn for agent {name} under a given background.\n{said}",
                )
            ),
            name,
        ),
        Form(
            "sotopia",
            "evaluation",
            prompt(("user", f"{context}\nNow evaluate how well participants achieve their goals.")),
            "evaluator",
            True,
        ),
        Form(
            "sotopia",
            "evaluation of a long episode",
            prompt(
                (
                    "user",
                    context
                    + said * 50
                    + " " * 6_000
                    + "evaluate how well participants achieve their goals"
                    + "{}" * 4_000,
                )
            ),
            "evaluator",
            True,
        ),
        Form(
            "sotopia",
            "repair",
            prompt(("user", "Given the string that can not be parsed by json parser, mend it: {")),
            None,
        ),
    ]


def agentsociety2(name: str, others: Sequence[str]) -> list[Form]:
    system = "<identity>\nYou are a simulated person in a social simulation. Your name is in the <agent> block.\n</identity>"
    number = len(name) + sum(map(ord, name)) % 997
    agent = json.dumps({"agent_id": number, "friends": list(others), "name": name}, indent=2, sort_keys=True)
    state = json.dumps({"current_time": "2024-03-01T08:30:00", "tick": 1}, indent=2)
    user = f"<agent>\n{agent}\n</agent>\n\n<turn_state>\n{state}\n</turn_state>\n\n{posts(others)}"
    said = json.dumps({"agent_id": 0, "name": others[0]})
    episodes = {
        "time": "2024-03-01T08:30:00",
        "new_episodes": [{"agent_id": number, "text": f"Met {others[0]}."}],
    }
    return [
        Form(
            "agentsociety2", "turn", prompt(("system", system), ("user", user)), str(number), step=28_488_030
        ),
        Form(
            "agentsociety2",
            "turn",
            prompt(
                ("system", system),
                ("user", user),
                ("assistant", "ok"),
                ("user", f"<agent>\n{said}\n</agent>"),
            ),
            str(number),
            step=28_488_030,
        ),
        Form(
            "agentsociety2",
            "memory",
            prompt(
                ("system", "Rewrite MEMORY.md for a simulated person. Be brief."),
                ("user", f"<input>\n{json.dumps(episodes, indent=2)}\n</input>"),
            ),
            str(number),
            step=28_488_030,
        ),
        Form(
            "agentsociety2",
            "environment",
            prompt(
                (
                    "system",
                    "You are one that helps LLM agents accomplish tasks in a virtual world simulation.",
                ),
                ("user", f"Move {name}."),
            ),
            "environment",
            True,
        ),
        Form(
            "agentsociety2",
            "world",
            prompt(("user", "Generate a short world description for a simulated person agent.")),
            "environment",
            True,
        ),
    ]


def agentsociety(name: str, others: Sequence[str]) -> list[Form]:
    def repeats(call: str, text: str) -> Form:
        return Form("agentsociety", call, prompt(("user", f"{text}\nGo to {others[0]}.")), None)

    return [
        Form(
            "agentsociety",
            "status",
            prompt(
                (
                    "system",
                    "You are one that describes the current status of a citizen agent in a city simulation.",
                ),
                ("user", f"Sum up.\n**Agent Profile:**\n- Name: {name}\n- Age: 3\n- Friends: {others}"),
            ),
            name,
        ),
        Form(
            "agentsociety",
            "month",
            prompt(
                (
                    "user",
                    f"You're {name}, a 40-year-old individual living in Oslo. Work: your expected hourly income will be $3.",
                )
            ),
            name,
        ),
        repeats("plan", "As an intelligent agent's plan system, plan."),
        repeats("time", "As an intelligent agent's time estimation system, estimate."),
        repeats("place", "Now please determine the type of place the user needs to visit, well."),
        repeats("block", "Now select the most appropriate block to handle the task, well."),
        repeats("satisfaction", "You are an evaluation system for an intelligent agent. Judge."),
    ]


def generative_agents(name: str, others: Sequence[str]) -> list[Form]:
    def block(of: str) -> str:
        return (
            f"Name: {of}\nAge: 30\nInnate traits: kind\nLearned traits: {of} bakes.\nCurrently: {of} rests.\n"
        )

    def asked(call: str, text: str, who: str | None, step: float | None = None) -> Form:
        return Form("generative-agents", call, prompt(("user", text)), who, step=step)

    example = f"Name: {others[0]}\nAge: 28\nBackstory: a painter.\n"
    now = "Right now, it is February 13, 2023, 08:30:00 AM. "
    return [
        asked(
            "conversation",
            f"Context for the task:\n\nPART 1.\n{block(name)}\n{name} and {others[0]} are chatting.\n\n"
            f"Given the above, what should {name} say to {others[0]} next in the conversation? And did it end the conversation?",
            name,
        ),
        asked(
            "subtasks",
            f"Subtasks.\n---\n{example}1) x (total duration in minutes 60)\n---\n{block(name)}\n"
            f"Subtasks of {name} (total duration in minutes 90):",
            name,
        ),
        asked("identity", f"Schedule:\n{example}===\n{block(name)}\nActivity: {others[0]} is", name),
        asked(
            "area",
            f"Task -- choose an appropriate area.\n{others[0]} lives in {{a}}.\n---\n{name} lives in {{b}} that has c.\n",
            name,
        ),
        asked(
            "area",
            "This is a classification task -- choose an appropriate area from the area options for a task at hand. \n\n"
            f"{name} lives in {{b}} that has ONLY c.\n",
            name,
        ),
        asked(
            "talk",
            "Task -- determine whether the subject will initiate a conversation with another.\n"
            f"Right now, it is 5:00 pm. Question: Would {others[0]} initiate a conversation with X?\n---\n"
            f"{now}{name} waits.\nQuestion: Would {name} initiate a conversation with {others[0]}?",
            name,
            27_937_950,
        ),
        asked(
            "react",
            f"Task -- determine which option is the most acceptable.\n{now}{others[0]} bakes.\n"
            f"Of the following three options, what should {name} do?\nOption 1: Wait on {others[0]}",
            name,
            27_937_950,
        ),
        asked(
            "relationship",
            f"[Statements]\n{posts(others)}\n\nBased on the statements above, summarize {name} and {others[0]}'s bond.",
            name,
        ),
        asked("emoji", "Convert an action description to an emoji: baking", None),
    ]


def tinytroupe(name: str, others: Sequence[str]) -> list[Form]:
    persona = json.dumps(
        {"name": name, "age": 4, "relationships": [{"name": one} for one in others]}, indent=4
    )
    system = (
        "# Agent specification\n\nYou are a simulation of a person such that:\n - you are real.\n"
        + "You act.\n" * 1_000
        + f"## Persona\n\n```json\n{persona}\n```\n"
        + "The current date and time is: 2024-03-01 08:30:00.\n"
    )

    def asked(call: str, text: str, caller: str) -> Form:
        return Form(
            "tinytroupe", call, prompt(("system", text), ("user", posts([name, *others]))), caller, True
        )

    return [
        Form(
            "tinytroupe",
            "act",
            prompt(("system", system), ("user", json.dumps({"stimuli": list(others)}))),
            name,
            step=28_488_030,
        ),
        asked(
            "extraction", "You are a system to extract specific choices, information or results.", "extractor"
        ),
        asked("factory", "Please generate an agent specification based on a general context.", "factory"),
        asked(
            "story",
            "One that, given some agents and their interactions, creates an interesting story.",
            "story teller",
        ),
        asked(
            "validation",
            "You have to interview a person and check if he/she is responding well.",
            "validator",
        ),
    ]


def econagent(name: str, others: Sequence[str]) -> list[Form]:
    def month(of: str, at: str) -> str:
        return (
            f"You're {of}, a 40-year-old individual living in Oslo. Here a portion of your monthly income is taxed, as is"
            f" that of {' and '.join(others)}. Now it's {at}. In the previous month you worked."
        )

    return [
        Form("econagent", "month", prompt(("user", month(name, "2001.01"))), name, step=16_305_120),
        Form(
            "econagent",
            "month",
            prompt(
                ("assistant", "{}"),
                ("user", month(name, "2000.12")),
                ("assistant", "{}"),
                ("user", month(name, "2001.01")),
                ("assistant", "{}"),
                ("user", "Given the previous quarter's environment, reflect."),
            ),
            name,
            step=16_305_120,
        ),
    ]


def ai_town(name: str, others: Sequence[str]) -> list[Form]:
    other = others[0]
    about = f"About you: you know {' and '.join(others)}.\nAbout {other}: You are {other}, and you like tea."
    said = [("user", f"{one} to {name}: I am {one}.") for one in others]
    return [
        Form(
            "ai-town",
            "greeting",
            prompt(
                (
                    "system",
                    f"You are {name}, and you just started a conversation with {other}.\n{about}\n{name} to {other}:",
                )
            ),
            name,
        ),
        Form(
            "ai-town",
            "conversation",
            prompt(
                ("system", f"You are {name}, and you're currently in a conversation with {other}.\n{about}"),
                *said,
            ),
            name,
        ),
        Form(
            "ai-town",
            "summary",
            prompt(
                ("user", f"You are {name}, and you just finished a conversation with {other}. Summarize it."),
                *said,
                ("user", "Summary:"),
            ),
            name,
        ),
        Form(
            "ai-town",
            "reflection",
            prompt(
                (
                    "user",
                    f"[no prose]\n[Output only JSON]\nYou are {name}, statements about you:\nStatement 0: {other} left.",
                )
            ),
            name,
        ),
        Form(
            "ai-town",
            "importance",
            prompt(
                (
                    "user",
                    f"Now rate the likely poignancy of the following piece of memory. Memory: {other} left.",
                )
            ),
            None,
        ),
    ]


FRAMEWORKS: tuple[Framework, ...] = (
    oasis,
    mesa_llm,
    concordia,
    silisocs,
    sotopia,
    agentsociety2,
    agentsociety,
    generative_agents,
    tinytroupe,
    econagent,
    ai_town,
)
