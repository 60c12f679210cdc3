"""What of an agent's prompts comes back: one prefix per prompt template, learned from its calls. Pure.

A simulation asks each agent by many templates, and what is common to all of them may be ten characters, so prompts are
sorted by template first. Nobody names the templates; two prompts are taken to be of one if they share more with each
other than with the rest:

- A new prompt is compared with the last prompts of every known template, and goes where the longest common start is. With
  less than a block shared it is the first prompt of a new template.
- It joins if it shares all that the template's prompts share. Half of it would not do: templates of one agent often begin
  with its description, which can be longer than the instructions after it.
- If it shares more with one of the prompts than they all share, these two were a template of their own among others with the
  same beginning, and leave it together. If that one was the last prompt, it is more likely a history that grows; the older
  prompts are then of no use.
- If it shares less, it is the first prompt of a new template, too.

Of a template that was seen once nothing is known: all of its prompt may come back. It counts only as long as the agent
has no template that was seen twice. Of others the common start of the last two prompts comes back. If that grows, as
a history does, the next prompt will share more than the last two did: the last prompt up to its end that belongs to
that one call, taken to be as long as the end of the prompt before it. (`Ledger.reusable_depth` in the engine
takes the longest of an agent's last common starts, over all templates: it ranks what is there and may be generous, while
here every byte too much costs the engine's time.)

Prompts are compared by checksums of blocks: only the text to be sent is kept.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scalesim.proxy.core.model import AdapterName

from .prompts import Prompt
from .slices import tokens_per_unit

if TYPE_CHECKING:
    Sums = array[int]
else:
    Sums = array  # not subscriptable before Python 3.12

BLOCK_BYTES = 64
"""Grain of the comparison, and the least that two prompts of one template share."""
MEMBERS = 6
"""Prompts compared per template: so many templates with one beginning may take turns and still be told apart."""
MAX_TEMPLATES = 4
"""Per agent; the one longest unused goes first."""
STALE_CALLS = 16
"""A template that so many later calls of its agent did not use is not expected back."""
OVERHEAD_BYTES = 1024
"""What Python's objects of one template take beside text and checksums."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is expected to come back, as the start of one prompt: see `prompts` for `path`, `fields` and `text`."""

    path: str
    fields: Mapping[str, object]
    text: bytes
    tokens_per_unit: float


class _Seen:
    """One prompt, as far as it is compared."""

    __slots__ = ("size", "sums")

    def __init__(self, text: bytes) -> None:
        self.size = len(text)
        ends = range(BLOCK_BYTES, len(text) + 1, BLOCK_BYTES)
        self.sums: Sums = array("I", (zlib.crc32(text[end - BLOCK_BYTES : end]) for end in ends))

    def common(self, other: _Seen) -> int:
        """Bytes of the common start, in whole blocks. A collision costs a wrong guess, nothing else."""
        same = 0
        for mine, its in zip(self.sums, other.sums, strict=False):
            if mine != its:
                break
            same += 1
        return same * BLOCK_BYTES


class _Template:
    """Prompts that share their first `shared` bytes, any two of them exactly that; one prompt shares all of itself."""

    __slots__ = (
        "adapter",
        "before",
        "density",
        "members",
        "packed",
        "packed_size",
        "prompt",
        "shared",
        "used",
    )

    def __init__(self, prompt: Prompt, members: list[_Seen], shared: int, density: float, used: int) -> None:
        """`prompt` is that of the last of `members`."""
        self.prompt = replace(prompt, text=b"")
        self.adapter: AdapterName | None = None
        """On which its calls ran. That is part of the prompt's namespace, so it is the same for all of them."""
        self.members = members
        self.shared = shared
        self.before: int | None = None
        """What `shared` was before the last prompt, if it grew with that."""
        self.density = density
        self.used = used
        self.packed = b""
        self.packed_size = 0
        self._keep(prompt.text)

    def join(self, prompt: Prompt, seen: _Seen, shared: int, density: float, used: int) -> None:
        """`shared` with the last prompt: as much as before, more, or (with the only one) less."""
        same_start = shared == self.shared and 0 < self.packed_size <= shared
        if shared == self.shared:
            self.members = [*self.members[1 - MEMBERS :], seen]
            self.before = None
        else:
            self.before = self.shared if len(self.members) > 1 else None
            self.members = [self.members[-1], seen]
        self.shared, self.density, self.used = shared, density, used
        # Most prompts begin as the ones before them: then there is nothing to pack.
        if not (same_start and self.expected() == self.packed_size):
            self._keep(prompt.text)

    def take_out(self, member: _Seen) -> None:
        self.members.remove(member)
        if len(self.members) == 1:
            # Its text beyond what was common is not known any more, so it counts for nothing until it comes again.
            self.shared, self.before = self.members[0].size, None
            self.drop_text()

    def expected(self) -> int:
        """Bytes of the last prompt that the next one is expected to begin with."""
        last = self.members[-1].size
        if len(self.members) == 1:
            return last
        own_end = self.members[-2].size - self.shared
        grows = own_end < BLOCK_BYTES or self.before is not None
        return max(self.shared, last - own_end) if grows else self.shared

    def _keep(self, text: bytes) -> None:
        kept = text[: self.expected()]
        # Level 1 packs prompts nearly as well as the default and takes a third of the time on the event loop.
        self.packed, self.packed_size = zlib.compress(kept, 1), len(kept)

    def text(self) -> bytes:
        return zlib.decompress(self.packed) if self.packed else b""

    def drop_text(self) -> None:
        self.packed, self.packed_size = b"", 0

    def size_bytes(self) -> int:
        blocks = sum(len(one.sums) for one in self.members)
        return OVERHEAD_BYTES + 2 * len(self.prompt.space) + 4 * blocks + len(self.packed)


class Learned:
    """What is known of one agent's prompts."""

    def __init__(self) -> None:
        self._templates: list[_Template] = []
        """The one used last is the last."""
        self._calls = 0

    def note(self, prompt: Prompt, prompt_tokens: int, adapter: AdapterName | None = None) -> None:
        """A call with this prompt was answered, on `adapter`; the engine counted `prompt_tokens` in it."""
        self._calls += 1
        seen = _Seen(prompt.text)
        density = tokens_per_unit(prompt_tokens, prompt.units)
        self._templates = [one for one in self._templates if self._calls - one.used < STALE_CALLS]
        template = self._place(prompt, seen, density)
        template.adapter = adapter
        self._templates.append(template)
        del self._templates[:-MAX_TEMPLATES]

    def prefixes(self) -> list[Prefix]:
        """Those of the templates used last come first; one that another begins with is left out."""
        known = [one for one in reversed(self._templates) if len(one.members) > 1]
        found: list[tuple[str, Prefix]] = []
        for one in known or reversed(self._templates):
            prefix = Prefix(one.prompt.path, one.prompt.fields, one.text(), one.density)
            if prefix.text:
                found.append((one.prompt.space, prefix))
        return [
            prefix
            for at, (space, prefix) in enumerate(found)
            if not any(
                space == other_space
                and other.text.startswith(prefix.text)
                and (len(other.text) > len(prefix.text) or place < at)
                for place, (other_space, other) in enumerate(found)
                if place != at
            )
        ]

    def drop_texts(self) -> None:
        """What was learned of the templates stays; the texts come back with the agent's next calls."""
        for one in self._templates:
            one.drop_text()

    def forget_adapters(self, stale: Callable[[AdapterName | None], bool]) -> bool:
        """Forgets what ran on those, and says whether there was any. None is the base model."""
        kept = [one for one in self._templates if not stale(one.adapter)]
        fewer = len(kept) < len(self._templates)
        self._templates = kept
        return fewer

    def has_texts(self) -> bool:
        return any(one.packed for one in self._templates)

    def size_bytes(self) -> int:
        return sum(one.size_bytes() for one in self._templates)

    def templates(self) -> int:
        return len(self._templates)

    def _place(self, prompt: Prompt, seen: _Seen, density: float) -> _Template:
        """The template of the prompt, not in the list (any more)."""
        best: tuple[_Template, _Seen] | None = None
        most = 0
        for one in self._templates:
            for member in one.members if one.prompt.space == prompt.space else ():
                shared = seen.common(member)
                if shared and shared >= most:  # of equals the last: it is the one used last
                    best, most = (one, member), shared
        if best is None:
            return _Template(prompt, [seen], seen.size, density, self._calls)
        template, member = best
        alone = len(template.members) == 1
        if not alone and most < template.shared:
            return _Template(prompt, [seen], seen.size, density, self._calls)
        if not alone and most > template.shared and member is not template.members[-1]:
            template.take_out(member)
            return _Template(prompt, [member, seen], most, density, self._calls)
        self._templates.remove(template)
        template.join(prompt, seen, most, density, self._calls)
        return template
