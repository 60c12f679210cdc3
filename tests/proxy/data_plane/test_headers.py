from __future__ import annotations

from scalesim.proxy.data_plane.headers import shown, single, title, to_client, to_engine


def test_headers_of_one_hop_and_those_named_in_connection_stay_on_it() -> None:
    hop = [
        (b"connection", b"close, X-Own"),
        (b"x-own", b"1"),
        (b"keep-alive", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"te", b"trailers"),
        (b"trailer", b"x"),
        (b"proxy-authorization", b"x"),
    ]
    kept = [(b"accept", b"a"), (b"x-b", b"2"), (b"accept", b"c")]
    assert to_engine(hop + kept) == kept
    assert to_client(hop + kept) == kept


def test_our_own_headers_and_those_of_the_clients_connection_do_not_reach_the_engine() -> None:
    own = [b"x-agent-id", b"x-agent-acts-for", b"x-simulation-id", b"host", b"content-length", b"expect"]
    assert to_engine([(name, b"1") for name in own]) == []
    assert to_engine([(b"x-session-id", b"1")]) == [(b"x-session-id", b"1")]


def test_the_engines_length_and_names_in_any_case_come_back() -> None:
    assert to_client([(b"Content-Length", b"5"), (b"Connection", b"x-A"), (b"X-a", b"")]) == [
        (b"content-length", b"5")
    ]


def test_an_empty_header_is_a_missing_one() -> None:
    assert single([(b"a", b" ")], b"a") is None
    assert single([], b"a") is None
    assert single([(b"a", b" x ")], b"a") == "x"


def test_messages_show_names_as_people_write_them_and_values_cut() -> None:
    assert title(b"x-agent-id") == "X-Agent-ID"
    assert title(b"x-agent-acts-for") == "X-Agent-Acts-For"
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown("a" * 10_000)) == 66
