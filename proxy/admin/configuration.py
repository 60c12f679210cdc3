"""The settings: what is in force and where it came from, what another config file would change, and how it is read again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from scalesim.proxy.access.key_file import BadKeyFile
from scalesim.proxy.configuration import Change, NoFile
from scalesim.proxy.settings import Origin, SettingsError, listed, written

from .answers import example
from .audit import audit, by, log
from .desk import Desk
from .office import Office
from .problems import SHOWN, Problem

_SETTING: dict[str, JsonValue] = {
    "name": "queue_limit",
    "value": "2048",
    "is_set": True,
    "source": "file",
    "default": "1024",
    "about": "most calls that wait for one engine",
    "secret": False,
    "reloadable": True,
}
_CHANGE: dict[str, JsonValue] = {"applied": ["queue_limit"], "restart": ["port"]}
MAX_CHARS = 64_000


class SettingAnswer(BaseModel):
    model_config = example(_SETTING)

    name: str
    value: str | None = Field(
        description="As it would be written in the environment; empty: nothing is set; null: it is a secret."
    )
    is_set: bool = Field(description="It has another value than its default.")
    source: Origin = Field(description="Where the value in force came from.")
    default: str
    about: str
    secret: bool = Field(description="Its value is never shown.")
    reloadable: bool = Field(
        description="A new value in the config file holds once it is read again; else from the next start on."
    )


class ConfigurationAnswer(BaseModel):
    model_config = example(
        {"file": "/etc/scalesim.toml", "restart_needed_for": ["port"], "settings": [_SETTING]}
    )

    file: str | None = Field(description="The config file; null: there is none.")
    restart_needed_for: list[str] = Field(
        description="Settings that had another value when the file was last read again, and keep theirs until the next start."
    )
    settings: list[SettingAnswer]


class ConfigurationBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"text": "queue_limit = 2048\nport = 8000\n"}}
    )

    text: Annotated[str, StringConstraints(max_length=MAX_CHARS)] = Field(
        description="What would be in the config file (TOML)."
    )


class ChangeAnswer(BaseModel):
    model_config = example(_CHANGE)

    applied: list[str] = Field(description="Settings whose new value is in force, or would be.")
    restart: list[str] = Field(
        description="Settings that have another value in the file, and keep theirs until the proxy is started anew."
    )

    @classmethod
    def of(cls, change: Change) -> ChangeAnswer:
        return cls(applied=list(change.applied), restart=list(change.restart))


def configuration_routes(desk: Desk, office: Office) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/configuration", tags=["configuration"])
    configuration = office.configuration

    @router.get("")
    async def in_force() -> ConfigurationAnswer:
        """Every setting, with its value and where that came from. Secrets are not shown."""
        settings = configuration.settings
        return ConfigurationAnswer(
            file=configuration.file,
            restart_needed_for=list(configuration.waiting),
            settings=[
                SettingAnswer(
                    name=one.name,
                    value=None if one.is_secret else written(one.name, getattr(settings, one.name)),
                    is_set=one.is_set_in(settings),
                    source=configuration.origin(one.name),
                    default=one.default,
                    about=one.about,
                    secret=one.is_secret,
                    reloadable=one.is_live,
                )
                for one in listed()
            ],
        )

    @router.post("/validate")
    async def validate(body: ConfigurationBody) -> ChangeAnswer:
        """What would change if this text were in the config file, and it were read again. Nothing is changed, and nothing kept. What came
        from the command line and the environment stands above the file, as ever."""
        try:
            return ChangeAnswer.of(await configuration.tried(body.text))
        except SettingsError as exc:
            raise _wrong(exc) from exc

    @router.post("/reload")
    async def reload(request: Request) -> ChangeAnswer:
        """Reads the config file, the keys' file and certificates again. All that can change while the proxy runs does, at once, and no call
        is dropped for it; what needs a restart is named, and stays. As SIGHUP does. If anything is wrong, nothing is changed."""
        log.info("%s has the configuration read again", by(request))
        try:
            change = await office.reload()
        except NoFile as exc:
            raise Problem(HTTPStatus.CONFLICT, f"{exc}; nothing was changed") from exc
        except SettingsError as exc:
            raise _wrong(exc) from exc
        except BadKeyFile as exc:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{exc}; nothing was changed") from exc
        audit(
            request, f"the configuration was read again, and changed {', '.join(change.applied) or 'nothing'}"
        )
        return ChangeAnswer.of(change)

    return router


def _wrong(exc: SettingsError) -> Problem:
    shown = list(exc.problems[:SHOWN])
    more = len(exc.problems) - len(shown)
    told = "; ".join([*shown, *([f"and {more} more"] if more else [])])
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{told}; nothing was changed", problems=shown)
