"""The table of all settings in docs/configuration.md, from their definitions. `python -m tests.support.settings_page` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scalesim.proxy.settings import Listed, listed

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
BEGIN, END = "<!-- settings -->\n", "<!-- end of settings -->\n"


def table() -> str:
    return "\n".join(_lines()) + "\n"


def with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def _lines() -> Iterator[str]:
    yield "| setting | default | what for | changes |"
    yield "|---|---|---|---|"
    for one in listed():
        yield f"| `{one.name}` | {_default(one)} | {_plain(one.about)} | {'reload' if one.is_live else 'restart'} |"


def _default(one: Listed) -> str:
    if one.is_secret:
        return "*secret*"
    return f"`{one.default}`" if one.default else "-"


def _plain(text: str) -> str:
    """Without what Markdown would take for its own."""
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
