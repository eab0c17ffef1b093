"""Predictions among the jobs of the workflow."""

import pytest

from simulated import World, planned

pytestmark = pytest.mark.workflow

ASKED = {"severity": {"at": "pre", "outcome": "MADRS.post"}, "again": {"at": "pre", "outcome": "response"}}


def test_every_prediction_is_one_job_before_the_report(world: World):
    seen = world.conn("run", world.configure(prediction=ASKED), "-n")
    jobs = planned(seen.stdout)
    assert jobs["prediction"] == 2
    assert jobs["report"] == 1


def test_the_stage_of_predictions_can_be_the_last(world: World):
    seen = world.conn("run", world.configure(models={}, prediction=ASKED), "--until", "clinic", "-n")
    jobs = planned(seen.stdout)
    assert jobs["prediction"] == 2
    assert "report" not in jobs
