"""One engine: which calls run, step by step. First come, first served; prompts are computed before answers go on, a chunk of
them at a time; what a call has to copy from host memory holds up the step that begins it.

Steps of decoding in which nobody comes or goes are one event, however many they are. What comes meanwhile waits for the end of
the step that is under way, as it would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice

from scalesim.engine_adapters.sglang_plugin.ledger import Ledger
from scalesim.proxy.core.model import KV_PREFIX, LORA, MemoryId

from .ahead import Ahead, Store
from .cache import Cache, Entry, Held
from .cache import Counts as CacheCounts
from .causes import Account, Cause, Idleness
from .clock import Clock
from .foresight import Foresight
from .link import Link
from .owners import Owners
from .paths import Path
from .prices import Prices
from .rules import OWN, MemoryRule, Ordered
from .slots import Slots
from .stores import Adapters, Prefixes

LOOKED_AT = 64
"""Calls whose adapter finds no slot are passed by so many others, as SGLang's scheduler passes them."""
MOST_OVERTAKEN = 8
"""Where calls whose adapter is there go first, a call is passed by such so often; then its turn has come."""
WAITED_FOR = -1.0
"""The distance of what a waiting call needs: nearer than all that is loaded ahead."""
LONG_S = 600.0


@dataclass(slots=True, eq=False)
class Call:
    number: int
    owner: str
    path: Path
    """Of its prompt."""
    output_tokens: int
    adapter: str | None
    ended: Callable[[Call], None]
    """A moment after its end, as by who asked for it..."""
    ends: Callable[[], None] = lambda: None
    """... and right before it gives back what it holds."""
    asked_s: float = 0.0
    arrived_s: float = 0.0
    began_s: float = -1.0
    first_s: float = -1.0
    ended_s: float = -1.0
    load_s: float = 0.0
    """What it had to wait for copies that it needs itself."""
    cached: int = 0
    from_host: int = 0
    ahead: int = 0
    waited_bytes: int = 0
    """Copied because it waited for them."""
    hidden_bytes: int = 0
    """Copied before it came, and first needed by it."""
    adapter_missed: bool = False
    adapter_ahead: bool = False
    is_held: bool = False
    """It waits for its adapter, which comes beside the steps of others."""
    overtaken: int = 0
    """How often others went before it because their adapter was there."""
    left: int = 0
    """Of its prompt, to be computed."""
    again: float = 0.0
    """Of that in the beginning, the share that this engine had computed before..."""
    elsewhere: float = 0.0
    """... and the share that others alone had."""
    held: Held | None = None

    @property
    def prompt_tokens(self) -> int:
        return self.path[-1].end


@dataclass(slots=True)
class Spent:
    """Seconds of an engine, by what it did."""

    prefill: float = 0.0
    decode: float = 0.0
    load: float = 0.0

    @property
    def busy(self) -> float:
        return self.prefill + self.decode + self.load


@dataclass(frozen=True, slots=True)
class Sizes:
    capacity_tokens: int
    host_tokens: int = 0
    """0: what leaves the device is gone."""
    slots: int = 0
    adapter_bytes: int = 0
    pin_share: float = 0.5
    ready_first: bool = False
    """Calls whose adapter is in a slot go before others, whoever orders memory."""
    gathers: bool = False
    """When it had nothing to do, it begins with all calls that come at the same moment, and not with the first alone; and what
    the calls of a step find is locked for all of them before room is made for the first: as in SGLang."""
    whole_nodes: bool = False
    """What came together leaves together, however little room is needed, but where the proxy's plan is in force: as in SGLang
    and our plugin."""
    writes_through: bool = False
    """What was computed is copied to host memory at once, and not when it leaves the device: as SGLang does by default."""


@dataclass(slots=True)
class Counts:
    demand_bytes: int = 0
    """Copied because a call waited."""
    prompt_tokens: int = 0
    computed_tokens: int = 0
    output_tokens: int = 0
    steps: int = 0
    most_running: int = 0
    most_used_tokens: int = 0


class Engine:
    def __init__(
        self,
        name: str,
        clock: Clock,
        costs: Prices,
        sizes: Sizes,
        rule: str | None,
        foresight: Foresight,
        idleness: Idleness | None = None,
        number: int = 0,
    ) -> None:
        """`rule`: by which memory leaves, one of `rules.OWN`; None: as the proxy orders it. `number`: its place among all engines."""
        self.name = name
        self.sizes = sizes
        self.spent = Spent()
        self.account = Account()
        self.counts = Counts()
        self.owners = Owners()
        self.ledger = Ledger(int(sizes.capacity_tokens * sizes.pin_share))
        self.ordered = Ordered(self.ledger, self.owners, lambda owner: self.prefixes.tokens(owner))
        own: MemoryRule = self.ordered if rule is None else OWN[rule](foresight, self.owners)
        self.cache = Cache(
            sizes.capacity_tokens,
            own,
            host_capacity=sizes.host_tokens,
            block=costs.server.block_tokens,
            copied=self._is_copied,
            whole=lambda: sizes.whole_nodes and not self.ledger.plan_in_force,
            writes_through=sizes.writes_through,
        )
        self.slots = Slots(sizes.slots, lambda slot: own.rank_slot(slot))
        self.link = Link(clock, costs.load_s)
        self.prefixes = Prefixes(self.cache, self.owners, costs.bytes_per_token)
        self.adapters = Adapters(self.slots, self.ledger, sizes.adapter_bytes)
        stores: dict[str, Store] = {
            **({KV_PREFIX: self.prefixes} if sizes.host_tokens else {}),
            **({LORA: self.adapters} if sizes.slots else {}),
        }
        self.ahead = Ahead(clock, self.link, stores, costs.link_bytes_per_s, self._look_again)
        self.adapters_seen: dict[str, None] = {}
        self.waiting: deque[Call] = deque()
        self._clock = clock
        self._costs = costs
        self._prefilling: deque[Call] = deque()
        self._held_back: list[Call] = []
        """Calls that were held back since the last prefill; some may be there twice, or run by now."""
        self._ends: list[tuple[int, int, Call]] = []
        """Of the calls that decode: in which step of decoding each ends."""
        self._decoded = 0
        """Steps of decoding so far."""
        self._context = 0
        """Tokens that these calls hold."""
        self._step = 0
        """Number of what is under way: what was to happen for another is void."""
        self._busy = False
        self._run_since = 0.0
        self._run_steps = 0
        """Of decoding, that are under way; 0: something else is."""
        self._blocked = False
        """The first that waits finds no room: who comes cannot run before it does."""
        self._waits_for: Cause | None = None
        """What those who wait lack; None: nobody waits."""
        self._idleness = idleness or Idleness()
        self._mark = 1 << number

    def begin_measuring(self) -> None:
        """What is counted begins anew; what is held stays."""
        self.spent, self.account, self.counts = Spent(), Account(), Counts()
        self.cache.counts = CacheCounts()
        self.slots.wasted = self.ahead.moved_bytes = 0
        self.link.busy_s = 0.0

    def _is_copied(self, entry: Entry) -> bool:
        return not any(owner in self.ledger.no_host_copy for owner in entry.owners)

    @property
    def running(self) -> int:
        return len(self._prefilling) + len(self._ends)

    @property
    def idle(self) -> bool:
        return not (self._busy or self.waiting or self.running)

    @property
    def running_adapters(self) -> frozenset[str]:
        return frozenset(name for name, slot in self.slots.held.items() if slot.locks and slot.ready)

    def submit(self, call: Call) -> None:
        """Raises `ValueError` for one that could never run."""
        needed = call.prompt_tokens + call.output_tokens
        if needed > self.cache.capacity:
            raise ValueError(
                f"a call of {needed:,} tokens is larger than the {self.cache.capacity:,} of {self.name}"
            )
        if call.adapter is not None and not self.sizes.slots:
            raise ValueError(f"a call needs an adapter, and {self.name} has no slot")
        call.arrived_s = self._clock.now
        self.waiting.append(call)
        if not self._busy and self.sizes.gathers:
            self._look_again()
        elif not self._busy:
            self._begin()
        elif self._run_steps and not self._blocked and self.running < self._costs.server.max_running:
            self._cut_short()

    def _look_again(self) -> None:
        """A load ahead has ended, and there may be room now, or a call that waited for it may begin; or calls have come."""
        if self.waiting and not self._busy:
            self._clock.after(0.0, lambda: None if self._busy else self._begin())
        elif self.waiting and self._run_steps and self.ledger.ready_first:
            self._cut_short()

    # Steps

    def _begin(self) -> None:
        """The next step, if there is anything to do."""
        self._busy = True
        moment = self._admit()
        if self._prefilling:
            self._prefill(moment)
        elif self._ends:
            self._decode()
        else:
            self._busy = False
        self.counts.most_running = max(self.counts.most_running, self.running)
        self.counts.most_used_tokens = max(self.counts.most_used_tokens, self.cache.used)
        self._idleness.note(
            self.name, self._clock.now, is_idle=not self._busy, is_waited_on=bool(self.waiting)
        )

    def _prefill(self, moment: float) -> None:
        """From when what its calls need is here."""
        budget, tokens, attended = self._costs.server.chunk_tokens, 0, 0.0
        for call in self._held_back:
            call.overtaken += call.is_held
            call.is_held = False
        self._held_back.clear()
        again = elsewhere = 0.0
        done: list[Call] = []
        adapters: set[str | None] = set()
        calls = 0
        for call in self._prefilling:
            calls += 1
            adapters.add(call.adapter)
            part = min(call.left, budget - tokens)
            begins = call.prompt_tokens - call.left
            attended += part * (begins + (part + 1) / 2)
            call.left -= part
            tokens += part
            again += part * call.again
            elsewhere += part * call.elsewhere
            if call.left:
                break
            done.append(call)
        size = len(adapters - {None}) * self.sizes.adapter_bytes
        seconds = self._costs.prefill_s(tokens, attended, calls, size)
        both = self._costs.beside_s(moment - self._clock.now, seconds)
        self.spent.load += both - seconds
        self.spent.prefill += seconds
        self.account.load(both - seconds)
        self.account.prefill(seconds, self._costs.prefill_s(0, 0.0), again / tokens, elsewhere / tokens)
        self.counts.steps += 1
        self.counts.computed_tokens += tokens
        self._run_steps = 0
        self._step += 1
        self._clock.after(both, lambda: self._end_prefill(done))

    def _end_prefill(self, done: list[Call]) -> None:
        now = self._clock.now
        for call in done:
            self._prefilling.popleft()
            assert call.held is not None, "it was admitted"
            self.cache.computed(call.held)
            for entry in call.held.missing:
                if entry.piece is not None:
                    entry.piece.made_by |= self._mark
            call.first_s = now
            if call.output_tokens == 1:
                self._end(call)
            else:
                heappush(self._ends, (self._decoded + call.output_tokens - 1, call.number, call))
                self._context += call.prompt_tokens + 1
        self._begin()

    def _decode(self) -> None:
        self._run_since = self._clock.now
        self._run_steps = self._ends[0][0] - self._decoded
        self._await_run()

    @property
    def _adapter_bytes(self) -> int:
        """Of those that the running calls need."""
        return self.slots.in_use * self.sizes.adapter_bytes

    def _await_run(self) -> None:
        self._step += 1
        step = self._step
        seconds = self._costs.decode_s(len(self._ends), self._context, self._run_steps, self._adapter_bytes)
        self._clock.at(self._run_since + seconds, lambda: self._end_run(step))

    def _cut_short(self) -> None:
        """Somebody came: what is under way ends with its present step."""
        elapsed = self._clock.now - self._run_since
        steps = self._costs.decode_steps(
            len(self._ends), self._context, elapsed, self._run_steps, self._adapter_bytes
        )
        if steps < self._run_steps:
            self._run_steps = steps
            self._await_run()

    def _end_run(self, step: int) -> None:
        if step != self._step:
            return
        running, steps = len(self._ends), self._run_steps
        seconds = self._costs.decode_s(running, self._context, steps, self._adapter_bytes)
        self.spent.decode += seconds
        self.account.decode(seconds, self._costs.decode_s(0, 0, steps), self._waits_for)
        self.counts.steps += steps
        self._decoded += steps
        self._context += running * steps
        self._run_steps = 0
        while self._ends and self._ends[0][0] == self._decoded:
            _, _, call = heappop(self._ends)
            self._context -= call.prompt_tokens + call.output_tokens
            self._end(call)
        self._begin()

    def _end(self, call: Call) -> None:
        assert call.held is not None, "it was admitted"
        call.ended_s = self._clock.now
        call.ends()
        self.cache.end(call.held)
        if call.adapter is not None:
            self.slots.end(call.adapter)
        self.counts.prompt_tokens += call.prompt_tokens
        self.counts.output_tokens += call.output_tokens
        call.held = None
        self._clock.after(0.0, lambda: call.ended(call))

    # Who runs

    def _admit(self) -> float:
        """Begins calls as far as there is room; the moment at which all that they need is here."""
        moment = self._clock.now
        server = self._costs.server
        tokens = sum(call.left for call in self._prefilling)
        passed: list[Call] = []
        self._blocked = False
        self._waits_for = None
        if self.sizes.slots and (self.ledger.ready_first or self.sizes.ready_first):
            self._put_ready_first()
        kept = self._hold_what_is_found(tokens) if self.sizes.gathers else []
        while self.waiting and self.running < server.max_running and tokens < server.chunk_tokens:
            call = self.waiting.popleft()
            if call.adapter is not None and not self.slots.has_place(call.adapter):
                passed.append(call)
                self._waits_for = Cause.SLOTS
                if len(passed) >= LOOKED_AT:
                    break
                continue
            if self._is_held_back(call):
                passed.append(call)
                continue
            if self.cache.needed(call.path, call.output_tokens) > self.cache.free + self.cache.loose:
                ready = None
            else:
                ready = self._start(call)
            if ready is None:
                passed.append(call)
                self._blocked = True
                self._waits_for = Cause.POOL
                break
            moment = max(moment, ready)
            tokens += call.left
        if self.waiting and self.running >= server.max_running:
            self._waits_for = Cause.LIMIT
        self.waiting.extendleft(reversed(passed))
        for entries in kept:
            self.cache.let_go(entries)
        return moment

    def _put_ready_first(self) -> None:
        """Keeps the order among the ready and among the others, as SGLang's plugin does."""
        ready = [self._may_go(call) for call in self.waiting]
        if all(ready) or not any(ready):
            return
        last_ready = max(place for place, is_ready in enumerate(ready) if is_ready)
        both = list(zip(self.waiting, ready, strict=True))
        for call, is_ready in both[:last_ready]:
            call.overtaken += not is_ready
        first = [call for call, is_ready in both if is_ready]
        self.waiting = deque([*first, *(call for call, is_ready in both if not is_ready)])

    def _may_go(self, call: Call) -> bool:
        return call.overtaken >= MOST_OVERTAKEN or call.adapter is None or self.slots.has(call.adapter)

    def _is_held_back(self, call: Call) -> bool:
        """Whether it waits for a later step, because loading its adapter would hold up others that have theirs. It is brought
        beside their steps meanwhile, where there is a slot that no call wants."""
        if not self.ledger.ready_first or call.adapter is None or not self.running or self._may_go(call):
            return False
        memory = MemoryId(LORA, call.adapter)
        if memory not in self.ahead.under_way:
            if call.adapter in self.slots.held or not self._has_place_beside(call.adapter):
                return False
            self.ahead.load(memory, WAITED_FOR, LONG_S, lambda _: None)
        call.is_held = memory in self.ahead.under_way
        if call.is_held:
            self._held_back.append(call)
        return call.is_held

    def _has_place_beside(self, adapter: str) -> bool:
        held = self.slots.held
        wanted = {name for name, slot in held.items() if slot.locks}
        wanted.update(call.adapter for call in self.waiting if call.adapter is not None)
        if len(wanted - {adapter}) >= self.sizes.slots:
            return False
        return self.slots.free > 0 or any(name not in wanted for name in held)

    def _hold_what_is_found(self, tokens: int) -> list[list[Entry]]:
        """Of the calls that the next step begins with, before any of them takes room: none pushes out what another one found."""
        server, kept, needed, running = self._costs.server, [], 0, self.running
        for call in islice(self.waiting, LOOKED_AT):
            if running >= server.max_running or tokens >= server.chunk_tokens:
                break
            entries = self.cache.hold(call.path)
            needed += self.cache.needed(call.path, call.output_tokens)
            if needed > self.cache.free + self.cache.loose:
                self.cache.let_go(entries)
                break
            kept.append(entries)
            running += 1
            tokens += self.cache.needed(call.path, 0)
        return kept

    def _start(self, call: Call) -> float | None:
        """Takes what it needs; the moment at which that is here. None: there is no room."""
        late = self.ahead.take_over(MemoryId(KV_PREFIX, call.owner))
        held = self.cache.begin(call.path, call.output_tokens, call.owner)
        if held is None:
            if late is not None:
                call.hidden_bytes -= late
                self._copy(call, late, 0)
            return None
        self.owners.note(call.owner, call.path)
        call.held, call.began_s = held, self._clock.now
        call.cached, call.from_host, call.ahead = held.cached, held.from_host, held.ahead
        call.left = call.prompt_tokens - held.cached
        call.again, call.elsewhere = self._known_before(held, call.left)
        call.hidden_bytes += held.ahead * self._costs.bytes_per_token - (late or 0)
        moment = self._clock.now
        if late is not None or held.from_host:
            size = (late or 0) + held.from_host * self._costs.bytes_per_token
            moment = self._copy(call, size, int(held.from_host > 0))
        if call.adapter is not None:
            moment = max(moment, self._take_slot(call, call.adapter))
        self._prefilling.append(call)
        return moment

    def _known_before(self, held: Held, left: int) -> tuple[float, float]:
        """Shares of what is to be computed: what this engine had computed before, and what others alone had."""
        here = elsewhere = 0
        for entry in held.missing:
            made_by = 0 if entry.piece is None else entry.piece.made_by
            if made_by & self._mark:
                here += entry.tokens
            elif made_by:
                elsewhere += entry.tokens
        return min(1.0, here / left), min(1.0, elsewhere / left)

    def _take_slot(self, call: Call, adapter: str) -> float:
        """The moment at which the adapter is in it."""
        self.adapters_seen[adapter] = None
        late = self.ahead.take_over(MemoryId(LORA, adapter))
        known = self.slots.held.get(adapter)
        call.adapter_ahead = known is not None and known.ahead
        if call.adapter_ahead:
            call.hidden_bytes += self.sizes.adapter_bytes - (late or 0)
        call.adapter_missed = self.slots.begin(adapter, call.owner)
        if call.adapter_missed:
            return self._copy(call, self.sizes.adapter_bytes, 1, adapters=1)
        return self._clock.now if late is None else self._copy(call, late, 0)

    def _copy(self, call: Call, size_bytes: int, loads: int, adapters: int = 0) -> float:
        """The moment at which it is here."""
        self.counts.demand_bytes += size_bytes
        call.waited_bytes += size_bytes
        moment = self.link.take(size_bytes, loads, adapters)
        call.load_s = max(call.load_s, moment - self._clock.now)
        return moment
