"""Which requests run, step by step, as SGLang's scheduler does it: first come, first served; prefills before decodes.

Sync and without a clock: `begin` says how long the next step takes, whoever drives waits and calls `end`.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .cache import Node, RadixCache, extend_state
from .tokens import END, FIRST_WORD, WORDS, Tokens

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
    output: Tokens = field(default_factory=lambda: array("q"))
    states: list[int] = field(default_factory=list)
    """What each token of the output was chosen from, see `candidates`."""
    cached: int = 0
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


class Scheduler:
    def __init__(
        self, cache: RadixCache, *, max_running: int, prefill_s_per_token: float, decode_s_per_token: float
    ) -> None:
        self.cache = cache
        self.waiting: deque[Generation] = deque()
        self.running: list[Generation] = []
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0
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

    def begin(self) -> float:
        """Starts the next step and returns the seconds it takes. Call `end` after it, and only then `begin` again."""
        self._prefilling = self._admit()
        if self._prefilling:
            new = sum(len(one.prompt) - one.cached for one in self._prefilling)
            self.cache.take(new)
            return new * self._prefill_s_per_token
        if self.running:
            self.cache.take(len(self.running))
            return self._decode_s_per_token
        return 0.0

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

    def _admit(self) -> list[Generation]:
        cache = self.cache
        admitted: list[Generation] = []
        owed = sum(one.planned - len(one.output) for one in self.running)
        while self.waiting and len(self.running) + len(admitted) < self._max_running:
            generation = self.waiting[0]
            # The last token is always computed: its result is what the answer starts from.
            node, cached = cache.match(generation.prompt, len(generation.prompt) - 1)
            cache.lock(node)
            needed = len(generation.prompt) - cached + generation.planned + 1
            if needed >= cache.available + cache.evictable - owed:
                cache.unlock(node)
                break
            owed += needed
            self.waiting.popleft()
            generation.node, generation.cached = node, cached
            admitted.append(generation)
        return admitted

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
        end = cache.insert(tokens, generation.state, held)
        cache.lock(end)
        cache.unlock(generation.node)
        generation.node = end
        ledger = cache.ledger
        if ledger is None or generation.owner is None:
            return
        if generation.ordinal is None:
            generation.ordinal = ledger.note_prompt(generation.owner, generation.prompt)
        cache.tag_path(end, generation.owner, generation.ordinal)

    def _close(self, generation: Generation, reason: str) -> None:
        if generation.node is not None:
            self.cache.unlock(generation.node)
            generation.node = None
        generation.finish = reason
        generation.notify()
