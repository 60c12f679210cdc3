from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scalesim.proxy.access import key_file
from scalesim.proxy.access.key_file import BadKeyFile, Kind, StoredKey
from scalesim.proxy.access.keyring import KeyOfSettings, Keyring, LastKey, TooManyKeys
from scalesim.proxy.access.keys import Key, digest_of, hash_of
from scalesim.proxy.settings import Settings

pytestmark = pytest.mark.anyio
BOB = Key("bob", digest_of("sk-bob"))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ring(folder: Path, *clients: Key, admin_keys: tuple[str, ...] = ()) -> Keyring:
    return Keyring(configured(*clients, admin_keys=admin_keys, folder=folder), now=lambda: NOON)


def configured(*clients: Key, admin_keys: tuple[str, ...] = (), folder: Path) -> Settings:
    return Settings(
        engine="http://engine",
        client_keys=clients,
        admin_keys=admin_keys,
        keys_file=str(folder / "keys.toml"),
    )


async def test_a_drawn_key_is_found_and_the_door_is_told(tmp_path: Path) -> None:
    keyring, told = ring(tmp_path), list[bool]()
    keyring.changed = lambda: told.append(keyring.is_closed)
    key = await keyring.create(Kind.CLIENT, "ann")
    found = keyring.clients.find(key)
    assert found is not None
    assert found.name == "ann"
    assert keyring.admins.find(key) is None
    assert told == [True]
    assert keyring.listed()[0].created_at == "2026-03-01T12:00:00Z"


async def test_those_who_draw_at_once_lose_none(tmp_path: Path) -> None:
    keyring = ring(tmp_path)
    await asyncio.gather(*(keyring.create(Kind.CLIENT, f"c-{number}") for number in range(5)))
    assert len(key_file.read(tmp_path / "keys.toml")) == 5


async def test_a_key_that_was_being_written_when_its_operator_left_is_not_lost_to_the_next(
    tmp_path: Path,
) -> None:
    keyring = ring(tmp_path)
    drawing = asyncio.create_task(keyring.create(Kind.CLIENT, "ann"))
    await asyncio.sleep(0)
    drawing.cancel()
    await keyring.create(Kind.CLIENT, "bob")
    assert [one.name for one in key_file.read(tmp_path / "keys.toml")] == ["ann", "bob"]
    assert [one.name for one in keyring.listed()] == ["ann", "bob"]


async def test_with_a_key_in_the_settings_the_last_of_the_file_may_go(tmp_path: Path) -> None:
    keyring = ring(tmp_path, BOB)
    await keyring.create(Kind.CLIENT, "ann")
    await keyring.revoke(Kind.CLIENT, "ann")
    with pytest.raises(KeyOfSettings):
        await keyring.revoke(Kind.CLIENT, "bob")
    assert keyring.is_closed


async def test_the_last_key_of_operators_never_goes(tmp_path: Path) -> None:
    keyring = ring(tmp_path)
    await keyring.create(Kind.ADMIN, "ops")
    with pytest.raises(LastKey):
        await keyring.revoke(Kind.ADMIN, "ops", lets_all_in=True)


async def test_there_are_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesim.proxy.access.keyring.MAX_KEYS", 1)
    keyring = ring(tmp_path)
    await keyring.create(Kind.CLIENT, "ann")
    with pytest.raises(TooManyKeys):
        await keyring.create(Kind.CLIENT, "bob")


async def test_a_key_in_two_places_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    stored = StoredKey(Kind.CLIENT, "ann", digest_of("sk-bob"), None, "")
    key_file.write(tmp_path / "keys.toml", [stored])
    with pytest.raises(BadKeyFile, match="a key stands there twice"):
        ring(tmp_path, BOB)
    keyring = ring(tmp_path)
    with pytest.raises(BadKeyFile):
        keyring.configure(configured(BOB, folder=tmp_path), None)
    found = keyring.clients.find("sk-bob")
    assert found is not None
    assert found.name == "ann"


async def test_what_was_changed_by_hand_holds_once_it_is_read_again(tmp_path: Path) -> None:
    keyring = ring(tmp_path, admin_keys=(hash_of("sk-ops"),))
    key_file.write(tmp_path / "keys.toml", [StoredKey(Kind.CLIENT, "ann", digest_of("sk-ann"), None, "")])
    async with keyring.held() as stored:
        keyring.configure(configured(BOB, folder=tmp_path), stored)
    assert [one.name for one in keyring.listed()] == ["bob", "ann"]
    assert keyring.admins.find("sk-ops") is None
