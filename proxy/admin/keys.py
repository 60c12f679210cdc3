"""Keys: whose there are, and how they are drawn, rotated and revoked. The proxy keeps hashes: a key itself is answered once."""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from scalesim.proxy.access.key_file import NAME, BadKeyFile, Kind
from scalesim.proxy.access.keyring import (
    KeyOfSettings,
    KeyRefused,
    KnownKey,
    UnknownKey,
)
from scalesim.proxy.core.model import SimulationId
from scalesim.proxy.errors import ScaleSimError
from scalesim.proxy.settings import PREFIX, Origin

from .answers import example
from .audit import audit
from .bodies import SIMULATION_PATTERN
from .desk import Desk
from .office import Office
from .problems import Problem

_KEY: dict[str, JsonValue] = {
    "kind": "client",
    "name": "ann",
    "simulation": "town",
    "confined": True,
    "created": "2026-03-01T12:00:00Z",
    "source": "keys_file",
}
_SECRET: dict[str, JsonValue] = {**_KEY, "key": "sk-scalesim-…"}
_NAME = f"^{NAME.pattern}$"
KeyName = Annotated[str, StringConstraints(pattern=_NAME)]
KindPath = Annotated[Kind, Path(examples=["client"])]
KeyPath = Annotated[str, Path(pattern=_NAME, examples=["ann"])]


class KeySource(StrEnum):
    KEYS_FILE = "keys_file"
    """It can be rotated and revoked here."""
    FILE = "config file"
    ENVIRONMENT = "environment"
    SETTINGS = "settings"
    """Made by a program."""


_SOURCES = {Origin.FILE: KeySource.FILE, Origin.ENVIRONMENT: KeySource.ENVIRONMENT}
_SETTINGS = {Kind.ADMIN: "admin_keys", Kind.CLIENT: "client_keys", Kind.SIMULATION: "simulation_keys"}


class NewKind(StrEnum):
    CLIENT = "client"
    ADMIN = "admin"


class KeyBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"kind": "client", "name": "ann", "simulation": "town"}},
    )

    kind: NewKind = Field(description="client: it lets calls in; admin: it lets operators in.")
    name: KeyName = Field(description="Whose it is: stands in logs. No other key of its kind may have it.")
    simulation: Annotated[str, StringConstraints(pattern=SIMULATION_PATTERN)] | None = Field(
        None, description="Of a client's key: its calls are of that one, and may say no other."
    )


class KeyAnswer(BaseModel):
    model_config = example(_KEY)

    kind: Kind = Field(
        description="client: it lets calls in; admin: it lets operators in; simulation: it says of which simulation its sender is."
    )
    name: str
    simulation: str | None = Field(description="Whoever sends it is of that one.")
    confined: bool = Field(description="It may say no other.")
    created: str | None = Field(description="When it was drawn, in UTC; null: not known.")
    source: KeySource = Field(
        description="keys_file: it can be rotated and revoked here; else it is to be changed where it stands."
    )


class DrawnAnswer(KeyAnswer):
    model_config = example(_SECRET)

    key: str = Field(description="The key itself: shown this once, and kept nowhere.")


class KeysAnswer(BaseModel):
    model_config = example({"keys": [_KEY], "clients_need_a_key": True, "operators_need_a_key": False})

    keys: list[KeyAnswer]
    clients_need_a_key: bool
    operators_need_a_key: bool


def key_routes(desk: Desk, office: Office) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/keys", tags=["keys"])
    keyring = office.keyring

    @router.get("")
    async def keys() -> KeysAnswer:
        """All keys by kind and name, never what opens anything."""
        return KeysAnswer(
            keys=[_answer(one) for one in keyring.listed()],
            clients_need_a_key=keyring.is_closed,
            operators_need_a_key=len(keyring.admins) > 0,
        )

    @router.get("/{kind}/{name}")
    async def one_key(kind: KindPath, name: KeyPath) -> KeyAnswer:
        """What is known of it, never what opens anything."""
        try:
            return _answer(keyring.find(kind, name))
        except KeyRefused as exc:
            raise _problem(exc) from exc

    @router.post("", status_code=HTTPStatus.CREATED, responses=_DISK)
    async def create(body: KeyBody, request: Request, response: Response) -> DrawnAnswer:
        """Draws a key, and shows it this once. With the first key of clients, or of operators, nobody is let in without one any
        more."""
        kind = Kind(body.kind)
        if body.simulation is not None and kind is not Kind.CLIENT:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "simulation: only a client's key has one; nothing was changed",
            )
        simulation = None if body.simulation is None else SimulationId(body.simulation)
        try:
            key = await keyring.create(kind, body.name, simulation)
        except (KeyRefused, BadKeyFile) as exc:
            raise _problem(exc) from exc
        audit(request, f"the {kind} key {body.name!r} was drawn")
        response.headers["location"] = f"/admin/v1/keys/{kind}/{body.name}"
        return _drawn(kind, body.name, key, response)

    @router.post("/{kind}/{name}/rotate", responses=_DISK)
    async def rotate(kind: KindPath, name: KeyPath, request: Request, response: Response) -> DrawnAnswer:
        """Draws a new key in its place, and shows it this once. The old one opens nothing from now on: to let clients change
        over, draw a second key under another name, and revoke the first one later."""
        try:
            key = await keyring.rotate(kind, name)
        except (KeyRefused, BadKeyFile) as exc:
            raise _problem(exc) from exc
        audit(request, f"the {kind} key {name!r} was rotated")
        return _drawn(kind, name, key, response)

    @router.delete("/{kind}/{name}", status_code=HTTPStatus.NO_CONTENT, responses=_DISK)
    async def revoke(
        kind: KindPath,
        name: KeyPath,
        request: Request,
        let_all_in: Annotated[
            bool, Query(description="true: also the last key of clients. Whoever comes is served then.")
        ] = False,
    ) -> None:
        """It opens nothing from the next request on. The last one of its kind stays, since without it everybody would be let in."""
        try:
            await keyring.revoke(kind, name, lets_all_in=let_all_in)
        except (KeyRefused, BadKeyFile) as exc:
            raise _problem(exc) from exc
        audit(request, f"the {kind} key {name!r} was revoked")

    def _drawn(kind: Kind, name: str, key: str, response: Response) -> DrawnAnswer:
        response.headers["cache-control"] = "no-store"
        return DrawnAnswer(**_answer(keyring.find(kind, name)).model_dump(), key=key)

    def _answer(known: KnownKey) -> KeyAnswer:
        return KeyAnswer(
            kind=known.kind,
            name=known.name,
            simulation=known.simulation,
            confined=known.is_confined,
            created=known.created_at or None,
            source=_source(known),
        )

    def _source(known: KnownKey) -> KeySource:
        if known.is_ours:
            return KeySource.KEYS_FILE
        return _SOURCES.get(office.configuration.origin(_SETTINGS[known.kind]), KeySource.SETTINGS)

    def _problem(exc: ScaleSimError) -> Problem:
        match exc:
            case BadKeyFile():
                return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{exc}; nothing was changed")
            case UnknownKey():
                return Problem(HTTPStatus.NOT_FOUND, f"{exc}; nothing was changed")
            case KeyOfSettings(kind=kind):
                return Problem(HTTPStatus.CONFLICT, f"{exc}, {_where(kind)}; nothing was changed")
        return Problem(HTTPStatus.CONFLICT, f"{exc}; nothing was changed")

    def _where(kind: Kind) -> str:
        """And what is to be done there."""
        setting = _SETTINGS[kind]
        match office.configuration.origin(setting):
            case Origin.ENVIRONMENT:
                return f"by the variable {PREFIX}{setting.upper()}: it can be changed there alone, and the proxy started anew"
            case Origin.FILE:
                return f"under {setting} in {office.configuration.file}: change it there, and have the configuration reloaded"
        return f"under {setting}: it can be changed there alone"

    return router


_DISK: dict[int | str, dict[str, object]] = {
    503: {
        "description": "The file of keys cannot be written, or is not as it should be. Nothing was changed."
    }
}
