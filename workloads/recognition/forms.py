"""More cases, in forms that public frameworks have: a game of hidden roles, a company of roles, a town of sheets, samples of lives, a
library of personas, a debate. The wording is made up here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random

from scalesim.proxy.recognition.prompt import Prompt

from .cases import (
    FIRST,
    PLACES,
    STEPS,
    TOPICS,
    TRADES,
    VERBS,
    Case,
    Scripted,
    barrier,
    one_by_one,
    people,
    persona,
    prompt,
    prose,
)


def hidden_roles(random: Random) -> Iterator[Scripted]:
    """One message; several have the same role, and the talk speaks of others and to them. All bid, then one speaks."""
    agents = random.sample(FIRST, 8)
    roles = dict(zip(agents, ["Werewolf"] * 2 + ["Seer", "Doctor"] + ["Villager"] * 4, strict=True))

    def ask(agent: str, round_: int, at: float, talk: Sequence[str], question: str) -> Scripted:
        left = ", ".join(random.sample(agents, len(agents)))
        text = (
            f"You are playing a table version of a game of roles.\n\nSTATE:\n- It is now round {round_}.\n"
            f"- You are {agent} the {roles[agent]}.\n- Players left: {left}\n\nYOU SAW:\n- {prose(random, 1)}\n\nTALK:\n"
        )
        asked = prompt(("user", "\n".join([text, *talk, "", question])))
        answer = f"You are the Werewolf, {random.choice(agents)}! {prose(random, 1)}"
        return Scripted(at, at + 0.3 + random.random() * 0.1, agent, asked, answer)

    at = 0.0
    for round_ in range(6):
        talk: list[str] = []
        for _ in range(5):
            for agent in random.sample(agents, len(agents)):
                yield ask(agent, round_, at, talk, f"Bid 0 to 4 as {agent} the {roles[agent]}.")
            at += 0.6
            speaker = ask(random.choice(agents), round_, at, talk, "What do you say?")
            yield speaker
            talk.append(f"{speaker.truth}: {speaker.answer}")
            at += 0.6


def company(random: Random) -> Iterator[Scripted]:
    """The first words are of a role that two may share; the name comes later in the sentence."""
    jobs = [
        "Product Manager",
        "Architect",
        "Engineer",
        "Engineer",
        "Tester",
        "Product Manager",
        "Writer",
        "Tester",
    ]
    agents = dict(zip(people(random, len(jobs)), jobs, strict=True))
    log: list[str] = []

    def ask(agent: str, step: int) -> Prompt:
        system = f"You are a {agents[agent]}, named {agent}, your goal is to do good work. "
        text = "\n".join(
            ["## History", *log[-8:], "## Format", "Markdown.", "-----", "Write the next document."]
        )
        log.append(f"{agents[agent]}: {prose(random, 1)}")
        return prompt(("system", system), ("user", text))

    yield from one_by_one(random, list(agents), ask)


def town_of_sheets(random: Random) -> Iterator[Scripted]:
    """No system prompt; a sheet stands on top or in the middle, and every template speaks in the third person."""
    agents = people(random, 12)
    sheets = {
        agent: f"Name: {agent}\nAge: {random.randint(19, 77)}\nInnate traits: {random.choice(VERBS)}\n"
        f"Learned traits: {agent} is a {random.choice(TRADES)} who {random.choice(VERBS)} {random.choice(TOPICS)}.\n"
        for agent in agents
    }
    at = 0.0
    for step in range(STEPS):
        for agent in agents:
            first = agent.split()[0]
            other = random.choice([one for one in agents if one != agent])
            head = f"{sheets[agent]}Currently: {prose(random, 1)}\nDate: day {step}\n\n"
            for text in (
                f"{head}In general, when does {first} wake up?\n{first}'s hour:",
                f"{head}Today is day {step}. Here is the plan of {first} in broad strokes: 1)",
                f"On a scale of 1 to 9, how moving is this?\n{sheets[agent]}\nMemory: {prose(random, 1)}\nRate:",
                f"{sheets[agent]}\nNow: {agent} is with {other}.\n{other}: {prose(random, 1)}\nWhat does {agent} say next?",
            ):
                yield Scripted(at, at + 0.1, agent, prompt(("user", text)), prose(random, 1))
                at += 0.15


def samples_of_lives(random: Random) -> Iterator[Scripted]:
    """Lives told in the first person, without a name, in one line with the question; all are asked at once."""
    agents = [f"sample {number}" for number in range(40)]
    lives = {
        agent: f"I am {random.randint(18, 90)} years old. I am a {random.choice(TRADES)}. I live by the {random.choice(PLACES)}."
        f" I have {random.randrange(100)} hens and I like {random.choice(TOPICS)}."
        for agent in agents
    }
    questions = [prose(random, 1) for _ in range(10)]

    yield from barrier(
        random,
        agents,
        lambda agent, step: prompt(
            ("user", f"{lives[agent]} Interviewer: {questions[step]} What do you say?\nMe:")
        ),
        steps=len(questions),
    )


def library_of_personas(random: Random) -> Iterator[Scripted]:
    """A long constant text, the person as JSON behind it, then a window of what was heard and done, as JSON too."""
    agents = people(random, 16)
    rules = "\n".join(
        f"  - Rule {number}: you act as a person would, and you are never a machine." for number in range(60)
    )
    persons = {
        agent: json.dumps(
            {"name": agent, "occupation": {"title": random.choice(TRADES)}, "life": persona(random)}, indent=4
        )
        for agent in agents
    }
    histories: dict[str, list[tuple[str, str]]] = {agent: [] for agent in agents}
    for step in range(STEPS):
        for place, agent in enumerate(random.sample(agents, len(agents))):
            history, other = histories[agent], random.choice(agents)
            heard = {"stimuli": [{"type": "CONVERSATION", "content": prose(random, 1), "source": other}]}
            history.append(("user", json.dumps(heard)))
            system = f"# OVERALL\n\nYou are a simulation of a person such that:\n{rules}\n\n# PERSON\n\n{persons[agent]}\n\nYour mood: {random.choice(VERBS)}"
            answer = json.dumps({"action": {"type": "TALK", "content": prose(random, 1), "target": other}})
            at = step * 2 + place * 0.001
            yield Scripted(at, at + 0.5, agent, prompt(("system", system), *history[-7:]), answer)
            history.append(("assistant", answer))


def debate(random: Random) -> Iterator[Scripted]:
    """Nothing says who; three are asked the same, and then each what the others said."""
    at = 0.0
    for number in range(30):
        agents = [f"{number}.{seat}" for seat in range(3)]
        question = ("user", f"Question {random.randrange(10**6)}: {prose(random, 2)}")
        histories = {agent: [question] for agent in agents}
        for _ in range(4):
            answers = {agent: prose(random, 1) for agent in agents}
            for place, agent in enumerate(agents):
                begun = at + place * 0.001
                yield Scripted(begun, at + 0.4, agent, prompt(*histories[agent]), answers[agent])
            for agent in agents:
                views = "\n".join(answers[other] for other in agents if other != agent)
                histories[agent] += [
                    ("assistant", answers[agent]),
                    ("user", f"Others say:\n{views}\nAnd you?"),
                ]
            at += 1


FORMS = (
    Case("hidden roles", hidden_roles),
    Case("company", company),
    Case("town of sheets", town_of_sheets),
    Case("samples of lives", samples_of_lives),
    Case("library of personas", library_of_personas),
    Case("debate", debate),
)
