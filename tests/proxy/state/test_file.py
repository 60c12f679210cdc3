from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    AdapterAssigned,
    AdapterRegistered,
    CallEnded,
    CallStarted,
    EstimatorSet,
    PolicySet,
    Ticked,
)
from scalesim.proxy.core.model import AgentName, CallId, EngineId, Outcome, SimulationId, Usage
from scalesim.proxy.errors import CannotKeep
from scalesim.proxy.state.file import Keeper, Registered, StateFile
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.anyio

TOWN = SimulationId("town")


def town(agents: int) -> Controller:
    core, at = Controller(ControllerConfig()), time.monotonic()
    core.handle(AdapterRegistered(at, "poet", "/poet"))
    for number in range(agents):
        call = CallId(number)
        core.handle(CallStarted(at, call, TOWN, AgentName(f"a{number}"), EngineId("gpu")))
        core.handle(CallEnded(at, call, Outcome.DONE, Usage(100 + number, 0, 10)))
    core.handle(AdapterAssigned(at, TOWN, AgentName("a0"), "poet"))
    return core


def keeper(core: Controller, file: StateFile) -> Keeper:
    return Keeper(file, lambda: core.keeping, time.monotonic, every_s=0.01)


async def test_another_process_knows_the_agents(tmp_path: Path) -> None:
    file, core = StateFile(tmp_path / "state"), town(200)
    await keeper(core, file).keep()
    other = Controller(ControllerConfig())
    assert await keeper(other, file).restore() == 200
    known, found = ({one.name: one for one in it.agents(TOWN)} for it in (core, other))
    assert found.keys() == known.keys()
    assert all(found[name].size_tokens == known[name].size_tokens for name in known)
    assert other.adapter_of(TOWN, AgentName("a0")) == "poet"
    assert [one.name for one in other.agents(TOWN)][-1] == "a199"
    other.handle(Ticked(time.monotonic()))
    other.check()


async def test_another_process_has_the_choices_of_operators_and_the_engines_they_registered(
    tmp_path: Path,
) -> None:
    file, core, at = StateFile(tmp_path / "state"), town(2), time.monotonic()
    core.handle(EstimatorSet(at, TOWN, "gap"))
    core.handle(PolicySet(at, EngineId("gpu"), "lru"))
    registered = [
        Registered(EngineId("gpu-2"), "http://gpu-2:30000", None),
        Registered(EngineId("gpu-3"), "http://gpu-3:30000", 2.0),
    ]
    await Keeper(file, lambda: core.keeping, time.monotonic, engines=lambda: registered).keep()
    other = Controller(ControllerConfig())
    one = keeper(other, file)
    await one.restore()
    assert one.engines == registered
    assert [found.estimator for found in other.simulations()] == ["gap"]
    assert (other.policy(EngineId("gpu")), other.policy()) == ("lru", "nearest_first")
    assert one.garbled == 0


async def test_no_agent_was_used_in_a_time_to_come_though_the_wall_clock_was_set_back(tmp_path: Path) -> None:
    file, core = StateFile(tmp_path / "state"), town(20)
    await keeper(core, file).keep()
    other = Controller(ControllerConfig())
    set_back = Keeper(
        file,
        lambda: other.keeping,
        time.monotonic,
        shift=lambda: time.time() - time.monotonic() - 3600,
    )
    assert await set_back.restore() == 20
    other.handle(Ticked(time.monotonic()))
    other.check()


async def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    core = Controller(ControllerConfig())
    assert await keeper(core, StateFile(tmp_path / "state")).restore() == 0


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state")
    file.save([b"1"])
    assert file.path.stat().st_mode & 0o777 == 0o600


async def test_a_full_disk_leaves_the_old_file_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    room = 1 << 20

    def write(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(file, data[:room])
        room -= written
        return written

    file, core = StateFile(tmp_path / "state", write), town(50)
    one = keeper(core, file)
    await one.keep()
    before = file.path.read_bytes()
    room = 1000
    with caplog.at_level(logging.WARNING):
        await one.keep()
        await one.keep()
    assert "No space left" in one.problem
    assert len(caplog.records) == 1
    assert file.path.read_bytes() == before
    assert os.listdir(tmp_path) == ["state"]
    room = 1 << 20
    await one.keep()
    assert one.problem == ""


@pytest.mark.parametrize("damage", [b"", b"no\n", b"[1,0]\n[]", b"[99,0]\n", b"\xff\xfe"])
async def test_what_is_no_whole_state_file_is_refused_by_name(tmp_path: Path, damage: bytes) -> None:
    file = StateFile(tmp_path / "state")
    file.path.write_bytes(damage)
    with pytest.raises(CannotKeep, match="state"):
        file.load()


async def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state")
    await keeper(town(20), file).keep()
    text = bytearray(file.path.read_bytes())
    text[len(text) // 2] ^= 1
    file.path.write_bytes(text)
    with pytest.raises(CannotKeep, match="damaged"):
        file.load()


async def test_an_entry_that_cannot_be_used_costs_no_other(tmp_path: Path) -> None:
    file, core = StateFile(tmp_path / "state"), town(3)
    await keeper(core, file).keep()
    file.save([*file.load(), b'["agent","town","bad",[1,2]]', b'["song","","",null]'])
    other = Controller(ControllerConfig())
    one = keeper(other, file)
    await one.restore()
    assert one.garbled == 2
    assert len(other.agents(TOWN)) == 3


WRITER = """
import sys
from pathlib import Path
from scalesim.proxy.errors import CannotKeep
from scalesim.proxy.state.file import StateFile
file, lines = StateFile(Path(sys.argv[1])), [b"[%d]" % number for number in range(20000)]
while True:
    file.save(lines)
    print("saved", flush=True)
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state")
    for delay_s in (0.0, 0.002, 0.005):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file.path)], stdout=subprocess.PIPE, env={**os.environ}
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            until = time.monotonic() + delay_s
            while time.monotonic() < until:
                pass
            writer.send_signal(signal.SIGKILL)
            writer.wait(PATIENCE_S)
        assert len(file.load()) == 20_000
