"""What conn check says of clinical analyses is what their stages do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinic_contract import CLINICAL, REGIONS, write
from conn import lock, paths
from conn.analysis_check import NOT_DONE, analyses
from conn.clinic.rates import rates_words
from conn.clinic.scales import KINDS
from conn.config.load import to_yaml
from conn.config.model import Inference
from conn.errors import ConfigError, ConnError, DesignError
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


def said(study: Study, gaps: dict[str, frozenset[str]] | None = None) -> tuple[str, list[ConnError]]:
    cohort, runs = (read_tsv(study.out / path) for path in (paths.COHORT, paths.RUNS))
    problems: list[ConnError] = []
    parts = list(analyses(study, cohort, runs, problems, gaps))
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
    assert text.endswith(f"an error variance of each person (inference.robust_slopes); {rates_words(True)}")
    assert all(family["robust"] for family in found["families"])
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


def test_one_error_variance_and_what_it_does_is_announced(tmp_path: Path):
    plain = {"permutations": 199, "robust_slopes": False}
    text, _ = said(study_in(tmp_path, associations={"mood": CHANGE}, inference=plain))
    assert text.endswith(f"one error variance for all (inference.robust_slopes); {rates_words(False)}")


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
    assert "p_holm" not in text
    assert "left out, MADRS.post is missing: 1 (sub-04)" in text
    assert found["status"] == "exploratory"
    assert set(read_tsv(study.out / paths.analysis("mediation", "carried", ".tsv"))["status"]) == {
        "exploratory"
    }


def test_several_families_of_a_mediation_analysis_are_counted(tmp_path: Path):
    asked = {**CARRIED, "together": [["sgACCL", "insulaL"], ["sgACCL", "PAG"]]}
    text, _ = said(study_in(tmp_path, mediation={"carried": asked}))
    assert "p_fwe holds within a family; p_holm goes over all 2 of them." in text


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


def measured_again(study: Study, name: str = "again") -> dict[str, Any]:
    config, edges = study.config, [("sgACCL", "insulaL")]
    asked = config.reliability[name]
    reliability(study.out, name, asked, config.clinical, edges, {}, combine_runs="weighted")
    return clinic(study, "reliability", name)


@pytest.mark.parametrize("n", [4, 5, 12])
def test_halves_that_too_few_people_have_are_a_warning_in_the_stage_s_own_words(tmp_path: Path, n: int):
    asked = {"before": "pre", "after": "post", "edges": [["sgACCL", "insulaL"]]}
    study = study_in(tmp_path, n=n, reliability={"again": asked})
    text, problems = said(study)
    skipped = measured_again(study)["skipped"]
    assert not problems
    assert [line for line in text.splitlines() if line.startswith("WARNING")] == [
        f"WARNING, will be left out: {one}." for one in skipped
    ]
    expected = ["at post: 3 people have them", "of the change: 3 people have them"] if n == 4 else []
    assert [one.removeprefix("halves of runs ").split(",")[0] for one in skipped] == expected


def test_halves_of_too_few_people_and_nothing_else_are_not_done_before_and_by_the_stage(tmp_path: Path):
    study = study_in(tmp_path, n=5, reliability={"again": {"before": "pre", "subset": {"site": ["x"]}}})
    text, problems = said(study)
    assert not problems
    assert "halves of runs at pre: 3 people have them, and split-half reliability needs 4" in text
    with pytest.raises(DesignError, match="Nothing is left to compare") as refused:
        measured_again(study)
    assert f"{NOT_DONE}: {refused.value}" in text


def lose_region(study: Study, run: str, region: str) -> None:
    """Take a region out of the matrix of a run, as stage measure leaves it."""
    path = study.out / f"{run}_stat-pearsoncorrelation_relmat.tsv"
    table = read_tsv(path)
    table.loc[table["roi"] == region, list(REGIONS)] = "n/a"
    table[region] = "n/a"
    table.to_csv(path, sep="\t", index=False)


def test_features_that_somebody_lacks_are_named_before_and_counted_in_the_tables(tmp_path: Path):
    pairs = {"edges": [["sgACCL", "insulaL"], ["sgACCL", "PAG"]]}
    asked = {
        "associations": {"mood": {**CHANGE, **pairs}},
        "mediation": {"carried": {**CARRIED, **pairs}},
        "prediction": {"severity": SEVERITY},
        "reliability": {"again": {**STABLE, **pairs}},
    }
    study = study_in(tmp_path, **asked)
    gaps = {"p06pre": frozenset({"PAG"}), "p08pre": frozenset({"PAG"}), "p03pre": frozenset({"PAG"})}
    for run in gaps:
        lose_region(study, run, "PAG")
    text, problems = said(study, gaps)
    assert not problems
    parts = {part.split()[0]: part for part in text.replace("\nMED", "\n\nMED").replace(
        "\nPRED", "\n\nPRED").replace("\nRELI", "\n\nRELI").split("\n\n")}  # fmt: skip
    told = "1 of 2 features: sgACCL-PAG (2 of 22 people)"
    assert "WILL BE n/a where somebody lacks them" in parts["ASSOCIATION"]
    assert told in parts["ASSOCIATION"] and told in parts["MEDIATION"]
    assert "sgACCL-PAG (3 of 24 people)" in parts["RELIABILITY"], "sub-03 has the first scan"
    assert (
        "Missing in somebody, and filled inside each fold: 1 of 2 features: sgACCL-PAG (2 of 11"
        in (parts["PREDICTION"])
    )
    config, edges = study.config, [tuple(pair) for pair in pairs["edges"]]
    association(
        study.out, "mood", config.associations["mood"], config.clinical, edges, {},
        combine_runs="weighted", permutations=199, seed=0,
    )  # fmt: skip
    table = read_tsv(study.out / paths.analysis("association", "mood", ".tsv"))
    lacking = table[(table["roi_b"] == "PAG") & (table["arm"] == "all")]
    assert set(lacking["n_lacking"]) == {"2"} and set(lacking["p_fwe"]) == {"n/a"}
    assert set(table.loc[table["roi_b"] == "insulaL", "n_lacking"]) == {"0"}
    placebo = table[(table["roi_b"] == "PAG") & (table["arm"] == "placebo")]
    assert set(placebo["n_lacking"]) == {"0"} and "n/a" not in set(placebo["p_fwe"])
    reliability(
        study.out, "again", config.reliability["again"], config.clinical, edges, {}, combine_runs="weighted"
    )
    again = read_tsv(study.out / paths.analysis("reliability", "again", ".tsv"))
    assert dict(zip(again["roi_b"], again["n_lacking"], strict=True)) == {"insulaL": "0", "PAG": "3"}


def test_an_analysis_of_mediators_together_that_somebody_lacks_is_not_done(tmp_path: Path):
    asked = {**CARRIED, "edges": "none", "together": [["sgACCL", "insulaL"], ["sgACCL", "PAG"]]}
    study = study_in(tmp_path, mediation={"carried": asked})
    assert NOT_DONE not in said(study)[0]
    text, problems = said(study, {"p06pre": frozenset({"PAG"})})
    assert not problems
    assert f"{NOT_DONE}: mediation.carried.together: sgACCL-PAG is missing in somebody" in text


def test_the_reliability_of_a_scale_is_said_with_its_source(tmp_path: Path):
    scales = {
        "MADRS": {"kind": "MADRS", "columns": {"pre": "MADRS_pre", "post": "MADRS_post"}},
        "SHAPS": {"columns": {"pre": "SHAPS_pre", "post": "SHAPS_post"}},
    }
    clinical = {**json.loads(CLINICAL.model_dump_json(exclude_defaults=True)), "scales": scales}
    more = {"scale_reliability": {"MADRS": "registry", "SHAPS": 0.8}, "reliability": "again"}
    study = study_in(
        tmp_path, clinical=clinical, associations={"mood": {**CHANGE, **more}}, reliability={"again": STABLE}
    )
    text, problems = said(study)
    assert not problems
    (known,) = KINDS["MADRS"].retest
    assert f"Reliability of MADRS for the ceiling: 0.93, {known.words} ({known.source})" in text
    assert "Reliability of SHAPS for the ceiling: 0.8, given by the authors (the configuration)" in text


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
def test_an_analysis_that_is_short_of_people_is_announced_and_stops_nothing(tmp_path: Path, section: str):
    asked, message = REFUSED[section]
    text, problems = said(study_in(tmp_path, n=9, **{section: {"small": asked}}))
    assert f"{section.removesuffix('s').upper()} small" in text
    (line,) = [line for line in text.splitlines() if line.startswith(NOT_DONE)]
    assert message in line
    assert not problems


def test_an_analysis_that_is_wrong_would_stop_the_run(tmp_path: Path):
    text, problems = said(study_in(tmp_path, associations={"mood": {**CHANGE, "strata": ["age"]}}))
    assert "cannot be computed: associations.mood: 'age' is a number; arms and strata are categories" in text
    (problem,) = problems
    assert isinstance(problem, ConfigError) and not isinstance(problem, DesignError)


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
