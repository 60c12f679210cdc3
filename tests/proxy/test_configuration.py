from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scalesim.proxy.configuration import Change, Configuration, NoFile
from scalesim.proxy.core.model import Mode
from scalesim.proxy.settings import Origin, Settings, SettingsError, Sources, loaded, written

pytestmark = pytest.mark.anyio
ENGINE = "http://127.0.0.1:30000"


def configured(folder: Path, text: str, **environ: str) -> tuple[Configuration, Path]:
    file = folder / "scalesim.toml"
    file.write_text(f'engine = "{ENGINE}"\n{text}')
    return Configuration.read(Sources.of({"config": str(file), "port": "1"}, environ)), file


def test_each_value_has_the_source_that_it_came_from(tmp_path: Path) -> None:
    known, _ = configured(tmp_path, "port = 2\nqueue_limit = 3\ntick_ms = 4\n", SCALESIM_TICK_MS="5")
    names = ("port", "tick_ms", "queue_limit", "mode")
    assert [known.origin(name) for name in names] == [
        Origin.COMMAND_LINE,
        Origin.ENVIRONMENT,
        Origin.FILE,
        Origin.DEFAULT,
    ]


async def test_a_reload_tells_before_now_and_what_changed(tmp_path: Path) -> None:
    known, file = configured(tmp_path, "queue_limit = 3\n")
    told: list[tuple[int, int, frozenset[str]]] = []
    known.apply = lambda before, now, changed: told.append((before.queue_limit, now.queue_limit, changed))
    file.write_text(f'engine = "{ENGINE}"\nqueue_limit = 4\nplan_limit = 9\nport = 7\n')
    assert await known.reload() == Change(("queue_limit",), ("plan_limit",))
    assert told == [(3, 4, frozenset({"queue_limit"}))]
    assert (known.settings.queue_limit, known.settings.plan_limit, known.settings.port) == (4, 4096, 1)


async def test_what_somebody_objects_to_changes_nothing(tmp_path: Path) -> None:
    known, file = configured(tmp_path, "")
    known.objections = lambda now: [f"queue_limit: {now.queue_limit} is in the way"]
    file.write_text(f'engine = "{ENGINE}"\nqueue_limit = 4\n')
    with pytest.raises(SettingsError, match="4 is in the way"):
        await known.reload()
    assert known.settings.queue_limit == 1024


async def test_reloads_at_once_come_one_after_another(tmp_path: Path) -> None:
    known, file = configured(tmp_path, "")
    file.write_text(f'engine = "{ENGINE}"\nmode = "off"\n')
    first, second = await asyncio.gather(known.reload(), known.reload())
    assert (first, second) == (Change(("mode",)), Change())
    assert known.settings.mode is Mode.OFF


async def test_settings_of_a_program_cannot_be_read_again() -> None:
    with pytest.raises(NoFile):
        await Configuration(Settings(engine=ENGINE)).reload()


def test_a_text_in_place_of_the_file_is_read_as_the_file_would_be() -> None:
    sources = Sources.of({"engine": ENGINE}, {})
    assert loaded(sources, text="queue_limit = 7").settings.queue_limit == 7
    with pytest.raises(SettingsError, match="config: 'the config file' is not TOML"):
        loaded(sources, text="queue_limit =")
    with pytest.raises(SettingsError, match="is not TOML"):
        loaded(sources, text="a = " + "[" * 50_000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engines", "a=http://one:1,b=http://two:2"),
        ("aliases", "gpt-4o=llama,*=llama"),
        ("answers", "0.2 steps"),
        ("answers", "off"),
        ("parts", "order,pin"),
        ("parts", "all"),
        ("recognise", "none"),
        ("salts", "on"),
        ("mode", "shadow"),
        ("queue_limit", "7"),
        ("drain_s", "2.5"),
        ("traces_folder", "/var/traces"),
    ],
)
def test_a_value_is_written_as_it_can_be_read(name: str, value: str) -> None:
    environ = {"SCALESIM_ENGINE": ENGINE} if name != "engines" else {}
    settings = Settings.load({}, environ | {f"SCALESIM_{name.upper()}": value})
    assert written(name, getattr(settings, name)) == value
