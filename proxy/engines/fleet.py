"""The engines there are, as calls see them: which may serve a model, which of those gets a call, and what it is spoken to with.

No I/O and no clock. Who hears from engines tells of it (`answered`, `silent`, `listed`); who runs calls asks for places and gives
each back. An engine that leaves is forgotten everywhere once its last call has ended.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scalesim.engine_adapters.base import Behind, EngineAdapter
from scalesim.proxy.core.model import EngineId, Owner, owner_of
from scalesim.proxy.core.placer import Caller, Placer
from scalesim.proxy.core.placing import Placed
from scalesim.proxy.core.rebalancing import Far

from ..errors import CallRefused
from .breaker import Breakers
from .models import ModelNotFound, Models, Serving
from .registry import Added, Address, CameUp, Change, Drains, Entry, Registry, Removed, State, WentSilent

_SHORTEST_RETRY_S = 1.0
"""For an engine that is gone, nobody knows how long."""
_TOLD = 8
"""So many engines are told to a client that finds none."""

_log = logging.getLogger(__name__)


class NoEngine(CallRefused):
    """None of the engines that serve the model may be sent a call now. The client may come again after `retry_after_s`."""

    status = 503
    kind = "no_engine"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = max(_SHORTEST_RETRY_S, retry_after_s)


class Lines(Protocol):
    """What talks to engines, besides calls."""

    def add_engine(self, adapter: EngineAdapter) -> None: ...

    def remove_engine(self, engine: EngineId) -> None:
        """Nothing more is asked of it."""
        ...

    def forget_engine(self, engine: EngineId) -> None:
        """No call runs there any more: nothing needs to be known of it."""
        ...

    def doubt(self, engine: EngineId) -> None:
        """It did not answer: to be looked at, at once."""
        ...

    def features(self, engine: EngineId) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class EngineState:
    """Of one engine, for people."""

    entry: Entry
    running: int
    """Calls."""
    held_tokens: int
    """Memory of the agents that live there."""
    problem: str
    """Why it does not serve, or why nobody knows what; empty if all is well."""
    behind: Sequence[Behind]
    """The engines that are listed behind it, where it is a front end."""


class Fleet:
    def __init__(
        self,
        *,
        registry: Registry,
        models: Models,
        breakers: Breakers,
        placer: Placer,
        adapter_for: Callable[[Address], EngineAdapter],
        lines: Lines,
    ) -> None:
        self.registry = registry
        self.models = models
        self.breakers = breakers
        self.placer = placer
        self._adapter_for = adapter_for
        self._lines = lines
        self._adapters: dict[EngineId, EngineAdapter] = {}
        self._capacities: dict[EngineId, int | None] = {}
        """Tokens of the caches of those that have answered."""
        self._untold: set[EngineId] = set()
        """Those of which nobody knows yet what they serve."""
        self._unlisted: dict[EngineId, str] = {}
        """Why an engine does not say what it serves."""
        self._silence: dict[EngineId, str] = {}
        """What the last one to ask in vain was told."""
        self._leaving: set[EngineId] = set()
        """Removed, while calls run there."""
        self._as_it_is = Serving("", None, frozenset())
        self._of_the_untold = self._as_it_is
        self._of_the_only_one = self._as_it_is

    def sizes(self) -> dict[str, int]:
        return {
            **self.registry.sizes(),
            **self.models.sizes(),
            **self.breakers.sizes(),
            **self.placer.sizes(),
            "leaving_engines": len(self._leaving),
            "homes_behind_fronts": sum(
                sum(one.front.sizes().values()) for one in self._adapters.values() if one.front is not None
            ),
        }

    # Calls

    def serving(self, model: object) -> Serving:
        """Who may serve a request that names this `model` (None: it names none). Raises `ModelNotFound` and `ModelMissing`;
        `NoEngine` where one that has not told yet what it serves may be meant.

        As long as there is one model and no alias, engines take every name as they always do: the answer then names no
        `base`, and the request stays as it is.
        """
        if self.models.are_plain:
            if not self._untold:
                return self._as_it_is
            return self._of_the_only_one if self.models.lists(model) else self._of_the_untold
        try:
            return self.models.serving(model)
        except ModelNotFound as exc:
            if not self._untold:
                raise
            raise NoEngine(f"{exc}. Not known yet: {self._shown(self._untold)}", 0.0) from exc

    def place(
        self, caller: Caller, serving: Serving, at: float, without: Collection[EngineId] = ()
    ) -> Placed:
        """To be ended with `end`, also before it is placed again. `without`: those that failed this very call. Raises
        `NoEngine`."""
        admitted, lost = self._admitted(serving.engines, at, without)
        placed = self.placer.place(caller, admitted, at, lost=lost)
        if placed is None:
            raise self._none(serving, at, without)
        return placed

    def end(self, engine: EngineId, key: str | None = None, size_tokens: int | None = None) -> None:
        """A call there has ended. `size_tokens`: what its agent's memory takes up by now, if that is known."""
        self.placer.end(engine, key, size_tokens)
        if engine in self._leaving:
            self._forget_if_idle(engine)
        else:
            entry = self.registry.get(engine)
            if entry is not None and entry.state is State.DRAINING and not self.placer.running(engine):
                self._take(self.registry.drained(engine), entry.since)

    def somebody(self, at: float, without: Collection[EngineId] = ()) -> EngineId:
        """For what is no call, and has nothing to be given back: the one with the least to do of those that are up. Raises
        `NoEngine`."""
        everybody = frozenset(self._adapters)
        admitted, lost = self._admitted(everybody, at, without)
        engine = self.placer.least_loaded(admitted, lost=lost)
        if engine is None:
            raise self._none(Serving("", None, everybody), at, without)
        return engine

    def key_of(self, owner: Owner, serving: Serving) -> str:
        """By which an agent is placed. Where engines serve several models, it has memory for each."""
        return f"{owner}\n{serving.base}" if serving.base else owner

    def key_on(self, owner: Owner, engine: EngineId) -> str:
        """The same, of a call that is known by its engine alone."""
        bases = () if self.models.are_plain else self.models.bases_of(engine)
        return f"{owner}\n{next(iter(bases))}" if len(bases) == 1 else owner

    def keys_of(self, owner: Owner) -> list[str]:
        """All by which it may be placed."""
        return [owner, *(f"{owner}\n{base}" for base in self.models.bases)]

    def adapter(self, engine: EngineId) -> EngineAdapter:
        """Raises `KeyError` for one that has left: to be taken once, when a call is placed."""
        return self._adapters[engine]

    def features(self, engine: EngineId) -> frozenset[str]:
        """As of now; none of one that is not known yet, or has left."""
        return self._lines.features(engine) if engine in self._adapters else frozenset()

    def forget(self, owner: Owner) -> None:
        """The agent left."""
        for key in self.keys_of(owner):
            self.placer.forget(key)
        for adapter in self._adapters.values():
            if adapter.front is not None:
                adapter.front.forget(owner)

    # Engines

    def add(self, address: Address, at: float, *, configured: bool = False) -> Entry:
        """Again: ends its draining, or changes nothing. Raises `EngineRejected`."""
        self._take(self.registry.register(address, at, configured=configured), at)
        self._weigh()
        entry = self.registry.get(address.name)
        assert entry is not None
        return entry

    def remove(self, engine: EngineId, at: float, *, drain: bool = True) -> None:
        """It gets no more calls, and leaves with its last one; now, without `drain`, and what runs there goes on as long as the
        engine does."""
        running = self.placer.running(engine) if drain else 0
        self._take(self.registry.remove(engine, at, running=running), at)

    def answered(self, engine: EngineId, boot_id: str | None, capacity_tokens: int | None, at: float) -> None:
        """To the question of how it is."""
        if engine not in self._adapters:
            return
        self._silence.pop(engine, None)
        if self._capacities.get(engine, 0) != capacity_tokens:
            self._capacities[engine] = capacity_tokens
            self._weigh()
        self._take(self.registry.answered(engine, boot_id, at), at)

    def silent(self, engine: EngineId, at: float, why: str = "it does not answer") -> None:
        """A question, or a connection for a call, found nobody."""
        if engine not in self._adapters:
            return
        self._silence[engine] = why
        self._take(self.registry.silent(engine, at), at)
        self._lines.doubt(engine)

    def listed(self, engine: EngineId, cards: Sequence[object]) -> None:
        """What it says that it serves."""
        if engine not in self._adapters:
            return
        self._untold.discard(engine)
        self._unlisted.pop(engine, None)
        self.models.listed(engine, cards)
        self._serve()

    def unlisted(self, engine: EngineId, why: str) -> None:
        """It answers, but does not say what it serves: it gets calls only where every name is passed on."""
        if engine not in self._adapters:
            return
        self._untold.discard(engine)
        self._unlisted[engine] = why
        self.models.left(engine)
        self._serve()

    def tidy(self, at: float) -> None:
        """What time alone brings about; to be called every second or so."""
        self._take(self.registry.tidy(at), at)

    def move_far(
        self, far_on: Callable[[EngineId], Sequence[Far]], at: float, beyond_s: float
    ) -> list[tuple[Far, EngineId]]:
        """Gives other homes to agents of engines that hold too much: those that moved, and where they live now. Next to nothing
        to do where no engine does. `far_on`: agents with memory on an engine that nothing holds there."""
        moved: list[tuple[Far, EngineId]] = []
        for engines in self._alike():
            usable = self.breakers.admitted(engines & self.registry.usable, at)
            for crowded in self.placer.crowded(usable, at):
                far = {
                    self.key_on(owner_of(one.simulation, one.agent), crowded): one for one in far_on(crowded)
                }
                distances = ((key, one.away_s) for key, one in far.items())
                for move in self.placer.rebalance(distances, usable, at, beyond_s):
                    moved.append((far[move.key], move.after))
        return moved

    def _alike(self) -> Iterable[frozenset[EngineId]]:
        """Engines that serve the same, so that an agent may live on any of them."""
        if self.models.are_plain:
            return (frozenset(self._adapters),)
        alike: dict[frozenset[str], set[EngineId]] = {}
        for engine in self._adapters:
            alike.setdefault(frozenset(self.models.bases_of(engine)), set()).add(engine)
        # Of an agent of an engine that serves several models nobody knows for which of them its memory is.
        return [frozenset(engines) for bases, engines in alike.items() if len(bases) == 1]

    @property
    def is_ready(self) -> bool:
        """An engine is up."""
        return bool(self.registry.usable)

    def states(self) -> list[EngineState]:
        return [self.state(entry) for entry in self.registry]

    def state(self, entry: Entry) -> EngineState:
        engine = entry.address.name
        running, held_tokens = self.placer.loads().get(engine, (0, 0))
        problem = self._silence.get(engine) or self._unlisted.get(engine, "")
        front = self._adapters[engine].front
        return EngineState(entry, running, held_tokens, problem, [] if front is None else front.behind())

    def merged(self) -> Mapping[str, object] | None:
        """The answer to `/v1/models`. None: the only engine answers itself."""
        return None if len(self._adapters) < 2 and not self.models.has_aliases else self.models.merged()

    def _take(self, changes: Iterable[Change], at: float) -> None:
        for change in changes:
            match change:
                case Added(address=address):
                    self._come(address)
                case CameUp(engine=engine, boot_id=boot_id, restarted=restarted):
                    _log.info("%s is up%s", engine, ", started anew" if restarted else "")
                    self.placer.come_up(engine, boot_id, at, weight=self.weight_of(engine))
                    self.breakers.of(engine).returned(at)
                case WentSilent(engine=engine):
                    _log.warning("%s gets no more calls: %s", engine, self._silence.get(engine, ""))
                    self.placer.lose(engine)
                case Drains(engine=engine):
                    _log.info("%s gets no more calls, and leaves with its last one", engine)
                    self.placer.lose(engine)
                case Removed(engine=engine):
                    self._go(engine)

    def _come(self, address: Address) -> None:
        engine = address.name
        adapter = self._adapters[engine] = self._adapter_for(address)
        self._untold.add(engine)
        self._leaving.discard(engine)
        self.placer.expect(engine)
        self._serve()
        self._lines.add_engine(adapter)

    def _go(self, engine: EngineId) -> None:
        _log.info("%s is removed", engine)
        del self._adapters[engine]
        for table in (self._capacities, self._unlisted, self._silence):
            table.pop(engine, None)
        self._untold.discard(engine)
        self.models.left(engine)
        self.placer.remove(engine)
        self._serve()
        self._weigh()
        self._lines.remove_engine(engine)
        self._leaving.add(engine)
        self._forget_if_idle(engine)

    def _forget_if_idle(self, engine: EngineId) -> None:
        """What still runs there may yet tell of it, and would make it known again."""
        if not self.placer.running(engine):
            self._leaving.discard(engine)
            self.breakers.forget(engine)
            self._lines.forget_engine(engine)

    def _serve(self) -> None:
        """Who serves what, as long as there is one model."""
        everybody, untold = frozenset(self._adapters), frozenset(self._untold)
        self._as_it_is = Serving("", None, everybody)
        # Those that have told serve another model than the one that is asked for, and would not say so.
        self._of_the_untold = Serving("", None, untold)
        self._of_the_only_one = Serving("", None, everybody - untold)

    def _weigh(self) -> None:
        for engine in self._capacities:
            self.placer.weigh(engine, self.weight_of(engine))

    def weight_of(self, engine: EngineId) -> float:
        """1 is an engine of the usual size: what its weight is not told of, is weighed by its cache."""
        entry = self.registry.get(engine)
        if entry is not None and entry.address.weight is not None:
            return entry.address.weight
        capacity = self._capacities.get(engine)
        if not capacity:
            return 1.0
        known = [
            tokens
            for name, tokens in self._capacities.items()
            if tokens and (one := self.registry.get(name)) is not None and one.address.weight is None
        ]
        return capacity * len(known) / sum(known)

    def _admitted(
        self, engines: frozenset[EngineId], at: float, without: Collection[EngineId]
    ) -> tuple[list[EngineId], bool]:
        """Those that may be asked, and whether they are such as are not up: where none is, what does not answer us may
        still answer calls."""
        candidates: Collection[EngineId] = engines & self.registry.usable
        lost = not candidates
        if lost:
            candidates = self._last_resort(engines)
        if without:
            candidates = [engine for engine in candidates if engine not in without]
        return self.breakers.admitted(candidates, at), lost

    def _last_resort(self, engines: Collection[EngineId]) -> list[EngineId]:
        """All but those that drain."""
        entries = (self.registry.get(engine) for engine in engines)
        return [one.address.name for one in entries if one is not None and one.state is not State.DRAINING]

    def _none(self, serving: Serving, at: float, without: Collection[EngineId]) -> NoEngine:
        left = [engine for engine in self._last_resort(serving.engines) if engine not in without]
        retry_after_s = self.breakers.retry_after_s(left, at)
        where = self._shown(serving.engines) if serving.engines else "there is no engine"
        for_model = f" for the model {serving.model!r}" if serving.model else ""
        seconds = max(1, math.ceil(retry_after_s))
        return NoEngine(
            f"no engine can be asked{for_model}: {where}; try again in {seconds} s", retry_after_s
        )

    def _shown(self, engines: Collection[EngineId]) -> str:
        told = [self._how(engine) for engine in sorted(engines)[:_TOLD]]
        more = len(engines) - len(told)
        return "; ".join(told + ([f"{more} more"] if more else []))

    def _how(self, engine: EngineId) -> str:
        entry = self.registry.get(engine)
        if entry is None:
            return f"'{engine}' has left"
        why = self._silence.get(engine, "")
        if entry.state is State.UP and not why:
            why = "its calls fail, so it is left alone for now"
        return f"'{engine}' at {entry.address.base_url} is {entry.state}" + (f" ({why})" if why else "")
