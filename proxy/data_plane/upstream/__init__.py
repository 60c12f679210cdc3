"""The way to the engines: HTTP/1.1 connections of our own, a bounded pool of them for each engine.

`Upstream` sends a request and gives an `Answer`, whose bytes are those that came. Why not a library:
docs/decisions/0012-own-connections.md.
"""

from .answer import Answer
from .upstream import Upstream

__all__ = ["Answer", "Upstream"]
