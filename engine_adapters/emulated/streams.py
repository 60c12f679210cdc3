"""The pieces of a stream, in order, as the scheduler produces tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from . import answers
from .asks import Ask
from .scheduler import Generation

Json = dict[str, Any]


async def openai_pieces(
    form: answers.Form, ask: Ask, generations: Sequence[Generation], moved: asyncio.Event
) -> AsyncIterator[Json]:
    """Each piece holds the tokens since the one before; a slow reader gets several in one.

    As with SGLang nothing comes before the first token: whoever measures the time to the first byte measures that.
    """
    sent = [0] * len(generations)
    opened: set[int] = set()
    unfinished = set(range(len(generations)))
    while unfinished:
        moved.clear()
        for index in sorted(unfinished):
            generation = generations[index]
            known, finish = len(generation.output), generation.finish
            if (known or finish is not None) and index not in opened:
                opened.add(index)
                if (opening := form.opening(index)) is not None:
                    yield opening
            if known > sent[index]:
                yield form.piece(index, generation, sent[index], known)
                sent[index] = known
            if finish is not None:
                yield form.closing(index, generation)
                unfinished.discard(index)
        if unfinished:
            await moved.wait()
    if ask.cached_details:
        yield form.extension(generations)
    if ask.include_usage:
        yield form.totals(answers.usage(ask, generations))


async def native_pieces(
    ask: Ask, generations: Sequence[Generation], moved: asyncio.Event
) -> AsyncIterator[Json]:
    """Each piece of /generate holds the whole answer up to now."""
    sent = [0] * len(generations)
    unfinished = set(range(len(generations)))
    while unfinished:
        moved.clear()
        for index in sorted(unfinished):
            generation = generations[index]
            known, finish = len(generation.output), generation.finish
            if finish is not None or known > sent[index]:
                piece = answers.native(generation, ask)
                yield {**piece, "index": index} if len(generations) > 1 else piece
                sent[index] = known
            if finish is not None:
                unfinished.discard(index)
        if unfinished:
            await moved.wait()
