"""What the operator decides: one frozen `Settings`, the only reader of the environment and of the config file.

A value is taken from the command line, else from the environment (`SCALESIM_PORT`), else from the config file (TOML,
`port = 8000`), else it is the default. Whatever is wrong is refused at the start, all of it at once, by name and
value; values of secrets are never printed.

`definitions` has them all. The parsers of single values stand beside it, and what is wrong with several together in `contradictions`.
"""

from .definitions import (
    LEAST_RECORD_BYTES,
    LOADS_LIMIT,
    LOG_LEVELS,
    MOST_RECORD_BYTES,
    PLAN_LIMIT,
    RECORD_FILES_LIMIT,
    Loaded,
    Settings,
    leads_to_ourselves,
    loaded,
)
from .errors import SettingsError
from .hosts import is_loopback, is_wildcard
from .listing import Listed, listed, written
from .live import GROUPS, LIVE
from .sources import PREFIX, Origin, Sources

__all__ = [
    "GROUPS",
    "LEAST_RECORD_BYTES",
    "LIVE",
    "LOADS_LIMIT",
    "LOG_LEVELS",
    "MOST_RECORD_BYTES",
    "PLAN_LIMIT",
    "PREFIX",
    "RECORD_FILES_LIMIT",
    "Listed",
    "Loaded",
    "Origin",
    "Settings",
    "SettingsError",
    "Sources",
    "is_loopback",
    "is_wildcard",
    "leads_to_ourselves",
    "listed",
    "loaded",
    "written",
]
