from __future__ import annotations

import os
from pathlib import Path

import pytest

from scalesim.proxy.access.keys import Key
from scalesim.proxy.access.salts import BadSecret, Salts, secret_in
from scalesim.proxy.core.model import SimulationId

TOWN, CITY = SimulationId("town"), SimulationId("city")
KEY = Key("ann", b"digest", TOWN, confined=True)
SALTS = Salts(b"secret")


def test_a_simulation_has_one_salt_and_no_other_has_it() -> None:
    assert SALTS.of(KEY, TOWN) == Salts(b"secret").of(Key("bob", b"other", TOWN), TOWN)
    assert len({SALTS.of(None, TOWN), SALTS.of(None, CITY), Salts(b"other").of(None, TOWN)}) == 3


def test_who_only_says_to_be_of_a_simulation_does_not_meet_those_whose_key_says_so() -> None:
    assert SALTS.of(None, TOWN) != SALTS.of(KEY, TOWN)
    assert SALTS.of(Key("eve", b"other", CITY), TOWN) == SALTS.of(None, TOWN)
    assert SALTS.of(Key("eve", b"other"), TOWN) == SALTS.of(None, TOWN)


def test_without_a_simulation_that_was_said_there_is_no_salt() -> None:
    assert SALTS.of(None, None) is None
    assert SALTS.of(KEY, None) is None


def test_the_secret_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert secret_in(path) == secret_in(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_used_is_named_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("something secret")
    os.chmod(path, 0o600)
    with pytest.raises(BadSecret, match=r"salts_file: .*hexadecimal digits") as refused:
        secret_in(path)
    assert "something" not in str(refused.value)
    os.chmod(path, 0o644)
    with pytest.raises(BadSecret, match="chmod 600"):
        secret_in(path)
    with pytest.raises(BadSecret, match="cannot be made"):
        secret_in(tmp_path / "no" / "folder")
