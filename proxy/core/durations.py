r"""How long an agent acts, read by rules out of what the LLM itself answered: `(duration in minutes: 15, …)`, `{"time": 10}`,
`"duration": "90 min"`, `for 2 hours`.

A rule is data, and may come from an operator. So that none can hold anybody up, nothing in a pattern can be tried twice:
repeats are bounded and possessive (`[0-9]{1,6}+`, `s?+`), of one character or class, and alternatives stand in atomic groups
(`(?>minutes|min)`, an optional part is `(?>…|)`). A search then costs at most the length of the text times that of the
pattern.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .model import Clock

MAX_CHARS = 4096
"""Of an answer, its end."""

_MAX_PATTERN = 1000
_MAX_REPEAT = 64
_MAX_REPEATS = 256
"""All of a pattern's repeats together."""

MAX_RULES = 32
_MAX_OWN = 2_000
"""Characters of the patterns of a simulation that are not of `RULES`. Such as are made for it can cost 30 ms an answer; a rule
that somebody means costs some .1 ms. `RULES` cost .3 ms at the most, for texts made up of what they look for, and else less
than .1."""


class Unit(StrEnum):
    MINUTES = "minutes"
    """Of the simulated world."""
    STEPS = "steps"
    """Of the simulation."""


@dataclass(frozen=True, slots=True)
class Said:
    amount: float
    unit: Unit


@dataclass(frozen=True, slots=True)
class Scale:
    """How long a simulated minute is on the clock of a simulation: .2 on `Clock.STEPS` where a step is five minutes."""

    clock: Clock
    per_minute: float

    def __post_init__(self) -> None:
        if not 0.0 < self.per_minute <= 1e6:
            raise ValueError(f"per_minute must be more than 0 and at most 1e6, not {self.per_minute!r}")

    def acts_for(self, said: Said) -> tuple[float, Clock]:
        """As `CallEnded.said` has it. Steps are steps, whatever the scale."""
        if said.unit is Unit.STEPS:
            return said.amount, Clock.STEPS
        return said.amount * self.per_minute, self.clock


_UNITS: dict[str, tuple[float, Unit]] = {
    word: (factor, unit)
    for words, factor, unit in (
        ("s sec secs second seconds", 1 / 60, Unit.MINUTES),
        ("m min mins minute minutes", 1.0, Unit.MINUTES),
        ("h hr hrs hour hours", 60.0, Unit.MINUTES),
        ("d day days", 1440.0, Unit.MINUTES),
        ("step steps tick ticks", 1.0, Unit.STEPS),
    )
    for word in words.split()
}
_NUMBERS: dict[str, float] = {
    **{"half": 0.5, "a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0},
    **{"six": 6.0, "seven": 7.0, "eight": 8.0, "nine": 9.0, "ten": 10.0, "eleven": 11.0, "twelve": 12.0},
    **{"fifteen": 15.0, "twenty": 20.0, "thirty": 30.0, "forty": 40.0, "forty-five": 45.0},
    **{"sixty": 60.0, "ninety": 90.0},
}

_GROUPS = frozenset({"amount", "unit", "more", "more_unit"})


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern` is searched for in the text in lower case. Its group `amount` is a number (or a word like `two`), `unit` its unit
    if there is a word for it; `more` and `more_unit` are a second part, as in `1 hour 30 minutes`.

    Raises `ValueError`, naming the rule, for a pattern that is none, or whose cost is not bounded.
    """

    name: str
    pattern: str
    unit: str = "minutes"
    """Of an amount without a word for its unit."""
    factor: float = 1.0
    """By which the amount is multiplied."""
    needs: tuple[str, ...] = ()
    """A text without any of these words (in lower case) is not searched. Empty: every text is."""
    whole: bool = False
    """The pattern must fit the text from its beginning to its end."""
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.unit not in _UNITS:
            raise ValueError(f"rule {self.name!r}: unknown unit {self.unit!r}; there are {', '.join(_UNITS)}")
        if not 0.0 < self.factor <= 1e6:
            raise ValueError(
                f"rule {self.name!r}: factor must be more than 0 and at most 1e6, not {self.factor!r}"
            )
        try:
            _check(self.pattern)
            compiled = re.compile(self.pattern)
        except (ValueError, re.error, OverflowError, RecursionError) as exc:
            raise ValueError(f"rule {self.name!r}: {exc}") from exc
        groups = frozenset(compiled.groupindex)
        if "amount" not in groups or not groups <= _GROUPS or ("more" in groups) != ("more_unit" in groups):
            raise ValueError(
                f"rule {self.name!r}: its groups must be amount and perhaps unit, more and more_unit together, "
                f"not {', '.join(sorted(groups)) or 'none'}"
            )
        object.__setattr__(self, "_compiled", compiled)

    def read(self, text: str) -> Said | None:
        """`text` in lower case. The first place in it counts."""
        if self.needs and not any(word in text for word in self.needs):
            return None
        match = self._compiled.fullmatch(text) if self.whole else self._compiled.search(text)
        if match is None:
            return None
        parts = match.groupdict()
        amount, unit = _NUMBERS.get(parts["amount"], parts["amount"]), parts.get("unit")
        first = _said(amount, self.unit if unit is None else unit, self.factor)
        if first is None or parts.get("more") is None:
            return first
        more = _said(_NUMBERS.get(parts["more"], parts["more"]), parts["more_unit"], self.factor)
        if more is None or more.unit is not first.unit:
            return None
        return Said(first.amount + more.amount, first.unit)


def said(text: str, rules: Sequence[Rule]) -> Said | None:
    """What the first of the rules that finds anything found in the end of a text; None if none did."""
    tail = text[-MAX_CHARS:].lower()
    for rule in rules:
        found = rule.read(tail)
        if found is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class Reading:
    """How the answers of a simulation are read; without rules they are not. Raises `ValueError` for too many rules."""

    rules: tuple[Rule, ...]
    scale: Scale

    def __post_init__(self) -> None:
        if len(self.rules) > MAX_RULES:
            raise ValueError(f"a simulation may have {MAX_RULES} rules, not {len(self.rules)}")
        names: set[str] = set()
        for rule in self.rules:
            if rule.name in names:
                raise ValueError(f"rule {rule.name!r}: there are two of that name")
            names.add(rule.name)
        size = sum(len(rule.pattern) for rule in self.rules if rule not in RULES)
        if size > _MAX_OWN:
            raise ValueError(f"all patterns of your own together may have {_MAX_OWN} characters, not {size}")

    def acts_for(self, text: str) -> tuple[float, Clock] | None:
        """As `CallEnded.said` has it."""
        found = said(text, self.rules)
        return None if found is None else self.scale.acts_for(found)


def _said(amount: float | str | None, word: str | None, factor: float) -> Said | None:
    """None for what is no number, or no unit, or was not in the text."""
    known = None if word is None else _UNITS.get(word)
    if known is None or amount is None:
        return None
    try:
        number = float(amount)
    except ValueError:
        return None
    # Patterns of operators may let anything through.
    if not 0.0 <= number <= 1e9:
        return None
    return Said(number * factor * known[0], known[1])


# Patterns

_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P<[a-z_]+>|<[=!]|[:>=!])|[()|*+?]|\{[0-9]*(?:,[0-9]*)?\}|.",
    re.DOTALL,
)
_ATOMIC = frozenset({"(?>", "(?=", "(?!", "(?<=", "(?<!"})
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_AMBIGUOUS = re.compile(r"\[|--|&&|~~|\|\|")
"""In a class: of these `re` warns that they may mean something else one day."""
_COUNT = re.compile(r"\{([0-9]{1,3})(?:,([0-9]{1,3}))?\}")


def _check(pattern: str) -> None:
    """Raises `ValueError` if a search for it might cost more than the module's docstring says, or can find nothing."""
    if len(pattern) > _MAX_PATTERN:
        raise ValueError(f"a pattern may have {_MAX_PATTERN} characters, not {len(pattern)}")
    tokens = _TOKEN.findall(pattern)
    open_groups: list[str] = []
    total = 0
    repeatable = False
    possessive_at = -1
    for index, token in enumerate(tokens):
        follower = tokens[index + 1] if index + 1 < len(tokens) else ""
        match token[0]:
            case "(":
                if token == "(":
                    raise ValueError("groups must be (?:…), (?>…), (?P<name>…) or looks around")
                open_groups.append(token)
                repeatable = False
            case ")":
                if not open_groups:
                    raise ValueError("a ) without its (")
                open_groups.pop()
                repeatable = False
            case "|":
                if not open_groups or open_groups[-1] not in _ATOMIC:
                    raise ValueError("alternatives must stand in an atomic group: (?>…|…)")
                repeatable = False
            case "+" if index == possessive_at:
                repeatable = False
            case "*" | "+":
                raise ValueError(f"{token} has no bound: use {{0,20}}+ or the like")
            case "?" | "{":
                most, fixed = _bounds(token)
                if not repeatable:
                    raise ValueError(
                        f"{token} must follow a character or a class: a group is optional as (?>…|)"
                    )
                if follower == "+":
                    possessive_at = index + 1
                elif not fixed:
                    raise ValueError(f"{token} may be tried in several ways: use {token}+")
                total += most
                repeatable = False
            case "[" if token == "[" or _AMBIGUOUS.search(_ESCAPE.sub("", token[1:-1])):
                raise ValueError(f"{token}: a class must end, and [ -- && ~~ || inside of one need a \\")
            case "\\" if token[1:].isdigit():
                raise ValueError(f"{token}: references back to groups are not allowed")
            case _:
                repeatable = True
    if total > _MAX_REPEATS:
        raise ValueError(f"its repeats add up to {total}, more than {_MAX_REPEATS}")
    plain = _ESCAPE.sub("", pattern).replace("(?P<", "")
    if plain != plain.lower():
        raise ValueError("a pattern must be in lower case: so are the texts in which it is searched for")


def _bounds(token: str) -> tuple[int, bool]:
    """How often it repeats at most, and whether exactly so often."""
    if token == "?":
        return 1, False
    count = _COUNT.fullmatch(token)
    most = 0 if count is None else int(count[2] or count[1])
    if count is None or most > _MAX_REPEAT:
        raise ValueError(
            f"{token}: a repeat needs an upper bound of at most {_MAX_REPEAT}; a brace itself is \\{{"
        )
    return most, count[2] is None or count[1] == count[2]


_DIGITS = r"[0-9]{1,6}+(?>\.[0-9]{1,4}+|)(?![.,:/-]?+[0-9])"
"""No part of a longer number, a date, a time of day or a range."""
_WORDS = "(?>" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_LONG_UNIT = r"(?>hours?+|hrs?+|minutes?+|mins?+|seconds?+|secs?+|days?+|steps?+|ticks?+)\b"
_UNIT = r"(?>hours?+|hrs?+|minutes?+|mins?+|seconds?+|secs?+|days?+|steps?+|ticks?+|[hmsd])(?![a-z])"
_VALUE = (
    rf"(?P<amount>{_DIGITS})(?>\s{{0,2}}+(?P<unit>{_UNIT})|)"
    rf"(?>,?+\s{{0,2}}+(?>and\s{{1,2}}+|)(?P<more>{_DIGITS})\s{{0,2}}+(?P<more_unit>{_UNIT})|)"
)
_SPOKEN = (
    r"(?>about |around |approximately |roughly |the next |another |~|)"
    rf"(?P<amount>(?>{_DIGITS}|{_WORDS}\b))[\s-]{{0,2}}+(?>an |a |)(?P<unit>{_LONG_UNIT})(?! and a half)"
    rf"(?>,?+\s{{1,2}}+(?>and\s{{1,2}}+|)(?P<more>(?>{_DIGITS}|{_WORDS}\b))\s{{1,2}}+(?P<more_unit>{_LONG_UNIT})|)"
)
_COLON = r"[\"']\s{0,4}+:\s{0,4}+[\"']?+"
_CLOSE = r"[\"']?+\s{0,8}+(?=[,}\])]|\Z)"
_TIME_WORDS = ("min", "hour", "hr", "sec", "day", "step", "tick")


# A pattern that starts with plain letters is searched for ten times faster than one that starts with a choice, or looks
# around first.


def _prose(name: str, start: str, rest: str = "") -> Rule:
    return Rule(name, start + rest + _SPOKEN, needs=(start,))


def _quoted(key: str, *, closed: bool) -> tuple[str, ...]:
    return tuple(f"{quote}{key}{quote if closed else ''}" for quote in "\"'")


RULES: tuple[Rule, ...] = (
    # Generative Agents and all that follow it decompose tasks so. The first subtask is what the agent does now; its prompt
    # repeats the whole task's minutes as the total.
    Rule(
        "subtask",
        rf"(?<!total )duration in (?P<unit>{_LONG_UNIT})\s{{0,4}}+:?+\s{{0,4}}+(?P<amount>{_DIGITS})",
        needs=("duration in ",),
    ),
    Rule(
        "json_duration",
        rf"duration{_COLON}{_VALUE}{_CLOSE}",
        needs=("duration",),
    ),
    Rule(
        "json_duration_in",
        rf"duration[_ ]?+(?>in[_ ]?+|)\(?+(?P<unit>{_UNIT})\)?+{_COLON}(?P<amount>{_DIGITS}){_CLOSE}",
        needs=("duration",),
    ),
    # AgentSociety asks for {"time": 10}, in minutes.
    *(
        Rule(f"json_{key}", rf"{key}(?<=[\"']{key}){_COLON}{_VALUE}{_CLOSE}", needs=_quoted(key, closed=True))
        for key in ("time", "estimated_time", "time_needed", "time_required")
    ),
    *(
        Rule(
            f"json_{key}_in",
            rf"{key}(?<=[\"']{key})[_ ]?+(?>in[_ ]?+|)\(?+(?P<unit>{_UNIT})\)?+{_COLON}(?P<amount>{_DIGITS}){_CLOSE}",
            needs=_quoted(key, closed=False),
        )
        for key in ("time", "estimated_time")
    ),
    Rule("nothing_else", rf"\s{{0,8}}+{_SPOKEN}[.\s]{{0,8}}+", needs=_TIME_WORDS, whole=True),
    _prose("prose_duration", "duration", r"(?>: | is | of )"),
    _prose("prose_takes", "take", r"s?+ "),
    _prose("prose_lasts", "last", r"(?>s|ing|) "),
    _prose("prose_spends", "spend", r"(?>s|ing|) "),
    _prose("prose_for", "for "),
    Rule("prose_parenthesis", rf"\({_SPOKEN}\)", needs=_TIME_WORDS),
)
"""For simulations whose answers nobody described better. The first that finds anything counts, so those that are surest
stand first."""
