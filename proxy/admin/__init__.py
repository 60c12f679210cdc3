"""The admin API: how operators look at the proxy, and simulations tell it what they know. Never on the data path.

`create_admin` makes the app. Each of the modules beside it holds the routes of one subject; all of them work with the
one `Desk`.
"""

from .app import create_admin
from .office import Office

__all__ = ["Office", "create_admin"]
