from __future__ import annotations

from tests.support.settings_page import BEGIN, END, PAGE, table


def test_the_page_has_every_setting_as_it_is_defined() -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == table(), "run: python -m tests.support.settings_page"
