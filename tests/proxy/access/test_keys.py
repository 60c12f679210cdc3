from __future__ import annotations

import hashlib

import pytest

from scalesim.proxy.access.keys import Key, Keys, digest_of, drawn, hash_of


def test_a_key_is_found_by_itself_and_by_nothing_else() -> None:
    ann, bob = Key("ann", digest_of("sk-1")), Key("bob", digest_of(hash_of("sk-2")))
    keys = Keys([ann, bob])
    assert (keys.find("sk-1"), keys.find("sk-2"), len(keys)) == (ann, bob, 2)
    for wrong in ("", "sk", "sk-10", "SK-1", "ann", "schlüssel", "\udcff"):
        assert keys.find(wrong) is None


def test_the_hash_of_a_key_opens_nothing() -> None:
    keys = Keys([Key("ann", digest_of("sk-1"))])
    assert keys.find(hash_of("sk-1")) is None
    assert keys.find(digest_of("sk-1").hex()) is None


def test_a_hash_is_that_of_common_tools() -> None:
    """`printf %s KEY | sha256sum`."""
    assert hash_of("sk-1") == "sha256:" + hashlib.sha256(b"sk-1").hexdigest()


@pytest.mark.parametrize("told", ["sha256:", "sha256:xy", "sha256:" + "0" * 62, "sha256:" + "0" * 66])
def test_half_a_hash_is_refused_and_not_shown(told: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits") as refused:
        digest_of(told)
    assert told.removeprefix("sha256:") in ("", "xy") or told not in str(refused.value)


def test_drawn_keys_differ_and_have_256_random_bits() -> None:
    one, other = drawn(), drawn()
    assert one != other
    assert len(one.removeprefix("sk-scalesim-")) == 43


def test_nothing_that_shows_a_key_shows_its_hash() -> None:
    key = Key("ann", digest_of("sk-1"))
    assert repr(key.digest) not in repr(key)
    assert "ann" in repr(key)
