"""Prefetch for engines without a host tier: an agent's known prefix is prefilled again, with no output, before it calls.

- `prompts`   a request body as one comparable text, and back; pure
- `slices`    where a text may be cut; pure
- `prefixes`  what of an agent's prompts comes back, one prefix per prompt template; pure
- `store`     the texts of prefixes, compressed and bounded in bytes
- `runner`    sends a prefix to an idle engine, slice by slice
"""

from .runner import WarmUp
from .store import PrefixStore

__all__ = ["PrefixStore", "WarmUp"]
