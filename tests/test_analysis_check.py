"""What conn check says of clinical analyses is what their stages do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinic_contract import CLINICAL, REGIONS, write
from conn import lock, paths
from conn.analysis_check import analyses
from conn.config.load import to_yaml
from conn.config.model import Inference
from conn.errors import ConnError, DesignError
from conn.files import read_json
from conn.plan import plans_of
from conn.stages.association import association
from conn.stages.mediation import Mediators, Resources, mediate
from conn.stages.prediction import prediction
from conn.stages.reliability import reliability
from conn.study import Study, open_study
from conn.tables import read_tsv

CHANGE = {
    "before": "pre", "after": "post", "scales": ["MADRS.change", "SHAPS.change"], "arm": "arm",
    "levels": ["drug", "placebo"], "resamples": 0, "edges": [["sgACCL", "insulaL"], ["sgACCL", "PAG"]],
}  # fmt: skip
CARRIED = {
    "arm": "arm", "levels": ["drug", "placebo"], "before": "pre", "after": "post", "randomised": True,
    "outcome": "MADRS", "bootstrap": 1000, "strata": ["site"], "edges": [["sgACCL", "insulaL"]],
}  # fmt: skip
SEVERITY = {
    "at": "pre", "outcome": "MADRS.post", "folds": 5, "inner_folds": 2, "repeats": 1, "permutations": 200,
    "penalties": [1.0], "learning_curve": [],
    "edges": [["sgACCL", "insulaL"], ["sgACCL", "PAG"]], "subset": {"arm": ["drug"]},
}  # fmt: skip
STABLE = {"before": "pre", "after": "post", "stable": {"arm": ["placebo"]}, "split_half": False}


def study_in(folder: Path, n: int = 24, **analyses: Any) -> Study:
    """A trial whose first levels are there, with some analyses; the scans of one person are not."""
    out = folder / "results"
    out.mkdir()
    write(out, n=n, volumes=60)
    lost = read_tsv(out / paths.COHORT)
    rows = (lost["subject"] == "03") & (lost["time_point"] == "post")
    lost.loc[rows, ["runs", "n_runs"]] = ["n/a", "0"]
    lost.loc[(lost["subject"] == "04") & (lost["time_point"] == "post"), ["MADRS", "MADRS_change"]] = "n/a"
    lost.to_csv(out / paths.COHORT, sep="\t", index=False)
    settings = {
        "datasets": {"trial": {"bids_dir": "data"}},
        "clinical": json.loads(CLINICAL.model_dump_json(exclude_defaults=True)),
        "rois": {"use": ["sgACC", "insula", "NAc", "PAG"]},
        "connectivity": {"seeds": ["sgACC"]},
        "inference": {"permutations": 199},
        **analyses,
    }
    path = folder / "study.yaml"
    path.write_text(to_yaml(settings))
    return open_study(path)


def said(study: Study) -> tuple[str, list[ConnError]]:
    cohort, runs = (read_tsv(study.out / path) for path in (paths.COHORT, paths.RUNS))
    problems: list[ConnError] = []
    parts = list(analyses(study, cohort, runs, problems))
    return "\n".join(line for part in parts for line in part), problems


def clinic(study: Study, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(study.out / paths.analysis(kind, name))
    return found


def test_an_association_is_announced_as_it_runs(tmp_path: Path):
    study = study_in(tmp_path, associations={"mood": CHANGE})
    text, problems = said(study)
    config = study.config
    edges = study.pairs(config.associations["mood"].edges)
    association(
        study.out, "mood", config.associations["mood"], config.clinical, edges, {},
        combine_runs="weighted", permutations=199, seed=0, status="confirmatory, not locked",
    )  # fmt: skip
    found = clinic(study, "association", "mood")
    assert not problems
    assert text.startswith("ASSOCIATION mood\nDoes the change of connectivity (post minus pre) go with MADRS")
    assert found["n"] == 22
    assert "n = 22 (drug 11, placebo 11)" in text
    assert "left out, no included run at post: 1 (sub-03)" in text
    assert "left out, MADRS.change missing: 1 (sub-04)" in text
    assert len(found["families"]) == 4
    for family in found["families"]:
        assert (
            f"{family['arm']}, n = {family['n'][0]}: 2 scales by 2 edges, one family; "
            f"{family['permutations']} permutations, smallest attainable p {family['smallest_p']:.3g}"
        ) in text
    assert found["status"] == "confirmatory, not locked"
    table = read_tsv(study.out / paths.analysis("association", "mood", ".tsv"))
    assert set(table["status"]) == {"confirmatory, not locked"}


def test_what_an_association_leaves_out_is_a_warning_with_the_stage_s_own_words(tmp_path: Path):
    asked = {**CHANGE, "subset": {"site": ["x"]}, "covariates": ["age"], "strata": []}
    study = study_in(tmp_path, n=20, associations={"mood": asked})
    config = study.config
    text, problems = said(study)
    edges = study.pairs(config.associations["mood"].edges)
    association(
        study.out, "mood", config.associations["mood"], config.clinical, edges, {},
        combine_runs="weighted", permutations=199, seed=0,
    )  # fmt: skip
    skipped = clinic(study, "association", "mood")["skipped"]
    assert skipped, "three people of an arm have no correlation"
    for one in skipped:
        arm_and_reason = one.removeprefix("edges, ")
        assert f"WARNING, will be left out, {arm_and_reason}." in text
    assert not problems


def test_a_mediation_analysis_is_announced_as_it_runs(tmp_path: Path):
    study = study_in(tmp_path, mediation={"carried": CARRIED})
    text, problems = said(study)
    config = study.config
    mediate(
        study.out, "carried", config.mediation["carried"], config.clinical, Inference(permutations=199),
        Mediators([("sgACCL", "insulaL")]), Resources(study.out), seed=0,
        status="exploratory",
    )  # fmt: skip
    found = clinic(study, "mediation", "carried")
    assert not problems
    assert f"n = {found['n']} (drug {found['n_by_level']['drug']}, placebo " in text
    (family,) = found["families"]
    sizes = [
        f"path {path} {family['permutations'][path]} permutations, smallest attainable p "
        f"{family['smallest_p'][path]:.3g}"
        for path in "ab"
    ]
    assert f"family of 1 edge: {'; '.join(sizes)}" in text
    assert "left out, MADRS.post is missing: 1 (sub-04)" in text
    assert found["status"] == "exploratory"
    assert set(read_tsv(study.out / paths.analysis("mediation", "carried", ".tsv"))["status"]) == {
        "exploratory"
    }


def test_a_prediction_is_announced_as_it_runs(tmp_path: Path):
    study = study_in(tmp_path, prediction={"severity": SEVERITY})
    text, problems = said(study)
    config = study.config
    prediction(
        study.out, "severity", config.prediction["severity"], config.clinical, "weighted",
        study.predicting("severity"), seed=0, alpha=0.05,
    )  # fmt: skip
    found = clinic(study, "prediction", "severity")
    assert not problems
    assert f"n = {found['n']}\n" in text
    assert "left out, not in subset: 12" in text
    assert "left out, no outcome: 1 (sub-04)" in text
    assert "2 edges, all in one model; clinical predictors: MADRS.pre" in text
    assert found["clinical"] == ["MADRS.pre"]
    n = found["total"]["permutations"] + 1
    assert f"{n} permutations, smallest attainable p {1 / n:.3g}" in text
    assert found["status"] == "exploratory"


def test_reliability_says_who_has_both_sessions(tmp_path: Path):
    study = study_in(tmp_path, reliability={"again": {**STABLE, "edges": [["sgACCL", "insulaL"]]}})
    text, problems = said(study)
    config = study.config
    reliability(
        study.out, "again", config.reliability["again"], config.clinical, [("sgACCL", "insulaL")], {},
        combine_runs="weighted",
    )  # fmt: skip
    n = clinic(study, "reliability", "again")["found"]["edges"]["stable"]["n"]
    assert not problems
    assert f"{n} people who were not treated in between have both sessions" in text
    assert "Nothing is tested." in text


REFUSED = {
    "associations": ({**CHANGE, "subset": {"site": ["nowhere"]}}, "nobody has all that is asked for"),
    "mediation": ({**CARRIED, "covariates": ["age", "SHAPS.pre"]}, "people for"),
    "prediction": (
        {**SEVERITY, "folds": 5, "inner_folds": 5},
        "5 folds with 5 inner folds need 18, so that 10 are left",
    ),
    "reliability": ({**STABLE, "subset": {"site": ["x"]}}, "have both sessions"),
}


@pytest.mark.parametrize("section", REFUSED)
def test_too_few_people_are_a_problem_before_anything_is_computed(tmp_path: Path, section: str):
    asked, message = REFUSED[section]
    text, problems = said(study_in(tmp_path, n=9, **{section: {"small": asked}}))
    assert f"{section.removesuffix('s').upper()} small" in text
    assert "cannot be computed: " in text
    assert len(problems) == 1
    assert isinstance(problems[0], DesignError)
    assert message in str(problems[0])


def test_edges_of_all_regions_are_counted(tmp_path: Path):
    study = study_in(tmp_path, associations={"mood": {**CHANGE, "edges": "all", "networks": []}})
    assert set(REGIONS) < set(study_regions(study))
    n = len(study_regions(study))
    assert f"2 scales by {n * (n - 1) // 2} edges" in said(study)[0]


def study_regions(study: Study) -> list[str]:
    plan = plans_of(study.config, str)["associations.mood"]
    regions: list[str] = plan.settings["associations.mood.edge_regions"]
    return regions


def test_p_that_cannot_be_small_enough_is_a_warning(tmp_path: Path):
    asked = {**CARRIED, "strata": [], "edges": [["sgACCL", "insulaL"]]}
    study = study_in(tmp_path, n=14, mediation={"carried": asked})
    study = Study(
        study.config_path,
        study.config.model_copy(update={"inference": Inference(alpha=0.001, permutations=199)}),
    )
    assert "WARNING: no p can be 0.001 or less" in said(study)[0]


def test_an_analysis_has_the_status_of_its_own_plan(tmp_path: Path):
    study = study_in(
        tmp_path, associations={"mood": {**CHANGE, "confirmatory": True}}, mediation={"carried": CARRIED}
    )
    assert study.analysis_status("associations", "mood") == "confirmatory, not locked"
    assert study.analysis_status("mediation", "carried") == "exploratory"
    entry = lock.next_entry(study.lock, study.plans, date="2026-03-01T09:30:00Z", version="0.1.0")
    lock.write(study.lock_file, [entry])
    again = open_study(study.config_path)
    assert again.analysis_status("associations", "mood") == "confirmatory, locked 2026-03-01"
    assert again.analysis_status("mediation", "carried") == "exploratory"
