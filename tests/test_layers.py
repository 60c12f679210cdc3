"""Who may import whom, read from the source of every module: imports go downwards only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = "scalesim.proxy.core"
ADAPTERS = "scalesim.engine_adapters"
PLUGIN = f"{ADAPTERS}.sglang_plugin"
SHELL = "scalesim.proxy"
RECOGNITION = f"{SHELL}.recognition"
ACCESS = f"{SHELL}.access"
TOML = f"{SHELL}.toml_text"
WORKLOADS = "scalesim.workloads"
OFFLINE = tuple(
    f"{SHELL}.cli.{name}" for name in ("calibrate", "machines", "offline", "predicted", "replay", "simulate")
)
"""Commands that play simulations, and what they have in common: of the shell, they alone may import those, and inside of functions."""
BENCH = "scalesim.workloads.bench_core"
"""Looks into the proxy, since no customer could tell what holds its loop."""

IMPURE = {
    *(
        "asyncio",
        "concurrent",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
    ),
    *(
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
    ),
}
"""Of the standard library, what the core must not use: it has no I/O, clock, randomness, logging or environment."""


def _modules() -> Iterator[tuple[str, Path]]:
    for folder in ("proxy", "engine_adapters", "workloads"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            # Stand-ins are packages of their own, in the engine's environment.
            if "standins" not in path.parts:
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(("scalesim", *parts)).removesuffix(".__init__"), path


def imports_of(module: str, is_package: bool, source: str) -> set[str]:
    """Absolute names of all that the source imports, at any place in it; `from a import b` gives `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*up, *([node.module] if node.module else [])])
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def within(name: str, *folders: str) -> bool:
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


def allowed(module: str, name: str) -> bool:
    """Whether `module` may import `name`."""
    top = name.partition(".")[0]
    if top in ("proxy", "engine_adapters", "workloads"):
        return False  # one module, one name: scalesim.…
    if within(module, CORE):
        return within(name, CORE) or (top in sys.stdlib_module_names and top not in IMPURE)
    if top != "scalesim" or (name in ("scalesim", "scalesim.__version__") and not within(module, PLUGIN)):
        return True
    if within(module, PLUGIN):
        return within(name, PLUGIN)
    if within(module, ADAPTERS):
        return within(name, ADAPTERS, *(f"{CORE}.{part}" for part in ("actions", "events", "model")))
    if within(module, "scalesim.workloads"):
        if within(module, "scalesim.workloads.recognition") and within(name, RECOGNITION):
            return True  # What it measures is the recognition alone.
        return not within(name, SHELL) or within(name, CORE) or within(module, BENCH)
    if within(name, WORKLOADS):
        return module in OFFLINE
    if within(module, RECOGNITION):
        return within(name, RECOGNITION, TOML, *(f"{CORE}.{part}" for part in ("durations", "model")))
    if within(module, ACCESS):
        return within(name, ACCESS, TOML, f"{CORE}.model", f"{SHELL}.errors")
    return within(name, CORE, f"{ADAPTERS}.base", RECOGNITION, ACCESS, *_shell_of(module)) or within(
        module, f"{SHELL}.app", f"{SHELL}.cli", f"{SHELL}.__main__"
    )


def _shell_of(module: str) -> tuple[str, ...]:
    """What a part of the shell may import of the shell: its own folder, and single modules that are nobody's part."""
    parts = (
        "data_plane",
        "admin",
        "dashboard",
        "engines",
        "state",
        "warm_up",
        "recording",
        "runtime",
        "app",
        "cli",
        "__main__",
        "tracing",
    )
    own = [f"{SHELL}.{part}" for part in parts if within(module, f"{SHELL}.{part}")]
    if within(module, f"{SHELL}.data_plane", f"{SHELL}.admin", f"{SHELL}.settings"):
        own.append(f"{SHELL}.engines")
    if within(module, f"{SHELL}.settings"):
        own.append(f"{ADAPTERS}.front_kinds")  # which there are
    if within(module, f"{SHELL}.admin"):
        own.append(f"{SHELL}.dashboard")
    top = {path.stem for path in (ROOT / "proxy").glob("*.py")} - {*parts, "__init__"}
    return (*own, f"{SHELL}.settings", *(f"{SHELL}.{part}" for part in top))


MODULES = dict(_modules())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    path = MODULES[module]
    imported = imports_of(module, path.name == "__init__.py", path.read_text())
    assert {name for name in imported if not allowed(module, name)} == set()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (f"{CORE}.world", "asyncio.sleep"),
        (f"{CORE}.world", "time"),
        (f"{CORE}.world", "numpy"),
        (f"{CORE}.world", f"{ADAPTERS}.base.Fence"),
        (f"{ADAPTERS}.sglang", f"{CORE}.controller.Controller"),
        (f"{ADAPTERS}.sglang", f"{SHELL}.settings"),
        (f"{PLUGIN}.cache", f"{CORE}.model"),
        (f"{SHELL}.data_plane.relay", f"{SHELL}.admin.gate"),
        (f"{SHELL}.data_plane.relay", f"{SHELL}.runtime.Runtime"),
        (f"{SHELL}.admin.gate", f"{ADAPTERS}.sglang"),
        (f"{SHELL}.runtime", f"{SHELL}.app"),
        (f"{SHELL}.settings", f"{SHELL}.data_plane.relay"),
        (f"{SHELL}.settings", f"{ADAPTERS}.front.FrontAdapter"),
        (f"{SHELL}.data_plane.relay", f"{SHELL}.recording.Recorder"),
        (f"{SHELL}.recording.lines", f"{SHELL}.data_plane.usage"),
        (f"{RECOGNITION}.guess", f"{CORE}.controller.Controller"),
        (f"{RECOGNITION}.guess", f"{SHELL}.settings"),
        (f"{ACCESS}.keys", f"{SHELL}.settings"),
        ("scalesim.workloads.player", f"{SHELL}.app"),
        ("scalesim.workloads.player", "proxy.core.model"),
        (f"{SHELL}.cli.serve", "scalesim.workloads.replay.play"),
        (f"{SHELL}.app", "scalesim.workloads.program"),
    ],
)
def test_the_rules_see_what_is_forbidden(module: str, name: str) -> None:
    assert not allowed(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (f"{CORE}.world", "collections.OrderedDict"),
        (f"{CORE}.distance.gap", f"{CORE}.world.Agent"),
        (f"{ADAPTERS}.sglang", f"{PLUGIN}.wire.FenceLost"),
        (f"{PLUGIN}.cache", "sglang.srt"),
        (f"{SHELL}.data_plane.relay", f"{ADAPTERS}.base.EngineAdapter"),
        (f"{SHELL}.admin.gate", f"{SHELL}.settings.Settings"),
        (f"{SHELL}.app", f"{SHELL}.runtime.Runtime"),
        ("scalesim.workloads.replay.play", f"{CORE}.controller"),
        (f"{SHELL}.cli.simulate", "scalesim.workloads.planning.plays"),
    ],
)
def test_the_rules_let_through_what_is_allowed(module: str, name: str) -> None:
    assert allowed(module, name)


def test_the_command_line_comes_without_what_some_commands_play() -> None:
    look = "import sys, scalesim.proxy.cli.commands; print({name.split('.')[1] for name in sys.modules if name.startswith('scalesim.')}, 'simpy' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "'proxy'" in said
    assert "workloads" not in said
    assert said.endswith("False\n")


def test_relative_imports_are_read_from_where_they_stand() -> None:
    assert imports_of("a.b.c", False, "from . import x\nfrom ..y import z") == {"a.b.x", "a.y.z"}
    assert imports_of("a.b", True, "from . import x\nfrom .. import y\nimport os.path") == {
        "a.b.x",
        "a.y",
        "os.path",
    }
    assert imports_of("a.b", False, "def f():\n    from .x import y") == {"a.x.y"}
