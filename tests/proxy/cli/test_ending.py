from __future__ import annotations

import subprocess
import sys

import pytest

from scalesim.proxy.cli.ending import PROBLEM

from .running import ENVIRONMENT

BROKEN = """
from scalesim.proxy import __main__
from scalesim.proxy.cli import status

def broken(*_, **__):
    raise KeyError("what nobody thought of")

status.admin_of = broken
import sys
sys.argv = ["scalesim", "status"]
__main__.main()
"""


def ended(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=ENVIRONMENT | environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_fault_of_our_own_is_a_line_and_no_traceback() -> None:
    told = ended(BROKEN)
    assert told.returncode == PROBLEM
    assert told.stderr.startswith("scalesim has a fault: KeyError: 'what nobody thought of' (")
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_log_of_a_proxy_has_the_way_to_its_fault() -> None:
    told = ended(f"import logging; logging.basicConfig(){BROKEN}")
    assert told.returncode == PROBLEM
    assert "CRITICAL" in told.stderr
    assert "in broken" in told.stderr


@pytest.mark.slow
def test_whoever_mends_it_gets_the_traceback() -> None:
    told = ended(BROKEN, PYTHONDEVMODE="1")
    assert told.returncode == PROBLEM
    assert "Traceback" in told.stderr


@pytest.mark.slow
def test_who_only_asks_something_does_not_wait_for_the_whole_proxy() -> None:
    heavy = ["fastapi", "uvicorn", "redis", "scalesim.proxy.app"]
    program = f"import sys, scalesim.proxy.__main__; print([one for one in {heavy} if one in sys.modules])"
    assert ended(program).stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "offered"),
    [("scalesim en", "engines"), ("scalesim agents st", "story"), ("scalesim status --wa", "--watch")],
)
def test_the_shell_is_told_what_fits(typed: str, offered: str) -> None:
    asked = {
        "_SCALESIM_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    told = ended("from scalesim.proxy.__main__ import main; main()", **asked)
    assert told.stdout.split() == [offered]
