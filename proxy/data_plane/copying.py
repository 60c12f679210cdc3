"""Copies an answer to the client, as it is and as it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable

from scalesim.proxy.core.model import Outcome
from scalesim.proxy.engines.breaker import verdict_of_error

from ..errors import UpstreamBroke, UpstreamSilent
from .asgi import Send, tell
from .errand import Errand
from .headers import to_client
from .sending import Begun
from .usage import witness_of

_log = logging.getLogger(__name__)


async def copy(errand: Errand, begun: Begun, send: Send, clock: Callable[[], float]) -> None:
    """Returns when the client has all it will get; cancelled when it left. A chunk is asked for when the client has taken those
    before, so an engine is never read faster than its client reads."""
    answer, call = begun.answer, errand.call
    headers = to_client(answer.headers)
    if answer.status in (204, 304):
        # It may tell the length of a body that is not sent; servers hold an answer to what it tells.
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    witness = witness_of(headers, errand.request.parsed)
    if call is not None:
        call.witness = witness
        call.status = answer.status
    await tell(send, {"type": "http.response.start", "status": answer.status, "headers": headers})
    is_whole = False
    try:
        async for chunk in answer:
            if call is not None:
                call.see_the_first()
            is_whole = answer.is_whole
            if is_whole:
                errand.came()
            await tell(send, {"type": "http.response.body", "body": chunk, "more_body": not is_whole})
            witness.see(chunk)
    except UpstreamBroke as exc:
        begun.breaker.broke(begun.given, clock(), verdict_of_error(exc))
        errand.is_out = isinstance(exc, UpstreamSilent)  # it may be at it still
        if call is not None:
            call.end(Outcome.ENGINE_FAILED)
        _log.warning("%s broke off in its answer: %s", errand, exc)
        # The answer stays without its end: the server then closes the connection, and the client can tell.
        return
    if not is_whole:
        errand.came()
        await tell(send, {"type": "http.response.body", "body": b"", "more_body": False})
    if call is not None:
        call.end(Outcome.DONE, witness.usage())
