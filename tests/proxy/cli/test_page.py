"""docs/command-line.md: its commands work as they are printed, and its reference is what the commands say themselves."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import running
from tests.proxy.test_app import chat, settings_for, until
from tests.support.command_page import MARK, PAGE, commands, help_of, reference
from tests.support.serve import serve as served

from .running import ENVIRONMENT

BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_reference_is_what_the_commands_say_of_themselves() -> None:
    assert PAGE.read_text().partition(MARK)[2] == reference(), "python -m tests.support.command_page"


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_fits_a_narrow_terminal(words: tuple[str, ...]) -> None:
    assert max(map(len, help_of(words).splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.anyio
async def test_every_command_of_the_page_works_as_it_is_printed(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "scalesim"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scalesim.proxy "$@"\n')
    program.chmod(0o700)
    root = PAGE.parents[1]
    async with served(EmulatedEngine().app) as url, running(settings_for(url)) as addresses:
        async with httpx.AsyncClient(trust_env=False) as client:
            await until(client, addresses, up=True)
            assert (await chat(client, addresses, "Ann")).status_code == 200
        environment = ENVIRONMENT | {
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(root),
            "HOME": str(tmp_path),
            "SCALESIM_ADMIN": addresses.admin,
            # The doctor looks at the ports of a proxy that is yet to be started.
            "SCALESIM_PORT": "0",
            "SCALESIM_ADMIN_PORT": "0",
        }
        assert len(BLOCKS) == 7
        for block in BLOCKS:
            process = await asyncio.create_subprocess_exec(
                "bash",
                "-euo",
                "pipefail",
                "-c",
                # Not the last command of all, in whose place it would be run: a completion is for the shell that it is asked from.
                block.replace("http://127.0.0.1:30000", url) + "\n:",
                cwd=tmp_path,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await process.communicate()
            assert process.returncode == 0, f"{block}\n{out.decode()}"
    assert (tmp_path / ".bashrc").exists()
