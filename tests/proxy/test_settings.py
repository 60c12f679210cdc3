from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from scalesim.engine_adapters.sglang_plugin import wire
from scalesim.proxy import dispatch
from scalesim.proxy.access.keys import Key, digest_of, hash_of
from scalesim.proxy.core.controller import ControllerConfig
from scalesim.proxy.core.durations import Scale
from scalesim.proxy.core.model import Clock, EngineId, Mode, Part, SimulationId
from scalesim.proxy.core.placing import Bounds
from scalesim.proxy.data_plane.joining import JoinRules
from scalesim.proxy.data_plane.retrying import RetryRules
from scalesim.proxy.engines.breaker import BreakerRules
from scalesim.proxy.engines.registry import Address, FrontOf
from scalesim.proxy.recognition.guess import Rung
from scalesim.proxy.settings import LOADS_LIMIT, PLAN_LIMIT, Settings, SettingsError, is_loopback

ENGINE = {"engine": "http://127.0.0.1:30000"}


def refusal(
    arguments: Mapping[str, object] = ENGINE, environ: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        Settings.load(arguments, environ or {})
    return refused.value.problems


def write(folder: Path, text: str) -> dict[str, object]:
    path = folder / "scalesim.toml"
    path.write_text(text)
    return {"config": str(path)}


def test_the_engine_is_all_that_must_be_given() -> None:
    settings = Settings.load(ENGINE, {})
    assert (settings.engine, settings.port, settings.admin_port) == ("http://127.0.0.1:30000", 8000, 8001)
    assert settings.mode is Mode.ON
    assert settings.policy == "nearest_first"


def test_a_missing_engine_is_refused_with_the_ways_to_give_it() -> None:
    assert refusal({}) == ("engine: missing; give --engine, SCALESIM_ENGINE, or `engine` in the config file",)


def test_engines_may_be_several_with_names_or_without(tmp_path: Path) -> None:
    two = (Address(EngineId("a"), "http://one:1"), Address(EngineId("engine-1"), "http://two:2"))
    assert Settings.load({"engines": ["a=http://one:1", "http://two:2/"]}, {}).addresses == two
    assert Settings.load({}, {"SCALESIM_ENGINES": "a=http://one:1, http://two:2"}).addresses == two
    listed = write(tmp_path, 'engines = ["a=http://one:1", "http://two:2"]\n')
    assert Settings.load(listed, {}).addresses == two
    table = write(tmp_path, '[engines]\na = "http://one:1"\nb = { url = "http://two:2", weight = 2 }\n')
    weighted = Address(EngineId("b"), "http://two:2", 2.0)
    assert Settings.load(table, {}).addresses == (two[0], weighted)


def test_one_engine_is_a_list_of_one() -> None:
    assert Settings.load(ENGINE, {}).addresses == (Address(EngineId("engine-0"), ENGINE["engine"]),)


def test_engines_may_all_be_registered_later() -> None:
    assert Settings.load({}, {"SCALESIM_ENGINES": "none"}).addresses == ()


def test_engines_of_a_stronger_source_take_the_place_of_those_of_a_weaker_one() -> None:
    several = {"SCALESIM_ENGINES": "a=http://a:1"}
    assert [one.name for one in Settings.load(ENGINE, several).addresses] == ["engine-0"]
    given = {"engines": ["a=http://a:1"]}
    assert [one.name for one in Settings.load(given, {"SCALESIM_ENGINE": "http://b:1"}).addresses] == ["a"]


def test_one_engine_and_several_contradict_each_other() -> None:
    (problem,) = refusal(ENGINE | {"engines": ["a=http://a:1"]})
    assert problem == "engine, engines: give the one or the other"


def test_none_of_several_engines_is_the_proxy_itself() -> None:
    (problem,) = refusal({"engines": ["a=http://a:1", "b=http://localhost:8001"]})
    assert problem.startswith("engines: 'http://localhost:8001' is where the proxy itself listens")


def test_a_table_of_engines_has_nothing_but_urls_and_weights(tmp_path: Path) -> None:
    (problem,) = refusal(write(tmp_path, '[engines]\na = { address = "http://one:1" }\n'))
    assert "may have a url and a weight" in problem
    (problem,) = refusal(write(tmp_path, '[engines]\na = { url = "http://one:1", weight = 0 }\n'))
    assert "the weight of 'a' is 0" in problem


MAIN = Address(
    EngineId("main"), "http://f:1", front=FrontOf("smg", ("http://gpu-1:30000", "http://gpu-2:30000"))
)


def test_a_front_end_stands_in_place_of_engines_or_beside_them(tmp_path: Path) -> None:
    told = "main=smg http://f:1/ http://gpu-1:30000 http://gpu-2:30000"
    assert Settings.load({}, {"SCALESIM_FRONTS": told}).addresses == (MAIN,)
    other = Address(EngineId("other"), "http://g:1", front=FrontOf("dynamo"))
    both = {"SCALESIM_FRONTS": f"{told}, other=dynamo http://g:1"}
    assert Settings.load(ENGINE, both).addresses[1:] == (MAIN, other)


def test_a_front_end_has_a_table(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [fronts]
        main = { url = "http://f:1", kind = "smg", engines = ["http://gpu-1:30000", "http://gpu-2:30000"] }
        far = { url = "http://g:1", kind = "dynamo", weight = 2, agent_hints = { priority = 5 } }
        """,
    )
    far = Address(EngineId("far"), "http://g:1", 2.0, FrontOf("dynamo", hints=(("priority", 5),)))
    assert Settings.load(file, {}).addresses == (MAIN, far)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('main = "http://f:1"', "main: it has agent_hints, engines, kind, url, weight"),
        ('main = { url = "http://f:1", kind = "smg", header = "x" }', "main: it has agent_hints"),
        ('main = { url = "http://f:1" }', "main: None is not one of sglang-router, smg, dynamo"),
        ('main = { kind = "smg" }', "main: None is not the URL of an engine"),
        ('main = { url = "http://f:1", kind = "smg", engines = "http://a" }', "engines: not a list of URLs"),
        ('main = { url = "http://f:1", kind = "smg", engines = ["a"] }', "'a' is not the URL of an engine"),
        (
            'main = { url = "http://f:1", kind = "dynamo", engines = ["http://a"] }',
            "main: engines: of no use. Dynamo's workers",
        ),
        (
            'main = { url = "http://f:1", kind = "smg", agent_hints = { priority = 1 } }',
            "main: agent_hints: smg takes none",
        ),
        (
            'main = { url = "http://f:1", kind = "dynamo", agent_hints = { priority = [1] } }',
            "agent_hints: not a table of numbers",
        ),
        ('main = { url = "http://f:1", kind = "smg", engines = ["http://f:1"] }', "names an address twice"),
    ],
)
def test_a_front_end_that_cannot_be_is_refused(tmp_path: Path, line: str, wrong: str) -> None:
    (problem,) = refusal(write(tmp_path, f"[fronts]\n{line}\n"))
    assert wrong in problem


def test_an_engine_behind_a_front_end_is_not_listed_once_more() -> None:
    given = {"engines": ["a=http://gpu-1:30000"], "fronts": "main=smg http://f:1 http://gpu-1:30000"}
    (problem,) = refusal(given)
    assert problem.startswith("fronts: http://gpu-1:30000 is registered as 'a'")


@pytest.mark.parametrize("told", ["http://localhost:8000", "http://f:1 http://localhost:8001"])
def test_neither_a_front_end_nor_what_is_behind_it_is_the_proxy_itself(told: str) -> None:
    (problem,) = refusal({"fronts": f"main=smg {told}"})
    assert problem.startswith("fronts: 'http://localhost:800")


def test_salts_are_not_given_to_what_drops_them() -> None:
    """Who trusts in them would share what he must not."""
    (problem,) = refusal({"fronts": "main=sglang-router http://f:1", "salts": "on"})
    assert problem.startswith("salts: sglang-router drops them")
    assert Settings.load({"fronts": "main=smg http://f:1", "salts": "on"}, {}).salts


def test_aliases_are_a_table_or_pairs(tmp_path: Path) -> None:
    wanted = (("gpt-4o", "llama"), ("*", "llama"))
    assert Settings.load(ENGINE, {"SCALESIM_ALIASES": "gpt-4o=llama, *=llama"}).aliases == wanted
    file = write(tmp_path, '[aliases]\n"gpt-4o" = "llama"\n"*" = "llama"\n')
    assert Settings.load(ENGINE | file, {}).aliases == wanted


def test_a_command_that_needs_no_engine_loads_without_one() -> None:
    assert Settings.load({}, {"SCALESIM_ADMIN_PORT": "9001"}, needed=()).admin_port == 9001


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    file = write(tmp_path, 'engine = "http://in.the.file:1"\nport = 1001\nadmin_port = 1002\ntick_ms = 20\n')
    settings = Settings.load(file | {"port": 3001}, {"SCALESIM_PORT": "2001", "SCALESIM_ADMIN_PORT": "2002"})
    assert (settings.port, settings.admin_port, settings.tick_ms) == (3001, 2002, 20.0)
    assert settings.engine == "http://in.the.file:1"
    assert settings.report_every_s == 0.5


def test_an_argument_that_was_not_given_overrules_nothing() -> None:
    assert Settings.load(ENGINE | {"port": None}, {"SCALESIM_PORT": "2001"}).port == 2001


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'engine = "http://in.the.file:1"')["config"]
    assert Settings.load({}, {"SCALESIM_CONFIG": str(path)}).engine == "http://in.the.file:1"


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("ENGINE", "https://engine.example:443/base/", "https://engine.example:443/base"),
        ("PORT", "0", 0),
        ("MODE", "shadow", Mode.SHADOW),
        ("POLICY", "lru", "lru"),
        ("ADMIN_KEYS", "one, two", ("one", "two")),
        ("ENGINE_API_KEY", "s3cret", "s3cret"),
        ("MAX_BODY_MB", "0.5", 0.5),
        ("MAX_CONNECTIONS", "10", 10),
        ("PIN_SHARE", "0", 0.0),
        ("PLAN_LIMIT", "32", 32),
        ("LOG_LEVEL", "debug", "debug"),
        ("PARTS", "all", frozenset(Part)),
        ("PARTS", "none", frozenset()),
        ("PARTS", "order", frozenset({Part.ORDER})),
        ("PARTS", "order, ready_first", frozenset({Part.ORDER, Part.READY_FIRST})),
        ("GUARD", "on", True),
        ("GUARD", "off", False),
        ("GUARD", "false", False),
        ("PREFETCH_STEPS", "0.5", 0.5),
        ("PREFETCH_S", "10", 10.0),
        ("LOADS_IN_FLIGHT", "16", 16),
        ("LOAD_BUDGET_MB", "64", 64.0),
        ("WARM_UP_STORE_MB", "1.5", 1.5),
        ("ANSWERS", "off", None),
        ("ANSWERS", "0.2 steps", Scale(Clock.STEPS, 0.2)),
        ("ANSWERS", "1.5 seconds", Scale(Clock.SECONDS, 1.5)),
    ],
)
def test_a_good_value_is_taken(name: str, value: str, parsed: object) -> None:
    settings = Settings.load({}, {"SCALESIM_ENGINE": ENGINE["engine"], f"SCALESIM_{name}": value})
    assert getattr(settings, name.lower()) == parsed


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "99999", "99999 is not a port (1 to 65535)"),
        ("PORT", "http", "http is not a port"),
        ("ADMIN_PORT", "-1", "-1 is not a port"),
        ("GUARD", "perhaps", "'perhaps' is not on or off"),
        ("ADMIN_PORT", "80.5", "80.5 is not a port"),
        ("HOST", "", "'' is not a host"),
        ("ADMIN_HOST", "http://here", "'http://here' is not a host"),
        ("ENGINE", "127.0.0.1:30000", "'127.0.0.1:30000' is not the URL of an engine"),
        ("ENGINE", "http://", "is not the URL of an engine"),
        ("ENGINE", "http://engine:port", "is not the URL of an engine"),
        ("ENGINE", "http://engine?a=b", "is not the URL of an engine"),
        ("ENGINE", "http://engine:30000/v1", "ends with /v1"),
        ("ENGINE_NAME", " a", "' a' is not a name"),
        ("ENGINE_NAME", "a b", "'a b' is no name for an engine"),
        ("ENGINES", "", "'' is not a list of engines"),
        ("ENGINES", "a=", "a: '' is not the URL of an engine"),
        ("ENGINES", "a b=http://a:1", "'a b' is no name for an engine"),
        ("ENGINES", "a=http://a:1/v1", "a: 'http://a:1/v1' ends with /v1"),
        ("ENGINES", "a=http://a:1,a=http://b:1", "two engines are called 'a'"),
        ("ENGINES", "a=http://a:80,b=http://a", "http://a is registered as 'a'"),
        ("ENGINES", "http://a:1,whoever", "engine-1: 'whoever' is not the URL of an engine"),
        ("FRONTS", "", "'' is not a table of front ends"),
        ("FRONTS", "main=smg", "main: None is not the URL of an engine"),
        ("FRONTS", "main=nginx http://f:1", "main: 'nginx' is not one of sglang-router, smg, dynamo"),
        ("FRONTS", "main=smg http://f:1, main=smg http://g:1", "is not a front end of its own"),
        ("ALIASES", "gpt", "'gpt' is not a table of names and models"),
        ("ALIASES", "gpt=llama,gpt=qwen", "names an alias twice"),
        ("ALIASES", "gpt=llama,best=gpt", "an alias stands for a model"),
        (
            "PLACEMENT",
            "anywhere",
            "'anywhere' is not one of by_memory, least_loaded, rendezvous, round_robin",
        ),
        ("PLACEMENT_SPARE_CALLS", "-0.1", "-0.1 is not a number of shares"),
        ("ENGINE_CONCURRENCY", "-1", "-1 is not a number of calls (a whole one, 0 to"),
        ("QUEUE_LIMIT", "0", "0 is not a number of calls"),
        ("RETRY_ATTEMPTS", "0", "0 is not a number of attempts"),
        ("BREAKER_REST_S", "61", "longer than breaker_longest_rest_s"),
        ("FIRST_BYTE_TIMEOUT_S", "-1", "-1 is not a number of seconds"),
        ("DRAIN_S", "later", "later is not a number of seconds"),
        ("MODE", "maybe", "'maybe' is not one of off, shadow, on"),
        ("POLICY", "best", "'best' is not one of cost_aware, lru, nearest_first, off"),
        ("LOG_LEVEL", "LOUD", "'LOUD' is not one of debug, info, warning, error"),
        ("MAX_BODY_MB", "0", "0 is not a number of megabytes above 0 and up to 1024"),
        ("MAX_BODY_MB", "nan", "nan is not a number"),
        ("IDLE_AFTER_S", "-1", "-1 is not a number of seconds from 0 to"),
        ("CONNECT_TIMEOUT_S", "inf", "inf is not a number of seconds"),
        ("MAX_CONNECTIONS", "1.5", "1.5 is not a number of connections"),
        ("TICK_MS", "-50", "-50 is not a number of milliseconds"),
        ("REPORT_EVERY_S", "soon", "soon is not a number of seconds"),
        ("PROBE_EVERY_S", "0", "0 is not a number of seconds"),
        ("PLAN_LIMIT", "0", "0 is not a number of agents"),
        ("PLAN_LIMIT", "16385", "16385 is not a number of agents (a whole one, 1 to 16384)"),
        ("PIN_SHARE", "1.1", "1.1 is not a share (0 to 1)"),
        ("PARTS", "", "'' is not one of order, pin, prefixes, adapters, preempt, ready_first, warm_up"),
        ("PARTS", "order,magic", "'magic' is not one of order, pin"),
        ("PARTS", "none,order", "'none' is not one of order, pin"),
        ("PREFETCH_STEPS", "-1", "-1 is not a number of steps"),
        ("PREFETCH_S", "0", "0 is not a number of seconds"),
        ("LOADS_IN_FLIGHT", "17", "17 is not a number of loads (a whole one, 1 to 16)"),
        ("LOAD_BUDGET_MB", "0", "0 is not a number of megabytes"),
        ("WARM_UP_STORE_MB", "much", "much is not a number of megabytes"),
        *(
            ("ANSWERS", value, f"{value!r} is not the length of a simulated minute, like '0.2 steps'")
            for value in ("", "on", "steps", "0 steps", "nan steps", "1 moon", "1 turns", "-1 seconds")
        ),
    ],
)
def test_a_bad_value_is_refused_by_name_and_value(name: str, value: str, says: str) -> None:
    (problem,) = refusal({}, {"SCALESIM_ENGINE": ENGINE["engine"]} | {f"SCALESIM_{name}": value})
    assert problem.startswith((f"SCALESIM_{name}: ", f"{name.lower()}: "))
    assert says in problem


def test_the_refusal_names_where_the_value_was_given(tmp_path: Path) -> None:
    file = write(tmp_path, 'engine = "http://e:1"\nport = true\n')
    (in_file,) = refusal(file)
    (on_the_line,) = refusal(ENGINE | {"admin_port": 70000})
    assert in_file.startswith(f"port in {file['config']}: True is not a port")
    assert on_the_line.startswith("--admin-port: 70000 is not a port")


def test_all_problems_are_told_at_once() -> None:
    problems = refusal(
        {},
        {
            "SCALESIM_PORT": "0x1",
            "SCALESIM_MODE": "on ",
            "SCALESIM_ADMIN_HOST": "0.0.0.0",
            "SCALESIM_PROT": "1",
        },
    )
    assert sorted(problem.split(":")[0] for problem in problems) == [
        "SCALESIM_MODE",
        "SCALESIM_PORT",
        "SCALESIM_PROT",
        "admin_keys",
        "engine",
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("PROT", "PORT"), ("ADMIN_KEY", "ADMIN_KEYS"), ("ENGINE_URL", "ENGINE"), ("CONFG", "CONFIG")],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_name(name: str, nearest: str) -> None:
    (problem,) = refusal(ENGINE, {f"SCALESIM_{name}": "shown-nowhere"})
    assert problem == f"SCALESIM_{name}: unknown; the nearest known name is SCALESIM_{nearest}"


def test_an_unknown_key_in_the_file_is_refused_with_the_nearest_known_name(tmp_path: Path) -> None:
    (problem,) = refusal(write(tmp_path, 'engine = "http://e:1"\nmax_body = 3\n'))
    assert "max_body in " in problem
    assert "nearest known name is max_body_mb in" in problem


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (missing,) = refusal(ENGINE | {"config": str(tmp_path / "none.toml")})
    (broken,) = refusal(ENGINE | write(tmp_path, "port = ="))
    assert "No such file" in missing
    assert "is not TOML" in broken


@pytest.mark.parametrize("name", ["ADMIN_KEYS", "ENGINE_API_KEY"])
def test_a_refused_secret_is_not_printed(name: str) -> None:
    (problem,) = refusal(
        ENGINE,
        {f"SCALESIM_{name}": "s3cret\n"} if name == "ENGINE_API_KEY" else {f"SCALESIM_{name}": "s3crèt"},
    )
    assert problem.startswith(f"SCALESIM_{name}: ")
    assert "s3cr" not in problem


@pytest.mark.parametrize(
    "url", ["http://me:s3cret@engine:30000", "http://me:s3cret@engine:bad", "http://s3cret@[/"]
)
def test_a_password_in_the_url_is_refused_and_not_printed(url: str) -> None:
    (problem,) = refusal({"engine": url})
    assert "s3cret" not in problem


def test_secrets_are_not_in_the_repr() -> None:
    settings = Settings.load(ENGINE, {"SCALESIM_ADMIN_KEYS": "s3cret", "SCALESIM_ENGINE_API_KEY": "s3cret"})
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "admin.example"])
def test_an_admin_listener_that_others_reach_needs_a_key(host: str) -> None:
    (problem,) = refusal(ENGINE | {"admin_host": host})
    assert problem.startswith("admin_keys: missing")
    assert Settings.load(ENGINE | {"admin_host": host}, {"SCALESIM_ADMIN_KEYS": "k"}).admin_host == host


def test_the_listeners_cannot_share_a_port() -> None:
    assert refusal(ENGINE | {"port": 9000, "admin_port": 9000}) == (
        "admin_port: 9000 is the port for clients already",
    )
    assert Settings.load(ENGINE | {"port": 0, "admin_port": 0}, {}).port == 0


@pytest.mark.parametrize(
    ("host", "admin_host"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::", "::1"), ("10.0.0.7", "0.0.0.0")],
)
def test_the_listeners_cannot_share_a_port_with_one_that_takes_every_address(
    host: str, admin_host: str
) -> None:
    hosts = ENGINE | {"host": host, "admin_host": admin_host, "admin_keys": "k"}
    assert refusal(hosts | {"port": 9000, "admin_port": 9000}) == (
        "admin_port: 9000 is the port for clients already",
    )
    assert Settings.load(hosts | {"port": 0, "admin_port": 0}, {}).host == host


def test_listeners_on_two_addresses_can_share_a_port() -> None:
    hosts = ENGINE | {"host": "10.0.0.7", "admin_host": "127.0.0.1"}
    assert Settings.load(hosts | {"port": 9000, "admin_port": 9000}, {}).admin_port == 9000


@pytest.mark.parametrize(
    ("engine", "host"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1"),
        ("http://localhost:9000", "127.0.0.1"),
        ("http://127.0.0.1:9000", "localhost"),
        ("http://[::1]:9000", "localhost"),
        ("http://127.0.0.1:9000", "0.0.0.0"),
        ("http://0.0.0.0:9000", "127.0.0.1"),
        ("https://here.example:9000/base", "here.example"),
    ],
)
def test_the_proxy_is_not_its_own_engine(engine: str, host: str) -> None:
    (for_clients,) = refusal({"engine": engine, "host": host, "port": 9000})
    (for_operators,) = refusal(
        {"engine": engine, "admin_host": host, "admin_port": 9000, "admin_keys": "k"},
    )
    assert for_clients == (
        f"engine: '{engine}' is where the proxy itself listens for clients; "
        "give the engine's own address, or another port"
    )
    assert for_operators.startswith(f"engine: '{engine}' is where the proxy itself listens for operators")


@pytest.mark.parametrize(
    ("engine", "host", "port"),
    [
        ("http://127.0.0.1:9001", "127.0.0.1", 9000),
        ("http://127.0.0.2:9000", "127.0.0.1", 9000),
        ("http://10.0.0.7:9000", "0.0.0.0", 9000),
        ("http://127.0.0.1", "127.0.0.1", 443),
        ("https://127.0.0.1", "127.0.0.1", 80),
        ("http://127.0.0.1:9000", "127.0.0.1", 0),
    ],
)
def test_an_engine_elsewhere_is_taken(engine: str, host: str, port: int) -> None:
    assert Settings.load({"engine": engine, "host": host, "port": port}, {}).engine == engine


def test_the_protocol_takes_a_plan_of_the_largest_size() -> None:
    assert PLAN_LIMIT == wire.MAX_OWNERS


def test_settings_that_were_made_by_hand_are_checked_for_contradictions_too() -> None:
    with pytest.raises(SettingsError, match="admin_keys"):
        Settings(engine="http://e:1", admin_host="0.0.0.0")


def test_the_defaults_of_the_core_are_ours() -> None:
    settings, core = Settings.load(ENGINE, {}), ControllerConfig()
    assert (settings.mode, settings.policy) == (core.mode, core.policy)
    assert (settings.plan_limit, settings.pin_share) == (core.plan_limit, core.pin_share)
    assert settings.guard is core.guard is True
    assert settings.idle_after_s == core.idle_after_s


def test_the_defaults_of_the_rules_are_ours() -> None:
    settings, bounds, breaker = Settings.load(ENGINE, {}), Bounds(), BreakerRules()
    assert settings.placement_spare_calls == bounds.spare_calls
    assert settings.placement_unhurried_calls == bounds.unhurried_calls
    assert settings.placement_spare_memory == bounds.spare_memory
    assert settings.placement_spare_together == bounds.spare_together
    assert settings.breaker_failures == breaker.failures_in_a_row
    assert (settings.breaker_rest_s, settings.breaker_longest_rest_s) == (
        breaker.rest_s,
        breaker.longest_rest_s,
    )
    assert (settings.retry_attempts, settings.retry_wait_s) == (
        RetryRules().attempts,
        RetryRules().longest_wait_s,
    )
    assert (settings.join_grace_s, settings.answers_kept_s) == (JoinRules().grace_s, JoinRules().kept_s)
    assert settings.answers_kept_mb * 1_000_000 == JoinRules().most_bytes


def test_every_setting_is_documented() -> None:
    assert all(field.metadata["about"] for field in dataclasses.fields(Settings))


@pytest.mark.parametrize(
    ("host", "only_this_machine"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback_is_recognised(host: str, only_this_machine: bool) -> None:
    assert is_loopback(host) is only_this_machine


def test_the_guard_is_a_switch_on_the_command_line_and_in_the_file(tmp_path: Path) -> None:
    assert Settings.load({**ENGINE, "guard": False}, {"SCALESIM_GUARD": "on"}).guard is False
    file = write(tmp_path, 'engine = "http://in.the.file:1"\nguard = false\n')
    assert Settings.load(file, {}).guard is False
    (problem,) = refusal(write(tmp_path, 'engine = "http://in.the.file:1"\nguard = 1\n'))
    assert "1 is not on or off" in problem


def test_parts_can_be_a_list_in_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'engine = "http://in.the.file:1"\nparts = ["pin", "adapters"]\n')
    assert Settings.load(file, {}).parts == {Part.PIN, Part.ADAPTERS}
    bare = write(tmp_path, 'engine = "http://in.the.file:1"\nparts = []\n')
    assert Settings.load(bare, {}).parts == frozenset()
    (problem,) = refusal(write(tmp_path, 'engine = "http://in.the.file:1"\nparts = 7\n'))
    assert problem.startswith("parts in ")
    assert "7 is not a list of order, pin" in problem


def test_no_more_loads_can_be_wanted_than_are_carried_out() -> None:
    assert LOADS_LIMIT == dispatch.LOADS_LIMIT


def test_what_belongs_to_a_trace_is_named_as_on_its_command_line() -> None:
    record = ENGINE | {"record": "trace.jsonl"}
    assert refusal(record | {"record_max_bytes": "12"}) == (
        "--max-bytes: 12 is not a number of bytes (a whole one, 100000 to 1000000000000)",
    )
    assert refusal(ENGINE | {"record": "a/folder/"}) == ("FILE: 'a/folder/' is not the path of a file",)
    assert refusal(record, {"SCALESIM_RECORD_FILES": "0"})[0].startswith("SCALESIM_RECORD_FILES: 0 is not")
    assert Settings.load(record | {"record_max_bytes": "1e9"}, {}).record_max_bytes == 1_000_000_000


def test_full_text_needs_a_trace_and_a_salt_a_file_of_its_own() -> None:
    assert refusal(ENGINE | {"record_full_text": True}) == (
        "record_full_text: nothing is recorded; give `record`, the file, too",
    )
    both = ENGINE | {"record": "trace.jsonl", "record_salt": "trace.jsonl"}
    assert refusal(both) == ("record_salt: 'trace.jsonl' is the trace itself; give a file of its own",)


def test_keys_of_clients_name_their_simulations(tmp_path: Path) -> None:
    file = write(tmp_path, 'engine = "http://e:1"\n[simulation_keys]\nsk-1 = "town"\n')
    assert Settings.load(file, {}).simulation_keys == (Key("town", digest_of("sk-1"), SimulationId("town")),)
    environ = {"SCALESIM_SIMULATION_KEYS": "sk=1=town, sk-2=city"}
    both = Settings.load(ENGINE, environ).simulation_keys
    assert [(key.digest, key.simulation, key.confined) for key in both] == [
        (digest_of("sk=1"), "town", False),
        (digest_of("sk-2"), "city", False),
    ]
    assert "sk-2" not in repr(both) + repr(Settings.load(ENGINE, environ))


def test_keys_without_which_nobody_is_served_have_names_and_may_be_confined(tmp_path: Path) -> None:
    ann = Key("ann", digest_of("sk=1"))
    bob = Key("bob", digest_of("sk-2"), SimulationId("town"), confined=True)
    environ = {"SCALESIM_CLIENT_KEYS": f"ann=sk=1, bob@town={hash_of('sk-2')}"}
    assert Settings.load(ENGINE, environ).client_keys == (ann, bob)
    text = 'engine = "http://e:1"\n[client_keys]\nann = "sk=1"\nbob = { key = "sk-2", simulation = "town" }\n'
    assert Settings.load(write(tmp_path, text), {}).client_keys == (ann, bob)
    assert Settings.load(ENGINE, {}).client_keys == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("sk-secret", "not shown"),
        ("sk/secret=town", "a name has"),
        ("ann=sha256:secret", "64 hexadecimal digits"),
        ("ann@sk/secret", "a simulation's id has"),
        ("ann=", "not shown"),
        ("ann=sk-secret,ann=sk-secret2", "two names"),
        ("ann=sk-secret,bob=sk-secret", "two keys"),
        ("", "NAME=KEY"),
    ],
)
def test_a_bad_table_of_keys_is_refused_and_no_key_is_shown(value: str, words: str) -> None:
    (problem,) = refusal(environ={"SCALESIM_CLIENT_KEYS": value})
    assert words in problem
    assert "secret" not in problem


def test_keys_of_operators_and_of_clients_are_never_the_same() -> None:
    (problem,) = refusal(environ={"SCALESIM_CLIENT_KEYS": "ann=sk-1", "SCALESIM_ADMIN_KEYS": hash_of("sk-1")})
    assert "a key is in two places" in problem
    assert "sk-1" not in problem


def test_a_certificate_needs_its_key_and_a_secret_something_to_hide() -> None:
    assert refusal(ENGINE | {"tls_cert": "a.pem"}) == ("tls_key: missing; tls_cert is of no use without it",)
    assert refusal(ENGINE | {"admin_tls_key": "a.key"}) == (
        "admin_tls_cert: missing; admin_tls_key is of no use without it",
    )
    assert refusal(ENGINE | {"salts_file": "secret"}) == ("salts_file: of no use while `salts` is off",)


@pytest.mark.parametrize(("value", "words"), [("sk/secret", "not shown"), ("sk-secret=a/b", "'a/b'")])
def test_a_key_without_a_simulations_name_is_refused_and_not_shown(value: str, words: str) -> None:
    (problem,) = refusal(environ={"SCALESIM_SIMULATION_KEYS": value})
    assert words in problem
    assert "secret" not in problem


def test_rungs_of_recognition_are_a_list() -> None:
    assert Settings.load({**ENGINE, "recognise": "answers,learned"}, {}).recognise == {
        Rung.ANSWERS,
        Rung.LEARNED,
    }
    (problem,) = refusal({**ENGINE, "recognise": "guessing"})
    assert "'guessing' is not one of recipes, answers, learned" in problem


def test_a_redis_is_a_url_and_is_never_shown() -> None:
    settings = Settings.load({**ENGINE, "redis": "rediss://ann:pw@host:6380/2"}, {})
    assert (settings.redis, settings.group, settings.lease_s) == (
        "rediss://ann:pw@host:6380/2",
        "default",
        1.5,
    )
    assert "pw" not in repr(settings)
    for wrong in ("http://host", "redis://", "redis://:pw@host:x", "redis://ho st", 7):
        [problem] = refusal({**ENGINE, "redis": wrong})
        assert problem.startswith("--redis: it must be a URL like redis://HOST:6379/0")
        assert "pw" not in problem


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"workers": 4}, "workers: 4 processes know of the same agents only by `redis`; give --redis URL"),
        ({"redis_password": "x"}, "redis_password: of no use without `redis`"),
        ({"group_host": "x"}, "group_host: of no use without `redis`"),
        ({"redis": "redis://h", "state_file": "/s"}, "state_file: of no use with `redis`"),
        (
            {"redis": "redis://h", "redis_password": "x", "redis_password_file": "/f"},
            "redis_password, redis_password_file: give the one or the other",
        ),
        ({"redis": "redis://h", "group": "a b"}, "--group: 'a b' is no name of a group"),
        (
            {"redis": "redis://h", "workers": 2, "record": "/t"},
            "record: several workers would write the same trace",
        ),
        ({"redis": "redis://h", "workers": 2, "salts": "on"}, "salts_file: missing"),
        (
            {"redis": "redis://h", "workers": 2, "admin_port": 7999},
            "port: 8000 is the admin port of one of the",
        ),
        (
            {"redis": "redis://h", "workers": 2, "admin_port": 65535},
            "admin_port: with 2 workers the last would",
        ),
        ({"redis": "redis://h", "lease_s": 0.1}, "--lease-s: 0.1 is not a number of seconds from 0.5 to 60"),
    ],
)
def test_what_makes_no_sense_among_several_proxies_is_refused(given: Mapping[str, object], says: str) -> None:
    [problem] = refusal({**ENGINE, **given})
    assert problem.startswith(says)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
    ],
)
def test_a_collector_is_given_by_its_address_or_its_whole_url(given: str, taken: str) -> None:
    assert Settings.load({"engine": "http://e"}, {"SCALESIM_OTLP_ENDPOINT": given}).otlp_endpoint == taken


@pytest.mark.parametrize(
    "wrong", ["127.0.0.1:4318", "ftp://e", "http://", "http://e:x", "http://e?a=b", "http://a b"]
)
def test_what_is_no_url_of_a_collector_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"OTLP_ENDPOINT: .* is not the URL of a collector"):
        Settings.load({"engine": "http://e"}, {"SCALESIM_OTLP_ENDPOINT": wrong})


def test_a_collectors_password_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError) as told:
        Settings.load({"engine": "http://e"}, {"SCALESIM_OTLP_ENDPOINT": "http://me:geheim@collector"})
    assert "geheim" not in str(told.value)
