"""ScaleSim. The parts are the folders beside this one; see docs/decisions/0001-layout.md."""

__version__ = "0.1.0"
