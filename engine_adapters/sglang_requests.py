"""What SGLang's generation routes make of a request body: its session, its id, its adapter. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from scalesim.proxy.core.model import AdapterName, Owner

from .sglang_plugin import wire

REQUEST_ID_FIELDS = {
    "/v1/chat/completions": "rid",
    "/v1/completions": "rid",
    "/v1/responses": "request_id",
    "/v1/embeddings": "rid",
    "/generate": "rid",
}
SESSION_PATHS = REQUEST_ID_FIELDS.keys() - {"/v1/embeddings"}
SALTED_PATHS = SESSION_PATHS
"""SGLang's embeddings take no salt."""
ADAPTER_PATHS = REQUEST_ID_FIELDS.keys() - {"/v1/responses"}
"""SGLang takes `BASE:NAME` on /v1/responses as well, and then answers with the base model."""
_PROMPTS = frozenset({"prompt", "text", "input_ids", "input"})


def additions(
    path: str,
    body: Mapping[str, object],
    owner: Owner | None,
    request_id: str,
    adapter: AdapterName | None,
    served_model: str | None,
) -> dict[str, str]:
    """As `EngineAdapter.additions`. `served_model` is the name of the base model, None if it is not known."""
    field = REQUEST_ID_FIELDS.get(path)
    if field is None:
        return {}
    added: dict[str, str] = {}
    # With several answers the engine would make other ids out of ours, and an abort would not find them.
    if not isinstance(body.get(field), str) and not _has_many_answers(path, body):
        added[field] = request_id
    # The engine refuses a request that names both kinds of session: advice must never cost an answer.
    has_session = body.get("session_params") is not None
    if path in SESSION_PATHS and owner is not None and can_be_told(owner) and not has_session:
        added["session_id"] = owner
    if (
        path in ADAPTER_PATHS
        and adapter is not None
        and not body.get("lora_path")  # a list names one for each prompt of a batch
        and adapter_of(path, body, served_model) is None
    ):
        added["lora_path"] = adapter
    return added


def salting(path: str, salt: str | None) -> dict[str, str]:
    """The field that keeps a call's prefixes to those with the same salt. A string holds for all prompts of a batch."""
    return {} if salt is None or path not in SALTED_PATHS else {"cache_salt": salt}


def adapter_of(path: str, body: Mapping[str, object], served_model: str | None) -> AdapterName | None:
    """The one adapter that a body names. The model's name comes before `lora_path`, as in SGLang's `_resolve_lora_path`."""
    if path not in ADAPTER_PATHS:
        return None
    model, named = body.get("model"), body.get("lora_path")
    if path != "/generate" and isinstance(model, str) and (of_model := _after_base(model, served_model)):
        return AdapterName(of_model)
    return AdapterName(named) if isinstance(named, str) and named else None


def _after_base(model: str, served_model: str | None) -> str:
    """NAME of `BASE:NAME`. The base model's own name may hold colons (`s3://...`)."""
    if model == served_model:
        return ""
    if served_model is not None and model.startswith(f"{served_model}:"):
        return model[len(served_model) + 1 :].strip()
    return model.partition(":")[2].strip()


def can_be_told(name: str) -> bool:
    """A name that the protocol has no room for is served, but nothing is remembered for it."""
    return 0 < len(name) <= wire.MAX_OWNER_CHARS


def _has_many_answers(path: str, body: Mapping[str, object]) -> bool:
    if path == "/v1/responses":  # always one; its `input` and `text` mean something else
        return False
    sampling = body.get("sampling_params")
    return (
        _above_one(body.get("n"))
        or isinstance(sampling, list)
        or (isinstance(sampling, dict) and _above_one(sampling.get("n")))
        or (not _PROMPTS.isdisjoint(body) and any(_is_list_of_prompts(body.get(name)) for name in _PROMPTS))
    )


def _above_one(n: object) -> bool:
    return isinstance(n, (int, float)) and n > 1


def _is_list_of_prompts(prompt: object) -> bool:
    """A list of numbers is one prompt in token ids."""
    return isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
