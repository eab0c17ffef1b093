"""The shipped examples of three open data sets run on dress rehearsals of them, clinical analyses included.

Reduced ones have few people, one seed and few draws, and go through all stages in this process: about 25 s
of processor time each. Whole ones (`slow`) have everybody and all seeds of the examples, and go through the
workflow: 165 jobs for ds003007, some 500 for the 250 runs of ds005917, each of which starts an interpreter.
ds005917 took 11 minutes on two cores, ds003007 53 minutes on one core of a machine with five times as much to
do as processors; in one process, the 76 runs of ds000208 take 40 s of processor time.
"""

from __future__ import annotations

import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from conn import not_done, paths
from conn.runner import run
from conn.simulate.demo import DEMO_ROIS
from conn.study import Study, open_study
from conn.tables import read_tsv, to_number
from line import walk
from rehearsals import REDUCED, WHOLE, Rehearsal
from test_report import without_images

pytestmark = pytest.mark.workflow

TESTED = {
    "association": "p_fwe",
    "mediation": "p_fwe",
    "prediction": "predicted",
    "reliability": "half_before",
}
"""A column of the table of each kind that says that something was computed."""


def made(rehearsal: Rehearsal, shared_data: Path, folder: Path) -> Study:
    start = time.process_time()
    path = rehearsal.make(shared_data, folder)
    print(f"made in {time.process_time() - start:.0f} s", flush=True)
    start = time.process_time()
    study = walk(path)
    print(f"walked in {time.process_time() - start:.0f} s", flush=True)
    return study


@pytest.fixture(scope="module")
def depression(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return made(REDUCED["ds003007"], shared_data, tmp_path_factory.mktemp("ds003007"))


@pytest.fixture(scope="module")
def ketamine(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return made(REDUCED["ds005917"], shared_data, tmp_path_factory.mktemp("ds005917"))


@pytest.fixture(scope="module")
def knee(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return made(REDUCED["ds000208"], shared_data, tmp_path_factory.mktemp("ds000208"))


def analysed(study: Study, undone: frozenset[str] = frozenset()) -> None:
    """Every model has the tables of the contract with finite values, every analysis rows or a reason."""
    for model in study.config.models:
        edges = rows_of(study, model)
        assert np.isfinite(column(edges, "p_fwe")).any(), model
        for table in (paths.families, paths.confounding, paths.adjustment):
            assert (study.out / table(model)).stat().st_size > 0
        for seed in study.seeds(model):
            assert list((study.out / paths.model_folder(model)).glob(f"*seed-{seed}_*_statmap.nii.gz"))
    for kind, name in study.analyses:
        reason = not_done.reason(study.out, kind, name)
        assert (reason is not None) == (f"{kind} {name}" in undone), reason
        if reason is None:
            table = read_tsv(study.out / paths.analysis(kind, name, ".tsv"))
            assert np.isfinite(column(table, TESTED[kind])).any(), (kind, name)


def rows_of(study: Study, model: str) -> pd.DataFrame:
    return read_tsv(study.out / paths.edges(model))


def column(table: pd.DataFrame, name: str) -> np.ndarray:
    return np.array([to_number(cell) for cell in table[name]])


def estimate(study: Study, model: str, contrast: str, pair: tuple[str, str]) -> float:
    """Of one edge."""
    table = rows_of(study, model)
    named = [{a, b} == set(pair) for a, b in zip(table["roi_a"], table["roi_b"], strict=True)]
    (row,) = table[np.array(named) & (table["contrast"] == contrast)].to_dict("records")
    return to_number(row["estimate"])


def page(study: Study) -> str:
    return without_images((study.out / paths.REPORT).read_text(encoding="utf-8"))


def clinic(study: Study) -> str:
    """The part of the page that is about clinical analyses."""
    return page(study).split('<section id="clinic">')[1].split('<section id="settings">')[0]


def reasons(study: Study, subject: str) -> str:
    """All that `exclusions.tsv` says of a person."""
    table = read_tsv(study.out / paths.EXCLUSIONS)
    return "; ".join(table.loc[table["subject"] == subject, "value"])


@pytest.mark.xdist_group("ds003007")
def test_mild_depression_has_all_its_analyses(depression: Study) -> None:
    analysed(depression, frozenset({"association few", "mediation few", "prediction few"}))
    shown = clinic(depression)
    for title in (
        "Change with change: amygdala",
        "therapy: does connectivity carry",
        "Reliability: untreated",
    ):
        assert title in shown
    assert "beck: BDI.post from the scan at pre" in shown
    assert "improvement: change and baseline" in shown
    assert "group was not randomised" in shown


@pytest.mark.xdist_group("ds003007")
def test_too_few_madrs_are_told_in_the_summary_and_cost_nothing_else(depression: Study) -> None:
    summary = page(depression).split("<nav")[0]
    assert "The association few could not be done. Nobody has all that is asked for" in summary
    assert "The mediation analysis few could not be done. 0 people of depr_no_treatment" in summary
    assert "The prediction few could not be done. 8 people; " in summary


@pytest.mark.xdist_group("ds003007")
def test_people_with_one_beck_score_are_named_with_what_they_lack(depression: Study) -> None:
    for subject in ("17", "18", "20"):
        assert f"sub-{subject}" in clinic(depression)
        assert "improvement, slope: BDI.change is missing" in reasons(depression, subject)


@pytest.mark.xdist_group("ds003007")
@pytest.mark.truth
def test_what_was_planted_into_mild_depression_is_found(depression: Study) -> None:
    general, graded = ("thalamusMDL", "supramarginalL"), ("pgACCL", "middleTemporalL")
    assert estimate(depression, "everybody", "change", general) == pytest.approx(-0.5, abs=0.25)
    assert estimate(depression, "improvement", "slope", graded) == pytest.approx(-0.03, abs=0.02)


@pytest.mark.xdist_group("ds005917")
def test_the_ketamine_crossover_has_all_its_analyses(ketamine: Study) -> None:
    analysed(ketamine)
    shown = clinic(ketamine)
    assert "Change with change: scales" in shown
    assert "carried: does connectivity carry the effect on MADRS?" in shown
    assert "severity: change and baseline" in shown


@pytest.mark.xdist_group("ds005917")
def test_who_lacks_the_scan_after_ketamine_is_named(ketamine: Study) -> None:
    assert "ketamine, treatment: no included run at d2" in reasons(ketamine, "MOA113")
    assert "sub-MOA113" in clinic(ketamine)


@pytest.mark.xdist_group("ds005917")
@pytest.mark.truth
def test_what_was_planted_after_ketamine_is_found(ketamine: Study) -> None:
    pair = ("thalamusMDL", "supramarginalL")
    assert estimate(ketamine, "ketamine", "treatment", pair) == pytest.approx(-0.5, abs=0.25)


@pytest.mark.xdist_group("ds000208")
def test_knee_pain_has_all_its_analyses(knee: Study) -> None:
    analysed(knee)
    shown = clinic(knee)
    assert "placeboResponse: analgesia from the scan<" in shown
    assert "AUC" in shown


@pytest.mark.xdist_group("ds000208")
def test_a_data_set_without_sessions_has_no_time_point_in_its_words(knee: Study) -> None:
    words = page(knee).split('<section id="settings">')[0].replace("no included run at all", "")
    assert " at all" not in words
    assert "Difference, patient minus control: connectivity; adjusted for age and gender" in page(knee)


@pytest.mark.xdist_group("ds000208")
@pytest.mark.truth
def test_what_was_planted_into_patients_is_in_the_map_of_its_seed(knee: Study) -> None:
    (file,) = (knee.out / paths.model_folder("patients")).glob(
        "*seed-thalamusMDL_*stat-effect_statmap.nii.gz"
    )
    image = nib.load(file)
    values = np.asanyarray(image.dataobj)
    ((_, centre, *_),) = [sphere for sphere in DEMO_ROIS if sphere[0] == "supramarginalL"]
    place = np.rint(np.linalg.inv(image.affine) @ [*centre, 1.0])[:3].astype(int)
    assert values[tuple(place)] < -0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_everybody_runs_through_the_workflow(name: str, shared_data: Path, tmp_path: Path) -> None:
    study = open_study(WHOLE[name].make(shared_data, tmp_path))
    assert run(study, cores=2) == 0
    analysed(study, frozenset(f"{kind} few" for kind, one in study.analyses if one == "few"))
