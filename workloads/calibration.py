"""How many characters of our prose make a token of a model, so that prompts come out near the wanted sizes."""

from __future__ import annotations

import shlex
import subprocess

from .engines import Engine
from .prose import SAMPLE
from .servers import Installation, ServerFailed


async def of_engine(engine: Engine) -> float:
    """Raises `EngineUnfit`."""
    return _ratio(await engine.count_tokens(SAMPLE))


def of_model(installation: Installation) -> float:
    """Asks the tokenizer of the model, in the engine's environment. Raises `ServerFailed`."""
    command = installation.count_command()
    try:
        done = subprocess.run(command, input=SAMPLE, capture_output=True, text=True, timeout=120, check=True)
        return _ratio(int(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        words = getattr(exc, "stderr", None) or exc
        raise ServerFailed(f"the tokenizer could not be asked by {shlex.join(command)}: {words}") from exc


def _ratio(tokens: int) -> float:
    return round(len(SAMPLE) / max(1, tokens), 3)
