"""The composition root: makes everything out of the settings, runs it, and closes it again. Nothing is global.

`assembly` puts the parts together, `engines` those that know engines; `serving` runs it until a signal; `listeners` are the
sockets, and `forgetting` tells the parts what they need not keep.
"""

from .assembly import CannotTrace
from .listeners import CannotListen
from .serving import ServerAddresses, running, serve

__all__ = ["CannotListen", "CannotTrace", "ServerAddresses", "running", "serve"]
