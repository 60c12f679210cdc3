from __future__ import annotations

from typing import Any

import pytest

from scalesim.proxy.core.model import AdapterName
from scalesim.proxy.data_plane.beginning import LEAST_CHARS, MOST_CHARS, beginning_of
from scalesim.proxy.data_plane.request import CHAT, RESPONSES

TOWN = "You live in a town by the sea. " * 40


def chat(*messages: tuple[str, Any]) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": role, "content": text} for role, text in messages]}


def named(*messages: tuple[str, Any], adapter: str | None = None) -> str | None:
    return beginning_of(CHAT, chat(*messages), None if adapter is None else AdapterName(adapter))


def test_prompts_that_begin_alike_have_one_name_whatever_follows() -> None:
    ann, bob = ("user", "You are Ann."), ("user", "You are Bob. " * 500)
    assert len(TOWN) > MOST_CHARS
    assert named(("system", TOWN), ann) == named(("system", TOWN), bob)
    assert named(("system", TOWN + "Ann"), ann) == named(("system", TOWN + "Bob"), bob)
    assert named(("system", TOWN), ann) == "c7553463238f6585", "the same in every process"
    assert named(("system", f"Ann. {TOWN}"), ann) != named(("system", f"Bob. {TOWN}"), ann)


def test_a_short_system_prompt_is_a_beginning_of_its_own() -> None:
    short = TOWN[:LEAST_CHARS]
    assert named(("system", short), ("user", "Ann")) == named(("system", short), ("user", "Bob"))
    assert named(("system", short), ("user", "Ann")) != named(("system", f"{short}."), ("user", "Ann"))


def test_of_less_nothing_is_named_unless_what_follows_is_shared_too() -> None:
    less = TOWN[: LEAST_CHARS - 1]
    assert named(("system", less), ("user", "Ann")) is None
    assert named(("user", TOWN[: MOST_CHARS - 1])) is None
    assert named(("system", less), ("user", TOWN), ("user", "Ann")) == named(("system", less), ("user", TOWN))


def test_what_one_agent_talked_about_is_no_beginning() -> None:
    less, talk = TOWN[: LEAST_CHARS - 1], ("user", "Good morning. " * 20)
    assert named(("system", less), talk, ("assistant", TOWN), ("user", TOWN)) is None
    assert named(("system", TOWN[:LEAST_CHARS]), ("assistant", TOWN)) is not None, "the system's was enough"


def test_another_adapter_shares_nothing() -> None:
    assert named(("system", TOWN), adapter="poet") != named(("system", TOWN))
    assert named(("system", TOWN), adapter="poet") == named(("system", TOWN), adapter="poet")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": [{"role": "system", "content": [{"type": "text", "text": TOWN}]}]}),
        (RESPONSES, {"instructions": TOWN, "input": "Ann"}),
        (RESPONSES, {"input": TOWN}),
        ("/v1/completions", {"prompt": TOWN}),
        ("/v1/completions", {"prompt": [TOWN, "Ann"]}),
        ("/generate", {"text": TOWN}),
    ],
)
def test_all_routes_have_beginnings(path: str, body: dict[str, object]) -> None:
    assert beginning_of(path, body, None) is not None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": None},
        {"messages": [1, {"role": 2}, {"content": 3}, {"content": [4]}]},
        {"messages": {"role": TOWN}},
        {"messages": [{"role": "user", "content": "\ud800"}]},
    ],
)
def test_what_cannot_be_read_has_none(body: dict[str, object]) -> None:
    assert beginning_of(CHAT, body, None) is None


def test_no_more_than_the_first_characters_are_looked_at() -> None:
    many = [("user", "x" * 100)] * 10_000
    assert named(("system", TOWN), *many) == named(("system", TOWN), *many[:1])
