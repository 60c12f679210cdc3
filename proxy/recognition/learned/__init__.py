"""Recognition without a recipe: what the prompts of a simulation have in common, and what tells its callers apart.

`Learner` is the door. `reading` finds the places of a prompt at which an identity may stand (`place`, `finding`, `names`,
`vocabulary`). `ranking` learns from lessons (`pace`) and judges: `places` by how their values come back, `meetings` by calls that run
at once, `properties` by what stays together. `callers` keeps who was named, `families` keeps simulations with the same names apart.
Where no place says anything, `conversations` recognises a history that is sent again, and `unnamed` the rest.
"""

from .callers import Merged
from .learner import Learner

__all__ = ["Learner", "Merged"]
