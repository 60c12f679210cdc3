"""Names of callers: how one is read in a text, and how a text becomes a name that a person can read."""

from __future__ import annotations

import hashlib

from .vocabulary import NO_NAMES, TITLES

AROUND = "\"'`*_.,;:!?()[]{}<>«»“”‘’"
"""What may stand around a word and is no part of it."""

CHARS = 80
"""Of a text so many characters are looked at for a name: four long words."""

_WORDS = 4
"""A name has at most so many words: in longer rows of capitals the sentence goes on."""

_SHORTENED_CHARS = 48
"""A name for a table: longer texts are cut and told apart by a digest."""


def name_in(text: str) -> str | None:
    """The name with which the text begins: up to four words in capitals, or one that has a number in it."""
    words: list[str] = []
    for word in text[:CHARS].split(None, _WORDS + 1)[: _WORDS + 1]:
        if word in TITLES:
            words.append(word)
            continue
        bare = word.strip(AROUND)
        if not bare or bare.endswith(("'s", "’s")):
            return None if not words or bare else " ".join(words)
        first = bare[0]
        if not words:
            if bare in NO_NAMES or not (
                first.isupper()
                or (any(map(str.isdigit, bare)) and not first.isdigit() and "-year" not in bare)
            ):
                return None
        elif (
            not (first.isupper() or first.isdigit() or first == "#")
            or bare in NO_NAMES
            or len(words) == _WORDS
        ):
            break
        words.append(bare)
        if word[-1] in '.,;:!?)]}"”»>' or (word[-1] == "'" and word[0] == "'"):
            break
    return " ".join(words) or None


def stands_alone(name: str, text: str) -> bool:
    """Any sentence begins with a capital: one word is a name only where it is set off, or something is said of it."""
    rest = text.partition(name)[2].lstrip("\"'*_`”»")
    return (
        " " in name
        or name[-1].isdigit()
        or not rest
        or rest[0] in ",.:;()[]-–—|"
        or rest.startswith((" is ", " ("))
    )


def alike(value: str, others: list[str]) -> int:
    """So many characters of its beginning they all share."""
    if not others:
        return 0
    # What the first and the last of them in order share, all between them do.
    first, last = min(value, *others), max(value, *others)
    for at, letter in enumerate(first):
        if letter != last[at]:
            return at
    return len(first)


def printable(text: str) -> str:
    """On one line, without what a terminal or a log would choke on."""
    return (
        text
        if text.isprintable()
        else "".join([letter for letter in " ".join(text.split()) if letter.isprintable()])
    )


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=3).hexdigest()


def shortened(text: str, chars: int = _SHORTENED_CHARS) -> str:
    """Names two long texts that begin alike differently, and the same text always the same. Never empty."""
    flat = printable(" ".join(text.split()))
    if not flat:
        return digest(text)
    return flat if len(flat) <= chars else f"{flat[:chars].rstrip()}… {digest(text)}"
