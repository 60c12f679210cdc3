"""What must be changed before the proxy can start."""

from __future__ import annotations

from scalesim.proxy.errors import ScaleSimError


class SettingsError(ScaleSimError):
    """What must be changed before the proxy can start; one line per problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
