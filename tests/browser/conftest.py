"""A real browser, with the flags that let Debian's Chromium run as root and ask nobody on the internet."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
IMAGES = Path(__file__).parents[2] / "docs" / "images"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("browser").addoption(
        "--screenshots", action="store_true", help="writes docs/images/dashboard-*.png anew"
    )


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[object]:
    playwright = pytest.importorskip(
        "playwright.async_api", reason="playwright is not installed (make setup)"
    )
    if CHROMIUM is None:
        pytest.skip("there is no chromium (apt-get install chromium)")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()
