"""Entry point `scalesim_cpu`: what SGLang needs to serve on a machine without an accelerator.

Asleep wherever there is one. What it does, it logs; it is the same for every configuration of a comparison, and knows
nothing of agents. The stand-in packages beside it (`standins/`) are installed by `make engine` only.
"""

from __future__ import annotations

import logging
import os
import sys

from .. import compat

logger = logging.getLogger(__name__)


def register() -> None:
    import torch

    if torch.cuda.is_available() or (hasattr(torch, "xpu") and torch.xpu.is_available()):
        logger.info("ScaleSim's CPU support is asleep: this machine has an accelerator")
        return
    from . import memory

    memory.install()
    done = ["pools without pinned memory", *_emulate_the_link()]
    problems = compat.problems(compat.CPU_HOOKS)
    if problems:
        logger.warning("ScaleSim leaves the attention of SGLang as it is: %s", "; ".join(problems))
    else:
        from sglang.srt.plugins.hook_registry import HookRegistry, HookType

        from . import attention

        extend, decode = (compat.hook_target(name) for name in compat.CPU_HOOKS)
        HookRegistry.register(extend, attention.extend, HookType.REPLACE)
        HookRegistry.register(decode, attention.decode, HookType.REPLACE)
        done.append("attention over the new queries only")
    logger.warning("No accelerator found, ScaleSim's CPU support is on: %s", ", ".join(done))


def _emulate_the_link() -> list[str]:
    from . import link

    try:
        profile = link.profile_of(os.environ)
    except ValueError as exc:
        # SGLang survives a plugin that raises; a comparison without its link would not be what was asked for.
        sys.exit(str(exc))
    if profile.free:
        return []
    if problems := compat.problems(compat.LINK_HOOKS):
        sys.exit(f"{link.VARIABLE} cannot be honoured: {'; '.join(problems)}")
    link.install(link.Link(profile))
    return [f"an emulated host link ({profile})"]
