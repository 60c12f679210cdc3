from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.recording.hashing import BREATH_BYTES, Hasher

from .calls import KEY

BLOCK = 256
HASHER = Hasher(KEY)


def ids(data: bytes, *, namespace: tuple[str, ...] = ("base",), hasher: Hasher = HASHER) -> list[int]:
    return hasher.blocks(namespace, [data]).hash_ids


def test_a_prompt_has_an_id_for_each_block_begun() -> None:
    assert HASHER.blocks((), []) == (0, [], False)
    assert [len(ids(b"a" * size)) for size in (1, BLOCK - 1, BLOCK, BLOCK + 1, 10 * BLOCK)] == [
        1,
        1,
        1,
        2,
        10,
    ]
    assert [HASHER.blocks((), [b"a" * size]).input_length for size in (1, 4, 5)] == [1, 1, 2]


def test_ids_of_the_same_block_differ_after_another_beginning() -> None:
    first, second = ids(b"a" * BLOCK + b"c" * BLOCK), ids(b"b" * BLOCK + b"c" * BLOCK)
    assert not set(first) & set(second)
    repeated = ids(b"a" * 4 * BLOCK)
    assert len(set(repeated)) == 4


def test_another_model_or_key_gives_other_ids() -> None:
    data = b"a" * BLOCK
    assert ids(data) != ids(data, namespace=("other",))
    assert ids(data) != ids(data, hasher=Hasher(bytes(32)))
    assert ids(data, namespace=("a", "bc")) != ids(data, namespace=("ab", "c"))


@settings(max_examples=30)
@given(st.binary(max_size=1200), st.binary(max_size=600), st.binary(max_size=600), st.integers(1, 400))
def test_ids_are_alike_as_far_as_prompts_are(shared: bytes, one: bytes, other: bytes, piece: int) -> None:
    first, second = shared + one, shared + other
    cut = [second[start : start + piece] for start in range(0, len(second), piece)]
    left, right = ids(first), HASHER.blocks(("base",), cut).hash_ids
    assert right == ids(second)  # wherever the pieces end
    alike = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    blocks = [
        (first[at : at + BLOCK], second[at : at + BLOCK])
        for at in range(0, max(len(first), len(second)), BLOCK)
    ]
    expected = next((at for at, (a, b) in enumerate(blocks) if a != b), None)
    if alike is None:
        assert expected is None or expected >= min(len(left), len(right))
    else:
        assert alike == expected
    assert all(0 <= one < 2**53 for one in left)


def test_of_a_long_prompt_the_rest_is_counted_and_not_hashed() -> None:
    short = Hasher(KEY, max_blocks=3)
    assert short.blocks(("base",), [b"a" * 3 * BLOCK]) == (192, ids(b"a" * 3 * BLOCK), False)
    length, found, cut = short.blocks(("base",), [b"a" * 100] * 100)
    assert (length, len(found), cut) == (2500, 3, True)
    assert found == ids(b"a" * 3 * BLOCK)


def test_what_takes_long_breathes() -> None:
    breaths: list[None] = []
    HASHER.blocks((), [b"a" * 1024] * 100, lambda: breaths.append(None))
    HASHER.blocks((), [b"a"] * 3000, lambda: breaths.append(None))
    assert len(breaths) >= (100 * 1024) // (BREATH_BYTES + 1024) + 3


def test_names_are_kept_apart_by_what_they_name() -> None:
    names = {
        HASHER.name("agent", "Ann"),
        HASHER.name("agent", "Anna"),
        HASHER.name("simulation", "Ann"),
        HASHER.name("agent", "town", "Ann"),
        HASHER.name("agent", "townAnn"),
        HASHER.name("agent", "\ud800"),
        Hasher(bytes(32)).name("agent", "Ann"),
    }
    assert len(names) == 7
    assert all(len(name) == 16 for name in names)


def test_only_the_same_key_has_the_same_id() -> None:
    assert Hasher(KEY).key_id == HASHER.key_id != Hasher(bytes(32)).key_id
    with pytest.raises(ValueError, match="key: 3 bytes"):
        Hasher(b"abc")
