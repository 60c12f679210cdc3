"""Which engines serve the `model` of a call. A name that nobody serves is refused, never answered by another model.

An adapter is named `BASE:NAME`, as SGLang understands it. NAME alone is refused: engines take it for the base model's name,
and answer without the adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from scalesim.proxy.core.model import AdapterName, EngineId

from ..errors import CallRefused, ScaleSimError

_Key = TypeVar("_Key")

ANY_OTHER = "*"
"""The alias that stands for every name that nobody serves: an operator's decision, never ours."""
MOST_MODELS = 4_096
"""Of one engine, adapters too; what it lists beyond is not known."""
MOST_CHARS = 512
"""Of a name."""
_TOLD = 8
"""So many names are told to a client whose model does not exist."""


class AliasImpossible(ScaleSimError):
    """Aliases that cannot be understood: change the configuration."""


class ModelNotFound(CallRefused):
    status = 404
    code = "model_not_found"

    def body(self) -> dict[str, object]:
        """As OpenAI's clients expect it: they raise `NotFoundError`."""
        error = {"message": str(self), "type": self.kind, "param": "model", "code": self.code}
        return {"error": error}


class ModelMissing(CallRefused):
    """A request that names no model, where there are several."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Who may serve a call, and as what."""

    base: str
    """Empty: there is only one, or nobody knows any; the request says what it says."""
    adapter: AdapterName | None
    engines: frozenset[EngineId]
    """Whether they are up or not."""

    @property
    def model(self) -> str:
        """As engines understand it; where it differs from what the request says, that has to be replaced."""
        return self.base if self.adapter is None else f"{self.base}:{self.adapter}"


@dataclass(frozen=True, slots=True)
class _Listed:
    cards: Mapping[str, Mapping[str, Any]]
    """By model: as `/v1/models` has it."""
    adapters: Mapping[tuple[str, str], Mapping[str, Any]]
    """By base and name."""


class Models:
    """`is_registered` says whether the proxy brings an adapter of that name to any engine whose calls need it."""

    def __init__(
        self,
        aliases: Mapping[str, str] | None = None,
        *,
        is_registered: Callable[[str], bool] = lambda name: False,
    ) -> None:
        """Raises `AliasImpossible`."""
        self._aliases = _possible(aliases or {})
        self._is_registered = is_registered
        self._listed: dict[EngineId, _Listed] = {}
        self._engines: dict[str, frozenset[EngineId]] = {}
        """By base."""
        self._adapters: dict[tuple[str, str], frozenset[EngineId]] = {}
        """By base and name, those that list it."""

    def call(self, aliases: Mapping[str, str]) -> None:
        """These are the aliases from now on. Raises `AliasImpossible`."""
        self._aliases = _possible(aliases)

    def sizes(self) -> dict[str, int]:
        return {"served_models": len(self._engines), "served_adapters": len(self._adapters)}

    @property
    def are_plain(self) -> bool:
        """There is one model at most, and no alias: names need not be told apart."""
        return len(self._engines) < 2 and not self._aliases

    @property
    def has_aliases(self) -> bool:
        return bool(self._aliases)

    @property
    def bases(self) -> Collection[str]:
        return self._engines.keys()

    def bases_of(self, engine: EngineId) -> Collection[str]:
        """As it listed them; none of one that has not."""
        listed = self._listed.get(engine)
        return () if listed is None else listed.cards.keys()

    def lists(self, model: object) -> bool:
        """Whether an engine lists it as a base model."""
        return model in self._engines if isinstance(model, str) else False

    def listed(self, engine: EngineId, cards: Sequence[object]) -> None:
        """The `data` of an engine's `/v1/models`. What is not understood is left out."""
        models: dict[str, Mapping[str, Any]] = {}
        adapters: dict[tuple[str, str], Mapping[str, Any]] = {}
        for card in cards[:MOST_MODELS]:
            if not isinstance(card, Mapping):
                continue
            name, parent = card.get("id"), card.get("parent")
            if not _is_name(name):
                continue
            if parent is None or parent == name:
                models[name] = card
            elif _is_name(parent):
                adapters[parent, name.removeprefix(f"{parent}:").strip()] = card
        own = {key: card for key, card in adapters.items() if key[0] in models and key[1]}
        self._listed[engine] = _Listed(models, own)
        self._work_out()

    def left(self, engine: EngineId) -> None:
        if self._listed.pop(engine, None) is not None:
            self._work_out()

    def serving(self, model: object) -> Serving:
        """Raises `ModelNotFound` and `ModelMissing`. `model`: as the request has it, None if it does not."""
        if model is None:
            if len(self._engines) != 1:
                raise ModelMissing(f"the request names no `model`: name one of {self._told()}")
            model = next(iter(self._engines))
        if not isinstance(model, str):
            raise ModelNotFound(f"`model` has to be a name, one of {self._told()}")
        found = self._named(model)
        if found is None and (other := self._aliases.get(ANY_OTHER)) is not None:
            found = self._named(other)
        if found is None:
            raise ModelNotFound(
                f"the model {_shown(model)} does not exist{self._hint(model)}; there are {self._told()}"
            )
        return found

    def merged(self) -> dict[str, object]:
        """The answer to `/v1/models`: each name once, as it is to be asked for."""
        cards: dict[str, dict[str, Any]] = {}
        for engine in sorted(self._listed):
            listed = self._listed[engine]
            for name, card in listed.cards.items():
                cards.setdefault(name, {**card})
            for (base, name), card in listed.adapters.items():
                cards.setdefault(f"{base}:{name}", {**card, "id": f"{base}:{name}", "parent": base})
        for alias, target in self._aliases.items():
            if alias != ANY_OTHER and (found := self._named(target)) is not None:
                # An adapter that we bring is listed by no engine yet.
                same = cards.get(found.model) or cards[found.base]
                cards.setdefault(alias, {**same, "id": alias, "root": found.model})
        return {"object": "list", "data": [cards[name] for name in sorted(cards)]}

    def _named(self, model: str) -> Serving | None:
        engines = self._engines.get(model)
        if engines is not None:
            return Serving(model, None, engines)
        if model in self._aliases and model != ANY_OTHER:
            return self._named(self._aliases[model])
        # A model's own name may hold colons: the longest that is served is meant.
        end = model.rfind(":")
        while end > 0:
            base, adapter = model[:end], model[end + 1 :].strip()
            target = self._aliases.get(base, base)
            if target in self._engines and adapter and (found := self._adapted(target, adapter)) is not None:
                return found
            end = model.rfind(":", 0, end)
        return None

    def _adapted(self, base: str, adapter: str) -> Serving | None:
        if self._is_registered(adapter):
            return Serving(base, AdapterName(adapter), self._engines[base])
        engines = self._adapters.get((base, adapter))
        return None if engines is None else Serving(base, AdapterName(adapter), engines)

    def _work_out(self) -> None:
        self._engines = _holders((name, one) for one, listed in self._listed.items() for name in listed.cards)
        self._adapters = _holders(
            (key, one) for one, listed in self._listed.items() for key in listed.adapters
        )

    def _hint(self, model: str) -> str:
        bases = sorted(base for base, name in self._adapters if name == model)
        return f" (an adapter is asked for as {_shown(f'{bases[0]}:{model}')})" if bases else ""

    def _told(self) -> str:
        names = sorted({*self._engines, *(alias for alias in self._aliases if alias != ANY_OTHER)})
        if not names:
            return "none yet: no engine has told what it serves"
        more = f" and {len(names) - _TOLD} more, see /v1/models" if len(names) > _TOLD else ""
        return ", ".join(map(_shown, names[:_TOLD])) + more


def _holders(pairs: Iterable[tuple[_Key, EngineId]]) -> dict[_Key, frozenset[EngineId]]:
    found: dict[_Key, set[EngineId]] = {}
    for key, engine in pairs:
        found.setdefault(key, set()).add(engine)
    return {key: frozenset(engines) for key, engines in found.items()}


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MOST_CHARS


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:100]}...")


def _possible(aliases: Mapping[str, str]) -> dict[str, str]:
    """Raises `AliasImpossible`."""
    for alias, target in aliases.items():
        if not alias or not target or target in aliases or max(len(alias), len(target)) > MOST_CHARS:
            raise AliasImpossible(
                f"the alias {alias!r} stands for {target!r}: both have to be names of at most {MOST_CHARS} characters,"
                " and an alias stands for a model, not for another alias"
            )
    return dict(aliases)
