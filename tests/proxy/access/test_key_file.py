from __future__ import annotations

from pathlib import Path

import pytest

from scalesim.proxy.access.key_file import MAX_BYTES, BadKeyFile, Kind, StoredKey, read, write
from scalesim.proxy.access.keys import digest_of, hash_of
from scalesim.proxy.core.model import SimulationId

ANN = StoredKey(Kind.CLIENT, "ann.lee", digest_of("sk-ann"), SimulationId("town"), "2026-03-01T12:00:00Z")
OPS = StoredKey(Kind.ADMIN, "ops", digest_of("sk-ops"), None, "")
GOOD = f'[client.ann]\nhash = "{hash_of("sk-ann")}"\n'


def at(folder: Path, text: str) -> Path:
    path = folder / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_what_is_written_is_read_and_no_key_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write(path, [ANN, OPS])
    assert read(path) == (ANN, OPS)
    assert "sk-" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    write(path, [])
    assert read(path) == ()


def test_a_file_that_is_not_there_holds_no_keys(tmp_path: Path) -> None:
    assert read(tmp_path / "keys.toml") == ()


def test_what_was_there_stays_whole_if_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write(path, [ANN])
    (tmp_path / ".keys.toml.new").mkdir()
    with pytest.raises(BadKeyFile, match="it cannot be written"):
        write(path, [OPS])
    assert read(path) == (ANN,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[client", "it is not TOML"),
        ("[other.ann]\n", r"it may hold tables \[client.NAME\] and \[admin.NAME\] alone"),
        ("client = 3\n", "it may hold tables"),
        ('[client]\nann = "sk-secret"\n', "client.ann: it must be a table"),
        ('[client."sk secret"]\nhash = "sha256:00"\n', r"client.\(name not shown\): it must be a table"),
        ('[client.ann]\nhash = "sk-secret"\n', "client.ann: hash must be like sha256:"),
        ('[client.ann]\nhash = "sha256:00"\n', "client.ann: after sha256: there must be 64"),
        (GOOD + "weight = 2\n", "client.ann: it may have hash, simulation and created, and nothing else"),
        (GOOD + 'simulation = "a b"\n', "client.ann: simulation must be the id of one"),
        (GOOD.replace("client", "admin") + 'simulation = "town"\n', "admin.ann: simulation must be"),
        (GOOD + 'created = "soon"\n', "client.ann: Invalid isoformat"),
        (GOOD + "created = 3\n", "client.ann: created: it must be a time"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_never_shown(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadKeyFile, match=says) as refused:
        read(at(tmp_path, text))
    assert "secret" not in str(refused.value)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = at(tmp_path, GOOD)
    path.chmod(0o622)
    with pytest.raises(BadKeyFile, match="others may write it; chmod 600 it"):
        read(path)


def test_a_folder_and_what_is_too_large_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadKeyFile):
        read(tmp_path)
    with pytest.raises(BadKeyFile, match="it is larger than"):
        read(at(tmp_path, "#" * (MAX_BYTES + 1)))
