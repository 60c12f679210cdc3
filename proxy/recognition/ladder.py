"""The rungs one after another: what the client said, its framework's recipe, the answer that it repeats, what was learned.

The surest of them names the caller, if it is sure enough. Whoever said outright who calls is believed at no cost: the text is not
looked at. Clients that nothing keeps apart share one memory of answers and one learner (a *scope*): those of one simulation if
it was told, else those of one API key.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scalesim.proxy.core.durations import Reading
from scalesim.proxy.core.model import AgentName, CallId, SimulationId

from .guess import EXPLICIT, THRESHOLD, CallerKind, Guess, Rung, Told
from .learned import Learner
from .links import Links
from .prompt import prompt_of
from .recipes.choosing import Chooser, Index
from .recipes.reading import Read

DEFAULT_SIMULATION = SimulationId("default")
"""Of calls that nothing tells the simulation of."""
SCOPES = 64
"""Beyond it the one that was used longest ago is forgotten."""
MAX_CALLERS = 20_000
"""Whose last call is kept, to be explained; the one that called longest ago is forgotten."""
_NOT_SAID = 0.99
"""No name that was only found is as good as one that was given."""
_LINKS_FOR = 1024
"""Calls for which answers are kept after one that may have come from an answer."""


class Recognised(NamedTuple):
    """What is taken to be true of one call."""

    simulation: SimulationId
    agent: AgentName | None
    """None: nobody is known surely enough."""
    source: str
    confidence: float
    """Also of a guess that was not sure enough."""
    kind: CallerKind = CallerKind.AGENT
    why: str = ""
    """For a person; empty where the client said it."""
    step: float | None = None
    """The simulation has come to it with this call; None where it was known already, or is not told."""
    ends: bool = False
    """The activation ends with this call."""
    reading: Reading | None = None
    """How the answer tells how long the agent acts."""
    wants_answer: bool = False
    """`answered` is to be told what the answer said."""


def as_told(told: Told) -> Recognised:
    """Where nothing else is asked."""
    return Recognised(told.simulation or DEFAULT_SIMULATION, told.agent, told.source, told.confidence)


class Left(NamedTuple):
    """A caller turned out to be another one that was known already: it does not call again."""

    simulation: SimulationId
    agent: AgentName


@dataclass(slots=True)
class Fit:
    """How often a recipe fitted."""

    calls: int = 0
    named: int = 0
    """Of them, those whose caller it named."""
    confidence: float = 0.0
    """Of all that it named together."""


@dataclass(slots=True, eq=False)
class _Scope:
    learner: Learner = field(default_factory=Learner)
    links: Links = field(default_factory=Links)
    kept_until: int = 0
    """The number of the call up to which answers are kept."""
    calls: int = 0


class _Call(NamedTuple):
    scope: _Scope
    simulation: SimulationId
    caller: AgentName | None
    """As links know it."""
    is_learned: bool
    is_repeated: bool
    """By a recipe, whose requests may be the answer."""


class Ladder:
    """Of one proxy. `running` bounds the calls between `recognise` and `ended`."""

    def __init__(
        self,
        *,
        rungs: frozenset[Rung] = frozenset(Rung),
        threshold: float = THRESHOLD,
        max_running: int = 65_536,
    ) -> None:
        self.index = Index()
        """The recipes. Whoever reads them anew puts them here."""
        self._rungs = rungs
        self._threshold = threshold
        self._max_running = max_running
        self._chooser = Chooser()
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()
        self._running: OrderedDict[CallId, _Call] = OrderedDict()
        self._steps: OrderedDict[SimulationId, float] = OrderedDict()
        self._callers: OrderedDict[tuple[SimulationId, AgentName], Recognised] = OrderedDict()
        self._links_of: tuple[Index | None, frozenset[str]] = (None, frozenset())
        self._fits: dict[str, Fit] = {}
        self.named: Counter[str] = Counter()
        """Calls by who named their caller."""
        self.unsure: Counter[str] = Counter()
        """Calls whose caller somebody named, and not surely enough; by who did. Nobody: the empty name."""

    def configure(self, *, rungs: frozenset[Rung], threshold: float) -> None:
        """From the next call on. What was learned stays."""
        self._rungs, self._threshold = rungs, threshold

    def sizes(self) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for scope in self._scopes.values():
            totals.update(scope.learner.sizes())
            totals.update(scope.links.sizes())
        return {
            "recognition_scopes": len(self._scopes),
            "recognition_running": len(self._running),
            "recognised_callers": len(self._callers),
            **self._chooser.sizes(),
            **totals,
        }

    def fit(self, recipe: str) -> Fit:
        """Since the start, or since a recipe of that name was there again."""
        return self._fits.get(recipe, Fit())

    def explained(self, simulation: SimulationId, agent: AgentName) -> Recognised | None:
        """Why that name was given to its last call. None: it was said outright, or is forgotten."""
        return self._callers.get((simulation, agent))

    def recognise(
        self, call: CallId, at: float, told: Told, route: str, body: Mapping[str, object]
    ) -> Recognised:
        """`ended` must be told of the call. Never raises, whatever the body is."""
        if told.confidence == EXPLICIT:
            self.named[told.source] += 1
            return as_told(told)
        prompt = prompt_of(route, body) if self._rungs else None
        best = self._told(told)
        if prompt is None:
            return self._settled(best, None, told.simulation or DEFAULT_SIMULATION)
        key = told.client if told.simulation is None else f"simulation {told.simulation}"
        scope = self._scope(key)
        read = self._chooser.read(self.index, key, prompt) if Rung.RECIPES in self._rungs else None
        if read is not None:
            self._fitted(read)
        simulation = told.simulation or (DEFAULT_SIMULATION if read is None else SimulationId(read.recipe))
        links = self._may_link(scope, read)
        best = _surer(best, None if read is None else read.guess)
        if links and not self._is_sure(best):
            linked = scope.links.find(prompt, repeats=read is not None and read.from_answer)
            if linked is not None:
                # Known by their simulations and names.
                of, _, name = linked.agent.partition("/")
                if told.simulation is None and (best is None or linked.confidence > best.confidence):
                    simulation = SimulationId(of)
                best = _surer(best, _renamed(linked, AgentName(name)))
        # A recipe knows all there is to know of the requests of its framework.
        is_learned = Rung.LEARNED in self._rungs and read is None and not self._is_sure(best)
        if is_learned:
            best = _surer(best, scope.learner.recognise(prompt, at, call))
        found = self._settled(best, read, simulation, wants_answer=links or is_learned)
        caller = None
        if links and found.agent is not None:
            caller = AgentName(f"{found.simulation}/{found.agent}")
            scope.links.called(caller)
        if found.wants_answer:
            repeated = links and read is not None
            self._running[call] = _Call(scope, found.simulation, caller, is_learned, repeated)
            if len(self._running) > self._max_running:
                lost, of_lost = self._running.popitem(last=False)
                if of_lost.is_learned:
                    of_lost.scope.learner.ended(lost, at)
        return found

    def ended(self, call: CallId, at: float, answer: str) -> list[Left]:
        """A call that wanted its answer has ended; `answer` is what was said, empty if that is not known."""
        running = self._running.pop(call, None)
        if running is None:
            return []
        scope, simulation, caller, is_learned, repeated = running
        if caller is not None and answer:
            scope.links.answered(caller, answer, repeated=repeated)
        if not is_learned:
            return []
        scope.learner.ended(call, at, answer)
        return [Left(simulation, merged.old) for merged in scope.learner.merges()]

    def _fitted(self, read: Read) -> None:
        fit = self._fits.get(read.recipe)
        if fit is None:
            there = {one.name for one in self.index.recipes}
            self._fits = {name: one for name, one in self._fits.items() if name in there}
            fit = self._fits[read.recipe] = Fit()
        fit.calls += 1
        if read.guess is not None:
            fit.named += 1
            fit.confidence += read.guess.confidence

    def _told(self, told: Told) -> Guess | None:
        if told.agent is None:
            return None
        return Guess(told.agent, told.source, told.confidence, "")

    def _settled(
        self,
        best: Guess | None,
        read: Read | None,
        simulation: SimulationId,
        *,
        wants_answer: bool = False,
    ) -> Recognised:
        if best is None:
            best = Guess(AgentName(""), "", 0.0, "")
        is_sure = self._is_sure(best)
        (self.named if is_sure else self.unsure)[best.source] += 1
        found = Recognised(
            simulation,
            best.agent if is_sure else None,
            best.source,
            min(best.confidence, _NOT_SAID),
            best.kind,
            best.why,
            None if read is None or read.step is None else self._reached(simulation, read.step),
            read is not None and read.ends,
            None if read is None else read.reading,
            wants_answer,
        )
        if is_sure and best.why:
            self._callers[simulation, best.agent] = found
            self._callers.move_to_end((simulation, best.agent))
            if len(self._callers) > MAX_CALLERS:
                self._callers.popitem(last=False)
        return found

    def _is_sure(self, guess: Guess | None) -> bool:
        return guess is not None and guess.confidence >= self._threshold

    def _scope(self, key: str) -> _Scope:
        scope = self._scopes.get(key)
        if scope is None:
            scope = self._scopes[key] = _Scope()
            if len(self._scopes) > SCOPES:
                self._scopes.popitem(last=False)
        else:
            self._scopes.move_to_end(key)
        scope.calls += 1
        return scope

    def _may_link(self, scope: _Scope, read: Read | None) -> bool:
        """Whether answers are worth keeping: no recipe knows these requests, or one that leaves some of them to answers."""
        if Rung.ANSWERS not in self._rungs:
            return False
        if self._links_of[0] is not self.index:
            leave_some = (
                one.name for one in self.index.recipes if any(call.from_answer for call in one.calls)
            )
            self._links_of = self.index, frozenset(leave_some)
        if read is None or read.recipe in self._links_of[1]:
            scope.kept_until = scope.calls + _LINKS_FOR
        return scope.calls <= scope.kept_until

    def _reached(self, simulation: SimulationId, step: float) -> float | None:
        """The step if it is a new one. Clocks do not go back: agents may be told an earlier one beside a later one."""
        known = self._steps.get(simulation)
        if known is not None and step <= known:
            return None
        self._steps[simulation] = step
        if len(self._steps) > SCOPES:
            self._steps.popitem(last=False)
        return step


def _surer(one: Guess | None, other: Guess | None) -> Guess | None:
    """The first of equals."""
    if one is None or other is None:
        return one or other
    return other if other.confidence > one.confidence else one


def _renamed(guess: Guess, name: AgentName) -> Guess:
    return Guess(name, guess.source, guess.confidence, guess.why, guess.kind)
