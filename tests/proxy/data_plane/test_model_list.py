from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from scalesim.proxy.data_plane.asgi import Message, Receive, Scope, Send
from scalesim.proxy.data_plane.model_list import ModelList

pytestmark = pytest.mark.anyio

CARDS = [{"id": "llama", "object": "model"}, {"id": "Qwen/Qwen3:pirate", "object": "model"}]
ALL = {"object": "list", "data": CARDS}


async def ask(
    path: str, method: str = "GET", merged: Mapping[str, Any] | None = ALL
) -> tuple[int, Any] | None:
    """None: it was passed on."""
    sent: list[Message] = []
    passed: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("there is nothing to read")

    scope: Scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode()}
    await ModelList(app, lambda: merged)(scope, receive, send)
    if passed:
        assert not sent
        return None
    return sent[0]["status"], json.loads(sent[1]["body"])


async def test_all_models_are_listed() -> None:
    for path in ("/v1/models", "/v1/models/", "/sim/town/agent/Ann/v1/models"):
        assert await ask(path) == (200, ALL)


async def test_one_model_is_told_though_its_name_holds_slashes() -> None:
    assert await ask("/v1/models/llama") == (200, CARDS[0])
    assert await ask("/v1/models/Qwen/Qwen3:pirate") == (200, CARDS[1])
    assert await ask("/v1/models/Qwen%2FQwen3%3Apirate") == (200, CARDS[1])


async def test_an_unknown_model_is_not_found_in_the_form_that_clients_know() -> None:
    answer = await ask("/v1/models/gpt")
    assert answer is not None
    assert answer[0] == 404
    assert answer[1]["error"]["code"] == "model_not_found"


async def test_the_only_engine_answers_for_itself() -> None:
    assert await ask("/v1/models", merged=None) is None


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/models", "POST"),
        ("/v1/chat/completions", "POST"),
        ("/v1/modelsandmore", "GET"),
        ("/other/v1/models", "GET"),
        ("/sim/no%20name/v1/models", "GET"),
        ("/sim/a%2Fv1%2Fmodels/x", "GET"),
    ],
)
async def test_everything_else_is_passed_on(path: str, method: str) -> None:
    assert await ask(path, method) is None
