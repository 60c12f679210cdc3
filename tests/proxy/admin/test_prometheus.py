from __future__ import annotations

from scalesim.proxy.admin.prometheus import Family, written


def test_a_family_is_written_with_its_samples() -> None:
    calls = Family("calls_total", "counter", "Calls.").add(3, simulation="a").add(0.5, simulation="b")
    assert written([calls]) == (
        "# HELP calls_total Calls.\n# TYPE calls_total counter\n"
        'calls_total{simulation="a"} 3\ncalls_total{simulation="b"} 0.5\n'
    )


def test_a_sample_without_labels_has_no_braces() -> None:
    assert written([Family("up", "gauge", "Up.").add(True)]).endswith("\nup 1\n")


def test_what_would_break_a_label_is_escaped() -> None:
    family = Family("up", "gauge", "Up.").add(1, engine='a"b\\c\nd')
    assert written([family]).endswith('up{engine="a\\"b\\\\c\\nd"} 1\n')
