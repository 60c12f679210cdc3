"""A member as a process of its own: `python -m tests.proxy.state.one_member URL NAME AGENTS`. It says a line when it leads, and then each
time its engine took or refused a command that it was allowed to send."""

from __future__ import annotations

import asyncio
import sys

from .group import Proxy, running, until


async def main(url: str, name: str, agents: int) -> None:
    one = Proxy(name, url, ttl_s=1.5)
    async with running(one):
        for number in range(agents):
            one.call(f"agent-{number}")
        while True:
            await until(one.member.may_command, "the lease")
            print("leads", one.member.lease.token, len(one.names()), flush=True)
            await until(lambda: not one.member.may_command(), "its end")
            print("stopped", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
