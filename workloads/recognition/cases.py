"""Little simulations whose calls are hard to tell apart: each case is a sequence of calls with who made them.

Prompts are made up; none is of a real framework. Deterministic by the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from scalesim.proxy.recognition.prompt import Message, Prompt

FIRST = [
    "Ann",
    "Anna",
    "Ben",
    "Cleo",
    "Dora",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "June",
    "Kai",
    "Lena",
    "Milo",
    "Nina",
    "Olaf",
    "Pia",
    "Raj",
    "Sara",
    "Tom",
    "Uma",
    "Vito",
    "Wanda",
    "Zoe",
]
LAST = [
    "Ash",
    "Berg",
    "Cruz",
    "Diaz",
    "Falk",
    "Gray",
    "Hill",
    "Ito",
    "Khan",
    "Lang",
    "Mora",
    "Nagy",
    "Ott",
    "Park",
    "Rao",
    "Silva",
    "Tran",
    "Vogt",
    "Wolf",
    "Young",
]
TRADES = [
    "nurse",
    "baker",
    "teacher",
    "plumber",
    "engineer",
    "farmer",
    "painter",
    "lawyer",
    "driver",
    "chemist",
]
PLACES = ["harbour", "market", "square", "school", "station", "garden", "library", "bridge", "mill", "cafe"]
TOPICS = [
    "football",
    "housing",
    "trains",
    "gardens",
    "elections",
    "weather",
    "music",
    "bread",
    "taxes",
    "whales",
]
VERBS = ["likes", "doubts", "defends", "mocks", "forgets", "praises", "sells", "paints", "counts", "explains"]
AGENTS, STEPS = 24, 20
_CALL_S, _STEP_S = 0.4, 1.0


@dataclass(frozen=True, slots=True)
class Scripted:
    """A call that somebody made, and what it was answered."""

    at: float
    end: float
    truth: str
    prompt: Prompt
    answer: str


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    calls: Callable[[Random], Iterator[Scripted]]
    aim: float = 0.95
    """Of pair F1."""
    nobody: bool = False
    """Nobody can be told apart, so nobody may be named with confidence."""


def people(random: Random, number: int = AGENTS) -> list[str]:
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    return random.sample(names, number)


def prose(random: Random, sentences: int) -> str:
    return " ".join(
        f"{random.choice(FIRST)} {random.choice(VERBS)} {random.choice(TOPICS)} at the {random.choice(PLACES)},"
        f" {random.randrange(1000)} times."
        for _ in range(sentences)
    )


def persona(random: Random) -> str:
    return (
        f"{random.randint(19, 77)} years old, {random.choice(TRADES)}, lives by the {random.choice(PLACES)},"
        f" {random.choice(VERBS)} {random.choice(TOPICS)} and {random.choice(TOPICS)}, keeps {random.randrange(100)} hens."
    )


def feed(random: Random, posts: int = 5) -> str:
    """Others speak in it, and of others."""
    return "\n".join(
        f"{random.choice(FIRST)} {random.choice(LAST)}: You are {random.choice(FIRST)}, right? {prose(random, 1)}"
        for _ in range(posts)
    )


def prompt(*texts: tuple[str, str]) -> Prompt:
    return Prompt(tuple(Message(role, text) for role, text in texts))


def barrier(
    random: Random, agents: Sequence[str], prompt_of: Callable[[str, int], Prompt], steps: int = STEPS
) -> Iterator[Scripted]:
    """All at once, in any order, and a pause before the next step."""
    for step in range(steps):
        order = random.sample(list(agents), len(agents))
        for place, agent in enumerate(order):
            at = step * _STEP_S + place * 0.001
            answer = f"{prose(random, 1)} So be it."
            yield Scripted(at, at + _CALL_S + random.random() * 0.1, agent, prompt_of(agent, step), answer)


def one_by_one(
    random: Random, agents: Sequence[str], prompt_of: Callable[[str, int], Prompt], steps: int = STEPS
) -> Iterator[Scripted]:
    at = 0.0
    for step in range(steps):
        for agent in agents:
            yield Scripted(at, at + 0.1, agent, prompt_of(agent, step), prose(random, 1))
            at += 0.15


def constant_system(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}
    yield from barrier(
        random,
        agents,
        lambda agent, step: prompt(
            ("system", "You take part in a study of a small town. Decide on one action and give it as JSON."),
            (
                "user",
                f"Name: {agent}\nLife: {lives[agent]}\nDay: {step}\nYou saw:\n{prose(random, 4)}\nWhat do you do?",
            ),
        ),
    )


def identity_at_end(random: Random) -> Iterator[Scripted]:
    agents = people(random)

    def ask(agent: str, step: int) -> Prompt:
        return prompt(
            ("system", "You write the next line of a long play."),
            (
                "user",
                f"Scene {step}.\n{feed(random, 8)}\n{prose(random, 10)}\nNow comes the turn of {agent}.",
            ),
        )

    yield from barrier(random, agents, ask)


def several_templates(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}
    rules = "The town has three rules.\nBe brief."

    def ask(agent: str, step: int) -> Prompt:
        match random.randrange(3):
            case 0:
                return prompt(
                    ("system", f"You are {agent}, {lives[agent]}\n{rules}"),
                    ("user", f"Plan day {step}.\n{prose(random, 4)}"),
                )
            case 1:
                return prompt(
                    (
                        "user",
                        f"{rules}\nReflect on what you saw.\n{feed(random)}\nYour name is {agent}. What do you think?",
                    )
                )
            case _:
                return prompt(
                    ("system", rules),
                    ("user", f"Profile:\n{agent}, {lives[agent]}\n\nNews:\n{feed(random)}\nReact now."),
                )

    yield from barrier(random, agents, ask)


def templates_without_names(random: Random) -> Iterator[Scripted]:
    """The same description stands under different headings."""
    agents = [f"agent {number}" for number in range(AGENTS)]
    lives = {agent: persona(random) for agent in agents}

    def ask(agent: str, step: int) -> Prompt:
        if random.random() < 0.5:
            return prompt(
                ("system", "Live in this town."),
                ("user", f"Persona:\n{lives[agent]}\nDay {step}.\n{prose(random, 4)}\nAct."),
            )
        return prompt(
            ("system", f"Summarise the day of this person.\n{prose(random, 2)}"),
            ("user", f"Profile:\n{lives[agent]}\n{prose(random, 3)}\nSummary?"),
        )

    yield from barrier(random, agents, ask)


def growing_history(random: Random) -> Iterator[Scripted]:
    yield from _conversations(random, window=None, own=False)


def growing_with_persona(random: Random) -> Iterator[Scripted]:
    yield from _conversations(random, window=None, own=True)


def sliding_window(random: Random) -> Iterator[Scripted]:
    yield from _conversations(random, window=6, own=False)


def _conversations(random: Random, *, window: int | None, own: bool) -> Iterator[Scripted]:
    agents = people(random)
    histories: dict[str, list[tuple[str, str]]] = {agent: [] for agent in agents}
    lives = {agent: persona(random) for agent in agents}
    for step in range(STEPS):
        for place, agent in enumerate(random.sample(agents, len(agents))):
            at = step * _STEP_S + place * 0.001
            history = histories[agent]
            history.append(("user", f"Step {step}. {prose(random, 2)} What now?"))
            kept = history if window is None else history[-window - 1 :]
            system = f"Play a person: {lives[agent]}" if own else "Play a person in a town."
            answer = prose(random, 1)
            yield Scripted(
                at, at + _CALL_S + random.random() * 0.1, agent, prompt(("system", system), *kept), answer
            )
            history.append(("assistant", answer))


def two_simulations(random: Random) -> Iterator[Scripted]:
    """Of two frameworks, at once, and half of the names are in both."""
    mine = people(random)
    yours = [*mine[: AGENTS // 2], *people(random)[: AGENTS // 2]]
    yours = list(dict.fromkeys(yours))
    first = barrier(
        random,
        mine,
        lambda agent, step: prompt(
            ("system", f"# TASK\nYou use a forum.\nYour name is {agent}.\nUse one tool."),
            ("user", f"New posts:\n{feed(random)}"),
        ),
    )
    second = barrier(
        random,
        yours,
        lambda agent, step: prompt(
            ("system", "Simulated exchange of goods; answer with a price."),
            ("user", f"Round {step}. You are {agent}, a trader.\nOffers: {prose(random, 3)}\nYour price?"),
        ),
    )
    calls = [
        *first,
        *((Scripted(c.at + 0.1, c.end + 0.1, f"second {c.truth}", c.prompt, c.answer)) for c in second),
    ]
    yield from sorted(calls, key=lambda call: call.at)


def shared_feeds(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}
    posts = [feed(random, 6) for _ in range(STEPS)]
    yield from barrier(
        random,
        agents,
        lambda agent, step: prompt(
            (
                "system",
                f"# GOAL\nYou're a user of a forum. Choose an action.\n# SELF\nYour name is {agent}.\nYou have a profile: {lives[agent]}",
            ),
            ("user", f"You see these posts:\n{posts[step]}\n{posts[step - 1]}\nChoose."),
        ),
    )


def alike_names(random: Random) -> Iterator[Scripted]:
    agents = [
        "Ann",
        "Anna",
        "Annabel",
        "Ann Lee",
        "Ann-Marie",
        "A.*",
        "Jo",
        "Jo Ann",
        "Joanna",
        "J. (Jo)",
        "O'Neil",
        "Müller-Lüdenscheidt",
    ]
    yield from barrier(
        random,
        agents,
        lambda agent, step: prompt(
            ("system", "You are in a town."),
            ("user", f"{prose(random, 2)}\nYou are {agent}. {prose(random, 2)}\nWhat now?"),
        ),
    )


def game_master(random: Random) -> Iterator[Scripted]:
    """It speaks about each agent in turn; so does an evaluator."""
    agents = people(random, 12)
    at = 0.0
    for step in range(STEPS):
        for agent in agents:
            asked = prompt(
                ("user", f"You are {agent}.\nIt is round {step}. {prose(random, 3)}\nWhat do you do?")
            )
            yield Scripted(at, at + 0.1, agent, asked, prose(random, 1))
            told = prompt(
                (
                    "user",
                    f"You are the game master of a play.\n{prose(random, 2)}\nName: {agent}\nWhat happens to {agent} next?",
                )
            )
            yield Scripted(at + 0.2, at + 0.3, "\x01game master", told, prose(random, 1))
            at += 0.4
        for agent in agents:
            judged = prompt(
                ("system", "You are an impartial evaluator."),
                ("user", f"{prose(random, 3)}\nRate how kind {agent} was, from 1 to 9."),
            )
            yield Scripted(at, at + 0.1, "\x01evaluator", judged, str(random.randint(1, 9)))
            at += 0.15


def one_shots(random: Random) -> Iterator[Scripted]:
    for number in range(50_000):
        asked = prompt(
            ("system", "You are a helpful translator."),
            ("user", f"{random.randrange(10**9)} {prose(random, 3)}"),
        )
        yield Scripted(number * 0.01, number * 0.01 + 0.1, f"shot {number}", asked, "Done.")


def identical_personas(random: Random) -> Iterator[Scripted]:
    yield from barrier(
        random,
        people(random),
        lambda agent, step: prompt(
            ("system", "You are Sam Gray, a walker in a town."),
            ("user", f"Step {step}. You see: {prose(random, 3)}\nMood: {random.choice(VERBS)}\nAct."),
        ),
    )


def one_after_another(random: Random) -> Iterator[Scripted]:
    """Nothing runs at once; clock, place and mood come back too, and nobody is spoken to."""
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}

    def ask(agent: str, step: int) -> Prompt:
        return prompt(
            (
                "user",
                f"Time: {8 + step}:00\nPlace: {random.choice(PLACES)}\nResident: {agent}\nLife: {lives[agent]}\nMood: {random.choice(VERBS)}\n"
                f"{prose(random, 4)}\nWhat should come next in the schedule?",
            )
        )

    yield from one_by_one(random, agents, ask)


def several_at_once(random: Random) -> Iterator[Scripted]:
    """Each agent makes four calls of different kinds at once."""
    agents = people(random, 8)
    questions = (
        "What kind of person are you?",
        "What do you see?",
        "What would others do?",
        "What comes next?",
    )
    at = 0.0
    for _ in range(STEPS):
        for agent in agents:
            seen = prose(random, 3)
            for number, question in enumerate(questions):
                asked = prompt(
                    ("system", "Continue."),
                    (
                        "user",
                        f"Rules for how to play the role of {agent}:\n{seen}\nQuestion: {question}\nAnswer:",
                    ),
                )
                yield Scripted(at + number * 0.001, at + 0.2 + number * 0.01, agent, asked, prose(random, 1))
            at += 0.3


def latecomers(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}
    for step in range(STEPS):
        here = agents[: 6 + step]
        for place, agent in enumerate(random.sample(here, len(here))):
            at = step * _STEP_S + place * 0.001
            asked = prompt(
                ("system", "Answer briefly."),
                ("user", f"{prose(random, 2)}\nWho: {agent}; {lives[agent]}\nDay {step}\nDecide."),
            )
            yield Scripted(at, at + _CALL_S, agent, asked, prose(random, 1))


def repeated_answers(random: Random) -> Iterator[Scripted]:
    """Every second call has no identity, but is a piece of the answer before."""
    agents = people(random)
    for step in range(STEPS):
        for place, agent in enumerate(random.sample(agents, len(agents))):
            at = step * _STEP_S + place * 0.001
            plan = prose(random, 1)
            asked = prompt(
                ("system", "Think, then act."),
                (
                    "user",
                    f"Now: step={step}, self={{'name': 'x', 'text': 'You are {agent}, a walker'}}, {prose(random, 2)}",
                ),
            )
            yield Scripted(at, at + 0.3, agent, asked, f'{{"thought": "Fine.", "plan": "{plan}"}}')
            done = prompt(("system", "You carry out the plan by calling tools."), ("user", plan))
            yield Scripted(at + 0.35, at + 0.45, agent, done, '{"direction": "North"}')


def third_person(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}

    def ask(agent: str, step: int) -> Prompt:
        text = f"{agent} is {lives[agent]}\nIt is {step}:00. {prose(random, 3)}\nDecide what {agent} does."
        return prompt(("system", "Simulate a resident."), ("user", text))

    yield from one_by_one(random, agents, ask)


def others_listed_first(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}

    def ask(agent: str, step: int) -> Prompt:
        near = "\n".join(f"Name: {other}\nLife: {lives[other]}" for other in random.sample(agents, 5))
        text = f"People near you:\n{near}\n\nPersona:\n{agent}, {lives[agent]}\n{prose(random, 2)}\nAct."
        return prompt(("system", "Residents of a town."), ("user", text))

    yield from barrier(random, agents, ask)


def in_json(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}

    def ask(agent: str, step: int) -> Prompt:
        who = (
            f'<agent>\n{{"id": {agents.index(agent)}, "name": "{agent}", "life": "{lives[agent]}"}}\n</agent>'
        )
        return prompt(
            ("system", "You are a part of a society.\n" * 10),
            ("user", who),
            ("user", f"<state>\n{prose(random, 4)}\n</state>"),
        )

    yield from barrier(random, agents, ask)


def names_of_speakers(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    yield from barrier(
        random, agents, lambda agent, step: prompt(("user", f"A play.\n{feed(random, 8)}\n{agent}:"))
    )


def one_line_of_own(random: Random) -> Iterator[Scripted]:
    """Nothing runs at once, and only the last line tells anybody apart: nothing speaks for it but that it comes back."""
    agents = people(random)
    yield from one_by_one(
        random, agents, lambda agent, step: prompt(("user", f"A play.\n{feed(random, 8)}\n{agent}:"))
    )


def sliding_transcript(random: Random) -> Iterator[Scripted]:
    """What all have said lately, and at the end whose turn it is: each name is a key whose value comes and goes."""
    agents = people(random, 10)
    said: list[str] = []
    for step in range(STEPS):
        for place, agent in enumerate(agents):
            at = step * 10 + place * 0.5
            asked = prompt(("user", "\n".join(["The following is a talk.", *said[-20:], f"{agent}:"])))
            yield Scripted(at, at + 0.3, agent, asked, "Well.")
            said.append(f"{agent}: {prose(random, 1)}")


def character_sheets(random: Random) -> Iterator[Scripted]:
    agents = people(random)
    lives = {agent: persona(random) for agent in agents}

    def ask(agent: str, step: int) -> Prompt:
        sheet = f"### Sheet\n* level {random.randrange(9)}\n* called {agent}\n* {lives[agent]}"
        return prompt(("system", "Role play."), ("user", f"{sheet}\n### Scene\n{prose(random, 5)}\nGo."))

    yield from barrier(random, agents, ask)


def another_simulation(random: Random) -> Iterator[Scripted]:
    """After one that is over, of another framework and with other agents."""
    agents = people(random, 2 * AGENTS)
    lives = {agent: persona(random) for agent in agents}

    def first(agent: str, step: int) -> Prompt:
        text = (
            f"Name: {agent}\nLife: {lives[agent]}\nDay: {step}\nYou saw:\n{prose(random, 4)}\nWhat do you do?"
        )
        return prompt(("system", "You take part in a study."), ("user", text))

    def second(agent: str, step: int) -> Prompt:
        text = (
            f"Mood: {random.choice(VERBS)}\nResident: {agent}\nLife: {lives[agent]}\n{feed(random, 3)}\nGo."
        )
        return prompt(("system", "You live in a village."), ("user", text))

    yield from barrier(random, agents[:AGENTS], first)
    for call in barrier(random, agents[AGENTS:], second):
        later = (STEPS + 5) * _STEP_S
        yield replace(call, at=call.at + later, end=call.end + later)


CASES = (
    Case("constant system prompt", constant_system),
    Case("identity at the end", identity_at_end),
    Case("several templates, one name", several_templates),
    Case("several templates, no name", templates_without_names),
    Case("growing history, no identity", growing_history),
    Case("growing history, persona", growing_with_persona),
    Case("sliding window, no identity", sliding_window),
    Case("two simulations, names in both", two_simulations),
    Case("feeds shared by many", shared_feeds),
    Case("names alike (Ann, Anna)", alike_names),
    Case("game master and evaluator", game_master),
    Case("one after another", one_after_another),
    Case("third person, one after another", third_person),
    Case("others listed first", others_listed_first),
    Case("identity in JSON", in_json),
    Case("last line, among other names", names_of_speakers),
    Case("last line, one after another", one_line_of_own, aim=0.8),
    Case("character sheets", character_sheets),
    Case("sliding transcript", sliding_transcript, aim=0.8),
    Case("another simulation after the first", another_simulation),
    Case("four calls at once", several_at_once),
    Case("latecomers", latecomers),
    Case("calls that repeat an answer", repeated_answers),
    Case("50,000 one-shot prompts", one_shots),
    Case("one persona for all", identical_personas, nobody=True),
)
