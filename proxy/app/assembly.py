"""Makes every part out of the settings, runs them together, and closes them in turn."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx

from scalesim.engine_adapters.sglang_requests import salting
from scalesim.proxy.access.connections import Connections
from scalesim.proxy.access.keys import Key, Keys
from scalesim.proxy.access.rates import Rate
from scalesim.proxy.access.salts import SECRET_BYTES, Salts, secret_in
from scalesim.proxy.access.tls import Certificates
from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.admin import create_admin
from scalesim.proxy.admin.operations import Operations
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.durations import RULES, Reading
from scalesim.proxy.core.kinds import Way
from scalesim.proxy.core.kinds import find as find_kind
from scalesim.proxy.core.model import KV_PREFIX, AgentName, EngineId, Part, SimulationId
from scalesim.proxy.data_plane.admission import Admissions
from scalesim.proxy.data_plane.answers import duration_in
from scalesim.proxy.data_plane.door import Door
from scalesim.proxy.data_plane.entrance import Entrance
from scalesim.proxy.data_plane.identity import Recogniser
from scalesim.proxy.data_plane.joining import JoinRules, Joins
from scalesim.proxy.data_plane.model_list import ModelList
from scalesim.proxy.data_plane.relay import Relay
from scalesim.proxy.data_plane.retrying import Retrying, RetryRules
from scalesim.proxy.data_plane.sharing import Sharing
from scalesim.proxy.data_plane.upstream import Upstream
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recognition.recipes.shelf import Shelf
from scalesim.proxy.recording import Recorder
from scalesim.proxy.runtime import Runtime
from scalesim.proxy.settings import Settings
from scalesim.proxy.warm_up import PrefixStore, WarmUp

from .engines import fleet_of, kept_up
from .forgetting import Forgetting
from .listeners import Listener, listening_socket, url_of

log = logging.getLogger(__name__)

OPERATORS = 512
"""Connections of the admin listener at a time: operators, scrapers, and simulations that tell what they know."""
RECIPES_EVERY_S = 3.0
"""Between two looks at the folder of recipes."""


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """Where the two listeners are, with their real ports."""

    data: str
    admin: str


@asynccontextmanager
async def assembled(
    settings: Settings, certificates: Certificates, hurry: asyncio.Event
) -> AsyncIterator[tuple[ServerAddresses, Runtime]]:
    """`hurry` cuts off what still runs when the body has ended."""
    clock = time.monotonic
    with ExitStack() as sockets:
        data_socket = sockets.enter_context(listening_socket(settings.host, settings.port))
        admin_socket = sockets.enter_context(listening_socket(settings.admin_host, settings.admin_port))
        async with (
            httpx.AsyncClient(trust_env=False) as control,  # the adapters set each call's time-outs
            Upstream(
                connect_timeout_s=settings.connect_timeout_s,
                max_connections=settings.max_connections,
                first_byte_timeout_s=settings.first_byte_timeout_s or None,
                between_chunks_timeout_s=settings.chunk_timeout_s or None,
                total_timeout_s=settings.total_timeout_s or None,
            ) as upstream,
            _recorder(settings, clock) as recorder,
            Operations(clock) as operations,
        ):
            controller = Controller(_config(settings))
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
            admissions = Admissions(
                clock,
                capacity=settings.engine_concurrency or None,
                max_waiting=settings.queue_limit,
                max_wait_s=settings.queue_wait_s or None,
            )
            retrying = Retrying(
                RetryRules(attempts=settings.retry_attempts, longest_wait_s=settings.retry_wait_s), Random()
            )
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
                    engine_left=(admissions.forget, retrying.forget, warm_up.forget_engine),
                ),
                health=lambda: fleet,
                action_log=action_log,
            )
            fleet = fleet_of(settings, controller, runtime, control)
            for address in settings.addresses:
                fleet.add(address, clock(), configured=True)
            way = find_kind(KV_PREFIX).way

            def recomputed(simulation: SimulationId, agent: AgentName) -> bool:
                """Texts that nobody will send need not be taken apart and packed on the way of the calls."""
                host_copy = controller.has_host_copy(simulation, agent, KV_PREFIX)
                return any(
                    way(fleet.features(entry.address.name), host_copy, settings.parts) is Way.RECOMPUTE
                    for entry in fleet.registry
                )

            ladder = Ladder(rungs=settings.recognise, threshold=settings.threshold)
            shelf = Shelf(None if settings.recipes_folder is None else Path(settings.recipes_folder))
            ladder.index = shelf.index
            relay = Relay(
                fleet=fleet,
                upstream=upstream,
                admissions=admissions,
                sharing=Sharing(Joins(_join_rules(settings)), clock),
                retrying=retrying,
                recogniser=Recogniser(),
                post=runtime.post,
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
                record=None if recorder is None else recorder.note,
                salted=_salted(settings),
            )
            entrance = _entrance(ModelList(relay, fleet.merged), settings, clock)
            door = Door(
                Connections(most=settings.client_connections, most_of_one=settings.address_connections)
            )
            admin_door = Door(Connections(most=OPERATORS, most_of_one=OPERATORS))
            data = Listener(entrance, door, certificates.data, drain_s=settings.drain_s)
            tables = (store, shelf, entrance, door, upstream, *(() if recorder is None else (recorder,)))
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
                recording=None if recorder is None else recorder.status,
                operations=operations,
                action_log=action_log,
            )
            admin = Listener(admin_app, admin_door, certificates.admin, drain_s=settings.drain_s)
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(one)
                    for one in (
                        runtime.run(),
                        kept_up(fleet, clock),
                        _recipes_read(shelf, ladder),
                        door.watch(),
                        admin_door.watch(),
                    )
                ]
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
                    )
                finally:
                    # Clients first. Operators can look on until the last call has ended.
                    entrance.close()
                    await data.end(serving_data, hurry)
                    await admin.end(serving_admin, hurry)
                    await relay.drained()
                    for task in beside:
                        task.cancel()


def _config(settings: Settings) -> ControllerConfig:
    return ControllerConfig(
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


def _join_rules(settings: Settings) -> JoinRules:
    return JoinRules(
        grace_s=settings.join_grace_s,
        kept_s=settings.answers_kept_s,
        most_bytes=int(settings.answers_kept_mb * 1_000_000),
    )


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


def _entrance(app: ModelList, settings: Settings, clock: Callable[[], float]) -> Entrance:
    def rate(per_s: float) -> Rate | None:
        return None if per_s == 0 else Rate(per_s, max(1.0, per_s * settings.burst_s))

    return Entrance(
        app,
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


def _forget(*_: object) -> None:
    """In place of a store."""


def _bytes_per_token(runtime: Runtime, engine: EngineId) -> int | None:
    """Of a prefix, as far as the engine reports it."""
    report = next((one.report for one in runtime.engines() if one.engine == engine), None)
    if report is None or not report.capacity_tokens:
        return None
    pools = (pool for pool in report.pools if pool.kinds == {KV_PREFIX})
    return next((pool.capacity_bytes // report.capacity_tokens for pool in pools), None)
