"""Requests as nobody should send them: request lines, headers, framing and bodies, made by hypothesis.

They are written down as pieces that are repeated, so that a megabyte is made when it is sent, and not before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

Pieces = tuple[tuple[bytes, int], ...]

ROUTES = (
    b"/v1/chat/completions",
    b"/v1/completions",
    b"/v1/responses",
    b"/v1/embeddings",
    b"/generate",
    b"/v1/models",
    b"/health",
    b"/tokenize",
    b"/sim/town/agent/ann/v1/chat/completions",
    b"/scalesim/v1/capabilities",
    b"/",
    b"*",
)
METHODS = (
    b"POST",
    b"GET",
    b"HEAD",
    b"OPTIONS",
    b"PUT",
    b"DELETE",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"\x00",
)
KNOWN_HEADERS = (
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Content-Type", b"Connection",
    b"Upgrade", b"Expect", b"TE", b"Trailer", b"Authorization", b"X-Api-Key", b"X-Agent-ID", b"X-Simulation-ID",
    b"X-Step", b"X-Acts-For", b"Idempotency-Key", b"X-Request-ID", b"Origin", b"Cookie", b"Range", b"Accept-Encoding",
)  # fmt: skip
STRANGE = (
    b"", b"0", b"-1", b"+5", b"0x10", b"1e3", b"9" * 30, b"chunked", b"gzip, chunked", b"chunked, chunked", b"identity",
    b"keep-alive", b"close", b"upgrade", b"websocket", b"h2c", b"100-continue", b"\xff\xfe", b"\x00", b" \t ", b"a\rb",
    b"nan", b"Infinity", b"../../etc/passwd", b"%00", b"\xf0\x9f\x98\x80", b"null", b"x" * 300,
)  # fmt: skip
FIELDS = (
    "model", "messages", "prompt", "input", "text", "stream", "max_tokens", "max_completion_tokens", "n", "user", "rid",
    "request_id", "session_id", "lora_path", "cache_salt", "stream_options", "sampling_params", "logprobs", "regex",
    "metadata", "store", "previous_response_id", "instructions", "tools", "role", "content",
)  # fmt: skip

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "\x00", "\ud800", "\udfff\ud800", "\u202e", "e\u0301" * 20, "A" * 5000, "\n" * 300]),
)
numbers = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([10**30, -(10**400), 2**63, 2**64, 1e308, -0.0, 5e-324, float("nan"), float("inf")]),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(FIELDS), texts), inner, max_size=4),
    ),
    max_leaves=12,
)
messages = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "user", "tool"]), "content": st.one_of(texts, values)}
        ),
        values,
    ),
    max_size=4,
)
good = st.fixed_dictionaries(
    {
        "model": st.just("emulated"),
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=20)}),
            min_size=1,
            max_size=3,
        ),
    },
    optional={"stream": st.booleans(), "max_tokens": st.integers(1, 5), "user": texts, "session_id": texts},
)
objects = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=8),
    st.fixed_dictionaries(
        {"model": st.one_of(st.just("emulated"), values), "messages": messages},
        optional={name: values for name in FIELDS if name not in ("model", "messages")},
    ),
)


def _json(value: object) -> bytes:
    """Also lone surrogates, and numbers that JSON does not have."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


bodies: st.SearchStrategy[Pieces] = st.one_of(
    objects.map(lambda one: ((_json(one), 1),)),
    objects.map(lambda one: ((_json(one)[:-3], 1),)),
    st.binary(max_size=200).map(lambda one: ((one, 1),)),
    # Nested as deep as it goes, with an end and without one.
    st.tuples(
        st.sampled_from([b"[", b'{"a":', b'{"messages":[']), st.sampled_from([100, 2_000, 200_000])
    ).map(lambda one: (one,)),
    st.sampled_from([200, 1_100, 100_000]).map(lambda deep: ((b"[", deep), (b"]", deep))),
    st.sampled_from([1_000, 1_000_000]).map(
        lambda size: ((b'{"model":"emulated","max_tokens":1,"prompt":"', 1), (b"ab ", size), (b'"}', 1))
    ),
    st.sampled_from([100, 20_000]).map(lambda size: ((b'{"a":1,', 1), (b'"a":1,', size), (b'"a":1}', 1))),
    st.sampled_from([10, 100_000]).map(lambda size: ((b'{"max_tokens":1', 1), (b"0", size), (b"}", 1))),
    st.just(((b"\xff\xfe{}", 1),)),
)


def rarely(draw: st.DrawFn) -> bool:
    """Most requests must be well enough made to get past the first look."""
    return draw(st.integers(0, 29)) == 17  # not at an end of the range: those are drawn more often


@st.composite
def requests(draw: st.DrawFn) -> Pieces:
    if rarely(draw):
        return ((draw(st.binary(min_size=1, max_size=300)), 1),)
    method = draw(st.sampled_from(METHODS)) if rarely(draw) else b"POST"
    path = ROUTES[0] if draw(st.booleans()) else draw(st.sampled_from(ROUTES))
    if rarely(draw):
        path += draw(
            st.sampled_from([b"?" + b"q" * 40, b"%2e%2e/", b"#x", b"\x80", b"//", b";a=b", b" ", b"%zz"])
        )
    version = (
        draw(st.sampled_from([b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1\x00", b""]))
        if rarely(draw)
        else b"HTTP/1.1"
    )
    body = ((_json(draw(good)), 1),) if draw(st.booleans()) else draw(bodies)
    size = sum(len(piece) * times for piece, times in body)
    lines = [] if rarely(draw) else [b"Host: proxy"]
    is_chunked = draw(st.integers(0, 4)) == 3
    if not is_chunked:
        lines.append(b"Content-Length: %d" % max(0, size + (draw(st.integers(-3, 3)) if rarely(draw) else 0)))
    elif not rarely(draw):
        lines.append(b"Transfer-Encoding: chunked")
    for _ in range(draw(st.integers(0, 3))):
        name = (
            draw(st.binary(min_size=1, max_size=10))
            if rarely(draw)
            else draw(st.sampled_from(KNOWN_HEADERS[4:]))
        )
        if rarely(draw):
            name = draw(st.sampled_from(KNOWN_HEADERS))
        value = draw(st.binary(max_size=20)) if rarely(draw) else draw(st.sampled_from(STRANGE))
        lines.append(name + (draw(st.sampled_from([b":", b" : ", b""])) if rarely(draw) else b": ") + value)
    head: list[tuple[bytes, int]] = [(method + b" " + path + b" " + version + b"\r\n", 1)]
    head += [
        (line + (draw(st.sampled_from([b"\n", b"\r", b"\r\n "])) if rarely(draw) else b"\r\n"), 1)
        for line in lines
    ]
    if rarely(draw):
        head.append((b"X-More: and more\r\n", draw(st.sampled_from([300, 5_000]))))
    if is_chunked:
        told = draw(st.sampled_from([b"f" * 18, b"-5", b"0x5", b"zz"])) if rarely(draw) else b"%x" % size
        odd = [b"\r\n0\r\nHost: other\r\n\r\n", b"", b"\n0\n\n"]
        end = draw(st.sampled_from(odd)) if rarely(draw) else b"\r\n0\r\n\r\n"
        body = ((told + b"\r\n", 1), *body, (end, 1))
    behind: Pieces = ((b"GET /health HTTP/1.1\r\nHost: proxy\r\n\r\n", 1),) if rarely(draw) else ()
    return (*head, (b"\r\n", 1), *body, *behind)


@dataclass(frozen=True, slots=True)
class Cases:
    """So many, the same for the same seed."""

    count: int
    seed: int

    def made(self) -> Sequence[Pieces]:
        found: list[Pieces] = []

        @seeded(self.seed)
        @settings(
            max_examples=self.count,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(requests())
        def collect(one: Pieces) -> None:
            found.append(one)

        collect()
        return found


def whole(pieces: Pieces) -> bytes:
    return b"".join(piece * times for piece, times in pieces)


def shown(pieces: Pieces) -> str:
    """For a report: pieces that come often, once."""
    return " + ".join(f"{piece!r:.400}" + (f" * {times}" if times > 1 else "") for piece, times in pieces)
