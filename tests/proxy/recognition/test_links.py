import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import AgentName
from scalesim.proxy.recognition.links import Links
from scalesim.proxy.recognition.prompt import Message, Prompt

ANN, BEN, CLEO = AgentName("Ann"), AgentName("Ben"), AgentName("Cleo")
PLAN = "I walk to the harbour and buy bread."


def asked(*texts: str, role: str = "user") -> Prompt:
    return Prompt((*(Message("system", text) for text in texts[:-1]), Message(role, texts[-1])))


def executor(text: str) -> Prompt:
    return asked("Carry out the plan.", text)


def tried() -> Links:
    """That the words around a piece are nobody's is known of two callers."""
    links = Links()
    for name in (ANN, BEN):
        links.answered(name, f"{name} does something quite remarkable.")
        links.find(executor(f"{name} does something quite remarkable."))
    return links


def test_a_request_that_is_an_earlier_answer_comes_from_whom_it_went_to() -> None:
    links = tried()
    links.answered(ANN, PLAN)
    guess = links.find(executor(PLAN))
    assert guess is not None
    assert (guess.agent, guess.source, guess.confidence) == (ANN, "answer", 0.95)
    assert PLAN in guess.why


def test_a_field_of_an_answer_in_json_links_as_well() -> None:
    links = tried()
    links.answered(ANN, f'{{"thought": "Fine.", "steps": [{{"plan": " {PLAN} "}}]}}')
    guess = links.find(executor(PLAN))
    assert guess is not None
    assert guess.agent == ANN


def test_the_first_link_within_some_words_is_not_trusted_yet() -> None:
    links = Links()
    links.answered(ANN, PLAN)
    guess = links.find(executor(PLAN))
    assert guess is not None
    assert guess.confidence < 0.5


def test_what_somebody_said_to_another_is_not_trusted() -> None:
    """Each has a system prompt of its own, and is told what the other said."""
    links = Links()
    for turn in range(6):
        said = f"I have thought of it {turn} times by now."
        links.answered(ANN, said)
        guess = links.find(asked("Your name is Ben.", said))
        assert guess is None or guess.confidence < 0.5


def test_an_assistant_message_is_who_said_it() -> None:
    links = Links()
    links.answered(ANN, PLAN)
    prompt = Prompt((Message("user", "Begin."), Message("assistant", PLAN), Message("user", "Go on.")))
    guess = links.find(prompt)
    assert guess is not None
    assert (guess.agent, guess.confidence) == (ANN, 0.95)


def test_a_piece_within_a_longer_message_links_nothing() -> None:
    links = tried()
    links.answered(ANN, PLAN)
    assert links.find(executor(f"Posts:\nAnn: {PLAN}\nChoose one.")) is None


def test_short_answers_link_nothing() -> None:
    links = tried()
    links.answered(ANN, "Yes.")
    assert links.find(executor("Yes.")) is None


def sent_on(times: int) -> Links:
    """Each answer was sent on once, within the same words."""
    links = Links()
    for number in range(times):
        name = (ANN, BEN, CLEO)[number % 3]
        said = f"{name} goes to the {number}. house of the street."
        links.answered(name, said)
        links.find(executor(said))
        links.called(name)
    return links


def test_where_every_answer_is_sent_on_short_ones_link_too_and_the_first_answered_comes_first() -> None:
    links = sent_on(20)
    for name in (BEN, ANN, CLEO):
        links.answered(name, "Go North.")
    found = []
    for _ in range(3):
        guess = links.find(executor("Go North."))
        assert guess is not None
        assert guess.confidence == 0.9
        found.append(guess.agent)
        links.called(guess.agent)
    assert found == [BEN, ANN, CLEO]


def test_after_a_few_links_it_is_not_yet_known_that_every_answer_is_sent_on() -> None:
    links = sent_on(10)
    links.answered(ANN, "Go North.")
    assert links.find(executor("Go North.")) is None


def test_where_much_is_asked_that_nobody_was_answered_short_answers_link_nothing() -> None:
    links = sent_on(20)
    for number in range(5):
        links.find(executor(f"What is the {number}. wonder of the world?"))
    links.answered(ANN, "Go North.")
    assert links.find(executor("Go North.")) is None


def test_short_answers_link_only_within_the_words_that_send_answers_on() -> None:
    links = sent_on(20)
    links.answered(ANN, "Go North.")
    assert links.find(asked("Translate this.", "Go North.")) is None


def test_where_a_recipe_knows_that_answers_are_sent_on_the_first_short_one_links() -> None:
    links = Links()
    for name in (BEN, ANN):
        links.answered(name, "Go North.", repeated=True)
    guess = links.find(executor("Go North."), repeats=True)
    assert guess is not None
    assert (guess.agent, guess.confidence) == (BEN, 0.9)


def test_of_two_that_were_told_the_same_it_is_the_one_that_has_not_called_since() -> None:
    links = tried()
    links.answered(ANN, PLAN)
    links.answered(BEN, PLAN)
    links.called(ANN)
    guess = links.find(executor(PLAN))
    assert guess is not None
    assert (guess.agent, guess.confidence) == (BEN, 0.9)


def test_of_several_that_wait_the_first_answered_is_named_with_less_confidence() -> None:
    links = tried()
    for name in (BEN, ANN, CLEO):
        links.answered(name, PLAN)
    guess = links.find(executor(PLAN))
    assert guess is not None
    assert (guess.agent, guess.confidence) == (BEN, 0.6)


def test_nobody_is_named_when_all_have_called_since() -> None:
    links = tried()
    for name in (ANN, BEN):
        links.answered(name, PLAN)
        links.called(name)
    assert links.find(executor(PLAN)) is None


def test_what_was_said_long_ago_is_forgotten() -> None:
    links = Links(max_pieces=4)
    links.answered(ANN, PLAN)
    for number in range(4):
        links.answered(BEN, f"Something else, for the {number}. time.")
    assert links.find(executor(PLAN)) is None


@pytest.mark.parametrize("text", ["{" * 5000, "[" * 20000, '{"a": ', "\ud800" * 40, "", "{}"])
def test_answers_of_any_form_are_taken(text: str) -> None:
    links = Links()
    links.answered(ANN, text)
    links.find(executor(text))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([ANN, BEN, CLEO]), st.text(max_size=60)), max_size=60))
def test_tables_stay_within_their_bounds(said: list[tuple[AgentName, str]]) -> None:
    links = Links(max_pieces=8, max_callers=2)
    for name, text in said:
        links.answered(name, text)
        links.find(executor(text))
    sizes = links.sizes()
    assert sizes["linked_pieces"] <= 8
    assert sizes["linked_callers"] <= 2
