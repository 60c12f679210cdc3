"""Runs in the engine's environment: whether this SGLang, this plugin and this machine are what the acceptance needs.

Prints one JSON object as its last line. Needs nothing but the standard library, so that it can say what is missing.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("sglang", "scalesim-sglang-plugin", "torch", "transformers")


def packages() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def cuda() -> dict[str, Any]:
    """`available` is False with a `reason` where there is no GPU that torch can use."""
    try:
        import torch
    except ImportError as exc:
        return {"available": False, "reason": f"torch cannot be imported: {exc}"}
    if torch.version.cuda is None:
        return {"available": False, "reason": f"torch {torch.__version__} is a build without CUDA"}
    if not torch.cuda.is_available():
        return {"available": False, "reason": "torch finds no GPU"}
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "available": True,
        "runtime": torch.version.cuda,
        "devices": [
            {
                "name": one.name,
                "bytes": one.total_memory,
                "capability": [one.major, one.minor],
            }
            for one in devices
        ],
    }


def hooks() -> dict[str, Any]:
    """What keeps the plugin from wrapping SGLang's names, by group, and what its loads rest on besides names."""
    try:
        compat = importlib.import_module("scalesim_sglang.compat")
    except ImportError as exc:
        return {"error": f"the plugin cannot be imported: {exc}"}
    groups = {name: group for name, group in vars(compat).items() if name.endswith("_HOOKS")}
    found: dict[str, Any] = {
        "known_releases": list(compat.KNOWN_RELEASES),
        "wrapped": {name: sorted(group) for name, group in groups.items()},
        "problems": {name: compat.problems(group) for name, group in groups.items()},
    }
    try:
        found["broken_facts"] = compat.broken_facts()
    except Exception as exc:  # noqa: BLE001  whatever it is, it is the answer: SGLang is not as we know it
        found["broken_facts"] = [f"they could not be looked at: {exc!r}"]
    return found


def main() -> int:
    told = {"python": platform.python_version(), "packages": packages(), "cuda": cuda()}
    missing = [name for name in PACKAGES[:2] if told["packages"][name] is None]  # type: ignore[index]
    told["hooks"] = {"error": f"not installed: {', '.join(missing)}"} if missing else hooks()
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
