from __future__ import annotations

import struct
from pathlib import Path

import pytest

from scalesim.workloads.report import figures, page, paper, published, tables
from scalesim.workloads.report.points import Played, Point

PUBLISHED = published.read()


def told() -> paper.Result:
    found = {
        point: Played(10.0 if point.system != "scalesim" else 8.0, 4.0, 2.0, 1.0, 5.0, 0.5, 9.0, 4, 3)
        for point in paper.points(PUBLISHED)
    }
    about = {"command": "python -m workloads report paper", "commit": "0" * 40, "seed": 1}
    free = {"free": {"bandwidth_share": {"value": 0.4, "about": "of bytes"}}}
    return paper.result(found, free, [18.0] * 20, about)


def test_a_point_is_played_once_and_all_that_figures_need_is_there() -> None:
    points = paper.points(PUBLISHED)
    assert len(points) == len(set(points))
    ours = paper.Ours(told())
    assert ours.speedup(Point("scalesim", 1000, "diffusion")) == pytest.approx(1.25)
    with pytest.raises(KeyError):
        ours.of(Point("scalesim", 7))


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(figures.BY_NUMBER))
def test_every_figure_is_drawn(number: int, tmp_path: Path) -> None:
    drawing = figures.BY_NUMBER[number]
    files = [tmp_path / name for name in ("one.png", "other.png")]
    for file in files:
        figures.draw(drawing, told(), PUBLISHED, file)
    data = files[0].read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data.startswith(b"\x89PNG")
    assert width > 800
    assert height > 400
    assert data == files[1].read_bytes()


def test_tables_set_published_values_beside_ours() -> None:
    rows = tables.step_times(told(), PUBLISHED)
    assert rows[-1] == ["1,000", "32.0 / 10.0 (-69 %)", "34.4 / 10.0 (-71 %)", "20.7 / 8.0 (-61 %)", ""]
    assert tables.speedups(told(), PUBLISHED)[-1] == ["diffusion", "1,000", "1.58", "", "1.25"]
    assert tables.shares(told(), PUBLISHED)[5][:3] == ["500", "0.44 / 0.20 / 0.36", "0.40 / 0.20 / 0.10"]
    assert next(iter(tables.fits(told(), PUBLISHED))) == ("sglang", 500, pytest.approx(10 / 23 - 1))


def test_the_page_holds_its_pictures_and_says_what_is_missing(tmp_path: Path) -> None:
    image = tmp_path / "one.png"
    image.write_bytes(b"\x89PNG")
    parts = [
        page.Part(
            "Part",
            "About <all>",
            [page.Table("Table", [["head"], ["a & b"]])],
            [page.Shown("One", "what", image), page.Shown("Other", "not made yet", None)],
        )
    ]
    html = page.page("Title", "made by", parts)
    assert "data:image/png;base64,iVBORw==" in html
    assert "About &lt;all&gt;" in html
    assert "a &amp; b" in html
    assert "not made yet" in html
    assert "http" not in html.replace("<!doctype html>", "")
