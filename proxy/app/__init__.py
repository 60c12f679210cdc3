"""The composition root: makes everything out of the settings, runs it, and closes it again. Nothing is global.

`assembly` puts the parts together, `engines` those that know engines, `group` those that make it one of several; `serving` runs it
until a signal, `workers` several processes of it; `listeners` are the sockets, and `forgetting` tells the parts what they need not
keep.
"""

from .assembly import CannotTrace
from .group import CannotJoin, store_of
from .listeners import CannotListen
from .serving import ServerAddresses, running, serve
from .workers import Workers

__all__ = [
    "CannotJoin",
    "CannotListen",
    "CannotTrace",
    "ServerAddresses",
    "Workers",
    "running",
    "serve",
    "store_of",
]
