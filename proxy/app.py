"""The composition root: makes everything out of the settings, runs it, and closes it again. Nothing is global."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import httpx
import uvicorn
from starlette.types import ASGIApp

from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.engine_adapters.sglang_requests import salting

from .access.connections import Connections
from .access.keys import Key, Keys
from .access.rates import Rate
from .access.salts import SECRET_BYTES, Salts, secret_in
from .access.tls import Certificate, Certificates
from .admin import create_admin
from .core.actions import FetchAdapter
from .core.adapters import registered_name
from .core.controller import Controller, ControllerConfig
from .core.durations import RULES, Reading
from .core.events import (
    AdapterAssigned,
    AdapterForgotten,
    AdapterRegistered,
    AgentLeft,
    Event,
    Settled,
    SimulationEnded,
    Ticked,
)
from .core.kinds import Way
from .core.kinds import find as find_kind
from .core.model import KV_PREFIX, AgentName, EngineId, Owner, Part, SimulationId, owner_of
from .data_plane.answers import duration_in
from .data_plane.door import Door
from .data_plane.entrance import Entrance
from .data_plane.http_protocol import BoundedHttpProtocol
from .data_plane.identity import Recogniser
from .data_plane.relay import Relay
from .data_plane.upstream import Upstream
from .engine_status import describe
from .errors import ScaleSimError
from .recognition.ladder import Ladder
from .recognition.recipes.shelf import Shelf
from .recording import Recorder
from .runtime import DEADLINE_S, Runtime
from .settings import Settings
from .warm_up import PrefixStore, WarmUp

log = logging.getLogger(__name__)

GRACE_S = 20.0
"""Running calls may take as long to end after a signal; a second signal ends them at once."""
CLOSING_S = 2.0
"""For calls that were cut off to tell the engine so."""
CLIENT_SILENT_S = 60
"""A client whose machine does not answer, or that takes nothing of what waits for it, for so long is gone."""
CLIENT_IDLE_S = 75
"""Idle connections of clients are kept so long: longer than clients keep them (httpx 5 s). Who closes first must be the client: a
request that crosses with our closing is lost, and it cannot know whether it was received."""
NEAR_EVERY_S = 5.0
"""Between two looks at who is near: the texts of all others are given up."""


OPERATORS = 512
"""Connections of the admin listener at a time: operators, scrapers, and simulations that tell what they know."""
RECIPES_EVERY_S = 3.0
"""Between two looks at the folder of recipes."""


class CannotListen(ScaleSimError):
    """A listener could not be opened: choose another port, or stop who has it."""


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """Where the two listeners are, with their real ports."""

    data: str
    admin: str


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[ServerAddresses]:
    """Both listeners accept connections while the body runs. Port 0 takes a free one. Raises `CannotListen`,
    `CannotRecord`, `BadCertificate` and `BadSecret`."""
    async with _assembled(settings, _certificates(settings), hurry=asyncio.Event()) as (addresses, _):
        yield addresses


async def serve(settings: Settings, *, ready: Callable[[ServerAddresses], None] | None = None) -> None:
    """Until SIGINT or SIGTERM; at SIGHUP renewed certificates are read. Calls `ready` once, when both listeners accept.
    Raises as `running` does."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    certificates = _certificates(settings)
    renew = partial(_renew, certificates) if len(certificates) else None
    with _signals(lambda: (hurry if stop.is_set() else stop).set(), renew):
        async with _assembled(settings, certificates, hurry=hurry) as (addresses, runtime):
            _say("data", f"{addresses.data}  clients use {addresses.data}/v1")
            _say("admin", f"{addresses.admin}  its API is described at {addresses.admin}/docs")
            _say("mode", f"{settings.mode} for new simulations, policy {settings.policy}")
            if settings.record is not None:
                what = "IN FULL" if settings.record_full_text else "as hashes"
                _say("trace", f"{settings.record}  calls are recorded, prompts and names {what}")
            if ready is not None:
                ready(addresses)
            announcing = asyncio.create_task(_announce_engines(runtime))
            try:
                await stop.wait()
            finally:
                announcing.cancel()
            _say("ending", f"running calls have {GRACE_S:g} s to finish; a second signal ends them now")


def _certificates(settings: Settings) -> Certificates:
    files = {
        "tls": (settings.tls_cert, settings.tls_key),
        "admin_tls": (settings.admin_tls_cert, settings.admin_tls_key),
    }
    data, admin = (
        None if cert is None or key is None else Certificate(setting, Path(cert), Path(key))
        for setting, (cert, key) in files.items()
    )
    return Certificates(data, admin)


def _renew(certificates: Certificates) -> None:
    problems = certificates.renew()
    for problem in problems:
        log.error("the certificate stays as it was: %s", problem)
    if not problems:
        log.info("certificates were read again")


async def _announce_engines(runtime: Runtime) -> None:
    await runtime.looked()
    for one in runtime.engines():
        found = (
            describe(one.capabilities) if one.up and one.capabilities else f"not found yet ({one.problem})"
        )
        _say("engine", f"{one.base_url}  {found}")


def _say(what: str, text: str) -> None:
    print(f"{what:<7} {text}", flush=True)


@asynccontextmanager
async def _assembled(
    settings: Settings, certificates: Certificates, hurry: asyncio.Event
) -> AsyncIterator[tuple[ServerAddresses, Runtime]]:
    """`hurry` cuts off what still runs when the body has ended."""
    clock = time.monotonic
    with ExitStack() as sockets:
        data_socket = sockets.enter_context(_listening_socket(settings.host, settings.port))
        admin_socket = sockets.enter_context(_listening_socket(settings.admin_host, settings.admin_port))
        async with (
            httpx.AsyncClient(trust_env=False) as control,  # the adapter sets each call's time-outs
            Upstream(
                connect_timeout_s=settings.connect_timeout_s, max_connections=settings.max_connections
            ) as upstream,
            _recorder(settings, clock) as recorder,
        ):
            adapter = SGLangAdapter(
                EngineId(settings.engine_name),
                settings.engine,
                control,
                api_key=settings.engine_api_key,
                deadline_s=DEADLINE_S,
            )
            controller = Controller(
                ControllerConfig(
                    mode=settings.mode,
                    reading=None if settings.answers is None else Reading(RULES, settings.answers),
                    policy=settings.policy,
                    plan_limit=settings.plan_limit,
                    pin_share=settings.pin_share,
                    parts=settings.parts,
                    guard=settings.guard,
                    prefetch_steps=settings.prefetch_steps,
                    prefetch_s=settings.prefetch_s,
                    idle_after_s=settings.idle_after_s,
                    loads_in_flight=settings.loads_in_flight,
                    load_budget_bytes=int(settings.load_budget_mb * 1_000_000),
                )
            )
            warms_up = Part.WARM_UP in settings.parts
            store = PrefixStore(int(settings.warm_up_store_mb * 1_000_000) if warms_up else 0)
            warm_up = WarmUp(
                store,
                control,
                lambda engine: relay.demand(engine),
                features=lambda engine: runtime.features(engine),
                bytes_per_token=lambda engine: _bytes_per_token(runtime, engine),
                api_key=settings.engine_api_key,
                clock=clock,
            )
            runtime = Runtime(
                controller,
                [adapter],
                clock,
                tick_s=settings.tick_ms / 1000,
                report_every_s=settings.report_every_s,
                probe_every_s=settings.probe_every_s,
                warm_up=warm_up,
                listener=_Forgetting(store, warm_up, controller),
            )
            way = find_kind(KV_PREFIX).way

            def recomputed(simulation: SimulationId, agent: AgentName) -> bool:
                """Texts that nobody will send need not be taken apart and packed on the way of the calls."""
                host_copy = controller.has_host_copy(simulation, agent, KV_PREFIX)
                return way(runtime.features(adapter.engine), host_copy, settings.parts) is Way.RECOMPUTE

            ladder = Ladder(rungs=settings.recognise, threshold=settings.threshold)
            shelf = Shelf(None if settings.recipes_folder is None else Path(settings.recipes_folder))
            ladder.index = shelf.index
            relay = Relay(
                adapter=adapter,
                upstream=upstream,
                recogniser=Recogniser(),
                post=runtime.post,
                mode_of=controller.mode,
                clock=clock,
                max_body_bytes=int(settings.max_body_mb * 1_000_000),
                features=lambda: runtime.features(adapter.engine),
                assigned=controller.adapter_of,
                recomputed=recomputed,
                remember=runtime.guarded("warm-up store", store.remember) if warms_up else _forget,
                reading=controller.reading,
                read=runtime.guarded("answer", duration_in),
                recognise=runtime.guarded("recognition", ladder.recognise),
                answered=runtime.guarded("recognition", ladder.ended),
                record=None if recorder is None else recorder.note,
                salted=_salted(settings),
            )
            entrance = _entrance(relay, settings, clock)
            door = Door(
                Connections(most=settings.client_connections, most_of_one=settings.address_connections)
            )
            admin_door = Door(Connections(most=OPERATORS, most_of_one=OPERATORS))
            data = _Listener(entrance, door, certificates.data)
            tables = (store, shelf, entrance, door, upstream, *(() if recorder is None else (recorder,)))
            recording = None if recorder is None else recorder.status
            admin = _Listener(
                create_admin(
                    runtime, controller, relay, ladder, settings, clock, *tables, recording=recording
                ),
                admin_door,
                certificates.admin,
            )
            async with asyncio.TaskGroup() as tasks:
                loop = tasks.create_task(runtime.run())
                reading = tasks.create_task(_recipes_read(shelf, ladder))
                watching = [tasks.create_task(one.watch()) for one in (door, admin_door)]
                serving_data = tasks.create_task(data.serve([data_socket]))
                serving_admin = tasks.create_task(admin.serve([admin_socket]))
                try:
                    await data.listening.wait()
                    await admin.listening.wait()
                    yield (
                        ServerAddresses(
                            _url_of(data_socket, certificates.data), _url_of(admin_socket, certificates.admin)
                        ),
                        runtime,
                    )
                finally:
                    # Clients first. Operators can look on until the last call has ended.
                    await data.end(serving_data, hurry)
                    await admin.end(serving_admin, hurry)
                    await relay.drained()
                    loop.cancel()
                    reading.cancel()
                    for one in watching:
                        one.cancel()


async def _recipes_read(shelf: Shelf, ladder: Ladder) -> None:
    """Until cancelled. The folder may be on a slow disk."""
    while True:
        changes = await asyncio.to_thread(shelf.reload)
        ladder.index = shelf.index
        for name in changes.loaded:
            log.info("recipe %s was read", name)
        for name in changes.gone:
            log.info("recipe %s is gone", name)
        for problem in changes.problems:
            log.warning("recipe %s", problem)
        await asyncio.sleep(RECIPES_EVERY_S)


@asynccontextmanager
async def _recorder(settings: Settings, clock: Callable[[], float]) -> AsyncIterator[Recorder | None]:
    """What it was told is on the disk when it is left."""
    if settings.record is None:
        yield None
        return
    path = Path(settings.record)
    async with Recorder(
        path,
        Path(settings.record_salt) if settings.record_salt else path.with_name(f"{path.name}.salt"),
        full_text=settings.record_full_text,
        max_bytes=settings.record_max_bytes,
        files=settings.record_files,
        clock=clock,
    ) as recorder:
        yield recorder


def _entrance(relay: Relay, settings: Settings, clock: Callable[[], float]) -> Entrance:
    def rate(per_s: float) -> Rate | None:
        return None if per_s == 0 else Rate(per_s, max(1.0, per_s * settings.burst_s))

    return Entrance(
        relay,
        keys=Keys((*settings.client_keys, *settings.simulation_keys)),
        closed=bool(settings.client_keys),
        clock=clock,
        engine_key=settings.engine_api_key,
        key_rate=rate(settings.key_rate),
        address_rate=rate(settings.address_rate),
    )


def _salted(settings: Settings) -> Callable[[Key | None, SimulationId | None, str], dict[str, str]]:
    if not settings.salts:
        return lambda *_: {}
    file = settings.salts_file
    salts = Salts(secrets.token_bytes(SECRET_BYTES) if file is None else secret_in(Path(file)))
    return lambda key, told, path: salting(path, salts.of(key, told))


class _GivesUp(Protocol):
    def give_up(self, owner: Owner) -> None: ...


class _Forgetting:
    """Takes out of the store what the core has forgotten, or expects too far off to need, and what ran on adapters that
    are not current any more: to send it would make an engine fetch them again."""

    def __init__(self, store: PrefixStore, warm_up: _GivesUp, controller: Controller) -> None:
        self._store = store
        self._warm_up = warm_up
        self._controller = controller
        self._looked_at = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case AgentLeft(simulation=simulation, agent=agent):
                self._store.forget(owner_of(simulation, agent))
            case SimulationEnded(simulation=simulation):
                self._store.forget_simulation(simulation)
            case AdapterAssigned(simulation=simulation, agent=agent):
                owner = owner_of(simulation, agent)
                if self._store.keep_adapter(owner, self._controller.adapter_of(simulation, agent)):
                    self._warm_up.give_up(owner)
            case AdapterRegistered(name=name) | AdapterForgotten(name=name):
                self._forget_versions(name)
            case Settled(action=FetchAdapter(adapter=adapter), name_taken=True):
                self._forget_versions(registered_name(adapter))
            case Ticked(at=at) if at - self._looked_at >= NEAR_EVERY_S:
                self._looked_at = at
                near = {owner for one in self._controller.engines() for owner, _ in one.wanted.order}
                if near:  # else the policy has no order, and nothing says who is far
                    self._store.keep_only(near)

    def _forget_versions(self, name: str) -> None:
        """All but the current one, if there is one."""
        known = self._controller.adapter(name)
        current = None if known is None else known.key
        for owner in self._store.forget_adapters(lambda one: one != current and registered_name(one) == name):
            self._warm_up.give_up(owner)


def _forget(*_: object) -> None:
    """In place of a store."""


def _bytes_per_token(runtime: Runtime, engine: EngineId) -> int | None:
    """Of a prefix, as far as the engine reports it."""
    report = next((one.report for one in runtime.engines() if one.engine == engine), None)
    if report is None or not report.capacity_tokens:
        return None
    pools = (pool for pool in report.pools if pool.kinds == {KV_PREFIX})
    return next((pool.capacity_bytes // report.capacity_tokens for pool in pools), None)


class _Listener(uvicorn.Server):
    """One of several in a process: signals are left to `serve`, and who waits for it can tell when it listens."""

    def __init__(self, app: ASGIApp, door: Door, context: ssl.SSLContext | None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                # All that uvicorn does with it is to call it.
                http=cast("Any", partial(BoundedHttpProtocol, door=door)),
                ssl_context_factory=None if context is None else lambda *_: context,
                timeout_keep_alive=CLIENT_IDLE_S,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,  # the engine's own headers go through
                date_header=False,
            )
        )
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def end(self, serving: asyncio.Task[None], hurry: asyncio.Event) -> None:
        """Takes no more connections and lets running requests finish, within `GRACE_S` and until `hurry`."""
        self.should_exit = True
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({serving, hurried}, timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if serving.done():
            return
        requests = list(self.server_state.tasks)
        log.warning("%d requests are cut off", len(requests))
        for request in requests:
            request.cancel()
        self.force_exit = True
        await asyncio.wait({serving}, timeout=CLOSING_S)
        serving.cancel()


@contextmanager
def _signals(told: Callable[[], None], renew: Callable[[], None] | None) -> Iterator[None]:
    """Without `renew` a closed terminal ends the process, as ever."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: told, signal.SIGTERM: told}
    if renew is not None:
        handlers[signal.SIGHUP] = renew
    for one, handler in handlers.items():
        loop.add_signal_handler(one, handler)
    try:
        yield
    finally:
        for one in handlers:
            loop.remove_signal_handler(one)


def _listening_socket(host: str, port: int) -> socket.socket:
    """It listens here and not only in the server, so that a port in use is an error with a name (two sockets may be
    bound to a port of which only one can listen), and port 0 can be looked up."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise CannotListen(f"cannot listen on {host}, port {port}: {exc.strerror}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _notice_the_vanished(listener)
        listener.bind(address)
        listener.listen()
    except OSError as exc:
        listener.close()
        raise CannotListen(f"cannot listen on {host}, port {port}: {exc.strerror}") from exc
    return listener


def _notice_the_vanished(listener: socket.socket) -> None:
    """Accepted connections inherit it: a client that vanished without a word must not hold its call for ever."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not every system has them. Without the first, two hours of silence go by before anybody asks.
    for name, value in (("TCP_KEEPIDLE", CLIENT_SILENT_S), ("TCP_USER_TIMEOUT", CLIENT_SILENT_S * 1000)):
        if (option := getattr(socket, name, None)) is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)


def _url_of(listener: socket.socket, context: ssl.SSLContext | None) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if context is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
