from __future__ import annotations

import asyncio

import pytest

from scalesim.proxy.admin.operations import Operation, OperationFailed, Operations, TooManyOperations
from tests.support.patience import PATIENCE_S, soon

from .conftest import Proxy

pytestmark = pytest.mark.anyio
PATH = "/admin/v1/operations"


class Clock:
    def __init__(self) -> None:
        self.at = 10.0

    def __call__(self) -> float:
        return self.at


async def at_once(_: Operation) -> None:
    pass


async def for_ever(operation: Operation) -> None:
    operation.go_on(0.25, "it waits", found=1)
    await asyncio.get_running_loop().create_future()


async def ended(operation: Operation) -> Operation:
    await soon(operation.over.wait(), PATIENCE_S)
    return operation


async def test_an_operation_is_done_when_its_work_returns() -> None:
    clock = Clock()

    async def work(operation: Operation) -> None:
        operation.go_on(0.5, "half of it", moved=7)
        operation.go_on(0.25, "", late=True)
        clock.at = 12.5

    async with Operations(clock) as operations:
        begun = operations.begin("count", {"agent": "Ann"}, work)
        assert (begun.state, begun.progress, begun.ended_at) == ("running", 0.0, None)
        await ended(begun)
    assert (begun.state, begun.progress, begun.ended_at) == ("done", 1.0, 12.5)
    assert begun.result == {"moved": 7, "late": True}


async def test_progress_never_goes_back_nor_beyond_its_end() -> None:
    seen: list[float] = []

    async def work(operation: Operation) -> None:
        for progress in (0.5, 0.25, 7.0):
            operation.go_on(progress)
            seen.append(operation.progress)

    async with Operations(Clock()) as operations:
        await ended(operations.begin("count", {}, work))
    assert seen == [0.5, 0.5, 1.0]


async def test_an_operation_that_cannot_be_done_says_why() -> None:
    async def work(operation: Operation) -> None:
        operation.go_on(0.5, "half of it")
        raise OperationFailed("there is no copy of it")

    async with Operations(Clock()) as operations:
        failed = await ended(operations.begin("count", {}, work))
    assert (failed.state, failed.progress, failed.says) == ("failed", 0.5, "there is no copy of it")


async def test_a_bug_in_an_operation_ends_it_and_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def work(_: Operation) -> None:
        raise KeyError("secret")

    async with Operations(Clock()) as operations:
        failed = await ended(operations.begin("count", {}, work))
    assert (failed.state, failed.says) == ("failed", "the log of the proxy says why")
    assert "KeyError: 'secret'" in caplog.text


async def test_all_operations_are_stopped_at_the_end() -> None:
    async with Operations(Clock()) as operations:
        one, other = (operations.begin("wait", {}, for_ever) for _ in range(2))
        await asyncio.sleep(0)
    assert (one.state, other.state) == ("stopped", "stopped")
    assert one.result == {"found": 1}
    assert operations.sizes() == {"operations": 2, "operations_running": 0}


async def test_only_so_many_run_at_a_time_and_only_so_many_are_known() -> None:
    async with Operations(Clock(), kept=4, running=2) as operations:
        runs = operations.begin("wait", {}, for_ever)
        for _ in range(5):
            await ended(operations.begin("count", {}, at_once))
        assert operations.sizes() == {"operations": 4, "operations_running": 1}
        assert operations.get(runs.id) is runs
        operations.begin("wait", {}, for_ever)
        with pytest.raises(TooManyOperations, match="2 operations run"):
            operations.begin("count", {}, at_once)
        assert operations.sizes() == {"operations": 4, "operations_running": 2}


async def test_an_operation_is_a_resource_with_its_progress(proxy: Proxy) -> None:
    begun = proxy.operations.begin("wait", {"agent": "Ann"}, for_ever)
    await asyncio.sleep(0)
    answer = (await proxy.client.get(f"{PATH}/{begun.id}")).json()
    assert answer.pop("began_ago_s") >= 0
    assert answer == {
        "id": begun.id,
        "kind": "wait",
        "of": {"agent": "Ann"},
        "state": "running",
        "progress": 0.25,
        "says": "it waits",
        "result": {"found": 1},
        "took_s": None,
    }
    assert (await proxy.client.delete(f"{PATH}/{begun.id}")).status_code == 204
    await ended(begun)
    assert begun.state == "stopped"
    for method in ("GET", "DELETE"):
        gone = await proxy.client.request(method, f"{PATH}/{begun.id}")
        assert (gone.status_code, gone.json()["operation"]) == (404, begun.id)


async def test_operations_come_in_pages(proxy: Proxy) -> None:
    begun = [proxy.operations.begin("count", {}, at_once) for _ in range(3)]
    after = str(begun[0].number - 1)
    first = (await proxy.client.get(f"{PATH}?limit=2&after={after}")).json()
    assert [one["id"] for one in first["operations"]] == [begun[0].id, begun[1].id]
    rest = (await proxy.client.get(f"{PATH}?limit=2&after={first['next']}")).json()
    assert ([one["id"] for one in rest["operations"]], rest["next"]) == ([begun[2].id], None)
    for query in ("limit=0", "limit=1001", "after=-1", "after=x"):
        assert (await proxy.client.get(f"{PATH}?{query}")).status_code == 422
