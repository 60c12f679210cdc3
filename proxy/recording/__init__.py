"""A trace of the calls that went by, written behind them: one JSON object a line, in files that are bounded and rotated.

Prompts and names are in it as keyed hashes alone, unless an operator chose otherwise; the key is kept in a file of its own.
What is needed outside: `Recorder`, which is told of calls, and `trace.Reading`, which reads a trace back.
"""

from .files import CannotRecord
from .recorder import Recorder

__all__ = ["CannotRecord", "Recorder"]
