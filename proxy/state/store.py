"""A group's part of Redis: its keys, and what is done with them. Every key has a time to live, and a bound on what it holds.

What a leader writes is checked against its lease in the same step (`write`), so that one that was stopped and wakes up writes
nothing over its successor. All keys of a group have one hash tag: a cluster keeps them on one node, where such steps are possible.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scalesim.proxy.core.model import AgentName, SimulationId

from .marks import Entry, entry_of, text_of
from .tables import Changes, Version

ANSWER_S = 1.0
CONNECT_S = 0.5
KEEP_S = 86_400
"""For so long a group that nobody runs is known."""
TOKEN_S = 30 * KEEP_S
STREAM_S = 3_600
STREAM_ENTRIES = 32_768
LOG_ENTRIES = 1_024
SHARDS = 16
"""Of each simulation's agents."""
READ_ENTRIES = 256
_LOOKS = 5
_SCANNED = 1_000
_GRAPH_PIECE = 64
CONNECTIONS = 8


class StateAway(Exception):
    """Redis did not answer, or not as it should: go on without it, and try again."""


class NotTheLeader(Exception):
    """The lease is somebody else's, or nobody's: nothing was written."""


Command = tuple[str | bytes | int, ...]
"""Name, key, arguments."""


class Come(NamedTuple):
    """An entry of the stream of events."""

    entry: Entry
    sender: int
    first: int
    batch: bytes


class About(NamedTuple):
    server: str
    is_cluster: bool
    drops_keys: bool
    """When its memory is full it takes out what others still need."""
    leader: str | None
    """The member that holds the lease."""
    info: Mapping[str, Any]
    """What it tells of itself, in its own words."""
    latency_s: float
    """Of the quickest of a few answers."""
    clock_s: float
    """Its clock before ours."""


_TAKE = """
local held = redis.call('GET', KEYS[1])
if held then return {0, held, redis.call('PTTL', KEYS[1])} end
local now = redis.call('TIME')
local token = math.max(now[1] * 1000 + math.floor(now[2] / 1000), tonumber(ARGV[2]) + 1)
token = string.format('%.0f', math.max(token, tonumber(redis.call('GET', KEYS[2]) or '0') + 1))
redis.call('SET', KEYS[2], token, 'PX', ARGV[4])
redis.call('SET', KEYS[1], token .. ':' .. ARGV[1], 'PX', ARGV[3])
return {1, token, 0}
"""
"""A token is above all before it, also where Redis has forgotten them: it is not below the time."""

_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

_WRITE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local at = 2
for place = 2, #KEYS do
  local count = tonumber(ARGV[at])
  local command = {ARGV[at + 1], KEYS[place]}
  for one = at + 2, at + count do command[#command + 1] = ARGV[one] end
  redis.call(unpack(command))
  at = at + count + 1
end
return 1
"""


class Keys:
    def __init__(self, group: str) -> None:
        root = f"scalesim:{{{group}}}:"
        self.root = root
        self.lease = f"{root}lease"
        self.token = f"{root}token"
        self.head = f"{root}head"
        self.events = f"{root}events"
        self.learned = f"{root}learned"
        self.calls = f"{root}calls"

    def table(self, name: str) -> str:
        return f"{self.root}table:{name}"

    def log(self, name: str) -> str:
        return f"{self.root}log:{name}"

    def agents(self, simulation: SimulationId) -> list[str]:
        digest = _digest(simulation)
        return [f"{self.root}agents:{digest}:{shard}" for shard in range(SHARDS)]

    def shard(self, simulation: SimulationId, agent: AgentName) -> str:
        shard = int(_digest(agent)[:8], 16) % SHARDS
        return f"{self.root}agents:{_digest(simulation)}:{shard}"

    def graph(self, simulation: SimulationId) -> str:
        return f"{self.root}graph:{_digest(simulation)}"


def _digest(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Store:
    """Every method but `close` raises `StateAway`."""

    def __init__(self, url: str, group: str, member: str, password: str | None = None) -> None:
        """`url`: `redis://` or `rediss://` (TLS), with user, password and `?ssl_ca_certs=FILE` where needed; `password` where none
        stands there. A cluster is recognised when it first answers. Raises `ValueError` for what is no such URL."""
        self.keys = Keys(group)
        self._member = member
        self._url = url
        self._options = {**_options(), **({} if password is None else {"password": password})}
        self._client: Redis | RedisCluster = Redis.from_url(url, **self._options, max_connections=CONNECTIONS)
        self._looked = False
        self._failed = False
        """Redis did not answer since connections were looked after."""
        self._looking = asyncio.Lock()

    async def about(self) -> About:
        """For people who set it up."""
        await self._connected()
        told = await self._ask(self._client.info())
        if isinstance(self._client, RedisCluster) and "redis_version" not in told:
            told = next(iter(told.values()))  # each node tells of itself
        holder = cast("bytes | None", await self._ask(self._client.get(self.keys.lease)))
        looks = [await self._look_at_clock() for _ in range(_LOOKS)]
        latency_s, clock_s = min(looks)
        return About(
            f"{told.get('server_name', 'redis')} {told.get('valkey_version') or told.get('redis_version', '?')}",
            isinstance(self._client, RedisCluster),
            bool(told.get("maxmemory")) and told.get("maxmemory_policy") != "noeviction",
            None if holder is None else holder.decode(errors="replace").partition(":")[2],
            told,
            latency_s,
            clock_s,
        )

    async def _look_at_clock(self) -> tuple[float, float]:
        """How long the answer took, and its clock before ours in the middle of that."""
        began = time.monotonic()
        theirs = await self.time()
        took = time.monotonic() - began
        return took, theirs - (time.time() - took / 2)

    async def close(self) -> None:
        await self._client.aclose()

    # The lease

    async def take_lease(self, ttl_s: float, floor: int) -> tuple[int | None, float]:
        """The token, if it was free; and else for how many seconds it is not."""
        keys, args = (self.keys.lease, self.keys.token), (self._member, floor, _ms(ttl_s), _ms(TOKEN_S))
        taken, token, left = await self._eval(_TAKE, keys, args)
        return (int(token), 0.0) if taken else (None, left / 1000)

    async def renew_lease(self, token: int, ttl_s: float) -> bool:
        return bool(await self._eval(_RENEW, (self.keys.lease,), (self._holder(token), _ms(ttl_s))))

    async def release_lease(self, token: int) -> None:
        await self._eval(_RELEASE, (self.keys.lease,), (self._holder(token),))

    async def write(self, token: int, commands: Sequence[Command]) -> None:
        """Carries all of them out, or none: then it raises `NotTheLeader`."""
        keys = (self.keys.lease, *(cast("str", command[1]) for command in commands))
        args: list[str | bytes | int] = [self._holder(token)]
        for name, _, *rest in commands:
            args += (len(rest) + 1, name, *rest)
        if not await self._eval(_WRITE, keys, args):
            raise NotTheLeader

    # Events

    async def tell(self, sender: int, first: int, batch: bytes) -> None:
        """Adds an entry to the stream."""
        await self._connected()
        pipe = self._client.pipeline(transaction=False)
        fields = {"s": sender, "n": first, "b": batch}
        pipe.xadd(self.keys.events, cast("Any", fields), maxlen=STREAM_ENTRIES, approximate=True)
        pipe.pexpire(self.keys.events, _ms(STREAM_S))
        await self._ask(pipe.execute())

    async def hear(self, after: Entry, wait_s: float) -> list[Come]:
        """Entries after that one, the next ones first; waits for the first of them."""
        await self._connected()
        found = await self._ask(
            self._client.xread(
                {self.keys.events: text_of(after)}, count=READ_ENTRIES, block=_ms(wait_s) if wait_s else None
            )
        )
        return [_come(entry, fields) for _, entries in found or () for entry, fields in entries]

    async def time(self) -> float:
        await self._connected()
        if isinstance(self._client, RedisCluster):
            return float(await self._eval(_TIME, (self.keys.lease,), ())) / 1e6
        seconds, micros = await self._ask(self._client.time())
        return float(seconds) + float(micros) / 1e6

    # What is known

    async def head(self) -> bytes | None:
        await self._connected()
        return cast("bytes | None", await self._ask(self._client.get(self.keys.head)))

    async def whole(self, key: str) -> AsyncIterator[dict[bytes, bytes]]:
        """A hash, in pieces."""
        await self._connected()
        cursor = 0
        while True:
            cursor, piece = await self._ask(self._client.hscan(key, cursor, count=_SCANNED))
            yield piece
            if not cursor:
                return

    async def changes(self, table: str, known: Version) -> list[Changes] | None:
        """Since that version; None if it is too long ago to tell."""
        await self._connected()
        after = f"({known.number}-0"
        found = await self._ask(self._client.xrange(self.keys.log(table), min=after))
        all_of_them = [_changes(known.life, entry, fields) for entry, fields in found]
        if not all_of_them or all_of_them[0].version.number != known.number + 1:
            return None
        return all_of_them

    async def graph(self, simulation: SimulationId) -> AsyncIterator[list[bytes]]:
        """What was told of it, in pieces."""
        await self._connected()
        start = 0
        while True:
            piece = await self._ask(
                self._client.lrange(self.keys.graph(simulation), start, start + _GRAPH_PIECE - 1)
            )
            yield piece
            start += _GRAPH_PIECE
            if len(piece) < _GRAPH_PIECE:
                return

    def _holder(self, token: int) -> str:
        return f"{token}:{self._member}"

    async def _eval(
        self, script: str, keys: Sequence[str], args: Sequence[str | bytes | int]
    ) -> Any:  # whatever the script returns
        await self._connected()
        return await self._ask(self._client.eval(script, len(keys), *keys, *cast("Any", args)))

    async def _ask(self, asked: Any) -> Any:
        try:
            return await _answer(asked)
        except StateAway:
            self._failed = True
            raise

    async def _connected(self) -> None:
        """Finds out once whether this is a cluster."""
        if self._failed and isinstance(self._client, Redis):
            # What Redis has closed would be held until somebody needs it.
            self._failed = False
            await self._ask(self._client.connection_pool.disconnect(inuse_connections=False))
        if self._looked:
            return
        async with self._looking:
            if self._looked:
                return
            info = await self._ask(self._client.info("cluster"))
            if info.get("cluster_enabled"):
                single, self._client = self._client, RedisCluster.from_url(self._url, **self._options)
                await single.aclose()
            self._looked = True


_TIME = """
local now = redis.call('TIME')
return now[1] .. string.format('%06d', now[2])
"""


def _options() -> dict[str, Any]:
    """When to try again, and whether, is decided by those who ask."""
    return {
        "socket_timeout": ANSWER_S,
        "socket_connect_timeout": CONNECT_S,
        "socket_keepalive": True,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
    }


async def _answer(asked: Any) -> Any:
    """Untyped: for redis each answer may be of every form that any protocol and setting gives it."""
    task = asyncio.current_task()
    assert task is not None, "only tasks ask"
    before = task.cancelling()
    try:
        async with asyncio.timeout(ANSWER_S + CONNECT_S):
            answer = await asked
    except (RedisError, OSError, TimeoutError) as exc:
        raise StateAway(f"{type(exc).__name__}: {exc}") from exc
    finally:
        # redis uses `asyncio.wait_for`, and up to Python 3.11 that loses a cancellation that comes together with the answer.
        if task.cancelling() > before:
            raise asyncio.CancelledError
    return answer


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _come(entry: bytes, fields: Mapping[bytes, bytes]) -> Come:
    return Come(entry_of(entry.decode()), int(fields[b"s"]), int(fields[b"n"]), fields[b"b"])


def _changes(life: int, entry: bytes, fields: Mapping[bytes, bytes]) -> Changes:
    """Each value has a letter before it: there is one, or it is gone."""
    found = {name.decode(): (one[1:] if one[:1] == b"+" else None) for name, one in fields.items()}
    return Changes(Version(life, entry_of(entry.decode())[0]), found)


def table_commands(keys: Keys, name: str, changes: Changes, *, anew: bool) -> list[Command]:
    """What writes a piece of a table. `anew`: it is the first one of its life."""
    table, log = keys.table(name), keys.log(name)
    found: list[Command] = [("DEL", table), ("DEL", log)] if anew else []
    there = [part for field, one in changes.fields.items() if one is not None for part in (field, one)]
    gone = [field for field, one in changes.fields.items() if one is None]
    if there:
        found.append(("HSET", table, *there))
    if gone:
        found.append(("HDEL", table, *gone))
    noted = [
        part for field, one in changes.fields.items() for part in (field, b"-" if one is None else b"+" + one)
    ]
    number = f"{changes.version.number}-0"
    found.append(("XADD", log, "MAXLEN", "~", LOG_ENTRIES, number, *noted))
    return [*found, *kept([table, log])]


def kept(keys: Sequence[str], seconds: float = KEEP_S) -> list[Command]:
    return [("PEXPIRE", key, _ms(seconds)) for key in keys]


def wall_shift(clock: float) -> float:
    """A first guess of what leads from our clock to Redis's."""
    return time.time() - clock
