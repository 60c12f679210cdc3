"""Names the caller of a request from its text alone; learns from each call which text it is that tells callers apart.

In order: the best place that the prompt has (see `places`), the conversation that it continues, the role of a caller that is no
agent. Deterministic: no clock, no randomness, no order of sets. Most calls are only looked up; learning reads a sample of
them, all in the beginning. Advice: it never raises for any text.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from scalesim.proxy.core.model import AgentName, CallId

from ..guess import CallerKind, Guess
from ..prompt import Prompt
from .callers import Callers, Merged
from .conversations import Asked, Conversations, Turns
from .families import Families
from .names import printable
from .pace import Pace
from .places import Known, Value
from .ranking import Ranking
from .reading import Read
from .unnamed import NO_AGENTS, Beginners, Masters, Others, is_beginner

_SURE = 0.8
"""The confidence of a call whose other properties are taken for its caller's."""

_HINT = 0.4
"""A place that is less sure, and that calls at once have shared, names nobody: whoever calls is taken for new."""

_DOUBTFUL = 0.6
"""The highest confidence while a call of that name, of another template, runs."""

_TOLD = 0.5
"""A conversation is believed rather than a place that is less sure."""

_WHOLE, _TAIL = 0.95, 0.85
"""Confidence in a conversation: all of it is known, or only its last turn."""

_WORTHLESS = 0.05
"""A guess with less confidence is none."""

_UNPROVEN = 0.55
"""Confidence in a name that came back at a place of which nothing is known yet: for nobody to rely on."""

_FIRSTS = 8
"""Callers taken for new that a value is remembered to have had, before its place was known."""

_WHY_CHARS = 60


class _Running(NamedTuple):
    seen: tuple[tuple[Known, str], ...]
    kind: str
    caller: AgentName | None
    asked: Asked | None
    other: bool


class Learner:
    """One for all simulations that nothing else keeps apart."""

    def __init__(
        self,
        *,
        max_places: int = 256,
        max_callers: int = 20_000,
        max_conversations: int = 20_000,
        max_running: int = 4096,
    ) -> None:
        self._max_running = max_running
        self._pace = Pace()
        self._callers = Callers(max_callers)
        self._ranking = Ranking(self._pace, self._callers, max_places=max_places, max_values=max_callers)
        self._conversations = Conversations(max_conversations)
        self._families = Families(max_callers)
        self._beginners, self._others, self._masters = Beginners(), Others(), Masters()
        self._running: OrderedDict[CallId, _Running] = OrderedDict()

    def sizes(self) -> dict[str, int]:
        return {
            **self._ranking.sizes(),
            "learned_callers": self._callers.size,
            "learned_conversations": self._conversations.size,
            "learned_merged": self._callers.merged,
            "learned_labels": self._beginners.labels,
            "learned_families": self._families.size,
            "learned_running": len(self._running),
        }

    def merges(self) -> list[Merged]:
        """Those since it was asked last."""
        return self._callers.merges()

    def recognise(self, prompt: Prompt, at: float, call: CallId) -> Guess | None:
        """`ended` must be told of each call for which this was asked."""
        if call in self._running:
            self.ended(call, at)
        self._pace.calls += 1
        read, turns = Read(prompt), Turns(prompt.messages)
        kind = read.ending()
        seen: list[tuple[Known, str]] = []
        best, value, entry = self._ranking.look_up(read, kind, seen)
        if self._pace.is_lesson():
            self._ranking.learn(read, kind, seen, best)
            if best is None:
                best, value, entry = self._ranking.first_of(seen)
        before = self._others.running
        sure = 0.0 if best is None else best.confidence
        beginning = "" if best is None else read.beginning()
        guess = self._named(read, turns, best, value, entry, sure, seen, beginning)
        is_other = self._others.running > before
        caller = None if guess is None else guess.agent
        self._pace.understood(
            caller is not None and not is_other and (best is not None or caller in NO_AGENTS)
        )
        if best is not None and entry is not None and entry.caller is not None:
            if len(seen) > 1 and sure >= _SURE:
                self._callers.bind(seen, best, entry.caller, self._ranking.ranked)
            if entry.caller is not None:
                self._families.begins(call, entry.caller, beginning)
        asked = None if caller is None else self._conversations.asked(turns, caller)
        self._running[call] = _Running(tuple(seen), kind, caller, asked, is_other)
        if len(self._running) > self._max_running:
            gone, lost = self._running.popitem(last=False)
            self._leave(lost)
            self._families.ends(gone)
        return guess if guess is not None and guess.confidence >= _WORTHLESS else None

    def ended(self, call: CallId, at: float, answer: str = "") -> None:
        self._ranking.judge_if_due()
        running = self._running.pop(call, None)
        if running is None:
            return
        self._leave(running)
        self._families.ends(call)
        if answer and running.caller is not None and running.asked is not None:
            self._conversations.answered(running.asked, answer, running.caller)

    def _leave(self, running: _Running) -> None:
        for known, value in running.seen:
            known.leave(value, running.kind)
        if running.other:
            self._others.leave()

    def _named(
        self,
        read: Read,
        turns: Turns,
        best: Known | None,
        value: str,
        entry: Value | None,
        sure: float,
        seen: list[tuple[Known, str]],
        beginning: str,
    ) -> Guess | None:
        thread = self._conversations.find(turns)
        if thread is not None:
            self._beginners.continued()
        spoken_to = best is not None and best.varies and best.says == 2
        if (
            not spoken_to
            and (role := read.master()) is not None
            and (guess := self._masters.guess(role, self._pace.calls)) is not None
        ):
            return guess
        if best is None or entry is None or self._ranking.repeats(best, entry):
            return self._without_place(thread, turns, seen)
        if thread is None and sure < _HINT and best.meetings.double:
            return self._beginner(seen)
        if thread is not None and (sure < _TOLD or (entry.caller is None and not best.says)):
            return self._of_conversation(thread)
        return self._by_place(best, value, entry, sure, thread, beginning)

    def _by_place(
        self,
        best: Known,
        value: str,
        entry: Value,
        sure: float,
        thread: tuple[AgentName, bool] | None,
        beginning: str,
    ) -> Guess:
        caller = entry.caller = self._callers.of(best, value, entry, self._families, beginning)
        if thread is not None:
            before = self._callers.resolved(thread[0])
            if before != caller and is_beginner(before) and (best.says or best.confidence >= _SURE):
                self._callers.merge(before, caller)
        name = self._families.name(caller, beginning)
        if name == caller and self._families.doubtful(caller, beginning):
            sure = min(sure, _DOUBTFUL)
        if thread is not None and self._callers.resolved(thread[0]) == name:
            sure = max(sure, _WHOLE)
        return Guess(name, "learned", sure, printable(f"{best.described}: {value[:_WHY_CHARS]}"))

    def _without_place(
        self,
        thread: tuple[AgentName, bool] | None,
        turns: Turns,
        seen: list[tuple[Known, str]],
    ) -> Guess | None:
        if thread is not None:
            return self._of_conversation(thread)
        if self._ranking.told and not (self._ranking.is_silent and self._ranking.likely(seen)):
            return self._others.guess(self._masters.only)
        if turns.has_answers:
            return None
        return self._beginner(seen)

    def _beginner(self, seen: list[tuple[Known, str]]) -> Guess:
        label = None
        if found := self._ranking.likely(seen):
            known, value, label = found
            if firsts := known.values[value].firsts:
                # It comes back, but it is not known yet whether it is who calls: a new name would only have to be taken back.
                return Guess(
                    firsts[0], "learned", _UNPROVEN, printable(f"perhaps {known.described}: {value}")
                )
        guess = self._beginners.guess(label)
        for known, value in seen:
            other = known.values.get(value)
            if other is not None and other.caller is None and len(other.firsts) < _FIRSTS:
                other.firsts.append(guess.agent)
        return guess

    def _of_conversation(self, thread: tuple[AgentName, bool]) -> Guess:
        name, whole = thread
        why = "goes on with a conversation" if whole else "repeats the last turn of a conversation"
        name = self._callers.resolved(name)
        kind = CallerKind.OTHER if name in NO_AGENTS else CallerKind.AGENT
        return Guess(name, "learned", _WHOLE if whole else _TAIL, why, kind)
