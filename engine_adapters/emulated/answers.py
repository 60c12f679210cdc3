"""The JSON of answers, in the forms of the OpenAI routes and of SGLang's own /generate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .asks import Ask
from .scheduler import Generation, candidates
from .tokens import decode, word

Json = dict[str, Any]


def usage(ask: Ask, generations: Sequence[Generation]) -> Json:
    prompt_tokens = sum(map(len, ask.prompts))
    output = sum(len(one.output) for one in generations)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output,
        "total_tokens": prompt_tokens + output,
        "prompt_tokens_details": {"cached_tokens": sum(one.cached for one in generations if one.choice == 0)},
    }


def new_text(generation: Generation, sent: int, known: int | None = None) -> str:
    """The text of the output tokens `sent:known`; it continues that of the tokens before."""
    output = generation.output[sent:known]
    if generation.says is not None and not sent and output:
        return f"{generation.says} {decode(output[1:])}".strip()
    text = decode(output)
    return f" {text}" if sent and text else text


class Form:
    """How one OpenAI route writes its answers."""

    def __init__(self, *, chat: bool, answer_id: str, created: int, model: str, ask: Ask) -> None:
        self._chat = chat
        self._ask = ask
        self._head = {"id": answer_id, "created": created, "model": model}
        self._object = "chat.completion" if chat else "text_completion"

    def whole(self, generations: Sequence[Generation], total: Json) -> Json:
        choices = [
            self._choice(index, one, 0, len(one.output), one.finish) for index, one in enumerate(generations)
        ]
        return {**self._head, "object": self._object, "choices": choices, "usage": total}

    def opening(self, index: int) -> Json | None:
        """What a stream begins with for each choice."""
        if not self._chat:
            return None
        return self._chunk([_open_choice(index)])

    def piece(self, index: int, generation: Generation, sent: int, known: int) -> Json:
        """The tokens `sent:known`."""
        return self._chunk([self._choice(index, generation, sent, known, None, delta=True)])

    def closing(self, index: int, generation: Generation) -> Json:
        """No tokens, but why the answer ended."""
        end = len(generation.output)
        return self._chunk([self._choice(index, generation, end, end, generation.finish, delta=True)])

    def extension(self, generations: Sequence[Generation]) -> Json:
        """What SGLang adds for those who ask where cached tokens were."""
        first = generations[0]
        places = {"device": first.cached - first.from_host, "host": first.from_host}
        return {**self._chunk([]), "sglext": {"cached_tokens_details": places}}

    def totals(self, total: Json) -> Json:
        return {**self._chunk([]), "usage": total}

    def _chunk(self, choices: list[Json]) -> Json:
        name = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._head, "object": name, "choices": choices}

    def _choice(
        self,
        index: int,
        generation: Generation,
        sent: int,
        known: int,
        reason: str | None,
        *,
        delta: bool = False,
    ) -> Json:
        text = new_text(generation, sent, known)
        choice: Json = {"index": index, "finish_reason": reason, "logprobs": None}
        if not self._chat:
            choice["text"] = text
        elif delta:
            choice["delta"] = {"content": text} if text else {}
        else:
            choice["message"] = {"role": "assistant", "content": text}
        if self._ask.top_logprobs is not None and sent < known:
            logprobs = _chat_logprobs if self._chat else _text_logprobs
            choice["logprobs"] = logprobs(generation, sent, known, self._ask.top_logprobs)
        return choice


def _open_choice(index: int) -> Json:
    return {
        "index": index,
        "delta": {"role": "assistant", "content": ""},
        "finish_reason": None,
        "logprobs": None,
    }


def native(generation: Generation, ask: Ask) -> Json:
    """One answer of /generate; on a stream each chunk holds all up to now."""
    reason: Json | None = None
    if generation.finish is not None:
        reason = {"type": generation.finish}
        if generation.finish == "length":
            reason["length"] = len(generation.output)
        if generation.finish == "abort":
            reason["message"] = "Aborted"
    meta: Json = {
        "id": generation.rid,
        "finish_reason": reason,
        "prompt_tokens": len(generation.prompt),
        "completion_tokens": len(generation.output),
        "cached_tokens": generation.cached,
        "cached_tokens_details": {
            "device": generation.cached - generation.from_host,
            "host": generation.from_host,
        },
    }
    if ask.top_logprobs is not None:
        ranked = _ranked(generation, 0, len(generation.output), max(1, ask.top_logprobs))
        meta["output_token_logprobs"] = [[row[0][1], row[0][0], None] for row in ranked]
        if ask.top_logprobs:
            meta["output_top_logprobs"] = [
                [[logprob, token, None] for token, logprob in row] for row in ranked
            ]
    return {"text": new_text(generation, 0), "output_ids": list(generation.output), "meta_info": meta}


def _ranked(generation: Generation, sent: int, known: int, count: int) -> list[list[tuple[int, float]]]:
    """For each of the tokens `sent:known`: itself and the likeliest others, with their log-probabilities."""
    rows = []
    for token, state in zip(generation.output[sent:known], generation.states[sent:known], strict=True):
        (_, logprob), *others = candidates(state, generation.choice, count)
        rows.append([(token, logprob), *others])
    return rows


def _chat_logprobs(generation: Generation, sent: int, known: int, top: int) -> Json:
    content = []
    for row in _ranked(generation, sent, known, max(1, top)):
        entries = [
            {"token": word(token), "logprob": logprob, "bytes": list(word(token).encode())}
            for token, logprob in row
        ]
        content.append({**entries[0], "top_logprobs": entries[:top]})
    return {"content": content}


def _text_logprobs(generation: Generation, sent: int, known: int, top: int) -> Json:
    ranked = _ranked(generation, sent, known, max(1, top))
    offsets, at = [], len(new_text(generation, 0, sent)) + bool(sent)
    for row in ranked:
        offsets.append(at)
        at += len(word(row[0][0])) + 1
    return {
        "tokens": [word(row[0][0]) for row in ranked],
        "token_logprobs": [row[0][1] for row in ranked],
        "top_logprobs": [{word(token): logprob for token, logprob in row[:top]} for row in ranked],
        "text_offset": offsets,
    }
