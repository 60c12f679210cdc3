"""The page's files, as they are."""

from __future__ import annotations

import re

import pytest

from scalesim.proxy.dashboard.assets import FOLDER

MOST_BYTES = 300_000


def test_all_of_it_is_small() -> None:
    size = sum(file.stat().st_size for file in FOLDER.iterdir())
    print(f"{size} bytes in {len(list(FOLDER.iterdir()))} files")
    assert size < MOST_BYTES


@pytest.mark.parametrize("file", sorted(file.name for file in FOLDER.iterdir()))
def test_nothing_is_loaded_from_elsewhere_and_nothing_stands_in_the_page_itself(file: str) -> None:
    text = (FOLDER / file).read_text()
    text = re.sub(r"http://(www\.w3\.org/2000/svg|\$\{location\.hostname\})", "", text)
    assert not re.findall(r"https?://", text)
    assert not re.search(r"\sstyle=|\son\w+=\"|<script>|innerHTML\s*=[^=]|insertAdjacentHTML|\beval\(", text)


def test_every_file_that_is_named_is_there() -> None:
    named = {
        name
        for file in FOLDER.iterdir()
        for name in re.findall(r"(?:\"/dashboard/|from \"\./)([\w.-]+)\"", file.read_text())
    }
    assert named
    assert named <= {file.name for file in FOLDER.iterdir()}
