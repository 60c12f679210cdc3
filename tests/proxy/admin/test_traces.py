"""Traces that are begun and ended over the admin API of a whole proxy."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .offices import Town, town

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # every server takes a quarter of a second to stop


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def one(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("traces")
    async with town(folder, traces_folder=str(folder)) as made:
        yield made


def told(answer: httpx.Response) -> dict[str, Any]:
    """Without what depends on the time."""
    found: dict[str, Any] = answer.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.pop("changed"))
    assert found.pop("size_bytes") > 0
    return found


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_trace_is_begun_while_the_proxy_runs_and_ended_and_fetched(one: Town) -> None:
    await one.call("before it")
    begun = await one.admin.post("/traces", json={"name": "monday"})
    assert begun.status_code == 201
    assert begun.headers["location"] == "/admin/v1/traces/monday"
    running = told(begun)
    assert (
        running.pop("recording").items()
        >= {
            "path": str(one.folder / "monday.jsonl"),
            "full_text": False,
            "calls": 0,
            "problem": "",
        }.items()
    )
    assert running == {"name": "monday", "state": "recording", "full_text": False, "files": 1}
    for _ in range(3):
        await one.call("a secret prompt")
    stopped = await one.admin.post("/traces/monday/stop")
    assert told(stopped) == {
        "name": "monday",
        "state": "ended",
        "full_text": False,
        "files": 1,
        "recording": None,
    }
    await one.call("after it")
    content = await one.admin.get("/traces/monday/content")
    header, *calls = lines(content)
    assert header["schema"] == "scalesim.trace"
    assert [call["outcome"] for call in calls] == ["done"] * 3
    assert "secret" not in content.text
    assert content.headers["content-type"].startswith("application/x-ndjson")
    assert content.headers["content-disposition"] == 'attachment; filename="monday.jsonl"'
    again = await one.admin.post("/traces/monday/stop")
    assert again.status_code == 200
    assert (await one.admin.delete("/traces/monday")).status_code == 204
    assert not list(one.folder.iterdir())


async def test_what_is_being_recorded_is_listed_and_can_be_fetched_meanwhile(one: Town) -> None:
    await one.admin.post("/traces", json={"name": "tuesday"})
    listed = (await one.admin.get("/traces")).json()
    assert (listed["full_text_allowed"], listed["recording"]["path"]) == (
        False,
        str(one.folder / "tuesday.jsonl"),
    )
    assert [(trace["name"], trace["state"]) for trace in listed["traces"]] == [("tuesday", "recording")]
    assert told(await one.admin.get("/traces/tuesday"))["state"] == "recording"
    assert lines(await one.admin.get("/traces/tuesday/content"))[0]["schema"] == "scalesim.trace"
    refused = await one.admin.delete("/traces/tuesday")
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "the trace 'tuesday' is being recorded: stop it first; nothing was changed",
    )
    await one.admin.post("/traces/tuesday/stop")
    assert (await one.admin.get("/traces")).json()["recording"] is None
    await one.admin.delete("/traces/tuesday")


async def test_there_is_one_at_a_time_and_none_is_overwritten(one: Town) -> None:
    await one.admin.post("/traces", json={"name": "first"})
    second = await one.admin.post("/traces", json={"name": "second"})
    assert (second.status_code, second.json()["detail"]) == (
        409,
        "a trace is being recorded, 'first': there can be no other at the same time; nothing was changed",
    )
    await one.admin.post("/traces/first/stop")
    again = await one.admin.post("/traces", json={"name": "first"})
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "there is a trace 'first' already: take another name, or delete it; nothing was changed",
    )
    await one.admin.delete("/traces/first")


async def test_full_text_is_recorded_only_where_the_settings_allow_it(one: Town, tmp_path: Path) -> None:
    refused = await one.admin.post("/traces", json={"name": "full", "full_text": True})
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "the settings allow no trace in full text: set traces_full_text, or leave full_text out; nothing was changed",
    )
    assert not list(one.folder.iterdir())
    async with town(tmp_path, traces_folder=str(tmp_path), traces_full_text="on") as other:
        assert (
            await other.admin.post("/traces", json={"name": "full", "full_text": True})
        ).status_code == 201
        await other.call("a secret prompt")
        assert told(await other.admin.post("/traces/full/stop"))["full_text"] is True
        assert "a secret prompt" in (await other.admin.get("/traces/full/content")).text


@pytest.mark.parametrize(
    "name",
    ["..", "../monday", "..%2fmonday", "a/b", "%2e%2e", "/etc/passwd", ".hidden", "a.1", "", "a" * 65, "a\0"],
)
async def test_no_name_leads_out_of_the_folder(one: Town, name: str) -> None:
    assert (await one.admin.post("/traces", json={"name": name})).status_code == 422
    if "\0" not in name:
        for answer in (
            await one.admin.get(f"/traces/{name}/content"),
            await one.admin.post(f"/traces/{name}/stop"),
            await one.admin.delete(f"/traces/{name}"),
        ):
            assert answer.status_code in (307, 404, 405, 422)
    assert not list(one.folder.iterdir())


async def test_a_link_in_the_folder_leads_nowhere(one: Town, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    (one.folder / "link.jsonl").symlink_to(secret)
    try:
        assert (await one.admin.get("/traces/link/content")).status_code == 404
        assert (await one.admin.delete("/traces/link")).status_code == 404
        assert (await one.admin.get("/traces")).json()["traces"] == []
        assert (await one.admin.post("/traces", json={"name": "link"})).status_code == 409
    finally:
        (one.folder / "link.jsonl").unlink()
    assert secret.read_text() == "a secret"


async def test_the_key_of_the_hashes_is_never_fetched_and_goes_with_the_trace(one: Town) -> None:
    await one.admin.post("/traces", json={"name": "keyed"})
    await one.admin.post("/traces/keyed/stop")
    salt = one.folder / "keyed.jsonl.salt"
    assert salt.read_text().strip() not in (await one.admin.get("/traces/keyed/content")).text
    assert (await one.admin.get("/traces/keyed.jsonl.salt/content")).status_code == 422
    await one.admin.delete("/traces/keyed")
    assert not salt.exists()


async def test_all_files_of_a_trace_are_fetched_the_oldest_first(tmp_path: Path) -> None:
    limits = {"record_max_bytes": "100000", "record_files": "4"}
    async with town(tmp_path, traces_folder=str(tmp_path), traces_full_text="on", **limits) as one:
        await one.admin.post("/traces", json={"name": "long", "full_text": True})
        for _ in range(6):
            await one.call("a long prompt " * 500)
        stopped = told(await one.admin.post("/traces/long/stop"))
        found = lines(await one.admin.get("/traces/long/content"))
    assert stopped["files"] > 1
    assert [line["part"] for line in found if "part" in line] == list(range(stopped["files"]))
    arrivals = [line["timestamp"] for line in found if "timestamp" in line]
    assert len(arrivals) == 6
    assert arrivals == sorted(arrivals)


async def test_an_unknown_trace_is_not_found(one: Town) -> None:
    for answer in (
        await one.admin.get("/traces/none"),
        await one.admin.get("/traces/none/content"),
        await one.admin.post("/traces/none/stop"),
        await one.admin.delete("/traces/none"),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            "there is no trace 'none'; nothing was changed",
        )


async def test_the_trace_of_the_settings_is_shown_and_no_other_can_begin(tmp_path: Path) -> None:
    async with town(tmp_path, record=str(tmp_path / "all.jsonl"), traces_folder=str(tmp_path)) as one:
        refused = await one.admin.post("/traces", json={"name": "other"})
        assert "a trace is being recorded, that of the settings" in refused.json()["detail"]
        listed = (await one.admin.get("/traces")).json()
        assert listed["recording"]["path"] == str(tmp_path / "all.jsonl")
        assert [(trace["name"], trace["state"]) for trace in listed["traces"]] == [("all", "ended")]


async def test_without_a_folder_none_begins(tmp_path: Path) -> None:
    async with town(tmp_path) as one:
        refused = await one.admin.post("/traces", json={"name": "monday"})
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            "there is no folder for traces: set traces_folder; nothing was changed",
        )
        assert (await one.admin.get("/traces")).json() == {
            "full_text_allowed": False,
            "recording": None,
            "traces": [],
        }
    async with town(tmp_path, traces_folder=str(tmp_path / "none")) as one:
        for answer in (await one.admin.post("/traces", json={"name": "a"}), await one.admin.get("/traces")):
            assert (answer.status_code, "there is no such folder" in answer.text) == (503, True)


async def test_what_the_disk_does_not_let_us_is_said(one: Town) -> None:
    (one.folder / "odd.jsonl").write_text("")
    (one.folder / "odd.jsonl.salt").mkdir()
    try:
        answer = await one.admin.delete("/traces/odd")
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith(f"{one.folder / 'odd.jsonl.salt'}: ")
    finally:
        (one.folder / "odd.jsonl.salt").rmdir()


async def test_a_running_trace_is_whole_when_the_proxy_ends(tmp_path: Path) -> None:
    async with town(tmp_path, traces_folder=str(tmp_path)) as one:
        await one.admin.post("/traces", json={"name": "last"})
        await one.call()
    assert (tmp_path / "last.jsonl").read_text().count('"outcome":"done"') == 1


async def test_changes_of_traces_stand_in_the_log(one: Town, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "scalesim.audit"):
        await one.admin.post("/traces", json={"name": "told"})
        await one.admin.post("/traces/told/stop")
        await one.admin.get("/traces/told/content")
        await one.admin.delete("/traces/told")
    assert [record.getMessage() for record in caplog.records if record.name == "scalesim.audit"] == [
        "an operator without a key: the trace 'told' was begun, as hashes",
        "an operator without a key: the trace 'told' was stopped",
        "an operator without a key: the trace 'told' is fetched",
        "an operator without a key: the trace 'told' was deleted",
    ]
