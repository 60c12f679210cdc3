from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.api_page import BEGIN, END, PAGE, described, tables

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_the_page_has_every_route_as_the_proxy_describes_it(tmp_path: Path) -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == tables(await described(tmp_path)), "run: python -m tests.support.api_page"
