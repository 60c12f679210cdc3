from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scalesim.proxy.access.tls import BadCertificate, Certificate, Certificates

FILES = Path(__file__).parents[2] / "support" / "tls"
FIRST = Certificate("tls", FILES / "first.pem", FILES / "first.key")


def test_a_listener_without_a_certificate_has_no_context() -> None:
    certificates = Certificates(None, FIRST)
    assert certificates.data is None
    assert certificates.admin is not None
    assert (len(certificates), len(Certificates(None, None))) == (1, 0)


@pytest.mark.parametrize(
    ("cert", "key", "words"),
    [
        ("none.pem", "first.key", "tls_cert: .*none.pem cannot be read: No such file"),
        ("first.pem", "none.key", "tls_key: .*none.key cannot be read: No such file"),
        ("first.pem", "second.key", "do not go together"),
        ("first.key", "first.key", "no certificate"),
        ("first.pem", "locked.key", "password"),
    ],
)
def test_bad_files_are_refused_by_name(cert: str, key: str, words: str) -> None:
    with pytest.raises(BadCertificate, match=words):
        Certificate("tls", FILES / cert, FILES / key).context()


def test_what_is_not_pem_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.der").write_bytes(b"\x30\x82")
    with pytest.raises(BadCertificate, match=r"admin_tls_cert: .*a\.der is not in PEM"):
        Certificate("admin_tls", tmp_path / "a.der", FILES / "first.key").context()


def test_a_renewal_that_fails_says_so(tmp_path: Path) -> None:
    for name in ("pem", "key"):
        shutil.copy(FILES / f"first.{name}", tmp_path / f"a.{name}")
    certificates = Certificates(Certificate("tls", tmp_path / "a.pem", tmp_path / "a.key"), None)
    assert certificates.renew() == []
    shutil.copy(FILES / "second.pem", tmp_path / "a.pem")
    (problem,) = certificates.renew()
    assert "do not go together" in problem
