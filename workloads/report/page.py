"""One HTML page that holds the figures, for people who have not read the code. It loads nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
figure { margin: 2rem 0; } img { max-width: 100%; height: auto; border: 1px solid #ddd; }
figcaption, .from { color: #444; font-size: .9rem; }
table { border-collapse: collapse; } td, th { border-bottom: 1px solid #ddd; padding: .2rem .8rem .2rem 0; text-align: left; }
.missing { color: #555; border: 1px dashed #999; padding: .6rem; }
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, and what is to be seen in it."""

    title: str
    about: str
    image: Path | None
    """None: it was not made yet; `about` says how it is."""


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    rows: Sequence[Sequence[str]]
    """The first are the heads."""


@dataclass(frozen=True, slots=True)
class Part:
    title: str
    about: str
    tables: Sequence[Table]
    shown: Sequence[Shown]


def page(title: str, made_by: str, parts: Sequence[Part]) -> str:
    """As HTML. Raises `OSError` for a picture that is not there."""
    lines = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head><body>',
        f"<h1>{escape(title)}</h1>",
        f'<p class="from">{escape(made_by)}</p>',
    ]
    for part in parts:
        lines += [f"<h2>{escape(part.title)}</h2>", f"<p>{escape(part.about)}</p>"]
        for table in part.tables:
            lines += _table(table)
        for one in part.shown:
            lines += _figure(one)
    lines.append("</body></html>")
    return "\n".join(lines) + "\n"


def _figure(one: Shown) -> list[str]:
    if one.image is None:
        return [f'<p class="missing"><b>{escape(one.title)}</b>: {escape(one.about)}</p>']
    data = base64.b64encode(one.image.read_bytes()).decode("ascii")
    return [
        "<figure>",
        f'<img alt="{escape(one.title)}" src="data:image/png;base64,{data}">',
        f"<figcaption><b>{escape(one.title)}.</b> {escape(one.about)}</figcaption>",
        "</figure>",
    ]


def _table(table: Table) -> list[str]:
    head, *rows = table.rows
    lines = [f"<h3>{escape(table.title)}</h3>", "<table>"]
    lines.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>")
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return [*lines, "</table>"]
