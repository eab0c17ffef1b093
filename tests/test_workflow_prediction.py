"""Predictions among the jobs of the workflow."""

from pathlib import Path

import pytest

from simulated import World, planned

pytestmark = pytest.mark.workflow

ASKED = {"severity": {"at": "pre", "outcome": "MADRS.post"}, "again": {"at": "pre", "outcome": "response"}}


def test_every_prediction_is_one_job_before_the_report(world: World):
    seen = world.conn("run", world.configure(prediction=ASKED), "-n")
    jobs = planned(seen.stdout)
    assert jobs["prediction"] == 2
    assert jobs["report"] == 1


def test_a_prediction_that_six_people_are_too_few_for_costs_neither_the_report_nor_the_others(
    finished: World, tmp_path: Path
):
    world = finished.copy(tmp_path / "world")
    severity = {**ASKED["severity"], "permutations": 200, "repeats": 1}
    ran = world.conn("run", world.configure(prediction={"severity": severity}), "--cores", "1")
    assert ran.returncode == 0, ran.stderr
    assert "prediction severity: 6 people; 5 folds with 5 inner folds need 18" in ran.stderr
    page = (world.out / "report.html").read_text(encoding="utf-8")
    assert "The prediction severity could not be done. 6 people; 5 folds with 5 inner folds" in page
    assert (world.out / "prediction" / "severity.tsv").read_text().startswith("dataset\tsubject\tpart")
    again = planned(world.conn("run", world.study / "study.yaml", "-n").stdout)
    assert not again


def test_the_stage_of_predictions_can_be_the_last(world: World):
    seen = world.conn("run", world.configure(models={}, prediction=ASKED), "--until", "clinic", "-n")
    jobs = planned(seen.stdout)
    assert jobs["prediction"] == 2
    assert "report" not in jobs
