"""CompCor strategies from the derivatives to the tables of a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conn.check import foresee
from conn.cli import main
from conn.confounds import MOTION_24, combined_components, metadata_file
from conn.report.methods import strategy_words
from conn.study import open_study
from conn.tables import read_tsv, write_tsv
from simulated import (
    World,
    planned,
    replace,
)

pytestmark = pytest.mark.workflow

TABLE = "desc-confounds_timeseries.tsv"
ORDINARY, GREEDY, BARE = "01", "02", "03"
SLOW = 3
"""Cosines slower than 0.008 Hz in 110 volumes of 2 s."""


def configured(world: World, strategy: str, **changes: Any) -> Path:
    """A study of one scan of three people without models."""
    points = {"labels": {"pre": ["pre"]}}
    return world.configure(
        datasets={"trial": {"subjects": [ORDINARY, GREEDY, BARE], "time_points": points}},
        clinical={"endpoint": "pre", "scales": {}, "response": None},
        denoise={"strategy": strategy, **changes},
        models={},
        report={"truth": None},
    )


def make_uneven(world: World) -> None:
    """One ordinary scan, one with sixty components, one without metadata."""
    path = world.func(GREEDY, "pre", TABLE)
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    names = [f"a_comp_cor_{number:02d}" for number in range(60)]
    rng = np.random.default_rng(0)
    random = pd.DataFrame(rng.normal(size=(len(table), len(names))), columns=pd.Index(names))
    path.unlink()
    write_tsv(path, pd.concat([table.drop(columns=names, errors="ignore"), random], axis=1))
    told = {"Method": "aCompCor", "Mask": "combined", "Retained": True}
    metadata = {n: {**told, "CumulativeVarianceExplained": (i + 1) / 120} for i, n in enumerate(names)}
    replace(metadata_file(path), json.dumps(metadata))
    metadata_file(world.func(BARE, "pre", TABLE)).unlink()


def components(world: World, subject: str) -> tuple[str, ...]:
    return combined_components(json.loads(metadata_file(world.func(subject, "pre", TABLE)).read_text()))


@pytest.mark.slow
def test_a_study_with_compcor_runs_and_what_it_cannot_use_is_a_row(
    world: World, capsys: pytest.CaptureFixture[str]
):
    make_uneven(world)
    config = configured(world, "compcor")
    ran = world.conn("run", config, "--cores", "2", "--until", "collect")
    assert ran.returncode == 0, ran.stderr
    runs = read_tsv(world.out / "runs.tsv").query("session == 'pre'").set_index("subject")
    found = components(world, ORDINARY)
    assert len(found) >= 1
    assert runs.loc[ORDINARY, "included"] == "true"
    assert int(runs.loc[ORDINARY, "df"]) == 110 - 1 - SLOW - 24 - len(found)
    assert int(runs.loc[GREEDY, "df"]) == 110 - 1 - SLOW - 24 - 60
    series = world.out / f"sub-{ORDINARY}" / "ses-pre" / "func"
    (sidecar,) = series.glob("*_timeseries.json")
    assert json.loads(sidecar.read_text())["Confounds"] == [*MOTION_24, *found]
    assert list(runs.loc[[GREEDY, BARE], "reason"]) == ["too_few_df", "bad_input"]
    for subject in (GREEDY, BARE):
        assert main(["why", str(config), subject]) == 0
    said = capsys.readouterr().out
    assert "too_few_df: 22 (limit: denoise.min_df 25)" in said
    assert "timeseries.json, which fMRIPrep writes beside the table, is not there" in said
    assert "is 'simple'" in said

    path = metadata_file(world.func(ORDINARY, "pre", TABLE))
    metadata = json.loads(path.read_text())
    metadata[found[0]]["Retained"] = False
    replace(path, json.dumps(metadata))
    seen = world.conn("run", config, "--until", "collect", "-n")
    assert planned(seen.stdout)["project"] == 1
    other = world.func(GREEDY, "pre", TABLE)
    replace(metadata_file(world.func(BARE, "pre", TABLE)), metadata_file(other).read_text())
    seen = world.conn("run", config, "--until", "collect", "-n")
    assert planned(seen.stdout)["project"] == 2


def test_check_tells_k_of_compcor_where_a_scan_allows_it(world: World, capsys: pytest.CaptureFixture[str]):
    make_uneven(world)
    assert main(["check", str(configured(world, "simple"))]) == 0
    text = capsys.readouterr().out
    listed = [line.split() for line in text.splitlines() if line.startswith("  ")]
    rows = {line[0]: line[1:] for line in listed}
    assert rows["compcor+hp0.008"][1:] == ["22", "220", "1", "of", "3"]
    assert rows["compcor6+hp0.008"][3:] == ["2", "of", "3"]
    assert rows["simple+hp0.008"][3:] == ["3", "of", "3", "<-", "configured"]
    assert "ICA-AROMA is not offered" in text


def test_check_foresees_what_compcor_cannot_use(world: World, capsys: pytest.CaptureFixture[str]):
    make_uneven(world)
    assert main(["check", str(configured(world, "compcor+gsr"))]) == 0
    text = capsys.readouterr().out
    assert ": too_few_df: 21 (denoise.min_df 25)" in text
    assert ": bad_input: sub-03_ses-pre_task-rest_desc-confounds_timeseries.tsv: strategy 'compcor" in text
    assert "compcor+gsr+hp0.008 keeps 33% of subjects; scrubbing.5+hp0.008 keeps 100%" in text


def test_components_without_values_do_not_disturb_who_does_not_ask_for_them(world: World):
    path = world.func(ORDINARY, "pre", TABLE)
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    table[[name for name in table if "comp_cor" in name]] = np.nan
    path.unlink()
    write_tsv(path, table)
    study = open_study(configured(world, "simple"))
    (key,) = (key for key, run in study.runs.items() if run.subject == ORDINARY)
    one = foresee(study, key, {})
    assert one.included
    assert {strategy for strategy, _ in one.df} == {
        "simple", "simple+gsr", "scrubbing.5", "scrubbing.5+gsr", "scrubbing.2", "scrubbing.2+gsr",
        "24P", "24P+gsr", "32P", "36P",
    }  # fmt: skip


def test_check_lists_no_compcor_below_its_high_pass(world: World, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(configured(world, "simple", high_pass=0.005))]) == 0
    text = capsys.readouterr().out
    assert "simple+hp0.005" in text
    assert "compcor" not in text


def test_metadata_of_confounds_are_an_input_only_of_compcor(world: World):
    inputs = {}
    for strategy in ("simple", "compcor6"):
        study = open_study(configured(world, strategy))
        inputs[strategy] = [name for key in study.runs for name in study.inputs(key)]
    assert set(inputs["simple"]) < set(inputs["compcor6"])
    added = set(inputs["compcor6"]) - set(inputs["simple"])
    assert len(added) == 3
    assert all(name.endswith("desc-confounds_timeseries.json") for name in added)


def test_the_methods_text_tells_components_and_their_number():
    words = "24 motion terms and the anatomical CompCor components that explain half the variance"
    assert strategy_words("compcor").startswith(words)
    assert "the first 6 (or fewer) of the anatomical CompCor components" in strategy_words("compcor6+gsr")
    assert "1 term from the global signal" in strategy_words("compcor6+gsr")
    assert "CompCor" not in strategy_words("simple")
