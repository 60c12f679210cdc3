"""What docs/admin-configuration.md shows works as it is printed."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from .offices import town
from .test_recipes import MINE

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PAGE = (Path(__file__).parents[3] / "docs" / "admin-configuration.md").read_text()
ADMIN = "http://127.0.0.1:8001"
STATUS = "%{http_code}"


async def test_every_command_of_the_page_is_answered(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "mytown.toml").write_text(MINE.replace('"mine"', '"mytown"'))
    options = {name: str(tmp_path / name) for name in ("recipes_folder", "traces_folder")}
    options["recipes_folder"] = str(tmp_path / "recipes")
    (tmp_path / "traces_folder").mkdir()
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) > 15
    answers: dict[str, str] = {}
    async with town(tmp_path, "", keys_file=str(tmp_path / "keys.toml"), **options) as one:
        own = str(one.admin.base_url).removesuffix("/admin/v1/")
        for command in commands:
            local = command.replace(ADMIN, own)
            if is_curl := command.startswith("curl "):
                local += f" -w '\\n{STATUS}'"
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", local, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
            )
            out, _ = await process.communicate()
            body, _, status = out.decode().rpartition("\n")
            assert process.returncode == 0, command
            assert not is_curl or status.startswith("2"), f"{command}\n{out.decode()}"
            answers[command] = body
    (validated,) = [answer for command, answer in answers.items() if "configuration/validate" in command]
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(validated) == json.loads(shown)
    assert (tmp_path / "monday.jsonl").read_text().startswith('{"schema":"scalesim.trace"')
