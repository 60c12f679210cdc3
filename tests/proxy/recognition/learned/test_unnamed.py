from scalesim.proxy.core.model import AgentName
from scalesim.proxy.recognition.guess import CallerKind
from scalesim.proxy.recognition.learned.unnamed import OTHERS, Beginners, Masters, Others, is_beginner


def test_each_beginner_is_another() -> None:
    beginners = Beginners()
    one, other = beginners.guess(), beginners.guess()
    assert one.agent != other.agent
    assert is_beginner(one.agent)


def test_where_nothing_goes_on_beginners_are_worth_little() -> None:
    beginners = Beginners()
    assert [beginners.guess() for _ in range(2000)][-1].confidence < 0.1


def test_where_conversations_go_on_they_are_worth_more() -> None:
    beginners = Beginners()
    for _ in range(2000):
        guess = beginners.guess()
        beginners.continued()
    assert guess.confidence > 0.3


def test_calls_that_speak_to_nobody_one_by_one_are_one_callers() -> None:
    others = Others()
    for _ in range(10):
        guess = others.guess()
        others.leave()
    assert guess is not None
    assert guess.agent == OTHERS
    assert guess.kind is CallerKind.OTHER
    assert guess.confidence >= 0.5


def test_but_not_if_they_come_at_once() -> None:
    others = Others()
    assert [others.guess() for _ in range(10)][-1] is None


def test_a_role_that_all_have_is_the_agents_own() -> None:
    masters = Masters()
    assert masters.guess("judge", 1) is not None
    guesses = [masters.guess("judge", calls) for calls in range(2, 200)]
    assert guesses[-1] is None


def test_a_rare_role_is_a_caller() -> None:
    masters = Masters()
    assert all(masters.guess("judge", calls) for calls in range(1, 1000, 10))


def test_the_only_role_is_who_else_speaks_to_nobody() -> None:
    masters = Masters()
    assert masters.only is None
    masters.guess("game master", 1)
    assert masters.only == "game master"
    masters.guess("judge", 2)
    assert masters.only is None


def test_a_label_is_given_once() -> None:
    beginners = Beginners()
    one, other = beginners.guess(AgentName("Ann")), beginners.guess(AgentName("Ann"))
    assert one.agent == "Ann"
    assert is_beginner(other.agent)
