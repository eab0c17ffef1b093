"""What conn check, conn why and conn status say is what a run does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conn.analysis_check import NOT_DONE
from conn.check import check, foresee, foreseen_exclusions
from conn.cli import main
from conn.preflight import preflight
from conn.study import open_study
from conn.tables import read_tsv
from simulated import (
    SPHERE,
    SUBJECTS,
    World,
)

pytestmark = pytest.mark.workflow


def table(path: Path) -> pd.DataFrame:
    return read_tsv(path)


def test_check_foresees_the_exclusions_of_the_run(faulty: World):
    study = open_study(faulty.study / "study.yaml")
    regions: dict[str, Any] = {}
    rows = foreseen_exclusions(study, [foresee(study, key, regions) for key in study.runs])
    foreseen = {tuple(map(str, vars(row).values())) for row in rows}
    ran = set(table(faulty.out / "exclusions.tsv").itertuples(index=False, name=None))
    of_first_level = {row for row in ran if row[5] in {"index", "project", "measure"}}
    unforeseeable = of_first_level - foreseen
    assert foreseen - of_first_level == set()
    assert [(row[1], row[2], row[6]) for row in unforeseeable] == [("01", "pre", "bad_input")]


def test_check_tells_k_and_the_rows_of_the_design_as_the_run_has_them(
    faulty: World, capsys: pytest.CaptureFixture[str]
):
    assert main(["check", str(faulty.study / "study.yaml")]) == 0
    text = capsys.readouterr().out
    runs = table(faulty.out / "runs.tsv")
    k = {int(value) for value in runs.loc[runs["included"] == "true", "df"]}
    assert len(k) == 1
    (line,) = [line for line in text.splitlines() if "<- configured" in line]
    assert line.split()[1] == str(k.pop())
    assert line.split()[2] == runs.loc[runs["reason"] == "too_few_seconds", "df"].item()
    # The truncated image of sub-01 shows only when it is read, but sub-01 has no second scan anyway.
    assert "3 subjects" in text
    assert "trial, pre: 4 subjects with usable runs" in text
    assert "trial, post: 3 subjects with usable runs" in text


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            "sub-01",
            ("sub-01 ses-post: bad_input: sub-01_ses-post", "105 rows", "no included run at pre and post"),
        ),
        ("02", ("too_few_seconds: 100 (limit: denoise.min_seconds 180)", "white_matter")),
        ("sub-04", ("included: sub-04/ses-pre/func/", "(k = ")),
        ("sub-03", ("not_in_table", "included: sub-03/ses-pre/func/")),
        ("sub-77", ("no such subject, run or region",)),
    ],
)
def test_why_says_what_became_of_a_subject(
    faulty: World, what: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    assert main(["why", str(faulty.study / "study.yaml"), what]) == 0
    text = capsys.readouterr().out
    for word in words:
        assert word in text


def test_why_says_where_a_region_is_missing(world: World, capsys: pytest.CaptureFixture[str]):
    beyond = {"beyond": {**SPHERE, "center": [0.0, 0.0, 200.0]}}
    config = world.configure(
        rois={"custom": beyond},
        datasets={"trial": {"subjects": ["05"], "time_points": {"labels": {"pre": ["pre"]}}}},
        clinical={"endpoint": "pre", "scales": {}, "response": None},
        models={},
        report={"truth": None},
    )
    ran = world.conn("run", config, "--cores", "2", "--until", "collect")
    assert ran.returncode == 0, ran.stderr
    assert main(["why", str(config), "beyond"]) == 0
    expected = "left out at measure: sub-05 ses-pre region beyond: low_coverage: 0 of"
    assert capsys.readouterr().out.startswith(expected)
    assert main(["check", str(config)]) == 0
    assert "region beyond in 1 runs: low_coverage: 0 of" in capsys.readouterr().out


def test_check_of_good_data_foresees_nothing_and_tells_k_of_every_run(
    finished: World, capsys: pytest.CaptureFixture[str]
):
    study = open_study(finished.study / "study.yaml")
    regions: dict[str, Any] = {}
    foreseen = {key: foresee(study, key, regions) for key in study.runs}
    runs = table(finished.out / "runs.tsv").set_index("run")
    assert foreseen.keys() == set(runs.index)
    for key, one in foreseen.items():
        assert one.included and one.exclusions == ()
        assert one.plan is not None
        assert str(one.plan.numbers["df"]) == runs.loc[key, "df"]
        assert f"{one.plan.numbers['mean_fd']:.10g}" == runs.loc[key, "mean_fd"]
        assert str(one.plan.numbers["frames_kept"]) == runs.loc[key, "frames_kept"]
    assert main(["check", str(finished.study / "study.yaml")]) == 0
    text = capsys.readouterr().out
    assert "none foreseen before the images are read" in text
    assert "6 subjects (drug 3, placebo 3); columns: intercept, drug - placebo." in text
    assert "Smallest attainable p: 0.031." in text


def test_check_needs_no_output_folder_and_makes_none(world: World, capsys: pytest.CaptureFixture[str]):
    config = world.configure(out="deep/er/results", report={"truth": None})
    assert main(["check", str(config)]) == 0
    assert "none foreseen" in capsys.readouterr().out
    assert [path.name for path in world.study.iterdir()] == ["study.yaml"]


def test_an_output_folder_behind_a_link_finds_its_data(world: World, capsys: pytest.CaptureFixture[str]):
    scratch = world.folder / "far" / "away" / "scratch"
    scratch.mkdir(parents=True)
    config = world.configure()
    world.out.symlink_to(scratch)
    assert main(["check", str(config)]) == 0
    assert "trial, pre: 6 subjects with usable runs" in capsys.readouterr().out
    study = open_study(config)
    (key, *_) = study.runs
    assert all((scratch / path).exists() for path in study.inputs(key))


def test_check_proposes_what_would_keep_people(world: World, capsys: pytest.CaptureFixture[str]):
    config = world.configure(denoise={"strategy": "36P", "low_pass": 0.1, "min_df": 16}, models={})
    assert main(["check", str(config)]) == 4
    text = capsys.readouterr().err
    assert "36P+bp0.008-0.1 keeps 0% of subjects; 24P+bp0.008-0.1 keeps 100%" in text
    assert "set denoise.strategy: 24P." in text


def test_status_before_a_run_says_that_nothing_ran(world: World, capsys: pytest.CaptureFixture[str]):
    config = world.configure()
    assert main(["status", str(config)]) == 1
    assert "project  0 of 12" in capsys.readouterr().out.splitlines()
    assert main(["why", str(config), f"sub-{SUBJECTS[0]}"]) == 0
    assert "nothing has excluded it so far" in capsys.readouterr().out
    assert not world.out.exists()


@pytest.mark.parametrize("model", ["armbytime", "slope", "drug"])
def test_what_can_be_computed_passes_before_the_motion_of_anybody_is_known(world: World, model: str):
    between = {"before": "pre", "after": "post"}
    arms = {"design": "group_by_time", "group": "arm", "levels": ["drug", "placebo"], **between}
    models = {
        "armbytime": {**arms, "contrasts": {"interaction": {}, "time": {}, "group": {}}},
        "slope": {"design": "regression", "predictor": "MADRS.change", **between},
        "drug": {"design": "paired", **between},
    }
    config = world.configure(models={model: {**models[model], "covariates": ["mean_fd"]}})
    preflight(open_study(config))
    assert not world.out.exists()


@pytest.mark.parametrize(
    ("section", "asked", "words"),
    [
        (
            "associations",
            {"before": "pre", "after": "post", "scales": ["MADRS.change"], "subset": {"arm": ["nobody"]}},
            "associations.few: nobody has all that is asked for",
        ),
        (
            "prediction",
            {"at": "pre", "outcome": "MADRS.post", "folds": 20},
            "folds",
        ),
        ("reliability", {"before": "pre", "subset": {"arm": ["drug"]}}, "Nothing is left to compare"),
    ],
)
def test_an_analysis_that_is_short_of_people_is_foreseen_and_stops_no_run(
    world: World, section: str, asked: dict[str, Any], words: str
):
    study = open_study(world.configure(models={}, **{section: {"few": asked}}))
    preflight(study)
    assert any(NOT_DONE in line and words in line for line in check(study).splitlines())
    assert not world.out.exists()


def test_analyses_that_can_be_made_pass_before_images_are_read(world: World):
    between = {"before": "pre", "after": "post"}
    asked = {"whole": {**between, "scales": ["MADRS.change"], "covariates": ["mean_fd"]}}
    preflight(open_study(world.configure(models={}, associations=asked, reliability={"again": between})))


def test_why_knows_a_region_that_nothing_excluded(finished: World, capsys: pytest.CaptureFixture[str]):
    assert main(["why", str(finished.study / "study.yaml"), "vmPFC"]) == 0
    assert "covered well enough" in capsys.readouterr().out
