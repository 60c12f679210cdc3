from __future__ import annotations

import dataclasses

import pytest

from scalesim.proxy.cli.checks.finding import Level
from scalesim.proxy.cli.checks.group import Looked, findings
from scalesim.proxy.settings import Settings

FINE = Looked("", server="redis 7.0.15", info={"role": "master", "used_memory": 10, "maxmemory": 100})


def settings(url: str = "redis://127.0.0.1:6379", password: str | None = "secret") -> Settings:
    return Settings(engine="http://a:1", redis=url, redis_password=password)


def wrong(looked: Looked, told: Settings | None = None) -> list[tuple[Level, str]]:
    found = findings(told or settings(), looked)
    return [(one.level, one.says) for one in found if one.level is not Level.OK]


def test_a_redis_as_it_should_be() -> None:
    assert wrong(FINE) == []


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        ({"server": "redis 6.0.16"}, Level.FAULT, "too old"),
        ({"server": "redis ?"}, Level.WARNING, "its version"),
        ({"drops_keys": True}, Level.FAULT, "drops keys"),
        ({"latency_s": 0.3}, Level.WARNING, "300 ms"),
        ({"info": {"role": "slave"}}, Level.FAULT, "replica"),
        ({"info": {"used_memory": 95, "maxmemory": 100}}, Level.WARNING, "95%"),
        ({"info": {"rdb_last_bgsave_status": "err"}}, Level.FAULT, "disk"),
        ({"info": {"aof_last_write_status": "err"}}, Level.FAULT, "disk"),
    ],
)
def test_what_is_not_as_it_should_be(change: dict[str, object], level: Level, says: str) -> None:
    ((found, told),) = wrong(dataclasses.replace(FINE, **change))  # type: ignore[arg-type]
    assert found is level
    assert says in told


def test_a_valkey_counts_by_its_own_version() -> None:
    assert wrong(dataclasses.replace(FINE, server="valkey 8.0.1")) == []


@pytest.mark.parametrize(
    ("url", "password", "says"),
    [
        ("redis://10.0.0.7:6379", "secret", ["without TLS"]),
        ("redis://127.0.0.1:6379", None, ["no password"]),
        ("rediss://10.0.0.7:6379", "secret", []),
        ("redis://:word@127.0.0.1:6379", None, []),
    ],
)
def test_who_could_read_or_write_there(url: str, password: str | None, says: list[str]) -> None:
    found = [told for level, told in wrong(FINE, settings(url, password)) if level is Level.WARNING]
    assert len(found) == len(says)
    assert all(part in told for part, told in zip(says, found, strict=True))
