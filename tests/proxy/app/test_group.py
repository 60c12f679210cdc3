from __future__ import annotations

import socket
from pathlib import Path

import orjson
import pytest

from scalesim.proxy.app.group import CannotJoin, FleetOfGroup, admin_url, password_in
from scalesim.proxy.core.model import EngineId, Owner
from scalesim.proxy.core.placement import DEFAULT, find
from scalesim.proxy.core.placer import Caller, Placer
from scalesim.proxy.engines.breaker import Breakers
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.engines.models import Models
from scalesim.proxy.engines.registry import Address, FrontOf, Registry, State
from scalesim.proxy.settings import Settings
from tests.support.fake_adapter import FakeAdapter
from tests.support.lines import NoLines

A, B, C = map(EngineId, "abc")
REDIS = {"engine": "http://engine", "redis": "redis://host"}


def fleet_of(*names: EngineId) -> tuple[Fleet, FleetOfGroup]:
    fleet = Fleet(
        registry=Registry(),
        models=Models(),
        breakers=Breakers(),
        placer=Placer(find(DEFAULT)),
        adapter_for=lambda address: FakeAdapter(address.base_url, engine=address.name),
        lines=NoLines(),
    )
    for name in names:
        fleet.add(Address(name, f"http://{name}"), 0.0, configured=True)
        fleet.answered(name, f"{name}-1", 1000, 0.0)
    return fleet, FleetOfGroup(lambda: fleet, lambda: 1.0)


def states(fleet: Fleet) -> dict[EngineId, State]:
    return {entry.address.name: entry.state for entry in fleet.registry}


def test_engines_that_operators_register_with_one_proxy_come_to_all_and_leave_them_all() -> None:
    known, leader = fleet_of(A)
    known.add(Address(B, "http://b"), 0.0)
    fleet, follower = fleet_of(A)
    follower.told(leader.known())
    assert states(fleet) == {A: State.UP, B: State.STARTING}
    known.remove(B, 1.0)
    follower.told(leader.known())
    assert states(fleet) == {A: State.UP}


def test_an_engine_that_was_taken_out_of_the_settings_does_not_come_back_from_who_was_started_before() -> (
    None
):
    _, leader = fleet_of(A, B)
    fleet, follower = fleet_of(A)
    follower.told(orjson.loads(orjson.dumps(leader.known())))
    assert states(fleet) == {A: State.UP}


def test_a_front_end_is_known_to_the_others_with_the_engines_behind_it() -> None:
    fleet, leader = fleet_of(A)
    other, follower = fleet_of(A)
    address = Address(B, "http://b", front=FrontOf("smg", ("http://gpu-1",), (("priority", 5),)))
    fleet.add(address, 0.0)
    follower.told(orjson.loads(orjson.dumps(leader.known())))
    entry = other.registry.get(B)
    assert entry is not None
    assert entry.address == address
    garbled = {"kind": "of tomorrow", "engines": [], "hints": []}
    follower.told({C: {"url": "http://c", "front": garbled}})
    assert C not in states(other), "nothing is served by who knows not how"


def test_an_engine_drains_with_all_proxies_and_comes_back_with_all() -> None:
    fleet, follower = fleet_of(A, B)
    one = {"url": "http://b", "weight": None, "drains": True}
    fleet.placer.place(Caller("Ann"), [B], 0.0)
    follower.told({B: one})
    assert states(fleet)[B] is State.DRAINING
    follower.told({B: {**one, "drains": False}})
    assert states(fleet)[B] is not State.DRAINING


def test_what_only_the_own_settings_name_stays_and_what_cannot_be_used_is_left_out() -> None:
    fleet, follower = fleet_of(A)
    follower.told({C: {"url": "http://c/v1"}, EngineId("d"): {"url": 7}})
    assert states(fleet) == {A: State.UP}


def test_engines_are_told_with_what_each_serves_where_that_differs() -> None:
    fleet, group = fleet_of(A, B)
    told = {"url": "http://a", "weight": None, "drains": False, "configured": True, "part": 1.0}
    assert group.known()[A] == told
    assert group.key_on(Owner("town/Ann"), A) == "town/Ann"
    fleet.listed(A, [{"id": "big"}])
    fleet.listed(B, [{"id": "small"}])
    fleet.silent(B, 2.0)
    fleet.silent(B, 2.0)
    assert group.known()[A]["models"] == ["big"]
    assert "part" not in group.known()[B], "it is not up"
    assert group.key_on(Owner("town/Ann"), A) == "town/Ann\nbig"
    assert set(group.keys_of(Owner("town/Ann"))) == {"town/Ann", "town/Ann\nbig", "town/Ann\nsmall"}


def test_a_password_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    assert password_in(Settings.load(REDIS, {"SCALESIM_REDIS_PASSWORD": "pw"})) == "pw"
    file = tmp_path / "password"
    settings = Settings.load({**REDIS, "redis_password_file": str(file)}, {})
    with pytest.raises(CannotJoin, match=r"redis_password_file: .* cannot be read"):
        password_in(settings)
    file.write_text("pw of the file\n")
    assert password_in(settings) == "pw of the file"
    file.write_text("\n")
    with pytest.raises(CannotJoin, match="empty"):
        password_in(settings)


def test_others_reach_the_admin_listener_by_a_name_that_leads_here() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        keys = {"admin_keys": "k" * 20}
        assert admin_url(Settings.load(REDIS, {}), one) == f"http://127.0.0.1:{port}"
        everywhere = Settings.load({**REDIS, **keys, "admin_host": "0.0.0.0"}, {})
        assert admin_url(everywhere, one) == f"http://{socket.gethostname()}:{port}"
        named = Settings.load({**REDIS, **keys, "admin_host": "::", "group_host": "fd00::7"}, {})
        assert admin_url(named, one) == f"http://[fd00::7]:{port}"
