from scalesim.proxy.core.model import AgentName
from scalesim.proxy.recognition.learned.conversations import Conversations, Turns
from scalesim.proxy.recognition.prompt import Message

ANN, BEN = AgentName("Ann"), AgentName("Ben")
LONG = "It is morning in the town, what do you do?"


def messages(*texts: str) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    return (Message("system", "Play."), *(Message(roles[at % 2], text) for at, text in enumerate(texts)))


def said(*texts: str) -> Turns:
    """The user and the assistant in turns, under one system prompt."""
    return Turns(messages(*texts))


def test_a_conversation_that_goes_on_is_who_began_it() -> None:
    conversations = Conversations(100)
    conversations.asked(said("Morning, Ann."), ANN)
    conversations.asked(said("Morning, Ben."), BEN)
    assert conversations.find(said("Morning, Ann.", "Yes.", "And now?")) == (ANN, True)


def test_those_that_begin_alike_are_told_apart_by_their_answers() -> None:
    conversations = Conversations(100)
    for name, answer in ((ANN, "I get up."), (BEN, "I sleep on.")):
        conversations.answered(conversations.asked(said("Morning."), name), answer, name)
    assert conversations.find(said("Morning.", "I sleep on.", "And now?")) == (BEN, True)


def test_those_that_are_alike_in_all_are_nobody() -> None:
    conversations = Conversations(100)
    for name in (ANN, BEN):
        conversations.answered(conversations.asked(said(LONG), name), "I sleep on.", name)
    assert conversations.find(said(LONG, "I sleep on.", "And now?")) is None


def test_of_a_window_that_slides_the_last_turn_is_known() -> None:
    conversations = Conversations(100)
    asked = conversations.asked(said("a", "b", LONG), ANN)
    conversations.answered(asked, "I buy bread.", ANN)
    assert conversations.find(said(LONG, "I buy bread.", "And now?")) == (ANN, False)


def test_short_turns_are_no_sign() -> None:
    conversations = Conversations(100)
    conversations.answered(conversations.asked(said("a", "b", "Now?"), ANN), "Yes.", ANN)
    assert conversations.find(said("Now?", "Yes.", "And now?")) is None


def test_examples_in_a_prompt_are_no_conversation() -> None:
    conversations = Conversations(100)
    examples = messages("Is it so?", "No.")
    conversations.asked(Turns((*examples, Message("user", "Ann, what now?"))), ANN)
    assert conversations.find(Turns((*examples, Message("user", "Ben, what now?")))) is None


def test_the_table_is_bounded() -> None:
    conversations = Conversations(10)
    for number in range(100):
        conversations.answered(conversations.asked(said(f"{LONG} {number}"), ANN), LONG, ANN)
    assert conversations.size <= 10
