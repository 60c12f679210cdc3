from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from scalesim.proxy.admin.prometheus import PIECE, Family, written
from scalesim.proxy.histogram import Histogram


def test_a_histogram_is_written_as_what_lies_below_each_bound() -> None:
    histogram = Histogram((0.5, 2.0))
    for value in (0.1, 0.5, 1.0, 9.5):
        histogram.note(value)
    text = "".join(written([Family("x_seconds", "histogram", "How long.").spread(histogram, engine="a")]))
    assert text.splitlines() == [
        "# HELP x_seconds How long.",
        "# TYPE x_seconds histogram",
        'x_seconds_bucket{engine="a",le="0.5"} 2',
        'x_seconds_bucket{engine="a",le="2"} 3',
        'x_seconds_bucket{engine="a",le="+Inf"} 4',
        'x_seconds_sum{engine="a"} 11.1',
        'x_seconds_count{engine="a"} 4',
    ]


def test_whatever_a_label_holds_is_read_back() -> None:
    label = 'a "quoted"\\ one\nof two lines'
    text = "".join(written([Family("x", "gauge", "Something.").add(1.5, name=label)]))
    (family,) = text_string_to_metric_families(text)
    assert [(one.labels, one.value) for one in family.samples] == [({"name": label}, 1.5)]


def test_much_is_written_in_pieces_and_nothing_is_left_out() -> None:
    family = Family("x", "gauge", "Something.")
    for number in range(3 * PIECE):
        family.add(number, name=str(number))
    pieces = list(written([family]))
    assert len(pieces) == 4
    assert max(piece.count("\n") for piece in pieces) == PIECE
    (read,) = text_string_to_metric_families("".join(pieces))
    assert [one.value for one in read.samples] == list(range(3 * PIECE))
