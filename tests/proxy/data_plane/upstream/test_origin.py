from __future__ import annotations

import pytest

from scalesim.proxy.data_plane.upstream.origin import Origin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://10.0.0.1:30000", Origin("10.0.0.1", 30000, False, "10.0.0.1:30000", "")),
        ("http://engine/", Origin("engine", 80, False, "engine", "")),
        ("https://engine", Origin("engine", 443, True, "engine", "")),
        ("https://engine:80/a/b/", Origin("engine", 80, True, "engine:80", "/a/b")),
        ("http://[::1]:8000", Origin("::1", 8000, False, "[::1]:8000", "")),
    ],
)
def test_an_engine_is_where_its_url_says(url: str, expected: Origin) -> None:
    assert Origin.of(url) == expected


@pytest.mark.parametrize(
    "url", ["ftp://engine", "engine:80", "http://", "http://a:b@engine", "http://a:999999"]
)
def test_what_is_no_url_of_an_engine_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"engine|range"):
        Origin.of(url)


def test_a_head_has_what_was_given_and_no_more() -> None:
    origin = Origin.of("http://engine:1/under")
    headers = [(b"b", b"2"), (b"a", b"J\xc3\xb6"), (b"b", b"1"), (b"X-CaSe", b"")]
    assert origin.head("POST", "/p%7E?q=%20", headers, 5) == (
        b"POST /under/p%7E?q=%20 HTTP/1.1\r\nHost: engine:1\r\nb: 2\r\na: J\xc3\xb6\r\nb: 1\r\nX-CaSe: \r\n"
        b"Content-Length: 5\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "tells"), [("GET", False), ("DELETE", False), ("POST", True), ("PUT", True)]
)
def test_the_length_of_no_body_is_told_where_one_is_usual(method: str, tells: bool) -> None:
    assert (b"Content-Length: 0" in Origin.of("http://engine").head(method, "/", [], 0)) is tells


@pytest.mark.parametrize("broken", ["\r\n", "\n", "\r"])
def test_nothing_can_smuggle_in_a_line(broken: str) -> None:
    origin = Origin.of("http://engine")
    with pytest.raises(ValueError, match="line break"):
        origin.head("GET", f"/{broken}x", [], 0)
    with pytest.raises(ValueError, match="line break"):
        origin.head("GET", "/", [(b"a", f"1{broken}b: 2".encode())], 0)
    with pytest.raises(ValueError, match="line break"):
        origin.head("GET", "/", [(f"a{broken}b".encode(), b"")], 0)
