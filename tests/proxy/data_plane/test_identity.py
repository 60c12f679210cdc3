"""Who calls, from what a request says."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.access.keys import Key
from scalesim.proxy.core.model import SimulationId
from scalesim.proxy.data_plane.identity import Recogniser, address_of
from scalesim.proxy.errors import CallRefused
from scalesim.proxy.recognition.guess import Told

CHAT = "/v1/chat/completions"


def headers(**values: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()]


def recognise(recogniser: Recogniser, path: str = CHAT, body: object = None, **values: str) -> Told:
    assert body is None or isinstance(body, dict)
    return recogniser.recognise(path, headers(**values), body)


@pytest.mark.parametrize(
    ("path", "given_headers", "expected"),
    [
        (CHAT, {}, (None, None, "", CHAT)),
        (CHAT, {"x_agent_id": "Ann"}, (None, "Ann", "X-Agent-ID", CHAT)),
        (CHAT, {"x_agent_id": "  Ann "}, (None, "Ann", "X-Agent-ID", CHAT)),
        (CHAT, {"x_agent_id": ""}, (None, None, "", CHAT)),
        (CHAT, {"x_agent_id": "Ann", "x_simulation_id": "t-1"}, ("t-1", "Ann", "X-Agent-ID", CHAT)),
        ("/sim/town" + CHAT, {}, ("town", None, "", CHAT)),
        ("/sim/town" + CHAT, {"x_agent_id": "Ann"}, ("town", "Ann", "X-Agent-ID", CHAT)),
        ("/sim/town/agent/Ann" + CHAT, {}, ("town", "Ann", "URL", CHAT)),
        ("/sim/town/agent/Ann" + CHAT, {"x_agent_id": "Bob"}, ("town", "Bob", "X-Agent-ID", CHAT)),
        ("/sim/town/agent/Ann" + CHAT, {"x_simulation_id": "b"}, ("b", "Ann", "URL", CHAT)),
        ("/sim/to%77n/agent/J%C3%B6%2F%201" + CHAT, {}, ("town", "Jö/ 1", "URL", CHAT)),
        ("/sim/town/agent/Ann/a%2Fb", {}, ("town", "Ann", "URL", "/a%2Fb")),
        ("/sim/town/agent/Ann", {}, ("town", "Ann", "URL", "/")),
        ("/sim/town", {}, ("town", None, "", "/")),
        ("/sim/town/agent", {}, ("town", None, "", "/agent")),
        ("/sim", {}, (None, None, "", "/sim")),
        ("/simple", {}, (None, None, "", "/simple")),
    ],
)
def test_headers_and_the_url_are_trusted(
    path: str, given_headers: dict[str, str], expected: tuple[str | None, str | None, str, str]
) -> None:
    caller = recognise(Recogniser(), path, **given_headers)
    assert (caller.simulation, caller.agent, caller.source, address_of(path).path) == expected
    assert caller.confidence == (0.0 if caller.agent is None else 1.0)


@pytest.mark.parametrize(
    ("path", "given_headers", "words"),
    [
        (CHAT, {"x_agent_id": "a\x7fb"}, "X-Agent-ID"),
        (CHAT, {"x_agent_id": "a" * 257}, "X-Agent-ID"),
        (CHAT, {"x_simulation_id": "a/b"}, "X-Simulation-ID"),
        (CHAT, {"x_simulation_id": "a" * 65}, "X-Simulation-ID"),
        ("/sim//v1", {}, "/sim/"),
        ("/sim/", {}, "/sim/"),
        ("/sim/a%20b/v1", {}, "'a b'"),
        ("/sim/%ff/v1", {}, "'%ff'"),
        ("/sim/town/agent//v1", {}, "/agent/"),
        ("/sim/town/agent/%20/v1", {}, "/agent/"),
        ("/sim/town/agent/%00/v1", {}, "/agent/"),
    ],
)
def test_explicit_nonsense_is_refused_by_name(path: str, given_headers: dict[str, str], words: str) -> None:
    recogniser = Recogniser()
    with pytest.raises(CallRefused) as refusal:
        recognise(recogniser, path, {"user": "ann"}, **given_headers)
    assert words in str(refusal.value)
    assert recogniser.size == 0


def test_a_header_given_twice_must_say_the_same() -> None:
    recogniser = Recogniser()
    twice = [(b"x-agent-id", b"Ann"), (b"x-agent-id", b"Ann")]
    assert recogniser.recognise(CHAT, twice, None).agent == "Ann"
    with pytest.raises(CallRefused, match="X-Agent-ID is given twice"):
        recogniser.recognise(CHAT, [*twice, (b"x-agent-id", b"Bob")], None)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_header_may_hold_a_name_that_is_not_ascii(encoding: str) -> None:
    caller = Recogniser().recognise(CHAT, [(b"x-agent-id", "José".encode(encoding))], None)
    assert caller.agent == "José"


BODY_FIELDS = [
    ("agent_id", lambda value: {"agent_id": value}),
    ("session_id", lambda value: {"session_id": value}),
    ("user", lambda value: {"user": value}),
    ("metadata.agent_id", lambda value: {"metadata": {"agent_id": value}}),
]


@pytest.mark.parametrize(("source", "body"), BODY_FIELDS)
def test_a_field_is_believed_from_its_second_value_on(source: str, body: object) -> None:
    assert callable(body)
    recogniser = Recogniser()
    assert recognise(recogniser, body=body("Ann")).agent is None
    assert recognise(recogniser, body=body("Ann")).agent is None
    second = recognise(recogniser, body=body("Bob"))
    assert (second.agent, second.source) == ("Bob", source)
    assert 0 < second.confidence < 1
    assert recognise(recogniser, body=body("Ann")).agent == "Ann"


def test_the_session_header_is_believed_from_its_second_value_on() -> None:
    recogniser = Recogniser()
    assert recognise(recogniser, x_session_id="1").agent is None
    caller = recognise(recogniser, x_session_id="2")
    assert (caller.agent, caller.source) == ("2", "X-Session-ID")


def test_a_field_that_stops_telling_callers_apart_is_no_longer_believed() -> None:
    recogniser = Recogniser()
    recognise(recogniser, body={"user": "Ann"})
    believed = [recognise(recogniser, body={"user": "Bob"}).agent for _ in range(64)]
    assert believed == ["Bob"] * 63 + [None]
    assert recognise(recogniser, body={"user": "Ann"}).agent == "Ann"


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=60), st.lists(st.integers(1, 80), max_size=4))
def test_a_field_is_believed_exactly_while_its_last_64_calls_had_two_values(
    values: list[str], runs: list[int]
) -> None:
    recogniser = Recogniser()
    window: deque[str] = deque(maxlen=64)
    for value in [*values, *("abca"[i] for i, length in enumerate(runs) for _ in range(length))]:
        window.append(value)
        believed = recognise(recogniser, body={"user": value}).agent
        assert believed == (value if len(set(window)) >= 2 else None)


def test_names_of_agents_are_believed_before_names_of_sessions() -> None:
    recogniser = Recogniser()
    for n in (1, 2):
        body: dict[str, object] = {
            "user": f"u{n}",
            "session_id": f"s{n}",
            "agent_id": f"a{n}",
            "metadata": {"agent_id": f"m{n}"},
        }
        caller = recognise(recogniser, body=body, x_session_id=f"h{n}")
    assert (caller.agent, caller.source) == ("a2", "agent_id")
    for gone, expected in (
        ("agent_id", "m3"),
        ("metadata", "h3"),
        ("", "s3"),
        ("session_id", "u3"),
    ):
        body.pop(gone, None)
        body |= {key: f"{value[0]}3" for key, value in body.items() if isinstance(value, str)}
        if "metadata" in body:
            body["metadata"] = {"agent_id": "m3"}
        session = {"x_session_id": "h3"} if expected in ("m3", "h3") else {}
        assert recognise(recogniser, body=body, **session).agent == expected


def test_a_constant_field_does_not_hide_one_that_tells_callers_apart() -> None:
    recogniser = Recogniser()
    recognise(recogniser, body={"agent_id": "same", "user": "Ann"})
    caller = recognise(recogniser, body={"agent_id": "same", "user": "Bob"})
    assert (caller.agent, caller.source) == ("Bob", "user")


def test_each_simulation_learns_its_own_fields() -> None:
    recogniser = Recogniser()
    recognise(recogniser, "/sim/a" + CHAT, {"user": "Ann"})
    recognise(recogniser, "/sim/a" + CHAT, {"user": "Bob"})
    assert recognise(recogniser, "/sim/a" + CHAT, {"user": "Ann"}).agent == "Ann"
    assert recognise(recogniser, "/sim/b" + CHAT, {"user": "Ann"}).agent is None


def test_numbers_count_as_strings() -> None:
    recogniser = Recogniser()
    assert recognise(recogniser, body={"agent_id": 7}).agent is None
    assert recognise(recogniser, body={"agent_id": "7"}).agent is None
    assert recognise(recogniser, body={"agent_id": 8}).agent == "8"


@pytest.mark.parametrize("value", [None, True, [], {}, ["Ann"], "", "  ", "a" * 257, "a\nb", "a\x85b"])
def test_untrusted_nonsense_is_ignored(value: object) -> None:
    recogniser = Recogniser()
    body = {"agent_id": value, "session_id": value, "user": value, "metadata": value}
    assert recognise(recogniser, body=body).agent is None
    assert recogniser.size == 0


def test_the_table_is_bounded_and_forgets_the_longest_unused() -> None:
    recogniser = Recogniser(max_fields=2)
    for simulation in ("a", "b", "a", "c"):
        recognise(recogniser, f"/sim/{simulation}{CHAT}", {"user": simulation})
    assert recogniser.size == 2
    assert recognise(recogniser, "/sim/a" + CHAT, {"user": "Ann"}).agent == "Ann"  # still known
    assert recognise(recogniser, "/sim/b" + CHAT, {"user": "Ann"}).agent is None


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=30))
def test_an_address_is_split_or_refused_and_never_invented(tail: str) -> None:
    try:
        address = address_of("/sim/" + tail)
    except CallRefused:
        return
    assert ("/sim/" + tail + "/").endswith(address.path) or ("/sim/" + tail).endswith(address.path)


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode())]


TOWN = Key("ann", b"digest", SimulationId("town"))


def test_an_api_key_tells_the_simulation_if_nothing_else_does() -> None:
    recogniser = Recogniser()
    assert recogniser.recognise(CHAT, [], None, TOWN).simulation == "town"
    assert recogniser.recognise("/sim/city" + CHAT, [], None, TOWN).simulation == "city"
    assert recogniser.recognise(CHAT, [], None, replace(TOWN, simulation=None)).simulation is None


def test_a_key_that_is_confined_to_a_simulation_says_no_other() -> None:
    recogniser, key = Recogniser(), replace(TOWN, confined=True)
    assert recogniser.recognise(CHAT, [], None, key).simulation == "town"
    assert recogniser.recognise("/sim/town" + CHAT, [], None, key).simulation == "town"
    for path, headers in (("/sim/city" + CHAT, []), (CHAT, [(b"x-simulation-id", b"city")])):
        with pytest.raises(CallRefused, match=r"'town'.*'city'") as refused:
            recogniser.recognise(path, headers, {"user": "Ann"}, key)
        assert refused.value.status == 403
    assert recogniser.size == 0


def test_clients_with_other_keys_of_ours_are_told_apart() -> None:
    recogniser = Recogniser()
    keys = (TOWN, TOWN, replace(TOWN, digest=b"other"))
    first, again, other = (recogniser.recognise(CHAT, [], None, key).client for key in keys)
    assert first == again != other
    assert b"digest".hex() not in first


def test_clients_with_other_keys_are_told_apart_and_no_key_is_kept() -> None:
    recogniser = Recogniser()
    first, again, other, none = (
        recogniser.recognise(CHAT, given, None).client
        for given in (bearer("sk-secret"), bearer("sk-secret"), bearer("sk-other"), [])
    )
    assert first == again != other
    assert none == ""
    assert "secret" not in first
