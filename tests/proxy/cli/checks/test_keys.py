from __future__ import annotations

from pathlib import Path
from typing import Any

from scalesim.proxy.access.key_file import Kind, StoredKey, write
from scalesim.proxy.access.keys import digest_of, drawn, hash_of
from scalesim.proxy.cli.checks.finding import Level
from scalesim.proxy.cli.checks.keys import findings
from scalesim.proxy.settings import Settings
from scalesim.proxy.settings.key_parsers import client_keys


def wrong(environ: dict[str, str] | None = None, **options: Any) -> list[tuple[str, str]]:
    environ = environ or {}
    told = environ.get("SCALESIM_CLIENT_KEYS")
    keys = {} if told is None else {"client_keys": client_keys(told)}
    settings = Settings(engine="http://a:1", **keys, **options)
    found = findings(settings, environ, None)
    return [(one.about, one.says) for one in found if one.level is not Level.OK]


def test_alone_on_a_machine_no_key_is_needed() -> None:
    assert wrong() == []


def test_short_keys_are_found_and_never_shown() -> None:
    found = wrong({"SCALESIM_CLIENT_KEYS": "ann=hunter2"}, admin_keys=("swordfish",))
    assert [about for about, _ in found] == ["admin keys", "client keys"]
    assert not any("hunter2" in says or "swordfish" in says for _, says in found)


def test_drawn_keys_and_hashes_are_long_enough() -> None:
    admin, client = drawn(), drawn()
    told = f"ann={client},bob={hash_of(drawn())}"
    assert wrong({"SCALESIM_CLIENT_KEYS": told}, admin_keys=(admin, hash_of(drawn()))) == []


def test_a_port_that_others_reach_should_be_locked_and_have_tls() -> None:
    ((about, says),) = wrong(host="0.0.0.0")
    assert about == "client keys"
    assert "is served" in says
    ((about, says),) = wrong({"SCALESIM_CLIENT_KEYS": f"ann={drawn()}"}, host="0.0.0.0")
    assert (about, says) == ("keys", "they go over the network without TLS")


def test_a_certificate_that_cannot_be_used_is_a_fault() -> None:
    found = wrong(tls_cert="/none.pem", tls_key="/none.key")
    assert [about for about, _ in found] == ["tls_cert"]


def test_keys_in_a_file_count_and_one_that_others_may_write_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write(path, [StoredKey(Kind.CLIENT, "ann", digest_of(drawn()), None, "2026-03-01T12:00:00Z")])
    settings = Settings(engine="http://a:1", host="0.0.0.0", tls_cert=None, keys_file=str(path))
    said = {one.about: one.says for one in findings(settings, {}, None)}
    assert said["client keys"] == "1: nobody else is served"
    assert said["keys"] == "they go over the network without TLS"
    path.chmod(0o666)
    assert ("keys file", Level.FAULT) in [(one.about, one.level) for one in findings(settings, {}, None)]
