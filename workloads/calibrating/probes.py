"""Calls that are made to see how long they take: what came when, as a client sees it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from scalesim.workloads.engines import EngineUnfit
from scalesim.workloads.prose import prose

BEATS_BEFORE, BEATS_AFTER = 10, 6
"""Tokens that a call which others are to hold up has made before they come, and makes after them at least."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one answer. Moments in seconds, on one clock."""

    asked_s: float
    tokens_s: tuple[float, ...]
    """When something of it came; several tokens may come together."""
    ended_s: float
    prompt_tokens: int
    cached_tokens: int
    host_tokens: int
    """Of these, what was brought from host memory for it; 0 where the engine does not say."""
    output_tokens: int

    @property
    def ttft_s(self) -> float:
        return self.tokens_s[0] - self.asked_s

    @property
    def token_s(self) -> float:
        """Between two tokens, on average."""
        return (self.tokens_s[-1] - self.tokens_s[0]) / max(1, self.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class Text:
    """That nobody has asked before, unless it begins with what another one begins with."""

    name: str
    tokens: int
    """About so many."""
    after: tuple[Text, ...] = ()

    def messages(self, chars_per_token: float) -> list[dict[str, str]]:
        chars = max(1, round(self.tokens * chars_per_token))
        own = {"role": "user", "content": prose(f"probe/{self.name}", chars)}
        return [message for text in self.after for message in text.messages(chars_per_token)] + [own]


@dataclass(slots=True)
class _Heard:
    """What came of a stream so far."""

    tokens_s: list[float] = field(default_factory=list)
    usage: Mapping[str, Any] | None = None
    host_tokens: int = 0

    def line(self, line: str) -> bool:
        """Whether it brought something of the answer. Raises `ValueError`."""
        if not line.startswith("data:") or line.endswith("[DONE]"):
            return False
        now = time.perf_counter()
        chunk = json.loads(line[len("data:") :])
        self.usage = chunk.get("usage") or self.usage
        details = (chunk.get("sglext") or {}).get("cached_tokens_details")
        self.host_tokens = int((details or {}).get("host") or self.host_tokens)
        # What only names the role is no token; one of half a character comes as no text at all.
        is_token = any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices") or ())
        if is_token:
            self.tokens_s.append(now)
        return is_token

    def seen(self, asked_s: float) -> Seen:
        if self.usage is None or not self.tokens_s:
            raise EngineUnfit("an answer came without tokens, or without usage")
        details = self.usage.get("prompt_tokens_details") or {}
        return Seen(
            asked_s,
            tuple(self.tokens_s),
            time.perf_counter(),
            int(self.usage["prompt_tokens"]),
            int(details.get("cached_tokens") or 0),
            self.host_tokens,
            int(self.usage["completion_tokens"]),
        )


class Prober:
    """Asks one model. `headers` go with every call."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        model: str,
        chars_per_token: float,
        headers: Mapping[str, str],
        *,
        names_adapters: bool = False,
    ) -> None:
        """`names_adapters`: an adapter is asked for as a model; else as SGLang takes it."""
        self.chars_per_token = chars_per_token
        self._http = http
        self._model = model
        self._headers = headers
        self._names_adapters = names_adapters

    async def ask(
        self,
        text: Text,
        output_tokens: int,
        adapter: str | None = None,
        beat: asyncio.Event | None = None,
        beats: int = 0,
    ) -> Seen:
        """`beat` is set after so many `beats` (pieces of the answer). Raises `EngineUnfit`."""
        body: dict[str, object] = {
            "model": self._model,
            "messages": text.messages(self.chars_per_token),
            "max_tokens": output_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
            "return_cached_tokens_details": True,
        }
        if adapter is not None:
            body["model" if self._names_adapters else "lora_path"] = adapter
        heard = _Heard()
        asked_s = time.perf_counter()
        try:
            async with self._http.stream(
                "POST", "/v1/chat/completions", json=body, headers=self._headers
            ) as response:
                if response.is_error:
                    words = (await response.aread()).decode(errors="replace")
                    raise EngineUnfit(f"a call of {text.tokens} tokens: {response.status_code} {words:.300}")
                async for line in response.aiter_lines():
                    if heard.line(line) and beat is not None and len(heard.tokens_s) >= beats:
                        beat.set()
        except (httpx.HTTPError, ValueError) as exc:
            raise EngineUnfit(f"a call of {text.tokens} tokens failed: {exc!r}") from exc
        finally:
            if beat is not None:
                beat.set()  # whoever waits for it shall not wait for ever
        return heard.seen(asked_s)

    async def together(
        self, texts: Sequence[Text], output_tokens: int, adapters: Sequence[str | None] = ()
    ) -> list[Seen]:
        own = adapters or [None] * len(texts)
        return list(
            await asyncio.gather(
                *(self.ask(text, output_tokens, adapter) for text, adapter in zip(texts, own, strict=True))
            )
        )

    async def held_up(
        self, beating: Text, texts: Sequence[Text], output_tokens: int, adapters: Sequence[str | None] = ()
    ) -> tuple[Seen, list[Seen]]:
        """A call that is in the middle of its answer when others come. What it then waits is what their prompts take the
        engine, without what is around it."""
        beat = asyncio.Event()
        length = BEATS_BEFORE + BEATS_AFTER + output_tokens * len(texts) + 24
        first = asyncio.create_task(self.ask(beating, length, beat=beat, beats=BEATS_BEFORE))
        await beat.wait()
        others = await self.together(texts, output_tokens, adapters)
        return await first, others
