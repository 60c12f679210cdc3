from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.engines.models import (
    MOST_MODELS,
    AliasImpossible,
    ModelMissing,
    ModelNotFound,
    Models,
    Serving,
)

A, B, C = EngineId("a"), EngineId("b"), EngineId("c")


def _card(name: str, parent: str | None = None) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1, "owned_by": "sglang", "root": name, "parent": parent}


def _models(aliases: dict[str, str] | None = None, registered: frozenset[str] = frozenset()) -> Models:
    models = Models(aliases, is_registered=registered.__contains__)
    models.listed(A, [_card("qwen"), _card("poet", "qwen")])
    models.listed(B, [_card("qwen")])
    models.listed(C, [_card("s3://llama:8b")])
    return models


def test_a_model_is_served_by_those_who_list_it() -> None:
    assert _models().serving("qwen") == Serving("qwen", None, frozenset({A, B}))
    assert _models().serving("s3://llama:8b") == Serving("s3://llama:8b", None, frozenset({C}))


@pytest.mark.parametrize(
    "model", ["gpt-4o", "", "Qwen", "qwen ", "qwen:", "qwen:nobody", "default", 7, ["qwen"]]
)
def test_another_name_is_refused_and_never_answered_by_another_model(model: object) -> None:
    with pytest.raises(ModelNotFound) as refused:
        _models().serving(model)
    assert refused.value.status == 404
    assert refused.value.body() == {
        "error": {
            "message": str(refused.value),
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert "'qwen', 's3://llama:8b'" in str(refused.value)


def test_an_adapter_is_asked_for_with_its_base() -> None:
    assert _models().serving("qwen:poet") == Serving("qwen", "poet", frozenset({A}))
    with pytest.raises(ModelNotFound, match="an adapter is asked for as 'qwen:poet'"):
        _models().serving("poet")


def test_an_adapter_that_we_bring_is_served_wherever_its_base_is() -> None:
    models = _models(registered=frozenset({"bard", "poet"}))
    assert models.serving("qwen:bard").engines == {A, B}
    assert models.serving("qwen:poet").engines == {A, B}
    assert models.serving("s3://llama:8b:bard") == Serving("s3://llama:8b", "bard", frozenset({C}))


def test_of_bases_with_colons_the_longest_is_meant() -> None:
    models = _models(registered=frozenset({"y"}))
    models.listed(B, [_card("qwen:x")])
    assert models.serving("qwen:x:y").base == "qwen:x"
    assert models.serving("qwen:x") == Serving("qwen:x", None, frozenset({B}))


def test_an_alias_stands_for_a_model_or_an_adapter() -> None:
    models = _models({"gpt-4o": "qwen", "writer": "qwen:poet"})
    assert models.serving("gpt-4o").model == "qwen"
    assert models.serving("writer").model == models.serving("gpt-4o:poet").model == "qwen:poet"
    with pytest.raises(ModelNotFound):
        _models({"gone": "nobody"}).serving("gone")


def test_a_model_that_is_served_is_never_hidden_by_an_alias() -> None:
    assert _models({"qwen": "s3://llama:8b"}).serving("qwen").base == "qwen"


def test_only_an_operator_has_one_model_answer_for_all_names() -> None:
    models = _models({"*": "qwen"})
    assert models.serving("gpt-4o").base == "qwen"
    assert models.serving("s3://llama:8b").base == "s3://llama:8b"
    assert "*" not in [card["id"] for card in _cards(models)]


@pytest.mark.parametrize("aliases", [{"a": "b", "b": "qwen"}, {"": "qwen"}, {"a": ""}, {"a": "x" * 600}])
def test_an_alias_that_cannot_be_understood_is_refused_at_the_start(aliases: dict[str, str]) -> None:
    with pytest.raises(AliasImpossible):
        Models(aliases)


def test_a_request_without_a_model_is_served_where_there_is_one() -> None:
    models = _models()
    with pytest.raises(ModelMissing, match="'qwen', 's3://llama:8b'"):
        models.serving(None)
    models.left(C)
    assert models.serving(None) == Serving("qwen", None, frozenset({A, B}))
    models.left(A)
    assert models.serving(None).engines == {B}
    models.left(B)
    with pytest.raises(ModelMissing, match="none yet"):
        models.serving(None)


def _cards(models: Models) -> list[dict[str, object]]:
    data = models.merged()["data"]
    assert isinstance(data, list)
    return data


def test_the_merged_list_names_each_model_once_as_it_is_asked_for() -> None:
    models = _models({"gpt-4o": "qwen", "writer": "qwen:bard"}, frozenset({"bard"}))
    assert [card["id"] for card in _cards(models)] == [
        "gpt-4o",
        "qwen",
        "qwen:poet",
        "s3://llama:8b",
        "writer",
    ]
    for card in _cards(models):
        models.serving(card["id"])


def test_what_is_not_understood_is_left_out() -> None:
    models = Models()
    models.listed(A, [None, "qwen", {"id": 7}, {"id": ""}, {"id": "x" * 600}, {"id": "y", "parent": 7}])
    models.listed(B, [{"id": "qwen"}, {"id": "qwen:poet", "parent": "qwen"}, {"id": "z", "parent": "gone"}])
    assert models.sizes() == {"served_models": 1, "served_adapters": 1}
    assert models.serving("qwen:poet").engines == {B}


def test_an_engine_that_lists_very_many_is_not_believed_all_of_them() -> None:
    models = Models()
    models.listed(A, [_card(f"m-{number}") for number in range(MOST_MODELS + 9)])
    assert models.sizes()["served_models"] == MOST_MODELS


_NAMES = st.sampled_from(["m", "n", "m:x", "m:x:y", "x", "y", "*", "m: x", ":", "n:y"])


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.tuples(_NAMES, st.none() | _NAMES), max_size=4), max_size=3),
    st.dictionaries(_NAMES, _NAMES, max_size=2),
    _NAMES,
)
def test_nobody_is_asked_for_what_they_do_not_list(
    lists: list[list[tuple[str, str | None]]], aliases: dict[str, str], asked: str
) -> None:
    try:
        models = Models(aliases)
    except AliasImpossible:
        return
    for engine, cards in zip((A, B, C), lists, strict=False):
        models.listed(engine, [_card(name, parent) for name, parent in cards])
    try:
        serving = models.serving(asked)
    except ModelNotFound:
        return
    assert serving.engines
    for engine in serving.engines:
        cards = lists[(A, B, C).index(engine)]
        assert any(name == serving.base for name, parent in cards if parent in (None, name))
        adapters = {(parent, name.removeprefix(f"{parent}:")) for name, parent in cards if parent is not None}
        assert serving.adapter is None or (serving.base, serving.adapter) in adapters
    for card in _cards(models):
        models.serving(card["id"])


def test_aliases_may_be_others_later_and_impossible_ones_change_nothing() -> None:
    models = _models({"gpt-4o": "qwen"})
    models.call({"best": "qwen"})
    assert models.serving("best").base == "qwen"
    with pytest.raises(ModelNotFound):
        models.serving("gpt-4o")
    with pytest.raises(AliasImpossible):
        models.call({"best": "first", "first": "qwen"})
    assert models.serving("best").base == "qwen"
