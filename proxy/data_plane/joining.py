"""Which requests are one and the same, sent again: those share one answer instead of being generated twice.

A client that sends `Idempotency-Key` promises that requests with the same key are one. A request id (`X-Client-Request-ID`,
`X-Request-ID`) promises nothing: it counts only where the client says besides that this is a retry
(`X-Stainless-Retry-Count`, which OpenAI's clients always send). Both hold for one API key alone, and for one body: a key that
comes again with another body is refused. Only answers that are not streamed are shared.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from ..errors import CallRefused
from .headers import ACTS_FOR, AGENT, SESSION, SIMULATION, Headers, title

_KEY = b"idempotency-key"
_REQUEST_IDS = (b"x-client-request-id", b"x-request-id")
_RETRY_COUNT = b"x-stainless-retry-count"

_NAMING = frozenset({_KEY, *_REQUEST_IDS, _RETRY_COUNT})
_MAX_KEY_BYTES = 255
_CREDENTIALS = (b"authorization", b"api-key", b"x-api-key")
_ALIKE = (AGENT, SIMULATION, SESSION, ACTS_FOR, b"accept-encoding", b"content-encoding", b"content-type")
"""Besides the URL and the body, what must be the same. Others may differ from one attempt to the next (traceparent, date)."""


class KeyReused(CallRefused):
    """The key stands for another request."""

    status = 422
    kind = "idempotency_key_reused"


class KeyInUse(CallRefused):
    """The first request with the key is still running, and no more can wait for its answer. The client may come again."""

    status = 409
    kind = "idempotency_key_in_use"
    retry_after_s = 1.0


@dataclass(frozen=True, slots=True)
class Name:
    """What a request is called by its client."""

    key: bytes
    """A digest of the header, its value and the API key."""
    fingerprint: bytes
    """A digest of the request."""
    is_promise: bool
    is_retry: bool


def name_of(
    client: str, method: str, target: str, headers: Headers, body: bytes, parsed: Mapping[str, object] | None
) -> Name | None:
    """None: it has none, or is streamed. `client` is the name of the API key that it came with, empty where none is needed;
    `target` the URL's path with its query as the client sent it.

    Raises `CallRefused`: the key is too long, or there are two.
    """
    if method != "POST" or parsed is None or parsed.get("stream"):
        return None
    found = {name: value for name, value in headers if name in _NAMING}
    if not found:
        return None  # as of nearly all
    header = next((name for name in (_KEY, *_REQUEST_IDS) if found.get(name)), None)
    if header is None or (header != _KEY and _RETRY_COUNT not in found):
        return None
    value = found[header]
    if len(value) > _MAX_KEY_BYTES:
        if header != _KEY:
            return None
        raise CallRefused(f"{title(header)} has {len(value)} bytes; the limit is {_MAX_KEY_BYTES}")
    if header == _KEY and any(name == _KEY and other != value for name, other in headers):
        raise CallRefused(f"{title(header)} is given twice, with different values")
    credentials = [(name, value) for name, value in headers if name in _CREDENTIALS]
    alike = [(name, value) for name, value in headers if name in _ALIKE]
    return Name(
        _digest((header, value), (b"client", client.encode()), *sorted(credentials)),
        _digest((target.encode("latin-1", "replace"), body), *sorted(alike)),
        is_promise=header == _KEY,
        is_retry=found.get(_RETRY_COUNT, b"0").strip() not in (b"", b"0"),
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole answer, as it went to the first client."""

    status: int
    headers: Headers
    body: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.body) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(slots=True, eq=False)
class Shared:
    """A call that requests of one name share. To be read by others, and changed by `Joins` alone."""

    name: Name
    clients: int = 1
    """Who waits for its answer."""
    runs: bool = True
    is_shared: bool = True
    """Not any more once its answer has become too large: it is its first client's alone then."""
    wanted_until: float | None = None
    """When it is to be cut off, if nobody has come back for it by then. None: somebody waits for it."""
    answer: Kept | None = None
    kept_until: float = 0.0
    chunks: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class First:
    """It is to be generated. `call` is owed an `ended`."""

    call: Shared


@dataclass(frozen=True, slots=True)
class Joined:
    """Its answer will be that of `call`, which runs. A `leave` is owed unless it ends before."""

    call: Shared


@dataclass(frozen=True, slots=True)
class JoinRules:
    grace_s: float = 10.0
    """How long a call goes on whose clients have all left. OpenAI's clients come back within 8 s."""
    most_alone: int = 64
    """Calls that may run for nobody at once. More are cut off as those are that have no name."""
    kept_s: float = 60.0
    """How long an answer is kept after its end."""
    most_bytes: int = 64_000_000
    """Of all answers, whole and not yet whole."""
    most_answer_bytes: int = 1_000_000
    most_calls: int = 4096
    """Running and kept. The oldest answer makes room; where all run, who comes is served for itself."""
    most_clients: int = 16
    """That may wait for one answer."""


class Joins:
    """Times are of one clock, in seconds, and do not go back."""

    def __init__(self, rules: JoinRules) -> None:
        self._rules = rules
        self._calls: dict[bytes, Shared] = {}
        self._kept: OrderedDict[bytes, Shared] = OrderedDict()
        """In the order in which they ended, which is that in which they are to be forgotten."""
        self._bytes = 0
        self._alone = 0

    def configure(self, rules: JoinRules) -> None:
        """From now on. What is kept already stays for as long as it was to; too much of it goes with the next that comes."""
        self._rules = rules

    def sizes(self) -> dict[str, int]:
        return {
            "joined_running": len(self._calls) - len(self._kept),
            "joined_alone": self._alone,
            "joined_answers": len(self._kept),
            "joined_bytes": self._bytes,
        }

    def come(self, name: Name, at: float) -> First | Joined | Kept | None:
        """What becomes of a request; None: it has nothing to do with any other. Raises `KeyReused` and `KeyInUse`."""
        self._forget_old(at)
        call = self._calls.get(name.key)
        if call is None:
            return self._begin(name)
        if not name.is_promise and not (name.is_retry and name.fingerprint == call.name.fingerprint):
            return None
        if name.fingerprint != call.name.fingerprint:
            raise KeyReused(
                "the Idempotency-Key was used for another request; give each request a key of its own"
            )
        if call.answer is not None:
            return call.answer
        if not call.is_shared or call.clients >= self._rules.most_clients:
            raise KeyInUse("the first request with this key is still running; wait for its answer")
        call.clients += 1
        if call.wanted_until is not None:
            call.wanted_until = None
            self._alone -= 1
        return Joined(call)

    def leave(self, call: Shared, at: float) -> None:
        """One of its clients has gone. See `wanted_until` then: it may be `at`."""
        if not call.runs:
            return
        call.clients -= 1
        if call.clients:
            return
        is_waited_for = call.is_shared and self._alone < self._rules.most_alone
        call.wanted_until = at + (self._rules.grace_s if is_waited_for else 0.0)
        self._alone += 1

    def see(self, call: Shared, chunk: bytes) -> None:
        """A piece of its answer's body has come. Once `is_shared` has become false, nothing of it is kept."""
        if not call.is_shared:
            return
        call.chunks.append(chunk)
        self._grow(call, len(chunk))
        while self._bytes > self._rules.most_bytes and self._kept:
            self._forget_oldest()
        if call.size_bytes > self._rules.most_answer_bytes or self._bytes > self._rules.most_bytes:
            call.is_shared = False
            self._drop_body(call)
            if call.wanted_until is not None:
                call.wanted_until = 0.0

    def ended(
        self, call: Shared, at: float, status: int | None = None, headers: Headers | None = None
    ) -> None:
        """With the head of its answer, if that came whole: it is kept then, unless it is an error. Another try may end otherwise.

        Those who joined and find no `answer` are to come again: the next of them will be the first.
        """
        if not call.runs:
            return
        call.runs = False
        if call.wanted_until is not None:
            self._alone -= 1
        if not call.is_shared or status is None or not 200 <= status < 300:
            self._drop_body(call)
            del self._calls[call.name.key]
            return
        call.answer = Kept(status, headers or [], b"".join(call.chunks))
        call.chunks.clear()
        self._grow(call, call.answer.size_bytes - call.size_bytes)
        call.kept_until = at + self._rules.kept_s
        self._kept[call.name.key] = call
        while self._bytes > self._rules.most_bytes:
            self._forget_oldest()

    def _begin(self, name: Name) -> First | None:
        if len(self._calls) >= self._rules.most_calls:
            if not self._kept:
                return None
            self._forget_oldest()
        call = self._calls[name.key] = Shared(name)
        return First(call)

    def _forget_old(self, at: float) -> None:
        while self._kept and next(iter(self._kept.values())).kept_until <= at:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        key, call = self._kept.popitem(last=False)
        del self._calls[key]
        # Who joined it may be about to read its answer, so it keeps that itself.
        self._grow(call, -call.size_bytes)

    def _drop_body(self, call: Shared) -> None:
        call.chunks.clear()
        self._grow(call, -call.size_bytes)

    def _grow(self, call: Shared, by: int) -> None:
        call.size_bytes += by
        self._bytes += by


def _digest(*parts: tuple[bytes, bytes]) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        for value in part:
            # With its length, so that no two lists of parts look alike.
            digest.update(len(value).to_bytes(8, "big"))
            digest.update(value)
    return digest.digest()
