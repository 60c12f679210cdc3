"""Keys over the admin API, as they open both doors of a whole proxy."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from scalesim.proxy.access.keys import hash_of

from .offices import OPERATOR, Town, town

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # every server takes a quarter of a second to stop

DRAWN = re.compile(r"sk-scalesim-[A-Za-z0-9_-]{43}")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def kept(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """With a file of keys, and an operator's key in the environment."""
    folder = tmp_path_factory.mktemp("kept")
    async with town(
        folder, keys_file=str(folder / "keys.toml"), admin_keys="sk-operator", client_keys="web=sk-web"
    ) as one:
        yield one


@pytest.fixture(scope="module")
async def bare(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Without either."""
    async with town(tmp_path_factory.mktemp("bare")) as one:
        yield one


def without_times(answer: httpx.Response) -> object:
    told = answer.json()
    for one in told.get("keys", [told]):
        assert one["created"] is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.pop("created"))
    return told


async def test_a_drawn_key_opens_is_shown_once_and_kept_as_a_hash(kept: Town) -> None:
    made = await kept.admin.post("/keys", json={"kind": "client", "name": "ann", "simulation": "town"})
    key = made.json()["key"]
    assert made.status_code == 201
    assert DRAWN.fullmatch(key)
    assert made.headers["location"] == "/admin/v1/keys/client/ann"
    assert made.headers["cache-control"] == "no-store"
    assert without_times(made) == {
        "kind": "client",
        "name": "ann",
        "simulation": "town",
        "confined": True,
        "source": "keys_file",
        "key": key,
    }
    assert (await kept.call()).status_code == 401
    assert (await kept.call(key=key)).status_code == 200
    listed = await kept.admin.get("/keys")
    assert key not in listed.text
    text = (kept.folder / "keys.toml").read_text()
    assert key not in text
    assert f'[client."ann"]\nhash = "{hash_of(key)}"\nsimulation = "town"\n' in text
    assert (kept.folder / "keys.toml").stat().st_mode & 0o777 == 0o600
    await kept.admin.delete("/keys/client/ann")


async def test_keys_are_listed_by_kind_and_name_and_where_they_stand(kept: Town) -> None:
    await kept.admin.post("/keys", json={"kind": "admin", "name": "ops"})
    listed = await kept.admin.get("/keys")
    one = await kept.admin.get("/keys/admin/ops")
    await kept.admin.delete("/keys/admin/ops")
    settings = {"simulation": None, "confined": False, "source": "environment", "created": None}
    told = listed.json()
    assert told.pop("keys")[:2] == [
        {"kind": "admin", "name": "admin-1", **settings},
        {"kind": "client", "name": "web", **settings},
    ]
    assert told == {"clients_need_a_key": True, "operators_need_a_key": True}
    assert without_times(one) == {
        "kind": "admin",
        "name": "ops",
        "simulation": None,
        "confined": False,
        "source": "keys_file",
    }


async def test_a_revoked_key_opens_nothing_any_more(kept: Town) -> None:
    key = (await kept.admin.post("/keys", json={"kind": "client", "name": "bob"})).json()["key"]
    assert (await kept.call(key=key)).status_code == 200
    revoked = await kept.admin.delete("/keys/client/bob")
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert (await kept.call(key=key)).status_code == 401
    assert (await kept.admin.get("/keys/client/bob")).status_code == 404


async def test_a_rotated_key_is_another_one_and_the_old_one_opens_nothing(kept: Town) -> None:
    first = (await kept.admin.post("/keys", json={"kind": "client", "name": "cid"})).json()["key"]
    rotated = await kept.admin.post("/keys/client/cid/rotate")
    second = rotated.json()["key"]
    assert rotated.status_code == 200
    assert DRAWN.fullmatch(second)
    assert [(await kept.call(key=key)).status_code for key in (first, second)] == [401, 200]
    await kept.admin.delete("/keys/client/cid")


async def test_a_key_of_the_environment_cannot_be_changed(kept: Town) -> None:
    for answer in (
        await kept.admin.delete("/keys/client/web"),
        await kept.admin.post("/keys/client/web/rotate"),
    ):
        assert answer.status_code == 409
        assert answer.json()["detail"] == (
            "the client key 'web' stands in the settings, by the variable SCALESIM_CLIENT_KEYS: it can be changed there alone, "
            "and the proxy started anew; nothing was changed"
        )
    assert (await kept.call(key="sk-web")).status_code == 200


async def test_a_name_is_taken_once_and_an_unknown_one_is_not_found(kept: Town) -> None:
    again = await kept.admin.post("/keys", json={"kind": "client", "name": "web"})
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "there is a client key 'web' already: take another name, or rotate it; nothing was changed",
    )
    gone = await kept.admin.delete("/keys/admin/nobody")
    assert (gone.status_code, gone.json()["detail"]) == (
        404,
        "there is no admin key 'nobody'; nothing was changed",
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"kind": "client", "name": "a b"}, "name: "),
        ({"kind": "simulation", "name": "a"}, "kind: "),
        ({"kind": "admin", "name": "a", "simulation": "town"}, "simulation: only a client's key has one"),
        ({"kind": "client", "name": "a", "key": "sk-mine"}, "key: "),
    ],
)
async def test_a_bad_request_is_refused(kept: Town, body: dict[str, str], says: str) -> None:
    answer = await kept.admin.post("/keys", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)


async def test_who_changed_what_stands_in_the_log_and_no_secret_does(
    kept: Town, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "scalesim.audit"):
        ops = (await kept.admin.post("/keys", json={"kind": "admin", "name": "ops"})).json()["key"]
        other = {"x-admin-key": ops}
        ann = await kept.admin.post("/keys", json={"kind": "client", "name": "ann"}, headers=other)
        await kept.admin.delete("/keys/client/ann", headers=other)
        await kept.admin.delete("/keys/admin/ops", headers=OPERATOR)
    assert caplog.messages == [
        "the operator with the key 'admin-1': the admin key 'ops' was drawn",
        "the operator with the key 'ops': the client key 'ann' was drawn",
        "the operator with the key 'ops': the client key 'ann' was revoked",
        "the operator with the key 'admin-1': the admin key 'ops' was revoked",
    ]
    assert ops not in caplog.text
    assert ann.json()["key"] not in caplog.text


async def test_without_a_file_no_key_is_drawn(bare: Town) -> None:
    answer = await bare.admin.post("/keys", json={"kind": "client", "name": "ann"})
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "there is no file in which keys could be kept: set keys_file, and start the proxy anew; nothing was changed",
    )
    assert (await bare.admin.get("/keys")).json() == {
        "keys": [],
        "clients_need_a_key": False,
        "operators_need_a_key": False,
    }


async def test_the_last_key_of_a_door_stays_lest_everybody_is_let_in(tmp_path: Path) -> None:
    async with town(tmp_path, keys_file=str(tmp_path / "keys.toml")) as one:
        assert (await one.call()).status_code == 200
        ann = (await one.admin.post("/keys", json={"kind": "client", "name": "ann"})).json()["key"]
        assert (await one.call()).status_code == 401
        ops = (await one.admin.post("/keys", json={"kind": "admin", "name": "ops"})).json()["key"]
        assert (await one.admin.get("/keys")).status_code == 401
        mine = {"x-admin-key": ops}
        refused = await one.admin.delete("/keys/admin/ops", headers=mine)
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            "'ops' is the last admin key, and without one everybody would be let in: draw another one first; nothing was changed",
        )
        never = await one.admin.delete("/keys/admin/ops?let_all_in=true", headers=mine)
        assert never.status_code == 409
        last = await one.admin.delete("/keys/client/ann", headers=mine)
        assert last.status_code == 409
        assert (await one.call(key=ann)).status_code == 200
        on_purpose = await one.admin.delete("/keys/client/ann?let_all_in=true", headers=mine)
        assert on_purpose.status_code == 204
        assert (await one.call()).status_code == 200


async def test_drawn_keys_are_there_after_a_restart(tmp_path: Path) -> None:
    options = {"keys_file": str(tmp_path / "keys.toml"), "admin_keys": "sk-operator"}
    async with town(tmp_path, **options) as one:
        key = (await one.admin.post("/keys", json={"kind": "client", "name": "ann"})).json()["key"]
    async with town(tmp_path, **options) as one:
        assert [(await one.call(key=used)).status_code for used in (key, "sk-other")] == [200, 401]


async def test_what_cannot_be_written_is_not_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    async with town(tmp_path, keys_file=str(folder / "keys.toml"), admin_keys="sk-operator") as one:
        folder.rmdir()
        answer = await one.admin.post("/keys", json={"kind": "client", "name": "ann"})
        assert answer.status_code == 503
        assert (
            "it cannot be written: No such file or directory; nothing was changed" in answer.json()["detail"]
        )
        assert (await one.call()).status_code == 200
