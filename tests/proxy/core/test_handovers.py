from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from random import Random

import pytest

from scalesim.proxy.core.events import Ticked
from scalesim.proxy.core.handovers import FEW, NEEDED, NEEDED_AGAIN, Handovers
from scalesim.proxy.core.model import CallId

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


def test_once_calls_have_overlapped_much_more_is_needed_to_believe_it_and_again_more_whenever_that_was_wrong() -> (
    None
):
    handovers = _told("abcdefg")
    handovers.called(3, overlaps=True)
    assert _told("abcdefgh" * 7 + "abcdefg", handovers).ends_after is None
    assert _told("h", handovers).ends_after == 0
    for _ in range(3):
        handovers.called(3, overlaps=True)
        assert _told("abcdefgh" * (NEEDED_AGAIN * 8 - 1), handovers).ends_after is None
        assert _told("abcdefgh" * 8, handovers).ends_after == 0
    assert handovers.ends_after == 0


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


def test_calls_of_unknown_callers_are_nobodys_turn() -> None:
    talk = Conversation()
    for name in "abababab":
        call = talk.start(name)
        talk.wait(0.01)
        talk.end(call)
        for _ in range(FEW + 1):
            talk.end(talk.start(None))
    begun = talk.agent("a").activations
    talk.start("b")
    assert talk.agent("b").in_activation
    assert begun <= 2


def _poisson(talk: Conversation, agents: int, seconds: float, every_s: float) -> int:
    """Each begins at moments that know nothing of the others, calls three times, and uses a tool in between. Returns how many
    chains that were."""
    random, chains = Random(7), 0
    coming: list[tuple[float, int, str, int]] = []
    running: dict[str, CallId] = {}

    def at(after: float, name: str, call: int) -> None:
        heappush(coming, (after, len(coming), name, call))

    for number in range(agents):
        at(random.expovariate(1 / every_s), f"a{number}", 0)
    while coming[0][0] < seconds:
        talk.at, _, name, call = heappop(coming)
        talk.controller.handle(Ticked(talk.at))
        if name not in running:
            chains += call == 0
            running[name] = talk.start(name)
            at(talk.at + random.uniform(0.01, 0.05), name, call)
        else:
            talk.end(running.pop(name))
            last = call == 2
            at(
                talk.at + (random.expovariate(1 / every_s) + 8.0 if last else random.uniform(0.5, 1.5)),
                name,
                call + 1 - 3 * last,
            )
    return chains


@pytest.mark.parametrize("every_s", [60.0, 15.0])
def test_chains_of_agents_that_know_nothing_of_each_other_are_hardly_ever_broken(every_s: float) -> None:
    """Few calls overlap, since they are short beside the pauses."""
    talk = Conversation()
    chains = _poisson(talk, 40, 3 * every_s, every_s)
    assert chains > 60
    assert talk.town.counters.activations <= 1.1 * chains
