"""Names and prompts as keyed hashes: whoever has the key can tell whether a name he knows is in a trace, nobody else can.

Pure. Without the key not even short names can be tried out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

KEY_BYTES = 32
BYTES_PER_TOKEN = 4
"""There is no tokenizer here: so many bytes of UTF-8 stand for a token. English has about four to one."""
BLOCK_TOKENS = 64
MAX_BLOCKS = 4096
"""Of one prompt: of a longer one the rest is counted, and not hashed."""
BREATH_BYTES = 32 * 1024
"""Of a prompt, between two breaths: about a tenth of a millisecond."""


class Blocks(NamedTuple):
    input_length: int
    """In tokens of BYTES_PER_TOKEN each."""
    hash_ids: list[int]
    """One for each block of the prompt, the last one may be a part of one. Below 2^53, so that every reader of JSON takes
    them as they are."""
    cut: bool
    """The prompt was longer than what was hashed."""


class Hasher:
    def __init__(self, key: bytes, *, block_tokens: int = BLOCK_TOKENS, max_blocks: int = MAX_BLOCKS) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"key: {len(key)} bytes, not {KEY_BYTES}")
        self._key = key
        self._block_bytes = block_tokens * BYTES_PER_TOKEN
        self._max_blocks = max_blocks

    @property
    def block_tokens(self) -> int:
        return self._block_bytes // BYTES_PER_TOKEN

    @property
    def key_id(self) -> str:
        """Equal for traces whose hashes can be compared."""
        return self.name("key")

    def name(self, kind: str, *parts: str) -> str:
        """`kind` keeps apart what only happens to have the same name."""
        hashed = hashlib.blake2b(_joined(parts), key=self._key, digest_size=8, person=kind.encode()[:16])
        return hashed.hexdigest()

    def blocks(
        self,
        namespace: Iterable[str],
        pieces: Iterable[bytes],
        breathe: Callable[[], None] = lambda: None,
    ) -> Blocks:
        """The id of a block is a hash of all up to its end: equal ids mean equal prompts up to there, in equal namespaces.

        `breathe` is called every `BREATH_BYTES`, so that what takes long need not hold up others.
        """
        chain = hashlib.blake2b(_joined(namespace), key=self._key, digest_size=7, person=b"block")
        ids: list[int] = []
        rest = b""
        total = since_breath = 0
        for piece in pieces:
            total += len(piece)
            since_breath += len(piece) + 64
            if len(ids) < self._max_blocks:
                rest = self._taken(chain, rest + piece if rest else piece, ids)
            if since_breath >= BREATH_BYTES:
                since_breath = 0
                breathe()
        if rest and len(ids) < self._max_blocks:
            chain.update(rest)
            ids.append(_id_of(chain))
        tokens = -(-total // BYTES_PER_TOKEN)
        return Blocks(tokens, ids, cut=tokens > len(ids) * self.block_tokens)

    def _taken(self, chain: hashlib.blake2b, data: bytes, ids: list[int]) -> bytes:
        """Whole blocks of `data`; answers the rest of it."""
        size = self._block_bytes
        end = 0
        while len(data) - end >= size and len(ids) < self._max_blocks:
            chain.update(data[end : end + size])
            ids.append(_id_of(chain))
            end += size
        return data[end:] if end else data


def _id_of(chain: hashlib.blake2b) -> int:
    return int.from_bytes(chain.copy().digest(), "big") >> 3


def _joined(parts: Iterable[str]) -> bytes:
    """So that no two lists of parts are the same."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
