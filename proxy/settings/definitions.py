"""Every setting, with its parser, its default and what it is for; and how they are read, all together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from scalesim.engine_adapters.front_kinds import KINDS
from scalesim.proxy.access.keys import Key
from scalesim.proxy.core import placement, policies
from scalesim.proxy.core.durations import Scale
from scalesim.proxy.core.model import EngineId, Mode, Part
from scalesim.proxy.engines.registry import Address
from scalesim.proxy.logs import FORMATS
from scalesim.proxy.recognition.guess import THRESHOLD, Rung
from scalesim.proxy.span import Agents

from . import engine_parsers, front_parsers, group_parsers, key_parsers, parsers, trace_parsers
from .contradictions import contradictions, own_listeners
from .engine_parsers import registered
from .errors import SettingsError
from .sources import Origin, Sources, values_of

LOG_LEVELS = ("debug", "info", "warning", "error")
PLAN_LIMIT = 16_384
"""The protocol of our plugin takes no more owners in one call."""
LOADS_LIMIT = 16
"""The loop carries out no more loads of one engine at a time."""
LEAST_RECORD_BYTES = 100_000
MOST_RECORD_BYTES = 1_000_000_000_000
RECORD_FILES_LIMIT = 1000


def _setting(
    parse: Callable[[object], object], about: str, *, option: str | None = None, **options: Any
) -> Any:
    """`option`: how it is called on the command line, if not like the field."""
    return field(metadata={"parse": parse, "about": about, "option": option}, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`about` of each field is its documentation; secrets are left out of the repr."""

    engine: str = _setting(engine_parsers.engine_url, "URL of the engine, without /v1", default="")
    engine_name: str = _setting(
        engine_parsers.engine_name, "the engine's name in status, metrics and logs", default="engine-0"
    )
    engines: tuple[Address, ...] = _setting(
        engine_parsers.several_engines,
        "several engines in place of that one, like 'a=http://HOST:PORT,b=http://HOST:PORT'; none: they are registered later",
        option="--engine",
        default=(),
    )
    fronts: tuple[Address, ...] = _setting(
        front_parsers.fronts,
        "distributed front ends beside or in place of engines, like 'main=smg http://HOST:PORT', and the engines behind each if they "
        "are to be commanded, like 'main=smg http://HOST:PORT http://GPU-1:PORT http://GPU-2:PORT'; kinds: "
        + ", ".join(KINDS),
        default=(),
    )
    engine_api_key: str | None = _setting(
        key_parsers.secret_text, "key for control calls to the engines", default=None, repr=False
    )
    aliases: tuple[tuple[str, str], ...] = _setting(
        engine_parsers.aliases,
        "other names of models, like 'gpt-4o=llama'; * stands for every name that nobody serves",
        default=(),
    )
    placement: str = _setting(
        parsers.one_of(*placement.names()), "what decides which engine gets a call", default=placement.DEFAULT
    )
    placement_spare_calls: float = _setting(
        parsers.from_zero(100, "shares"),
        "so much more than its fair share of the calls an engine may run, as a share of that",
        default=0.25,
    )
    placement_unhurried_calls: int = _setting(
        parsers.from_zero_count(1_000_000, "calls"), "an engine may run so many calls in any case", default=16
    )
    placement_spare_memory: float = _setting(
        parsers.from_zero(100, "shares"),
        "so much more than its fair share of agents' memory an engine may hold, and still get new agents",
        default=0.1,
    )
    placement_spare_together: float = _setting(
        parsers.from_zero(100, "shares"),
        "the same for agents that share an adapter or the beginning of their prompts with those it has, unless another engine holds so much less",
        default=0.25,
    )
    placement_ramp_s: float = _setting(
        parsers.from_zero(3600, "seconds"),
        "an engine that comes up while others have work has its whole share after so long",
        default=30.0,
    )
    placement_far_s: float = _setting(
        parsers.from_zero(31_536_000, "seconds"),
        "agents that call no sooner than in so many seconds may move from engines that hold too much",
        default=60.0,
    )
    engine_drain_s: float = _setting(
        parsers.above_zero(86_400, "seconds"),
        "an engine that is removed leaves after so long, whatever still runs there",
        default=600.0,
    )
    engine_concurrency: int = _setting(
        parsers.from_zero_count(1_000_000, "calls"),
        "calls that an engine is sent at a time, the others wait in the proxy; 0: any number",
        default=0,
    )
    queue_limit: int = _setting(
        parsers.count(1_000_000, "calls"), "most calls that wait for one engine", default=1024
    )
    queue_wait_s: float = _setting(
        parsers.from_zero(86_400, "seconds"),
        "most that a call waits for its place; 0: as long as its client",
        default=0.0,
    )
    retry_attempts: int = _setting(
        parsers.count(10, "attempts"), "how often a call is sent at most, with the first time", default=3
    )
    retry_wait_s: float = _setting(
        parsers.from_zero(600, "seconds"),
        "most that a call waits between its attempts, all together",
        default=10.0,
    )
    breaker_failures: int = _setting(
        parsers.count(10_000, "calls"),
        "so many in a row that got no answer open an engine's breaker",
        default=5,
    )
    breaker_rest_s: float = _setting(
        parsers.above_zero(3600, "seconds"),
        "an engine is left alone for so long then, the first time",
        default=2.0,
    )
    breaker_longest_rest_s: float = _setting(
        parsers.above_zero(86_400, "seconds"),
        "and at most for so long, when it fails again and again",
        default=60.0,
    )
    join_grace_s: float = _setting(
        parsers.from_zero(3600, "seconds"),
        "a call with an idempotency key goes on for so long when its client leaves; 0: it is stopped",
        default=10.0,
    )
    answers_kept_s: float = _setting(
        parsers.from_zero(86_400, "seconds"), "answers of such calls are kept for so long", default=60.0
    )
    answers_kept_mb: float = _setting(
        parsers.above_zero(1_000_000, "megabytes"), "for all such answers together", default=64.0
    )
    host: str = _setting(parsers.host_name, "where clients reach the proxy", default="127.0.0.1")
    port: int = _setting(parsers.port_number, "port for clients", default=8000)
    admin_host: str = _setting(
        parsers.host_name, "where operators and simulations' hints reach it", default="127.0.0.1"
    )
    admin_port: int = _setting(parsers.port_number, "port of the admin listener", default=8001)
    admin_keys: tuple[str, ...] = _setting(
        key_parsers.admin_keys,
        "keys of the admin listener, or their hashes; needed unless it listens on loopback",
        default=(),
        repr=False,
    )
    mode: Mode = _setting(parsers.mode, "off, shadow or on, for new simulations", default=Mode.ON)  # noqa: RUF009  it makes a field
    policy: str = _setting(
        parsers.one_of(*policies.names()), "what decides the order in the cache", default="nearest_first"
    )
    plan_limit: int = _setting(
        parsers.count(PLAN_LIMIT, "agents"), "most agents named in one plan", default=4096
    )
    pin_share: float = _setting(parsers.share, "most of an engine's cache that may be pinned", default=0.5)
    parts: frozenset[Part] = _setting(
        parsers.some_of(Part),
        "what memory control does: all, none, or a list of " + ", ".join(Part),
        default=frozenset(Part),
    )
    guard: bool = _setting(
        parsers.switch,
        "leave an engine's cache to recency while the order of distances does worse",
        default=True,
    )
    prefetch_steps: float = _setting(
        parsers.above_zero(1e6, "steps"),
        "memory of agents so near is loaded ahead, by the simulation's steps",
        default=3.0,
    )
    prefetch_s: float = _setting(
        parsers.above_zero(86_400, "seconds"),
        "the same for agents whose distance is known in seconds",
        default=30.0,
    )
    answers: Scale | None = _setting(  # noqa: RUF009  it makes a field
        parsers.scale,
        "length of a simulated minute, like '0.2 steps' or '1.5 seconds': answers are then read for how long agents "
        "act; off: they are not",
        default=None,
    )
    idle_after_s: float = _setting(
        parsers.from_zero(31_536_000, "seconds"),
        "a simulation of which nothing was seen for so long gives back pins, places and what it told; 0: none does",
        default=600.0,
    )
    loads_in_flight: int = _setting(
        parsers.count(LOADS_LIMIT, "loads"), "most loads ahead at a time, per engine", default=4
    )
    load_budget_mb: float = _setting(
        parsers.above_zero(1_000_000, "megabytes"),
        "most that loads ahead move at a time, per engine",
        default=512.0,
    )
    warm_up_store_mb: float = _setting(
        parsers.above_zero(1_000_000, "megabytes"),
        "for texts of prefixes that engines can only compute again",
        default=64.0,
    )
    max_body_mb: float = _setting(
        parsers.above_zero(1024, "megabytes"), "largest request body taken", default=16.0
    )
    connect_timeout_s: float = _setting(parsers.above_zero(300, "seconds"), "to reach an engine", default=5.0)
    first_byte_timeout_s: float = _setting(
        parsers.from_zero(86_400, "seconds"), "until an engine begins to answer; 0: for ever", default=0.0
    )
    chunk_timeout_s: float = _setting(
        parsers.from_zero(86_400, "seconds"),
        "for a silence in the middle of an answer; 0: for ever",
        default=0.0,
    )
    total_timeout_s: float = _setting(
        parsers.from_zero(604_800, "seconds"), "for a call as a whole; 0: for ever", default=0.0
    )
    drain_s: float = _setting(
        parsers.from_zero(86_400, "seconds"),
        "running calls have so long to finish when the proxy ends",
        default=20.0,
    )
    max_connections: int = _setting(
        parsers.count(65_535, "connections"), "to an engine at a time", default=1000
    )
    tick_ms: float = _setting(
        parsers.above_zero(1000, "milliseconds"), "least time between two plans", default=50.0
    )
    report_every_s: float = _setting(
        parsers.above_zero(60, "seconds"), "between two looks at a found engine", default=0.5
    )
    probe_every_s: float = _setting(
        parsers.above_zero(60, "seconds"), "between two looks for a lost engine", default=2.0
    )
    recognise: frozenset[Rung] = _setting(
        parsers.some_of(Rung),
        "how callers are found that do not say who they are: all, none, or a list of " + ", ".join(Rung),
        default=frozenset(Rung),
    )
    threshold: float = _setting(
        parsers.share, "a caller found with less confidence than that is nobody", default=THRESHOLD
    )
    recipes_folder: str | None = _setting(
        parsers.file_path, "folder with recipes of your own, read again when they change", default=None
    )
    simulation_keys: tuple[Key, ...] = _setting(
        key_parsers.keys_of_simulations,
        "API keys of clients and their simulations, like 'KEY=town,OTHER=city': whoever sends the key as a bearer is of that one",
        default=(),
        repr=False,
    )
    client_keys: tuple[Key, ...] = _setting(
        key_parsers.client_keys,
        "API keys without which no client is served, or their hashes, each with a name, like 'ann=KEY,bob@town=KEY' "
        "(bob may be of no other simulation); empty: none is needed",
        default=(),
        repr=False,
    )
    key_rate: float = _setting(
        parsers.from_zero(1e6, "requests"),
        "requests a second of one API key in the long run; 0: any number",
        default=0.0,
    )
    address_rate: float = _setting(
        parsers.from_zero(1e6, "requests"), "the same of one address of a client", default=0.0
    )
    burst_s: float = _setting(
        parsers.from_zero(86_400, "seconds"), "so many seconds' worth of both may come at once", default=10.0
    )
    client_connections: int = _setting(
        parsers.count(1_000_000, "connections"), "most connections of clients at a time", default=8192
    )
    address_connections: int = _setting(
        parsers.count(1_000_000, "connections"), "most of them from one address", default=4096
    )
    tls_cert: str | None = _setting(
        parsers.file_path,
        "certificate of the port for clients (PEM, with its chain); empty: no TLS",
        default=None,
    )
    tls_key: str | None = _setting(
        parsers.file_path, "its private key (PEM, without a password)", default=None
    )
    admin_tls_cert: str | None = _setting(
        parsers.file_path, "certificate of the admin listener", default=None
    )
    admin_tls_key: str | None = _setting(parsers.file_path, "its private key", default=None)
    salts: bool = _setting(
        parsers.switch,
        "give each simulation that is named by an API key, a header or the URL a part of the cache of its own",
        default=False,
    )
    salts_file: str | None = _setting(
        parsers.file_path,
        "file of the secret for that, made if missing; empty: a new one at each start",
        default=None,
    )
    redis: str | None = _setting(
        group_parsers.redis_url,
        "Redis by which any number of proxies serve the same simulations, like redis://HOST:6379/0; empty: this one is alone",
        default=None,
        repr=False,
    )
    redis_password: str | None = _setting(
        key_parsers.secret_text, "its password, unless it stands in the URL", default=None, repr=False
    )
    redis_password_file: str | None = _setting(parsers.file_path, "a file with it", default=None)
    group: str = _setting(
        group_parsers.group_name,
        "proxies with the same Redis and group serve together, and one of them leads",
        default="default",
    )
    group_host: str | None = _setting(
        parsers.host_name,
        "by which the other proxies reach the admin listener of this one; empty: admin_host, or this machine's name",
        default=None,
    )
    lease_s: float = _setting(
        parsers.from_to(0.5, 60, "seconds"),
        "another proxy leads so long after the leading one died",
        default=1.5,
    )
    workers: int = _setting(
        parsers.count(256, "processes"),
        "processes that share the port for clients; more than one need `redis`. The admin port of each is the next one",
        default=1,
    )
    state_file: str | None = _setting(
        parsers.file_path,
        "file that keeps what is known of agents, and what operators chose, over a restart, without Redis; empty: none",
        default=None,
    )
    state_every_s: float = _setting(
        parsers.from_to(0.5, 3600, "seconds"), "it is written so often", default=5.0
    )
    record: str | None = _setting(
        parsers.file_path,
        "file that calls are recorded to, prompts and names as hashes; empty: they are not",
        option="FILE",
        default=None,
    )
    record_full_text: bool = _setting(
        parsers.switch,
        "record prompts, answers and names in full",
        option="--full-text",
        default=False,
    )
    record_max_bytes: int = _setting(
        parsers.byte_count(LEAST_RECORD_BYTES, MOST_RECORD_BYTES),
        "most that a trace takes, all its files together; then its oldest file goes",
        option="--max-bytes",
        default=1_000_000_000,
    )
    record_files: int = _setting(
        parsers.count(RECORD_FILES_LIMIT, "files"), "of a trace, at most", option="--files", default=4
    )
    record_salt: str | None = _setting(
        parsers.file_path,
        "file of the key of a trace's hashes, made if missing; empty: the trace's name and .salt",
        option="--salt-file",
        default=None,
    )
    otlp_endpoint: str | None = _setting(
        trace_parsers.collector,
        "URL of a collector of OpenTelemetry traces (OTLP over HTTP), like http://127.0.0.1:4318; empty: there are none",
        default=None,
    )
    otlp_sample: float = _setting(
        parsers.share, "of the calls that are traced, where their clients have not decided that", default=1.0
    )
    otlp_agents: Agents = _setting(  # noqa: RUF009  it makes a field
        trace_parsers.agents, "agents in traces: hashed, named or off", default=Agents.HASHED
    )
    traces_folder: str | None = _setting(
        parsers.file_path, "folder in which operators may begin traces while the proxy runs", default=None
    )
    traces_full_text: bool = _setting(
        parsers.switch,
        "such traces may hold prompts, answers and names in full, where asked for",
        default=False,
    )
    keys_file: str | None = _setting(
        parsers.file_path,
        "file of keys that operators draw and revoke while the proxy runs, as hashes, made if missing",
        default=None,
    )
    log_level: str = _setting(parsers.one_of(*LOG_LEVELS), "what is logged", default="info")
    log_format: str = _setting(
        parsers.one_of(*FORMATS), "text for people, or json: an object a line", default="text"
    )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of all engines that there are from the start."""
        one = [Address(EngineId(self.engine_name), self.engine)] if self.engine else []
        return registered([*one, *self.engines, *self.fronts])

    def __post_init__(self) -> None:
        if problems := contradictions({one.name: getattr(self, one.name) for one in fields(self)}):
            raise SettingsError(*problems)

    @classmethod
    def load(
        cls,
        arguments: Mapping[str, object],
        environ: Mapping[str, str],
        *,
        needed: Collection[str] = ("engine",),
    ) -> Settings:
        """Raises `SettingsError`. `arguments` are those of the command line by field name (None: not given), and
        `config`, the path of the file. A field of `needed` must be given; only commands that do without an engine
        leave it out, and find it empty."""
        return loaded(Sources.of(arguments, environ), needed=needed).settings


@dataclass(frozen=True, slots=True)
class Loaded:
    settings: Settings
    origins: Mapping[str, Origin]
    """Where each that was given came from; the others have their defaults."""


def loaded(sources: Sources, *, needed: Collection[str] = ("engine",), text: str | None = None) -> Loaded:
    """As `Settings.load`. `text` stands in place of what is in the config file."""
    known = {one.name: one for one in fields(Settings)}
    read = values_of(sources, known, needed, text)
    problems = [
        *read.problems,
        *contradictions({one.name: one.default for one in known.values()} | read.values),
    ]
    if problems:
        raise SettingsError(*problems)
    return Loaded(Settings(**read.values), read.origins)


def leads_to_ourselves(settings: Settings, url: str) -> list[str]:
    """What is wrong with an engine's URL, if it does."""
    return own_listeners("url", url, {one.name: getattr(settings, one.name) for one in fields(settings)})
