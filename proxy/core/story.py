"""What happened to an agent of late, for people who ask why: what was expected of it, where its memory was moved, and
what its calls found. Nothing is decided by it.

Only agents that call have a story, and only those that called last: an idle agent costs nothing, and no plan pays for it.
Moves are noted when the engine has carried them out; an order is looked up when a call starts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from .actions import Action, DropAdapter, Evict, FetchAdapter, Load, Order, Pin, Renew, StopLoad, Unpin
from .agent import Agent
from .engine import Engine
from .estimate import Estimator, distance
from .misses import Cause, Found, Place
from .model import (
    KV_PREFIX,
    LORA,
    AdapterName,
    Clock,
    EngineId,
    LoadResult,
    LoadState,
    MemoryId,
    Outcome,
    Owner,
    Source,
)
from .rows import Row, Rows, number_of, told_by

STORY_LIMIT = 4_096
"""Agents; beyond it the story of who called longest ago is forgotten."""
ADAPTER_LIMIT = 1_024
"""Adapters whose moves are known; beyond it those of the one that moved longest ago are forgotten."""
ENTRY_LIMIT = 16
"""Of each sort, in one story."""
_PROBLEM_CHARS = 200


class Expected(NamedTuple):
    """What was estimated when an activation had ended, or when the next one began."""

    at: float
    distance: float
    """On `clock`; may be inf."""
    clock: Clock
    spread: float
    source: Source

    @property
    def row(self) -> Row:
        return (self.at, self.distance, self.spread), (self.clock, self.source)

    @classmethod
    def of(cls, row: Row) -> Expected:
        (at, distance, spread), (clock, source) = row
        return cls(at, distance, Clock(clock), spread, Source(source))


class Move(StrEnum):
    PIN = "pin"
    UNPIN = "unpin"
    LOAD = "load"
    """Ahead of a call."""
    FETCH = "fetch"
    """An adapter, from its disk to the engine's host memory."""
    DROP = "drop"


class Moved(NamedTuple):
    at: float
    """The end of it."""
    engine: EngineId
    memory: MemoryId
    move: Move
    result: LoadState | None
    """Of a load that did not fail."""
    problem: str
    """Empty if it did not fail."""

    @property
    def row(self) -> Row:
        """Without the memory: all of one table are of the same."""
        return (self.at,), (self.engine, self.move, self.result or "", self.problem)

    @classmethod
    def of(cls, memory: MemoryId, row: Row) -> Moved:
        (at,), (engine, move, result, problem) = row
        return cls(at, EngineId(engine), memory, Move(move), LoadState(result) if result else None, problem)


class Called(NamedTuple):
    at: float
    """The end of the call."""
    engine: EngineId
    adapter: AdapterName | None
    outcome: Outcome
    first: bool
    """It opened an activation, and not the agent's first one."""
    rank: int | None
    """In the engine's order when it started, 0 the nearest; None: not in it."""
    prompt_tokens: int | None
    cached_tokens: int | None
    """None as well where the engine does not say."""
    expected_tokens: int | None
    """That should have been cached; less than half of it is a miss."""
    miss: Cause | None
    """None: it found its memory, or nobody knows."""

    @property
    def row(self) -> Row:
        counts = map(number_of, (self.rank, self.prompt_tokens, self.cached_tokens, self.expected_tokens))
        words = self.engine, self.adapter or "", self.outcome, self.miss or ""
        return (self.at, self.first, *counts), words

    @classmethod
    def of(cls, row: Row) -> Called:
        (at, first, rank, prompt, cached, expected), (engine, adapter, outcome, miss) = row
        return cls(
            at,
            EngineId(engine),
            AdapterName(adapter) if adapter else None,
            Outcome(outcome),
            bool(first),
            told_by(rank),
            told_by(prompt),
            told_by(cached),
            told_by(expected),
            Cause(miss) if miss else None,
        )


@dataclass(frozen=True, slots=True)
class StorySnapshot:
    """Oldest first, `ENTRY_LIMIT` of each at most."""

    estimates: tuple[Expected, ...] = ()
    moves: tuple[Moved, ...] = ()
    """Of the agent's prefix, and of the adapter on which its next call is expected to run."""
    calls: tuple[Called, ...] = ()


@dataclass(slots=True, eq=False)
class _Story:
    agent: Agent
    estimates: Rows = field(default_factory=Rows)
    moves: Rows = field(default_factory=Rows)
    calls: Rows = field(default_factory=Rows)
    is_due: bool = True
    """What is expected after its activation is not noted yet."""


class Stories:
    def __init__(self, estimate: Estimator) -> None:
        self._estimate = estimate
        self._stories: OrderedDict[Owner, _Story] = OrderedDict()
        """Who called longest ago first."""
        self._adapters: OrderedDict[AdapterName, Rows] = OrderedDict()
        """What moved longest ago first."""

    def sizes(self) -> dict[str, int]:
        """How full its tables are, by their names."""
        return {"stories": len(self._stories), "story_adapters": len(self._adapters)}

    def of(self, agent: Agent) -> StorySnapshot:
        """Empty for whom there is none."""
        story = self._story(agent)
        if story is None:
            return StorySnapshot()
        prefix = MemoryId(KV_PREFIX, agent.owner)
        moves = [Moved.of(prefix, row) for row in story.moves]
        if agent.adapter is not None:
            adapter = MemoryId(LORA, agent.adapter)
            moves += [Moved.of(adapter, row) for row in self._adapters.get(agent.adapter, ())]
            moves.sort(key=lambda moved: moved.at)
        return StorySnapshot(
            tuple(map(Expected.of, story.estimates)),
            tuple(moves[-ENTRY_LIMIT:]),
            tuple(map(Called.of, story.calls)),
        )

    def starts(self, agent: Agent, at: float) -> None:
        """A call of the agent starts, and does not count yet."""
        story = self._story(agent)
        if story is None:
            self._stories.pop(agent.owner, None)
            story = self._stories[agent.owner] = _Story(agent)
            if len(self._stories) > STORY_LIMIT:
                self._stories.popitem(last=False)
        else:
            self._stories.move_to_end(agent.owner)
        self._expect(story, at)
        story.is_due = True

    def expects(self, agent: Agent, at: float) -> None:
        """Something new is known of the agent. Only the first of that after an activation is noted: simulations may tell of
        all their agents in each step."""
        story = self._story(agent)
        if story is not None and story.is_due and not agent.in_activation(at):
            story.is_due = False
            self._expect(story, at)

    def ended(self, agent: Agent, called: Called) -> None:
        story = self._story(agent)
        if story is not None:
            story.calls.keep(called.row, ENTRY_LIMIT)

    def moved(self, action: Action, error: str | None, result: LoadResult | None, at: float) -> None:
        """An action was carried out, or failed. Costs what it moved."""
        problem = "" if error is None else error[:_PROBLEM_CHARS]
        state = LoadState.LOADED if result is None else result.state
        match action:
            case Pin() | Unpin():
                move = Move.PIN if isinstance(action, Pin) else Move.UNPIN
                for owner in action.owners:
                    memory = MemoryId(KV_PREFIX, owner)
                    self._note(Moved(at, action.engine, memory, move, None, problem))
            case Load():
                done = state if error is None else None
                self._note(Moved(at, action.engine, action.memory, Move.LOAD, done, problem))
            case FetchAdapter() | DropAdapter():
                move = Move.FETCH if isinstance(action, FetchAdapter) else Move.DROP
                memory = MemoryId(LORA, action.adapter)
                self._note(Moved(at, action.engine, memory, move, None, problem))
            case Order() | Renew() | Evict() | StopLoad():
                pass  # of many agents; or the load itself ends as stopped

    def forget(self, agent: Agent) -> None:
        if self._story(agent) is not None:
            del self._stories[agent.owner]

    def _story(self, agent: Agent) -> _Story | None:
        # One that is gone may still have calls running, when another one of its name has called.
        story = self._stories.get(agent.owner)
        return story if story is not None and story.agent is agent else None

    def _expect(self, story: _Story, at: float) -> None:
        agent = story.agent
        known = None if agent.in_activation(at) else self._estimate(agent, at)
        if known is not None:
            away = distance(known, agent.simulation, at)
            row = Expected(at, away, known.moment.clock, known.spread, known.source).row
            if not story.estimates.ends_with(row):
                story.estimates.keep(row, ENTRY_LIMIT)

    def _note(self, moved: Moved) -> None:
        if moved.memory.kind == LORA:
            adapter = AdapterName(moved.memory.key)
            moves = self._adapters.get(adapter)
            if moves is None:
                moves = self._adapters[adapter] = Rows()
            moves.keep(moved.row, ENTRY_LIMIT)
            self._adapters.move_to_end(adapter)
            if len(self._adapters) > ADAPTER_LIMIT:
                self._adapters.popitem(last=False)
            return
        story = self._stories.get(Owner(moved.memory.key)) if moved.memory.kind == KV_PREFIX else None
        if story is not None:
            story.moves.keep(moved.row, ENTRY_LIMIT)


def found_by(agent: Agent, engine: Engine, adapter: AdapterName | None) -> Found:
    """What is known of the agent's memory now, when a call of it starts on that engine."""
    memory = MemoryId(KV_PREFIX, agent.owner)
    last, order = agent.last_call, engine.belief.order
    return Found(
        last=last,
        seen=last is not None and last.engine == engine.id,
        adapter=adapter,
        size_tokens=agent.size_tokens,
        rank=None if order is None else order.owners.get(agent.owner),
        prefix=_place(agent, engine, memory),
        adapter_missing=adapter is not None and _is_missing(adapter, engine),
        coming=engine.loads.is_coming(memory),
        refused=engine.loads.was_refused(memory),
        kept_by_distance=engine.keeps(agent),
    )


def _place(agent: Agent, engine: Engine, memory: MemoryId) -> Place | None:
    known = engine.residency.reported(memory)
    if known is None:
        return None
    last, bytes_per_token = agent.last_call, engine.residency.view.bytes_per_token
    tokens = agent.size_tokens if last is None or last.reusable_tokens is None else last.reusable_tokens
    # Of what has no copy, only what is left is reported: that may be little of what there was.
    whole = max(sum(known), (tokens or 0) * (bytes_per_token or 0))
    if known.missing_bytes * 2 > whole:
        return Place.HOST
    return Place.DEVICE if known.device_bytes * 2 >= whole > 0 else None


def _is_missing(adapter: AdapterName, engine: Engine) -> bool:
    """Reports show every adapter in a slot."""
    residency = engine.residency
    if adapter in engine.running_adapters or adapter in residency.running_adapters:
        return False
    if not any(LORA in pool.kinds for pool in residency.pools):
        return False
    known = residency.reported(MemoryId(LORA, adapter))
    return known is None or not known.device_bytes
