"""What the body of a generation request asks for. Fields that an engine without a model cannot honour are ignored."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from . import tokens
from .tokens import Tokens

NATIVE_MAX_NEW = 128
COMPLETION_MAX_NEW = 16
MAX_N = 128
_LITERAL = re.compile(r"(?:[A-Za-z0-9 ](?![*+?{|]))+")


class BadRequest(ValueError):
    """Answered with 400 and this text."""


@dataclass(frozen=True, slots=True)
class Ask:
    prompts: list[Tokens]
    batch: bool
    """The prompt was a list of prompts: /generate then answers with a list."""
    n: int
    max_new: int | None
    ignore_eos: bool
    stream: bool
    include_usage: bool
    top_logprobs: int | None
    """None: no log-probabilities at all."""
    owner: str | None
    rid: str | None
    says: str | None = None
    """What the answer begins with: the letters, digits and spaces at the head of `regex`."""
    cached_details: bool = False
    """Whether to tell where cached tokens were."""


def parse_chat(body: Mapping[str, object]) -> Ask:
    messages = body.get("messages")
    if (
        not isinstance(messages, list)
        or not messages
        or not all(isinstance(one, Mapping) for one in messages)
    ):
        raise BadRequest("messages: a list of at least one message is needed")
    # As SGLang reads it: a max_completion_tokens of 0 counts as not given, a max_tokens of 0 is a mere touch.
    max_new = _count(body, "max_completion_tokens") or _count(body, "max_tokens")
    top = _count(body, "top_logprobs") or 0
    return _ask(body, [tokens.render_chat(messages)], max_new, top if body.get("logprobs") is True else None)


def parse_completion(body: Mapping[str, object]) -> Ask:
    max_new = _count(body, "max_tokens")
    if max_new == 0:
        raise BadRequest("max_tokens must be positive")
    prompts, batch = _prompts("prompt", body.get("prompt"))
    top = _count(body, "logprobs")
    return _ask(body, prompts, COMPLETION_MAX_NEW if max_new is None else max_new, top, batch=batch)


def parse_generate(body: Mapping[str, object]) -> Ask:
    name = "input_ids" if body.get("input_ids") is not None else "text"
    prompts, batch = _prompts(name, body.get(name))
    sampling = body.get("sampling_params") or {}
    if not isinstance(sampling, Mapping):
        raise BadRequest("sampling_params is not an object")
    max_new = _count(sampling, "max_new_tokens")
    top = _count(body, "top_logprobs_num") or 0
    return _ask(
        {**body, "n": sampling.get("n"), "ignore_eos": sampling.get("ignore_eos")},
        prompts,
        NATIVE_MAX_NEW if max_new is None else max_new,
        top if body.get("return_logprob") is True else None,
        batch=batch,
    )


def adapter_of(body: Mapping[str, object], served_model: str, *, openai: bool) -> str | None:
    """The adapter that a request names, None for the base model. As SGLang, `model: "base:name"` counts first."""
    model, path = body.get("model"), body.get("lora_path")
    if openai and isinstance(model, str) and model != served_model:
        # A served name may have colons of its own.
        if model.startswith(f"{served_model}:"):
            named = model[len(served_model) + 1 :].strip()
        else:
            named = model.partition(":")[2].strip()
        if named:
            return named
    if path is not None and not isinstance(path, str):
        raise BadRequest("lora_path is not a string")
    return path or None


def parse_tokenize(body: Mapping[str, object]) -> list[Tokens] | Tokens:
    """The ids of the prompt, of each prompt of a list, or of the messages."""
    messages, prompt = body.get("messages"), body.get("prompt")
    if (messages is None) == (prompt is None):
        raise BadRequest("exactly one of 'prompt' or 'messages' must be provided")
    if messages is not None:
        return parse_chat(body).prompts[0]
    if isinstance(prompt, str):
        return tokens.encode(prompt)
    if isinstance(prompt, list) and all(isinstance(one, str) for one in prompt):
        return [tokens.encode(one) for one in prompt]
    raise BadRequest("prompt: a string or a list of strings is needed")


def _ask(
    body: Mapping[str, object],
    prompts: list[Tokens],
    max_new: int | None,
    top_logprobs: int | None,
    *,
    batch: bool = False,
) -> Ask:
    owner, rid = body.get("session_id"), body.get("rid")
    if owner is not None and not isinstance(owner, str):
        raise BadRequest("session_id is not a string")
    options = body.get("stream_options")
    n = _count(body, "n") or 1
    if n > MAX_N:
        raise BadRequest(f"n: {n} answers, at most {MAX_N}")
    return Ask(
        prompts=prompts,
        batch=batch,
        n=n,
        max_new=max_new,
        ignore_eos=body.get("ignore_eos") is True,
        stream=body.get("stream") is True,
        include_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
        top_logprobs=top_logprobs,
        owner=owner,
        rid=rid if isinstance(rid, str) else None,
        says=_literal(body.get("regex")),
        cached_details=body.get("return_cached_tokens_details") is True,
    )


def _literal(regex: object) -> str | None:
    """A model would fit all of a regular expression. What is made up here fits the beginning."""
    found = _LITERAL.match(regex) if isinstance(regex, str) else None
    return found[0].strip() if found else None


def needed_text(body: Mapping[str, object], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{name}: a text is needed, not {value!r:.64}")
    return value


def _count(body: Mapping[str, object], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRequest(f"{name}: {value!r:.64} is not a whole number from 0 on")
    return value


def _prompts(name: str, value: object) -> tuple[list[Tokens], bool]:
    """A text, a list of ids, or a list of either."""
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], int)):
        return [_prompt(name, value)], False
    if isinstance(value, list) and value:
        return [_prompt(name, one) for one in value], True
    raise BadRequest(f"{name}: a text or a list of token ids is needed")


def _prompt(name: str, value: object) -> Tokens:
    if isinstance(value, str):
        return tokens.encode(value)
    if not isinstance(value, list):
        raise BadRequest(f"{name}: {value!r:.64} is neither a text nor a list of token ids")
    try:
        ids = array("q", value)
    except (TypeError, OverflowError) as exc:
        raise BadRequest(f"{name}: the token ids are not whole numbers ({exc})") from exc
    if ids and not 0 <= min(ids) <= max(ids) < tokens.VOCABULARY:
        raise BadRequest(f"{name}: token ids must be from 0 to {tokens.VOCABULARY - 1}")
    return ids
