from __future__ import annotations

from collections.abc import Iterable

import pytest

from scalesim.proxy.core.handovers import FEW, NEEDED, Handovers

from .conversation import Conversation


def _told(order: Iterable[str], handovers: Handovers | None = None) -> Handovers:
    handovers, last = handovers or Handovers(), dict[str, int]()
    for number, agent in enumerate(order):
        handovers.called(number - last[agent] - 1 if agent in last else None, overlaps=False)
        last[agent] = number
    return handovers


def test_calls_end_nothing_before_the_simulation_has_shown_that_it_makes_one_at_a_time() -> None:
    names = "abcdefghijklmnop"
    assert _told(names[: NEEDED - 1]).ends_after is None
    assert _told(names[:NEEDED]).ends_after == 0


def test_two_calls_that_overlap_end_that() -> None:
    handovers = _told("abcdefgh" * 2)
    handovers.called(3, overlaps=True)
    assert (handovers.count, handovers.ends_after) == (0, None)


def test_a_call_of_the_same_agent_is_no_handover() -> None:
    assert _told("a" * 20).count == 1
    assert _told("aaabbbccc" * 4).ends_after == 0, "a chain that nobody interrupts is ended by the next agent"


@pytest.mark.parametrize("agents", [2, 3, 6, 40])
def test_where_agents_take_turns_the_next_call_ends_an_activation(agents: int) -> None:
    names = [f"a{number}" for number in range(agents)]
    assert _told(names * 200).ends_after == 0


def test_where_a_game_master_speaks_after_each_call_of_a_chain_a_few_calls_of_others_end_none() -> None:
    assert _told(("agagag" + "bgbgbg" + "cgcgcg") * 10).ends_after == FEW


def test_a_long_first_chain_with_a_game_master_is_not_broken() -> None:
    for calls in range(12, 60):
        assert _told(("ag" * 30)[:calls]).ends_after == FEW


def test_two_that_were_alone_for_long_take_turns() -> None:
    assert _told("ab" * 60).ends_after == 0


# In a simulation


def _rounds(talk: Conversation, order: Iterable[str], call_s: float = 0.4) -> None:
    for agent in order:
        call = talk.start(agent)
        talk.wait(call_s)
        talk.end(call)


def test_activations_end_though_the_pause_is_longer_than_a_round() -> None:
    """Five agents, a call every .4 seconds: each is back after 1.6, and the pause that ends an activation is 2."""
    talk = Conversation()
    _rounds(talk, "abcdefgh"[:5] * 60)
    begun = [talk.agent(name).activations for name in "abcde"]
    assert sum(begun) > 60 * 5 - 64 - 5 * 5
    assert [talk.agent(name).in_activation for name in "abcde"] == [False] * 4 + [True]


def test_the_call_that_shows_it_begins_an_activation_itself() -> None:
    talk = Conversation()
    _rounds(talk, "abcdefab", 0.1)
    assert [talk.agent(name).activations for name in "ab"] == [1, 2]
    assert [name for name in "abcdef" if talk.agent(name).in_activation] == ["b"]


def test_a_chain_with_a_game_master_is_one_activation() -> None:
    talk = Conversation()
    chains = [name for name in "abcdefgh" * 4 for _ in range(3)]
    _rounds(talk, (one for name in chains for one in (name, "master")))
    begun = [talk.agent(name).activations for name in "abcdefgh"]
    assert begun == [4] * 8
    assert talk.agent("h").in_activation
    assert not talk.agent("a").in_activation


def test_a_running_call_keeps_its_activation_whoever_calls() -> None:
    talk = Conversation()
    _rounds(talk, "abcdefghij" * 2)
    talk.start("a")
    _rounds(talk, "bcdefghij")
    assert talk.agent("a").in_activation


def test_where_calls_overlap_only_the_pause_ends_an_activation() -> None:
    talk = Conversation()
    for _ in range(10):
        calls = [talk.start(name) for name in "abcdefghij"]
        talk.wait(0.1)
        for call in calls:
            talk.end(call)
    assert [talk.agent(name).activations for name in "abcdefghij"] == [1] * 10
