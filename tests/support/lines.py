"""What a fleet has its engines' lines do, where a test has none."""

from __future__ import annotations

from scalesim.proxy.core.model import EngineId


class NoLines:
    """Nothing comes of what it is told, and no engine can do anything."""

    def add_engine(self, adapter: object) -> None:
        pass

    def remove_engine(self, engine: EngineId) -> None:
        pass

    def forget_engine(self, engine: EngineId) -> None:
        pass

    def doubt(self, engine: EngineId) -> None:
        pass

    def features(self, engine: EngineId) -> frozenset[str]:
        return frozenset()
