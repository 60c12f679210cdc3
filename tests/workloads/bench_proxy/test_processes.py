from __future__ import annotations

import os
import subprocess
import sys

import pytest

from scalesim.workloads.bench_proxy.processes import Gone, Stat, of_session, parsed, tree, usage

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

LINE = (
    "1234 (a (very) bad) name) S 1 1234 1234 0 -1 4194560 5000 600 7 8 "
    "111 22 3 4 20 0 9 0 123456 200000000 4321 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0"
)


def _stat(pid: int, parent: int, *, zombie: bool = False) -> Stat:
    return Stat(pid, parent, 1, 1, 1, zombie)


def test_a_line_of_stat_is_read_whatever_the_name_of_the_process() -> None:
    assert parsed(LINE) == Stat(1234, 1, 1234, 111 + 22 + 3 + 4, 4321, False)
    assert parsed(LINE.replace(" S 1 ", " Z 1 ")).zombie


def test_a_tree_has_all_that_descend_from_its_root_and_nobody_else() -> None:
    stats = [_stat(1, 0), _stat(5, 1), _stat(6, 5), _stat(7, 6), _stat(8, 1), _stat(9, 5)]
    assert {one.pid for one in tree(5, stats)} == {5, 6, 7, 9}


def test_who_has_ended_has_no_tree() -> None:
    with pytest.raises(Gone):
        tree(5, [_stat(1, 0)])
    with pytest.raises(Gone):
        tree(5, [_stat(5, 1, zombie=True)])


def test_a_session_has_children_in_groups_of_their_own_too() -> None:
    program = "import os, sys; child = os.fork(); child or os.setpgid(0, 0); os.write(1, b'%d\\n' % os.getpid()); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as leader:
        assert leader.stdin is not None
        assert leader.stdout is not None
        pids = [int(leader.stdout.readline()) for _ in range(2)]
        assert of_session(leader.pid) == [leader.pid, *(pid for pid in pids if pid != leader.pid)]
        leader.stdin.close()


def test_what_a_process_and_its_child_use_counts_together() -> None:
    alone = usage(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        both, of_child = usage(os.getpid()), usage(child.pid)
        assert both.rss_mb > alone.rss_mb
        assert of_child.rss_mb < both.rss_mb
        assert child.stdin is not None
        child.stdin.write(b"\n")
    assert usage(os.getpid()).cpu_s >= both.cpu_s
