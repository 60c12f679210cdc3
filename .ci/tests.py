"""`make test`: the fast tests on all cores, then the rest one after the other; of these, what failed once more by itself.

The argument is the marker expression of the fast tests. The last lines name every test that failed, with why, and loudly
those that passed only at the second attempt. Ends with 0 if nothing failed, or nothing of the rest twice.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "tests"
MOST_AGAIN = 20
"""So many fail by no chance: they are not tried again."""
REASON_CHARS = 240


@dataclass(frozen=True)
class Run:
    """How pytest ended, and why each test that failed did."""

    status: int
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_be_chance(self) -> bool:
        return self.status == 1 and 0 < len(self.failed) <= MOST_AGAIN


def failures(junit: Path) -> dict[str, str]:
    """The first line of the reason, by test. Empty where pytest did not get as far as to write it."""
    if not junit.exists():
        return {}
    found: dict[str, str] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        for kind in ("failure", "error"):
            for one in case.findall(kind):
                reason = next(iter(one.get("message", "").splitlines()), "")
                found[f"{case.get('classname')}::{case.get('name')}"] = reason[:REASON_CHARS]
    return found


def verdict(fast: Run, rest: Run, again: Run | None) -> tuple[int, list[str]]:
    """What to end with, and what to say last. `again`: of those that failed of the rest; None if there was no second attempt."""
    said = [f"FAILED {test}: {why}" for test, why in fast.failed.items()]
    last = rest if again is None else again
    for test, why in rest.failed.items():
        if again is None:
            said.append(f"FAILED {test}: {why}")
        elif test in again.failed:
            said.append(f"FAILED TWICE {test}: {why}")
            if again.failed[test] != why:
                said.append(f"    the second time: {again.failed[test]}")
    said += [f"FAILED {test}: {why}" for test, why in last.failed.items() if test not in rest.failed]
    for what, run in (("the fast tests", fast), ("the rest", rest), ("the second attempt", again)):
        if run is not None and run.status not in (0, 1):
            said.append(f"PYTEST ENDED WITH {run.status} in {what}")
    failed = bool(fast.status or last.status)
    if again is not None and (
        lucky := {test: why for test, why in rest.failed.items() if test not in again.failed}
    ):
        # Of a second attempt that did not get to its end nobody knows what it would have found.
        what = "PASSED ONLY AT THE SECOND ATTEMPT" if again.status in (0, 1) else "NOT SEEN TO FAIL AGAIN"
        said += [f"{what} {test}: {why}" for test, why in lucky.items()]
    return int(failed), [*said, "make test: FAILED" if failed else "make test: passed"]


def run(name: str, *arguments: str) -> Run:
    junit = OUT / f"{name}.xml"
    command = [sys.executable, "-m", "pytest", "-ra", "--tb=short", f"--junitxml={junit}", *arguments]
    print(f"--- {name}: pytest {' '.join(arguments)}", flush=True)
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    return Run(status, failures(junit))


def main(fast: str) -> int:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    quick = run("fast", "-n", "auto", "-m", fast)
    # A cache of its own: what failed before, or elsewhere, is no part of the second attempt.
    one_by_one = (
        "-o",
        f"cache_dir={OUT / 'cache'}",
        "--durations=10",
        "-m",
        f"not ({fast}) and not containers and not clients and not faults and not browser",
    )
    rest = run("rest", *one_by_one)
    again = (
        run("again", *one_by_one, "--last-failed", "--last-failed-no-failures=none")
        if rest.may_be_chance
        else None
    )
    status, said = verdict(quick, rest, again)
    print("\n".join(["", *said]), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
