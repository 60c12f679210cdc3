"""Which requests run, step by step, as SGLang's scheduler does it: first come, first served; prefills before decodes.

Sync and without a clock: `begin` says how long the next step takes, whoever drives waits and calls `end`.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from .adapters import Adapter
from .cache import RadixCache
from .counts import MemoryKey, Tally
from .link import Link
from .memory import Memory
from .nodes import Node, extend_state
from .tokens import END, FIRST_WORD, WORDS, Tokens

MAX_OVERTAKEN = 8
"""Calls whose memory is ready pass another that waits so many times."""
READY_WINDOW = 64
"""So many of the queue are looked at for it."""
_MASK = (1 << 64) - 1


@dataclass(slots=True, eq=False)
class Generation:
    """One answer under way. `notify` is called at each new token and at the end."""

    rid: str
    prompt: Tokens
    max_new: int
    """Tokens at most; already what fits into the cache."""
    ends_at: int | None
    """The answer ends by itself with this many tokens; None: it does not."""
    owner: str | None
    choice: int
    notify: Callable[[], None]
    adapter: Adapter | None = None
    says: str | None = None
    """The text of its first token, if that is asked for. Its id is made up all the same."""
    output: Tokens = field(default_factory=lambda: array("q"))
    states: list[int] = field(default_factory=list)
    """What each token of the output was chosen from, see `candidates`."""
    cached: int = 0
    from_host: int = 0
    """Of the cached tokens, those that were in host memory."""
    late: frozenset[MemoryKey] = frozenset()
    """What of its memory was being loaded ahead when it came."""
    overtaken: int = 0
    finish: str | None = None
    """stop, length or abort, once it has ended."""
    aborted: bool = False
    node: Node | None = None
    state: int = 0
    ordinal: int | None = None

    @property
    def planned(self) -> int:
        """How many tokens will come out if nobody aborts: unlike a model, this engine knows."""
        return self.max_new if self.ends_at is None else min(self.max_new, self.ends_at)


def candidates(state: int, choice: int, count: int) -> list[tuple[int, float]]:
    """The tokens that could follow and their log-probabilities; the first is the one chosen."""
    found = []
    for place in range(count):
        mixed = _mix(state + choice * 0x1000003 + place * 0x9E3779B97F4A7C15)
        found.append((FIRST_WORD + mixed % WORDS, -0.05 - (mixed >> 54) / 4096 - 1.5 * place))
    return found


def _mix(value: int) -> int:
    """The finaliser of splitmix64: neighbouring inputs give unrelated outputs."""
    value &= _MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


class Step(NamedTuple):
    load_s: float
    """The link is needed for so long first."""
    compute_s: float
    awaits_link: bool
    """Even if it needs no link of its own: what is on it now is for this step, too."""


class Scheduler:
    """Without `memory` the prefix cache is all there is, and without `link` loads take no time."""

    def __init__(
        self,
        cache: RadixCache,
        *,
        max_running: int,
        prefill_s_per_token: float,
        decode_s_per_token: float,
        memory: Memory | None = None,
        link: Link | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.cache = cache
        self.memory = Memory(cache) if memory is None else memory
        self._link = Link() if link is None else link
        self._tally = Tally(self.memory.kinds) if tally is None else tally
        self.waiting: deque[Generation] = deque()
        self.running: list[Generation] = []
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0
        self.step_seconds = {"prefill": 0.0, "decode": 0.0, "load": 0.0}
        """By kind of step, as the plugin's meter names them: what steps are to take, without what Python adds."""
        self._prefilling: list[Generation] = []
        self._max_running = max_running
        self._prefill_s_per_token = prefill_s_per_token
        self._decode_s_per_token = decode_s_per_token

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.running or self._prefilling)

    def submit(self, generation: Generation) -> None:
        self.waiting.append(generation)

    def abort(self, rid: str) -> None:
        """What waits ends now; what runs ends with its step, and what was computed of it stays in the cache."""
        for generation in [one for one in self.waiting if one.rid == rid]:
            self.waiting.remove(generation)
            self._close(generation, "abort")
        for generation in (*self.running, *self._prefilling):
            if generation.rid == rid:
                generation.aborted = True

    def abandon(self) -> None:
        """The engine stops: all that has not ended ends as aborted, and the cache is left as it is."""
        for generation in (*self.waiting, *self.running, *self._prefilling):
            generation.finish = "abort"
            generation.notify()
        self.waiting.clear()
        self.running, self._prefilling = [], []

    @property
    def running_adapters(self) -> list[str]:
        calls = (*self.running, *self._prefilling)
        return sorted({one.adapter.name for one in calls if one.adapter is not None})

    def reserved_tokens(self) -> int:
        """What the calls that run and wait will still need."""
        running = sum(one.planned - len(one.output) for one in (*self.running, *self._prefilling))
        return running + sum(map(self.memory.needed_by, self.waiting))

    def begin(self) -> Step:
        """Starts the next step and returns how long it takes. Call `end` after it, and only then `begin` again."""
        load_s, awaits_link = self._admit()
        if self._prefilling:
            new = sum(len(one.prompt) - one.cached for one in self._prefilling)
            self.cache.take(new)
            prefill_s = new * self._prefill_s_per_token
            self.step_seconds["prefill"] += prefill_s
            self.step_seconds["load"] += load_s
            return Step(load_s, prefill_s, awaits_link)
        if self.running:
            self.cache.take(len(self.running))
            self.step_seconds["decode"] += self._decode_s_per_token
            return Step(0.0, self._decode_s_per_token, False)
        return Step(0.0, 0.0, False)

    def end(self) -> None:
        if self._prefilling:
            for generation in self._prefilling:
                self._end_prefill(generation)
            self.running += [one for one in self._prefilling if one.finish is None]
            self._prefilling = []
            return
        for generation in self.running:
            generation.state = extend_state(generation.state, generation.output[-1:])
            self._next_token(generation)
        self.running = [one for one in self.running if one.finish is None]

    def _admit(self) -> tuple[float, bool]:
        """Fills `_prefilling`; the seconds its loads take, and whether it waits for what is on the link."""
        admitted = self._prefilling = []
        owed = sum(one.planned - len(one.output) for one in self.running)
        load_s, awaits_link = 0.0, False
        for generation in self.in_turn():
            if len(self.running) + len(admitted) >= self._max_running:
                break
            if not self.memory.has_place(generation):
                continue  # all slots are in use: as SGLang, what uses one of those adapters may still begin
            brought = self.memory.begin(generation, owed)
            if brought is None:
                break
            # What came is no longer to be had; what is left to come is owed.
            owed += len(generation.prompt) - generation.cached + generation.planned + 1
            self._take_out(generation)
            admitted.append(generation)
            load_s += self._link.seconds(brought.size_bytes, brought.loads)
            awaits_link |= brought.awaits_link
            for memory, brought_itself, was_ahead in brought.calls:
                late = memory in generation.late
                self._tally.called(memory, late=late, was_ahead=was_ahead, brought_itself=brought_itself)
        return load_s, awaits_link

    def in_turn(self) -> list[Generation]:
        """The queue in the order in which calls may begin."""
        ledger = self.cache.ledger
        if ledger is None or not ledger.ready_first:
            return list(self.waiting)
        turn: list[Generation] = []
        passed: list[Generation] = []
        times = {id(one): one.overtaken for one in self.waiting}
        for place, generation in enumerate(self.waiting):
            may_pass = place < READY_WINDOW and self.memory.is_ready(generation)
            if not may_pass:
                passed.append(generation)
            else:
                turn.append(generation)
                for other in passed:
                    times[id(other)] += 1
            # Whoever was passed often enough comes next, with all that came before it.
            due = [index for index, one in enumerate(passed) if times[id(one)] >= MAX_OVERTAKEN]
            if due:
                turn += passed[: due[-1] + 1]
                del passed[: due[-1] + 1]
        return turn + passed

    def _take_out(self, generation: Generation) -> None:
        """Out of the queue; those that wait before it have been overtaken once more."""
        for other in self.waiting:
            if other is generation:
                break
            other.overtaken += 1
        self.waiting.remove(generation)

    def _end_prefill(self, generation: Generation) -> None:
        prompt, cached = generation.prompt, generation.cached
        assert generation.node is not None
        generation.state = extend_state(generation.node.state, prompt[cached:])
        self._publish(generation, prompt, held=len(prompt) - cached)
        self.prompt_tokens += len(prompt)
        self.cached_tokens += cached
        if generation.planned:
            self._next_token(generation)
        else:
            self._close(generation, "abort" if generation.aborted else "length")

    def _next_token(self, generation: Generation) -> None:
        if generation.aborted:
            self._end_decode(generation, "abort")
            return
        generation.states.append(generation.state)
        last = len(generation.output) + 1 == generation.ends_at
        token = END if last else candidates(generation.state, generation.choice, 1)[0][0]
        generation.output.append(token)
        self.output_tokens += 1
        if len(generation.output) < generation.planned:
            generation.notify()
        else:
            self._end_decode(generation, "stop" if last else "length")

    def _end_decode(self, generation: Generation, reason: str) -> None:
        # Nothing was computed from the newest token, unless an abort came after its step.
        known = len(generation.output) if generation.aborted else len(generation.output) - 1
        if known > 0:
            self._publish(generation, generation.prompt + generation.output[:known], held=known)
        self._close(generation, reason)

    def _publish(self, generation: Generation, tokens: Tokens, held: int) -> None:
        """Puts what the request computed into the tree and moves its lock there."""
        cache = self.cache
        assert generation.node is not None
        end = cache.insert(tokens, generation.state, held, self.memory.root_of(generation.adapter))
        cache.lock(end)
        cache.unlock(generation.node)
        generation.node = end
        ledger = cache.ledger
        if ledger is None or generation.owner is None:
            return
        if generation.ordinal is None:
            # A request that generates nothing warms a prefix up: it says nothing of what the owner's calls look like.
            calls = 0 if generation.max_new else ledger.calls_of(generation.owner)
            generation.ordinal = calls or ledger.note_prompt(generation.owner, generation.prompt)
        cache.tag_path(end, generation.owner, generation.ordinal)

    def _close(self, generation: Generation, reason: str) -> None:
        self.memory.end(generation)
        generation.finish = reason
        generation.notify()
