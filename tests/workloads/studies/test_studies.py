"""Studies: what they vary is said once for each play, what they show is measured, and the same seed plays the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from scalesim.workloads import studies
from scalesim.workloads.program import Impossible
from scalesim.workloads.report.studies import DRAWN
from scalesim.workloads.result_tables import study_cells, study_heads
from scalesim.workloads.studies.running import as_json, rows_of
from scalesim.workloads.studies.variant import Study, Variant, loaded, measured, recomputed


def small(variant: Variant) -> Variant:
    wishes = replace(variant.wishes, agents=20, steps=3, persona_tokens=200)
    return replace(variant, wishes=wishes)


@pytest.mark.parametrize("name", studies.names())
def test_each_play_of_a_study_has_a_name_of_its_own(name: str) -> None:
    study = studies.study(name)
    variants = study.variants(1)
    told = [tuple(variant.names.items()) for variant in variants]
    assert len(set(told)) == len(told) > 1
    assert len({tuple(variant.names) for variant in variants}) == 1
    assert study_heads({"names": ["what"], "columns": study.columns})
    assert name in DRAWN


@pytest.mark.parametrize("name", studies.names())
def test_the_seed_is_that_of_every_program(name: str) -> None:
    assert {variant.wishes.seed for variant in studies.study(name).variants(7)} == {7}


def test_a_study_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(Impossible, match="no study 'luck'; there is ablation, belady-share"):
        studies.study("luck")


def test_what_is_measured_can_be_shown_and_is_the_same_each_time() -> None:
    for ground in (recomputed(1), loaded(1), loaded(1, "diffusion", policy="kvflow")):
        variant = small(ground.but({"what": "all"}))
        row = measured(variant)
        assert row == measured(variant)
        assert row["what"] == "all"
        json.dumps(row, allow_nan=False)
        for name in studies.names():
            columns = studies.study(name).columns
            assert len(study_cells({"names": ["what"], "columns": columns}, row)) == 1 + len(columns)


def test_where_nothing_is_loaded_nothing_could_be_hidden() -> None:
    row = measured(small(recomputed(1)))
    assert row["needed_s"] == 0
    assert row["hidden"] is None
    assert row["adapters"] is None


@pytest.mark.slow
def test_rows_come_in_the_order_of_the_variants_whoever_plays_them() -> None:
    plain = small(recomputed(1))
    tiny = Study(
        "tiny", "", lambda seed: [plain.but({"n": n}, policy="stock") for n in (1, 2, 3)], ("step_s",)
    )
    seen: list[None] = []
    rows = rows_of(tiny, 1, 2, lambda: seen.append(None))
    assert [row["n"] for row in rows] == [1, 2, 3]
    assert len(seen) == 3
    written = as_json("tiny", tiny, 1, rows)
    assert (written["study"], written["seed"], written["names"], written["rows"]) == ("tiny", 1, ["n"], rows)
