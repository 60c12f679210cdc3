"""What a prompt may have in common with those of other agents: how it begins.

Agents of one kind share their system prompt, or what stands first in their prompts. An engine that holds it for one of them need
not compute it for the next, so placement brings them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from scalesim.proxy.core.model import AdapterName
from scalesim.proxy.recognition.prompt import prompt_of

MOST_CHARS = 1024
"""That are looked at: two prompts that have so much in common share a few hundred tokens at least, whatever comes after it."""
LEAST_CHARS = 256
"""Of messages of the system that end before that. What is shorter is computed faster than it is worth an uneven load."""
_MESSAGES = 4
_SYSTEM = frozenset({"system", "developer"})
_FIELDS = ("instructions", "messages", "input", "prompt", "text")
"""Of bodies, on all routes together, in which prompts stand."""


def beginning_of(path: str, body: Mapping[str, object], adapter: AdapterName | None) -> str | None:
    """A name for it, the same in every process; None where there is too little of it. What runs on another adapter shares nothing.

    It costs a few microseconds however long the prompt is.
    """
    head = {
        name: value[:_MESSAGES] if isinstance(value := body[name], list) else value
        for name in _FIELDS
        if name in body
    }
    prompt = prompt_of(path, head)
    if prompt is None:
        return None
    hashed = blake2b((adapter or "").encode("utf-8", "surrogatepass"), digest_size=8)
    chars, is_system = 0, True
    for role, text in prompt.messages:
        if is_system and role not in _SYSTEM:
            if chars >= LEAST_CHARS:
                return hashed.hexdigest()
            is_system = False
        if role == "assistant":
            # What one agent talked about is nobody else's beginning.
            return None
        piece = text[: MOST_CHARS - chars]
        hashed.update(f"\0{role}\0{piece}".encode("utf-8", "surrogatepass"))
        chars += len(piece)
        if chars == MOST_CHARS:
            return hashed.hexdigest()
    return None
