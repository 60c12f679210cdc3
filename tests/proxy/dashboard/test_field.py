from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from scalesim.proxy.core.glance import Glance, Whereabouts
from scalesim.proxy.core.model import AgentName, Clock, EngineId, Source
from scalesim.proxy.dashboard.field import Field, Seen, seen

ANN, BOB = AgentName("Ann"), AgentName("Bob")
IDLE = Seen("engine-0", 0, "device", "steps", 17.0, "hinted", None)


@dataclass
class Page:
    """What somebody knows who was told all."""

    words: dict[int, str] = field(default_factory=dict)
    rows: dict[int, tuple[str, Seen]] = field(default_factory=dict)

    def take(self, told: dict[str, Any]) -> None:
        self.words.update(dict(told.get("words", [])))
        for number, engine, state, place, clock, due, source, confidence, *name in told.get("agents", []):
            row = Seen(
                self.words[engine],
                state,
                self.words[place],
                self.words[clock],
                due,
                self.words[source],
                confidence,
            )
            self.rows[number] = (name[0] if name else self.rows[number][0], row)
        for number in told.get("gone", []):
            del self.rows[number]

    @property
    def agents(self) -> dict[str, Seen]:
        return dict(self.rows.values())


def test_an_agent_is_told_with_its_name_once_and_by_its_number_from_then_on() -> None:
    shown = Field()
    shown.see(ANN, IDLE)
    (first,) = shown.changes()["agents"]
    shown.see(ANN, IDLE._replace(state=2))
    (second,) = shown.changes()["agents"]
    assert (first[0], first[-1]) == (second[0], "Ann")
    assert len(second) == len(first) - 1


def test_who_looks_the_same_is_not_told_again() -> None:
    shown = Field()
    shown.see(ANN, IDLE)
    shown.changes()
    shown.see(ANN, IDLE)
    assert shown.changes() == {}


def test_who_came_and_went_between_two_looks_is_never_told_of() -> None:
    shown = Field()
    shown.see(ANN, IDLE)
    shown.forget(ANN)
    assert "agents" not in shown.changes()
    assert len(shown) == 0


def test_who_comes_again_is_somebody_else() -> None:
    page, shown = Page(), Field()
    for _ in range(3):
        shown.see(ANN, IDLE)
        page.take(shown.changes())
        shown.forget(ANN)
        page.take(shown.changes())
    shown.see(ANN, IDLE)
    page.take(shown.changes())
    assert list(page.rows) == [3]


def test_the_picture_and_all_changes_say_the_same() -> None:
    random, shown, told = Random(1), Field(), Page()
    for _ in range(300):
        name = AgentName(f"agent {random.randrange(12)}")
        if random.random() < 0.2:
            shown.forget(name)
        else:
            place, due = random.choice(["device", "host"]), random.choice([None, 3.5])
            shown.see(
                name, Seen(random.choice(["a", "b"]), random.randrange(3), place, "steps", due, "gap", 0.5)
            )
        if random.random() < 0.3:
            told.take(shown.changes())
    told.take(shown.changes())
    fresh = Page()
    fresh.take(shown.picture([*shown.names, AgentName("nobody")]))
    assert told.agents == fresh.agents
    assert len(fresh.agents) == len(shown)


def test_agents_are_counted_by_how_sure_it_is_who_they_are() -> None:
    shown = Field()
    shown.see(ANN, IDLE)
    shown.see(BOB, IDLE._replace(confidence=0.87))
    shown.see(AgentName("Cem"), IDLE._replace(confidence=1.0))
    assert shown.confidence == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    shown.see(BOB, IDLE._replace(confidence=0.1))
    shown.forget(ANN)
    assert shown.confidence == [0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]


def test_those_who_call_or_are_loaded_for_are_to_be_looked_at_again() -> None:
    shown = Field()
    shown.see(ANN, IDLE._replace(state=1))
    shown.see(BOB, IDLE._replace(place="loading"))
    shown.see(AgentName("Cem"), IDLE)
    assert shown.active == [ANN, BOB]
    shown.see(ANN, IDLE)
    shown.forget(BOB)
    assert shown.active == []


@pytest.mark.parametrize(
    ("due", "clock", "source", "shown"),
    [
        (17.004, Clock.STEPS, Source.HINTED, ("steps", 17.0, "hinted")),
        (0.0, Clock.SECONDS, Source.GAP, ("seconds", 0.0, "gap")),
        (math.inf, Clock.STEPS, Source.HINTED, ("steps", None, "hinted")),
        (None, None, None, ("", None, "")),
        (812.5, Clock.SECONDS, Source.ACTIVATION, ("", None, "activation")),
    ],
)
def test_moments_are_told_on_their_clock_and_now_is_none(
    due: float | None, clock: Clock | None, source: Source | None, shown: tuple[str, float | None, str]
) -> None:
    glance = Glance(due, clock, source, 0, False, EngineId("engine-0"), Whereabouts.DEVICE)
    row = seen(glance, None)
    assert (row.clock, row.due, row.source) == shown
