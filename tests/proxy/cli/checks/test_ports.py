from __future__ import annotations

import errno

from scalesim.proxy.cli.checks.finding import Level
from scalesim.proxy.cli.checks.ports import Looked, Owner, findings, listening_inodes

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:1F40 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 00000000:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
"""


def test_only_sockets_that_listen_on_the_port_count() -> None:
    assert listening_inodes(TABLE, 8000) == {"111"}
    assert listening_inodes(TABLE, 8001) == {"333"}
    assert listening_inodes(TABLE, 8002) == set()


def test_workers_of_the_proxy_that_runs_have_the_other_ports() -> None:
    leads, works = Owner(1, "python scalesim serve"), Owner(2, "python scalesim serve")
    found = findings(
        [
            Looked("--port", "127.0.0.1", 8000, "in use", errno.EADDRINUSE, works),
            Looked("--admin-port", "127.0.0.1", 8001, "in use", errno.EADDRINUSE, leads, is_proxy=True),
        ]
    )
    assert [one.level for one in found] == [Level.OK, Level.OK]


def test_others_are_named_and_those_of_other_users_are_not() -> None:
    nginx = Looked("--port", "127.0.0.1", 80, "in use", errno.EADDRINUSE, Owner(7, "nginx: master"))
    hidden = Looked("--port", "127.0.0.1", 81, "in use", errno.EADDRINUSE)
    low = Looked("--port", "127.0.0.1", 82, "denied", errno.EACCES)
    far = Looked("--admin-port", "10.9.9.9", 83, "cannot listen on 10.9.9.9", errno.EADDRNOTAVAIL)
    found = findings([nginx, hidden, low, far])
    assert {one.level for one in found} == {Level.FAULT}
    assert "nginx: master (process 7)" in found[0].says
    assert "somebody else" in found[1].says
    assert "1024" in found[2].says
    assert "--admin-host" in found[3].todo
