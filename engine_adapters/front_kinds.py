"""What is known of each distributed front end: how it is told whose a call is, and what it lets through. Pure.

Found by running sglang-router 0.3.2 and smg 1.13.0, field by field and route by route; of Dynamo from its documentation alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from scalesim.proxy.core.model import Owner

OWNER = "session_id"
ADAPTER = "lora_path"
SALT = "cache_salt"

_CHAT = "/v1/chat/completions"
_COMPLETIONS = "/v1/completions"
_RESPONSES = "/v1/responses"
_EMBEDDINGS = "/v1/embeddings"
_GENERATE = "/generate"

_ALL = frozenset({"rid", OWNER, ADAPTER, SALT})
_MOST_KEY_CHARS = 128
_DIGEST_CHARS = 32
_NOT_ENCODED = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")
_PLAIN = re.compile(r"[!-$&-~](?:[ -$&-~]*[!-$&-~])?")
_TURN = re.compile(r"_([tr]\d+)$")


@dataclass(frozen=True, slots=True)
class FrontKind:
    name: str
    key_header: bytes
    """By which a request says whose it is: those of one key are to go to one engine."""
    kept: Mapping[str, frozenset[str]]
    """By route, the fields of ours that reach the engine. Others are dropped on the way, or refused with the whole request."""
    engine_header: bytes | None = None
    """Of an answer: the URL of the engine that gave it. None: it does not say."""
    id_is_key: bool = False
    """A request's `rid`, without an `_t` and digits at its end, may count as the key. In smg 1.13 the header comes before it, in its
    documentation of later releases behind it."""
    salts: bool = True
    """Salts reach the engines wherever engines take some, or the request is refused."""
    commands: bool = True
    """Engines behind it hear whose calls are, so there is something to command them about."""
    takes_hints: bool = False
    """`nvext.agent_hints`."""
    gap: str = ""
    """What it does not pass on, for people; empty if that is nothing."""
    closes_gap: str = ""
    """The feature of engines that can do without it."""

    def keeps(self, path: str, field: str) -> bool:
        return field in self.kept.get(path, ())


_SMG_KEY = b"x-smg-routing-key"

KINDS: Mapping[str, FrontKind] = {
    kind.name: kind
    for kind in (
        FrontKind(
            "sglang-router",
            _SMG_KEY,
            # What its own types of requests have no room for is dropped without a word.
            {
                _CHAT: frozenset({ADAPTER}),
                _COMPLETIONS: _ALL,
                _RESPONSES: frozenset({"request_id"}),
                _EMBEDDINGS: frozenset({"rid"}),
                _GENERATE: frozenset({"rid", ADAPTER}),
            },
            salts=False,
            gap=f"sglang-router passes the agent's name on to its engines on {_COMPLETIONS} alone, and their plugin is too old to read its"
            " header: what they keep of other calls is left to recency",
            closes_gap="routing_keys",
        ),
        FrontKind(
            "smg",
            _SMG_KEY,
            # A response with a field that it does not know is refused.
            {_CHAT: _ALL, _COMPLETIONS: _ALL, _EMBEDDINGS: frozenset({"rid"}), _GENERATE: _ALL},
            engine_header=b"x-smg-routed-worker-id",
            id_is_key=True,
        ),
        FrontKind(
            "dynamo",
            b"x-dynamo-session-id",
            # It refuses requests with fields that it does not know, and those that it knows end in its frontend.
            {_CHAT: frozenset({SALT}), _COMPLETIONS: frozenset({SALT})},
            commands=False,
            takes_hints=True,
            gap="Dynamo's workers do not hear whose a call is in a way that could be commanded: it decides itself",
        ),
    )
}


def key_of(owner: Owner) -> str:
    """The same for every call of an agent, and of no other. Engines read the name back (`wire.owner_of_key`), so that they know whom a
    plan is about. Encoded is what a header cannot hold, and the mark of a turn (`bob_t2`), which smg would take off; of what is too long
    then there is a digest."""
    if len(owner) <= _MOST_KEY_CHARS and _PLAIN.fullmatch(owner) and not _TURN.search(owner):
        return owner
    key = _TURN.sub(r"%5F\1", quote(owner, safe=_NOT_ENCODED))
    return key if len(key) <= _MOST_KEY_CHARS else hashlib.sha256(owner.encode()).hexdigest()[:_DIGEST_CHARS]


def turn_of(owner: Owner, unique: str) -> str:
    """A request's id out of 32 hexadecimal digits: of its own, and of the agent's key where ids are read for that."""
    return f"{key_of(owner)}_t{int(unique, 16)}"
