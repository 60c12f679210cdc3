"""Makes every part out of the settings, runs them together, and closes them in turn."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import httpx

from scalesim.engine_adapters.sglang_requests import salting
from scalesim.proxy.access.connections import Connections
from scalesim.proxy.access.keyring import Keyring
from scalesim.proxy.access.keys import Key
from scalesim.proxy.access.salts import SECRET_BYTES, Salts, secret_in
from scalesim.proxy.access.tls import Certificates
from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.admin import Office, create_admin
from scalesim.proxy.admin.operations import Operations
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.kinds import Way
from scalesim.proxy.core.kinds import find as find_kind
from scalesim.proxy.core.model import KV_PREFIX, AgentName, EngineId, Part, SimulationId
from scalesim.proxy.data_plane.admission import Admissions
from scalesim.proxy.data_plane.answers import duration_in
from scalesim.proxy.data_plane.door import Door
from scalesim.proxy.data_plane.entrance import Entrance
from scalesim.proxy.data_plane.identity import Recogniser
from scalesim.proxy.data_plane.joining import Joins
from scalesim.proxy.data_plane.model_list import ModelList
from scalesim.proxy.data_plane.relay import Relay
from scalesim.proxy.data_plane.request_ids import RequestIds
from scalesim.proxy.data_plane.retrying import Retrying
from scalesim.proxy.data_plane.sharing import Sharing
from scalesim.proxy.data_plane.upstream import Upstream
from scalesim.proxy.errors import ScaleSimError
from scalesim.proxy.loop_lag import LoopLag
from scalesim.proxy.observed import Observed, SpanCounts
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recognition.recipes.book import Book
from scalesim.proxy.recognition.recipes.shelf import Shelf
from scalesim.proxy.recording.traces import Traces
from scalesim.proxy.runtime import Runtime
from scalesim.proxy.settings import Settings
from scalesim.proxy.span import Trace
from scalesim.proxy.timings import Timings
from scalesim.proxy.warm_up import PrefixStore, WarmUp

from . import making
from .engines import Moves, fleet_of, kept_up, known_here
from .forgetting import Forgetting
from .group import FleetOfGroup, admin_url, ended, keeper_of, opened, register_again, trusted
from .limits import limits
from .listeners import Listener, listening_socket, url_of
from .reloading import Parts, Reloading
from .trials import trial_of

if TYPE_CHECKING:
    from scalesim.proxy.state.member import Member

log = logging.getLogger(__name__)

CONTROL = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=2.0)
"""Who uses these connections has bounds of its own for each engine. A common one would let an engine that does not answer keep
orders and questions from all others. uvicorn, and so SGLang, closes a connection after 5 s without a request: one that is about to be
closed is not to be used, or a question is lost."""
OPERATORS = 512
"""Connections of the admin listener at a time: operators, scrapers, and simulations that tell what they know."""
_WAYS = 64
"""Kinds of engines of which it is remembered how they bring prefixes back."""
RECIPES_EVERY_S = 3.0
"""Between two looks at the folder of recipes."""


class CannotTrace(ScaleSimError):
    """What traces need is not there: install it, or start without `otlp_endpoint`."""


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """Where the two listeners are, with their real ports."""

    data: str
    admin: str


@asynccontextmanager
async def assembled(
    configuration: Configuration,
    certificates: Certificates,
    hurry: asyncio.Event,
    *,
    shared_port: bool = False,
    suppressed_lines: Callable[[], int] = lambda: 0,
) -> AsyncIterator[tuple[ServerAddresses, Runtime, Reloading]]:
    """`hurry` cuts off what still runs when the body has ended. `shared_port`: other processes serve clients on the same one;
    `suppressed_lines` of the log are published."""
    settings = configuration.settings
    clock = time.monotonic
    with ExitStack() as sockets:
        data_socket = sockets.enter_context(
            listening_socket(settings.host, settings.port, shared=shared_port)
        )
        admin_socket = sockets.enter_context(listening_socket(settings.admin_host, settings.admin_port))
        async with (
            httpx.AsyncClient(
                trust_env=False, limits=CONTROL
            ) as control,  # the adapters set each call's time-outs
            Upstream(**making.upstream_limits(settings)) as upstream,
            _traces(settings, clock) as traces,
            opened(settings) as redis,
            AsyncExitStack() as beside_group,
            _tracing(settings, lambda engine: runtime.kind(engine)) as (trace, spans),
            Operations(clock) as operations,
        ):
            controller = Controller(making.controller_config(settings))
            keeper = keeper_of(settings, controller, lambda: fleet, clock)
            if keeper is not None:
                log.info("%d agents are known from %s", await keeper.restore(), settings.state_file)
            timings, lag = Timings(), LoopLag(clock)
            warms_up = Part.WARM_UP in settings.parts
            store = PrefixStore(int(settings.warm_up_store_mb * 1_000_000) if warms_up else 0)
            warm_up = WarmUp(
                store,
                control,
                lambda engine: fleet.placer.running(engine),
                features=lambda engine: fleet.features(engine),
                bytes_per_token=lambda engine: _bytes_per_token(runtime, engine),
                api_key=settings.engine_api_key,
                clock=clock,
            )
            admissions = Admissions(clock, **making.queue_limits(settings))
            retrying = Retrying(making.retry_rules(settings), Random())
            joins = Joins(making.join_rules(settings))
            action_log = ActionLog(clock, controller.why)
            runtime = Runtime(
                controller,
                [],
                clock,
                tick_s=settings.tick_ms / 1000,
                report_every_s=settings.report_every_s,
                probe_every_s=settings.probe_every_s,
                warm_up=warm_up,
                listener=Forgetting(
                    store,
                    warm_up,
                    controller,
                    agent_left=lambda owner: fleet.forget(owner),
                    engine_left=(admissions.forget, retrying.forget, warm_up.forget_engine, timings.forget),
                ),
                health=lambda: fleet,
                action_log=action_log,
                lease=None if redis is None else lambda: _present(member),
            )
            member: Member | None = None
            fleet = fleet_of(
                settings,
                controller,
                runtime,
                control,
                known=lambda key, prefix: (
                    known_here(controller, key) if member is None else member.home_of(key, prefix)
                ),
            )
            for address in settings.addresses:
                fleet.add(address, clock(), configured=True)
            if keeper is not None:
                register_again(keeper, fleet, clock())
                runtime.forget_strangers()
            post, group = runtime.post, None
            if redis is not None:
                from scalesim.proxy.state.member import Member

                member = Member(
                    redis,
                    controller,
                    runtime.post,
                    runtime,
                    clock,
                    engines=FleetOfGroup(lambda: fleet, clock),
                    url=admin_url(settings, admin_socket),
                    ttl_s=settings.lease_s,
                )
                others = httpx.AsyncClient(trust_env=False, verify=trusted(settings))
                post, group = member.post, (member.status, await beside_group.enter_async_context(others))
            moves = Moves(
                fleet,
                controller,
                post,
                leads=lambda: member is None or member.may_command(),
                beyond_s=settings.placement_far_s,
            )

            @lru_cache(maxsize=_WAYS)
            def is_recomputed(features: frozenset[str], host_copy: bool) -> bool:
                return find_kind(KV_PREFIX).way(features, host_copy, settings.parts) is Way.RECOMPUTE

            def recomputed(simulation: SimulationId, agent: AgentName) -> bool:
                """Texts that nobody will send need not be taken apart and packed on the way of the calls."""
                host_copy = controller.has_host_copy(simulation, agent, KV_PREFIX)
                # No generator: it is asked of every call.
                for entry in fleet.registry:
                    if is_recomputed(fleet.features(entry.address.name), host_copy):
                        return True
                return False

            ladder = Ladder(rungs=settings.recognise, threshold=settings.threshold)
            shelf = Shelf(None if settings.recipes_folder is None else Path(settings.recipes_folder))
            ladder.index = shelf.index
            book = Book(shelf, partial(setattr, ladder, "index"))
            relay = Relay(
                fleet=fleet,
                upstream=upstream,
                admissions=admissions,
                sharing=Sharing(joins, clock),
                retrying=retrying,
                recogniser=Recogniser(),
                post=post,
                mode_of=controller.mode,
                clock=clock,
                max_body_bytes=int(settings.max_body_mb * 1_000_000),
                assigned=controller.adapter_of,
                recomputed=recomputed,
                remember=runtime.guarded("warm-up store", store.remember) if warms_up else _forget,
                reading=controller.reading,
                read=runtime.guarded("answer", duration_in),
                recognise=runtime.guarded("recognition", ladder.recognise),
                answered=runtime.guarded("recognition", ladder.ended),
                record=None if traces.status() is None else traces.note,
                salted=_salted(settings),
                first_call=1 if member is None else member.first_call,
                timings=timings,
                trace=trace,
            )
            traces.record = relay.record
            keyring = Keyring(settings)
            entrance = _entrance(ModelList(relay, fleet.merged), settings, keyring, clock)
            keyring.changed = lambda: entrance.let_in(keyring.clients, closed=keyring.is_closed)
            door = Door(
                Connections(most=settings.client_connections, most_of_one=settings.address_connections)
            )
            admin_door = Door(Connections(most=OPERATORS, most_of_one=OPERATORS))
            observed = Observed(
                timings,
                lag,
                suppressed_lines=suppressed_lines,
                waiting=admissions.waiting,
                limits=lambda: limits(
                    configuration.settings,
                    making.controller_config(configuration.settings),
                    len(runtime.engines()),
                ),
                spans=spans,
            )
            data = Listener(
                RequestIds(entrance, observed.answers), door, certificates.data, drain_s=settings.drain_s
            )
            members = () if member is None else (member,)
            tables = (store, shelf, entrance, door, upstream, timings, traces, keyring, *members)
            admin_app = create_admin(
                runtime,
                controller,
                relay,
                ladder,
                settings,
                clock,
                *tables,
                fleet=fleet,
                is_ending=lambda: entrance.is_closed,
                recording=traces.status,
                tell=post,
                group=group,
                observed=observed,
                office=Office(
                    configuration=configuration,
                    keyring=keyring,
                    book=book,
                    reload=lambda: reloading(),
                    traces=traces,
                    try_trace=lambda name, index: traces.tried(name, partial(trial_of, index)),
                ),
                operations=operations,
                action_log=action_log,
            )
            admin = Listener(admin_app, admin_door, certificates.admin, drain_s=settings.drain_s)
            reloading = Reloading(
                configuration,
                Parts(
                    controller=controller,
                    fleet=fleet,
                    admissions=admissions,
                    retrying=retrying,
                    joins=joins,
                    upstream=upstream,
                    relay=relay,
                    entrance=entrance,
                    door=door,
                    listeners=(data, admin),
                    ladder=ladder,
                    shelf=shelf,
                    keyring=keyring,
                    traces=traces,
                    clock=clock,
                ),
                certificates,
            )
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(one)
                    for one in (
                        runtime.run(),
                        kept_up(fleet, clock, runtime.guarded("moves", moves)),
                        _recipes_read(book),
                        lag.watch(),
                        door.watch(),
                        admin_door.watch(),
                    )
                ]
                joined = None if member is None else tasks.create_task(member.run())
                keeping = None if keeper is None else tasks.create_task(keeper.run())
                serving_data = tasks.create_task(data.serve([data_socket]))
                serving_admin = tasks.create_task(admin.serve([admin_socket]))
                try:
                    await data.listening.wait()
                    await admin.listening.wait()
                    yield (
                        ServerAddresses(
                            url_of(data_socket, certificates.data), url_of(admin_socket, certificates.admin)
                        ),
                        runtime,
                        reloading,
                    )
                finally:
                    # Clients first. Operators can look on until the last call has ended.
                    entrance.close()
                    await data.end(serving_data, hurry)
                    await admin.end(serving_admin, hurry)
                    await relay.drained()
                    # With its last words to the group, while it still may command.
                    for last in (joined, keeping):
                        if last is not None:
                            await ended(last)
                    for task in beside:
                        task.cancel()


def _present(member: Member | None) -> Member:
    assert member is not None, "made before anything runs"
    return member


async def _recipes_read(book: Book) -> None:
    """Until cancelled."""
    while True:
        changes = await book.reload()
        for name in changes.loaded:
            log.info("recipe %s was read", name)
        for name in changes.gone:
            log.info("recipe %s is gone", name)
        for problem in changes.problems:
            log.warning("recipe %s", problem)
        await asyncio.sleep(RECIPES_EVERY_S)


@asynccontextmanager
async def _traces(settings: Settings, clock: Callable[[], float]) -> AsyncIterator[Traces]:
    """What was told is on the disk when it is left. Raises `CannotRecord`."""
    async with Traces(making.trace_rules(settings), clock) as traces:
        if settings.record is not None:
            path = Path(settings.record)
            salt = Path(settings.record_salt) if settings.record_salt else path.with_name(f"{path.name}.salt")
            await traces.begin_at(path, salt, full_text=settings.record_full_text)
        yield traces


@asynccontextmanager
async def _tracing(
    settings: Settings, provider_of: Callable[[EngineId], str]
) -> AsyncIterator[tuple[Trace | None, Callable[[], SpanCounts] | None]]:
    """Raises `CannotTrace`. Calls that are traced have been told when it is left."""
    if settings.otlp_endpoint is None:
        yield None, None
        return
    try:
        # Only whoever traces needs those packages, and the time that it takes to import them.
        from scalesim.proxy.tracing.exporting import exporting
    except ImportError as exc:
        raise CannotTrace(
            f"otlp_endpoint: {exc.name} is not installed; pip install 'scalesim-proxy[otel]', or leave it out"
        ) from exc
    async with exporting(
        settings.otlp_endpoint,
        sample=settings.otlp_sample,
        agents=settings.otlp_agents,
        provider_of=provider_of,
    ) as traces:
        yield traces


def _entrance(app: ModelList, settings: Settings, keyring: Keyring, clock: Callable[[], float]) -> Entrance:
    return Entrance(
        app,
        keys=keyring.clients,
        closed=keyring.is_closed,
        clock=clock,
        engine_key=settings.engine_api_key,
        **making.rates(settings),
    )


def _salted(settings: Settings) -> Callable[[Key | None, SimulationId | None, str], dict[str, str]]:
    if not settings.salts:
        return lambda *_: {}
    file = settings.salts_file
    salts = Salts(secrets.token_bytes(SECRET_BYTES) if file is None else secret_in(Path(file)))
    return lambda key, told, path: salting(path, salts.of(key, told))


def _forget(*_: object) -> None:
    """In place of a store."""


def _bytes_per_token(runtime: Runtime, engine: EngineId) -> int | None:
    report = next((one.report for one in runtime.engines() if one.engine == engine), None)
    return None if report is None else report.bytes_per_token
