"""`.ci/tests.py`: what fails by chance is tried again and named, and what fails twice is never hidden."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[1] / ".ci" / "tests.py"
PROJECT = """
import pathlib, pytest

def test_quick():
    assert {quick}

@pytest.mark.slow
def test_by_chance():
    seen = pathlib.Path(__file__).with_name("seen")
    first = not seen.exists()
    seen.touch()
    assert not first, "only the first time"

@pytest.mark.slow
def test_slow():
    assert {slow} == 2
"""


@pytest.fixture
def program() -> ModuleType:
    spec = spec_from_file_location("ci_tests", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_all_that_passes_is_said_in_a_line(program: ModuleType) -> None:
    good = program.Run(0)
    assert program.verdict(good, good, None) == (0, ["make test: passed"])


def test_what_fails_in_the_fast_tests_is_not_tried_again(program: ModuleType) -> None:
    status, said = program.verdict(program.Run(1, {"a::b": "assert 1 == 2"}), program.Run(0), None)
    assert (status, said) == (1, ["FAILED a::b: assert 1 == 2", "make test: FAILED"])


def test_what_passes_the_second_time_is_named_last_and_what_failed_twice_is_a_failure(
    program: ModuleType,
) -> None:
    rest = program.Run(1, {"a::lucky": "late", "a::broken": "this", "a::same": "so"})
    again = program.Run(1, {"a::broken": "that", "a::same": "so"})
    assert program.verdict(program.Run(0), rest, again) == (
        1,
        [
            "FAILED TWICE a::broken: this",
            "    the second time: that",
            "FAILED TWICE a::same: so",
            "PASSED ONLY AT THE SECOND ATTEMPT a::lucky: late",
            "make test: FAILED",
        ],
    )
    assert program.verdict(program.Run(0), rest, program.Run(0))[0] == 0


@pytest.mark.parametrize("status", [2, 3, 4, 5, -9])
def test_a_run_that_did_not_get_to_its_end_is_a_failure(program: ModuleType, status: int) -> None:
    good, one = program.Run(0), program.Run(1, {"a::b": "late"})
    for runs in (
        (program.Run(status), good, None),
        (good, program.Run(status), None),
        (good, one, program.Run(status)),
    ):
        ended, said = program.verdict(*runs)
        assert ended == 1
        assert any(line.startswith(f"PYTEST ENDED WITH {status}") for line in said)
        assert not any("PASSED" in line for line in said)


def test_what_is_no_chance_is_not_tried_again(program: ModuleType) -> None:
    many = {f"a::{number}": "" for number in range(program.MOST_AGAIN + 1)}
    assert program.Run(1, {"a::b": ""}).may_be_chance
    for run in (program.Run(0), program.Run(1), program.Run(2, {"a::b": ""}), program.Run(1, many)):
        assert not run.may_be_chance


@pytest.mark.slow
@pytest.mark.parametrize(("quick", "slow", "status"), [(True, 2, 0), (True, 3, 1), (False, 2, 1)])
def test_all_of_it_on_a_small_project(
    program: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    quick: bool,
    slow: int,
    status: int,
) -> None:
    (tmp_path / "test_it.py").write_text(PROJECT.format(quick=quick, slow=slow))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: x\n    containers: x\n")
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "OUT", tmp_path / "out")
    assert program.main("not slow and not containers") == status
    *_, first, last = capfd.readouterr().out.splitlines()
    assert first.startswith(
        "PASSED ONLY AT THE SECOND ATTEMPT test_it::test_by_chance: AssertionError: only the first"
    )
    assert last == ("make test: FAILED" if status else "make test: passed")
