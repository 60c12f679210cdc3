from __future__ import annotations

from scalesim.proxy.core.barriers import NEEDED, Barriers

from .conversation import Conversation

NAMES = "abcdefghijkl"


def _play_step(talk: Conversation, calls: int = 1, call_s: float = 0.2) -> None:
    """All begin at nearly the same time, and each makes its calls one after the other, not quite as fast as the others."""
    left = dict.fromkeys(NAMES, calls)
    begun = [(talk.at + 0.005 * place, name) for place, name in enumerate(NAMES)]
    running: dict[str, int] = {}
    while begun or running:
        at, name = min(begun)
        begun.remove((at, name))
        talk.at = at
        if name in running:
            talk.end(running.pop(name))
        if left[name]:
            left[name] -= 1
            running[name] = talk.start(name)
            begun.append((talk.at + call_s * (1 + 0.02 * NAMES.index(name)), name))


def _activations(talk: Conversation) -> set[int]:
    return {talk.agent(name).activations for name in NAMES}


def test_steps_that_follow_each_other_faster_than_the_pause_are_told_apart_by_ticks() -> None:
    talk = Conversation()
    for _ in range(12):
        talk.step()
        _play_step(talk)
        talk.wait(0.5)
    assert _activations(talk) == {12 - NEEDED + 1}
    assert talk.agent("a").in_activation
    talk.step()
    assert not talk.agent("a").in_activation


def test_they_are_told_apart_by_silence_between_bursts_where_nobody_tells_of_steps() -> None:
    talk = Conversation()
    for _ in range(12):
        _play_step(talk)
        talk.wait(0.5)
    (begun,) = _activations(talk)
    assert begun >= 9


def test_a_chain_of_calls_within_a_step_stays_one_activation() -> None:
    talk = Conversation()
    for _ in range(12):
        _play_step(talk, calls=3)
        talk.wait(0.5)
    assert _activations(talk) == {12}


def test_a_tick_while_calls_run_ends_nothing() -> None:
    talk = Conversation()
    calls = {name: talk.start(name) for name in NAMES}
    for place in range(60):
        name = NAMES[place % len(NAMES)]
        talk.end(calls[name])
        talk.wait(0.05)
        talk.step()
        calls[name] = talk.start(name)
    assert _activations(talk) == {1}


def test_ticks_in_pauses_in_which_nobody_called_are_no_evidence() -> None:
    barriers = Barriers()
    barriers.called(1, None, 0.0, running=False)
    for _ in range(2 * NEEDED):
        barriers.ticked(running=False)
    assert barriers.count == 0


def test_many_activations_that_end_at_once_are_ended_in_pieces() -> None:
    talk = Conversation(distance="gap")
    talk.checked = False
    names = [f"agent-{number}" for number in range(100)]
    for _ in range(NEEDED):
        for call in [talk.start(name) for name in names]:
            talk.wait(0.001)
            talk.end(call)
        assert [talk.agent(name).in_activation for name in names] == [True] * 100
        talk.step()
    assert [talk.agent(name).in_activation for name in names] == [False] * 100, "as soon as it is told"
    pieces = 0
    while not pieces or talk.controller.behind:
        talk.tick()
        pieces += 1
    assert pieces >= 3
