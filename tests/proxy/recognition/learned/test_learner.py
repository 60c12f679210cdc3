import os
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import CallId
from scalesim.proxy.recognition.guess import CallerKind, Guess
from scalesim.proxy.recognition.learned import Learner
from scalesim.proxy.recognition.prompt import Message, Prompt

NAMES = ("Ann Lee", "Anna Lee", "Ben Ito", "Cleo Park", "Dora Wolf", "Emil Rao")


def user(text: str) -> Prompt:
    return Prompt((Message("user", text),))


class Play:
    """Calls in steps, all at once or one after another."""

    def __init__(self, learner: Learner | None = None) -> None:
        self.learner = learner or Learner()
        self._number = 0

    def call(self, prompt: Prompt, answer: str = "") -> Guess | None:
        (guess,) = self.step([prompt], answer)
        return guess

    def step(self, prompts: Iterable[Prompt], answer: str = "") -> list[Guess | None]:
        begun, guesses = [], []
        for prompt in prompts:
            self._number += 1
            guesses.append(self.learner.recognise(prompt, self._number, CallId(self._number)))
            begun.append(CallId(self._number))
        for call in begun:
            self.learner.ended(call, self._number, answer)
        return guesses


def names(guesses: Iterable[Guess | None]) -> list[str | None]:
    return [guess.agent if guess else None for guess in guesses]


def cued(name: str, step: int) -> Prompt:
    return user(
        f"You are in a town.\nYour name is {name}.\nIt is day {step}, {step * 7919 % 1000} birds sing."
    )


def test_a_name_after_a_cue_is_known_from_the_first_call() -> None:
    play = Play()
    for step in range(5):
        assert names(play.step(cued(name, step) for name in NAMES)) == list(NAMES)


def test_confidence_grows_and_says_why() -> None:
    play = Play()
    (first, *_) = play.step(cued(name, 0) for name in NAMES)
    for step in range(1, 10):
        (last, *_) = play.step(cued(name, step) for name in NAMES)
    assert first is not None
    assert last is not None
    assert first.confidence < 0.8 < last.confidence
    assert last.why == "the name after the first “your name is” at the beginning of a line: Ann Lee"
    assert last.source == "learned"


def test_a_newcomer_is_named_at_its_first_call() -> None:
    play = Play()
    for step in range(10):
        play.step(user(f"Day {step}\nWho: {name}\nGo on, {step * 31}.") for name in NAMES)
    guess = play.call(user("Day 99\nWho: Zoe Vogt\nGo on, 4."))
    assert guess is not None
    assert guess.agent == "Zoe Vogt"


def test_calls_before_the_place_was_known_belong_to_the_same_caller() -> None:
    play = Play()
    early = names(play.step(user(f"Day 0\nWho: {name}\nGo on.") for name in NAMES))
    for step in range(1, 8):
        late = names(play.step(user(f"Day {step}\nWho: {name}\nGo on.") for name in NAMES))
    became = dict(play.learner.merges())
    assert late == list(NAMES)
    assert [became.get(name, name) for name in early if name] == late  # type: ignore[call-overload]


def test_a_name_that_stands_by_itself_is_the_callers_from_the_beginning() -> None:
    """Before it is known that it says who calls: nothing has to be taken back later."""
    play = Play()
    for step in range(8):
        guesses = play.step(user(f"Day {step}\nWho: {name}\nGo on.") for name in NAMES)
        assert names(guesses)[1:] == list(NAMES[1:])
    assert len(play.learner.merges()) <= 1


def test_what_all_prompts_have_is_no_name() -> None:
    play = Play()
    for step in range(8):
        guesses = play.step(user(f"Day {step * 7 + number}\nScore:") for number in range(4))
        assert "Score" not in names(guesses)


def test_a_life_in_the_first_person_is_who_calls() -> None:
    play = Play()
    for step in range(12):
        guesses = play.step(
            user(
                f"I am {20 + number} years old. I am a baker, I live by the harbour, and I have always lived there. Interviewer: is {step * 31} good?\nMe:"
            )
            for number in range(9)
        )
    assert len(set(names(guesses))) == 9
    assert all(guess is not None and guess.confidence >= 0.8 for guess in guesses)


def test_a_name_after_a_role_that_two_have_is_who_calls() -> None:
    play = Play()
    for step in range(12):
        for number, name in enumerate(NAMES):
            job = ("Writer", "Engineer")[number % 2]
            guess = play.call(user(f"You are a {job}, named {name}, and you work.\nDay {step}."))
            assert step < 2 or (guess is not None and guess.agent == name)


def test_who_else_speaks_to_nobody_is_the_only_game_master() -> None:
    play = Play()
    for step in range(40):
        for name in NAMES:
            play.call(cued(name, step))
        play.call(user(f"You are the game master.\nWhat happens on day {step}?"))
        guess = play.call(user(f"It happened on day {step}, {step * 31}. Sum up."))
    assert guess is not None
    assert (guess.agent, guess.kind) == ("game master", CallerKind.OTHER)


def test_one_persona_for_all_names_nobody_for_sure() -> None:
    play = Play()
    for step in range(20):
        guesses = play.step(user(f"You are Sam Gray.\nDay {step}, {number * step}.") for number in range(8))
        assert all(guess is None or guess.confidence < 0.8 for guess in guesses)


def test_prompts_that_never_come_again_leave_no_trace() -> None:
    play = Play(Learner(max_conversations=100, max_callers=100))
    for number in range(2000):
        guess = play.call(user(f"Translate the {number * 7919 % 10007}. line: {number}"), "Done.")
    assert guess is None or guess.confidence < 0.5
    assert sum(play.learner.sizes().values()) < 6000


def test_a_game_master_is_one_caller_of_its_own_kind() -> None:
    play = Play()
    for step in range(12):
        for name in NAMES:
            play.call(cued(name, step))
            guess = play.call(user(f"You are the game master.\nName: {name}\nWhat happens on day {step}?"))
            assert guess is not None
            assert (guess.agent, guess.kind) == ("game master", CallerKind.OTHER)


def test_a_role_that_all_have_is_the_agents_own() -> None:
    play = Play()
    for step in range(30):
        guesses = play.step(
            user(f"You are an evaluator of films.\nName: {name}\nFilm {step}?") for name in NAMES
        )
    assert names(guesses) == list(NAMES)


def test_what_others_are_told_in_a_feed_is_nobodys_name() -> None:
    play = Play()
    for step in range(20):
        feed = [
            f"{NAMES[(step + number) % 6]}: You are {NAMES[(step * 2 + number) % 6]}, no?"
            for number in range(4)
        ]
        guesses = play.step(user("\n".join([f"Turn {step}", *feed, f"Now comes {name}."])) for name in NAMES)
    assert names(guesses) == list(NAMES)


def test_a_history_that_is_sent_again_is_the_same_caller() -> None:
    play = Play()
    histories = [
        [Message("system", "Play."), Message("user", f"You wake up in room {room}.")] for room in range(5)
    ]
    first = names(play.step((Prompt(tuple(history)) for history in histories), "I get up."))
    assert len(set(first)) == 5
    for _ in range(4):
        for history in histories:
            history += [Message("assistant", "I get up."), Message("user", "What now?")]
        guesses = play.step((Prompt(tuple(history)) for history in histories), "I get up.")
        assert names(guesses) == first
        assert all(guess is not None and guess.confidence >= 0.9 for guess in guesses)


def test_two_templates_of_one_agent_are_joined_by_the_name() -> None:
    play = Play()
    for step in range(10):
        one = play.step(cued(name, step) for name in NAMES)
        other = play.step(user(f"Profile:\n{name}, who walks\nReflect on day {step}.") for name in NAMES)
    assert names(one) == names(other) == list(NAMES)


def test_another_simulation_is_learned_after_the_first() -> None:
    play = Play()
    for step in range(60):
        play.step(cued(name, step) for name in NAMES)
    others = ["Zoe Vogt", "Tom Ott", "Uma Berg", "Gus Hill", "Pia Gray", "Raj Cruz"]
    for step in range(30):
        guesses = play.step(user(f"Day {step}\nWho: {name}\nGo on, {step * 31}.") for name in others)
    assert names(guesses) == others


def test_a_call_that_is_never_ended_is_forgotten() -> None:
    learner = Learner(max_running=10)
    for number in range(100):
        learner.recognise(cued(NAMES[number % 6], number), number, CallId(number))
    assert learner.sizes()["learned_running"] == 10


@pytest.mark.parametrize(
    "text", ["", "\ud800You are \udfff", "You are \x00", "Name: \x1b[0m", "x" * 200_000, "\n" * 5000]
)
def test_any_text_is_taken(text: str) -> None:
    play = Play()
    for _ in range(10):
        guesses = play.step([user(text + "a"), user(text + "b"), Prompt((Message("assistant", text),))], text)
    for guess in guesses:
        assert guess is None or (
            guess.agent.isprintable() and guess.why.isprintable() and len(guess.agent) <= 256
        )


_TEXTS = st.sampled_from(
    [f"You are {name}.\nDay {day}" for name in NAMES for day in range(3)]
    + [f"Who: {name}\nMood: {mood}" for name in NAMES for mood in ("good", "bad")]
    + ["Sum up.", "You are a judge of Ann.", "Ann Lee: You are Ben Ito.\nGo."]
)
_HISTORIES = st.lists(st.tuples(_TEXTS, st.booleans()), max_size=120)


def _told(history: list[tuple[str, bool]], learner: Learner) -> list[Guess | None]:
    told = []
    for number, (text, ends) in enumerate(history):
        told.append(learner.recognise(user(text), number, CallId(number)))
        if ends:
            learner.ended(CallId(number), number, text)
    return told


@settings(max_examples=40, deadline=None)
@given(_HISTORIES)
def test_the_same_history_is_told_the_same(history: list[tuple[str, bool]]) -> None:
    assert _told(history, Learner()) == _told(history, Learner())


@settings(max_examples=40, deadline=None)
@given(_HISTORIES)
def test_tables_stay_within_their_bounds(history: list[tuple[str, bool]]) -> None:
    learner = Learner(max_places=8, max_callers=4, max_conversations=6, max_running=5)
    for guess in _told(history, learner):
        assert guess is None or 0 <= guess.confidence <= 1
    sizes = learner.sizes()
    assert sizes["learned_places"] <= 8
    assert sizes["learned_callers"] <= 4
    assert sizes["learned_conversations"] <= 6
    assert sizes["learned_running"] <= 5
    assert sizes["learned_families"] <= 4


_SCRIPT = """
from scalesim.workloads.recognition.cases import *
from scalesim.workloads.recognition.suite import Learner, CallId
from random import Random
learner = Learner()
for number, call in enumerate(several_templates(Random(1))):
    print(learner.recognise(call.prompt, call.at, CallId(number)))
    if number % 24 == 23:
        for one in range(number - 23, number + 1):
            learner.ended(CallId(one), call.end, "")
"""


@pytest.mark.slow
def test_nothing_depends_on_the_seed_of_hashes() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1
