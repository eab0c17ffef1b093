"""From matrices, maps and a cohort table to predictions, scores and a model on disk."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from conn import images, paths
from conn.clinic.prediction import model_file, scores
from conn.config import load
from conn.config.checks import check
from conn.config.model import Clinical, Response, Scale, Variable
from conn.config.prediction import Prediction
from conn.errors import ConfigError, TooLittleDataError
from conn.files import read_json, write_json
from conn.stages import predictors
from conn.stages.features import edges_of, scans
from conn.stages.prediction import prediction
from conn.tables import read_tsv, write_tsv

REGIONS = ["aL", "bL", "cL", "dL"]
EDGES = [f"{a}-{b}" for i, a in enumerate(REGIONS) for b in REGIONS[i + 1 :]]
GRID = images.Grid((8, 7, 9), np.diag([3.0, 3, 3, 1]))
CLINICAL = Clinical(
    baseline="pre",
    endpoint="post",
    scales={"MADRS": Scale(columns={"pre": "a", "post": "b"})},
    response=Response(scale="MADRS"),
    variables={
        "age": Variable(column="age"),
        "site": Variable(column="site", kind="category"),
        "arm": Variable(column="arm", kind="category"),
    },
)
FAST = {
    "at": "pre",
    "outcome": "response",
    "penalties": (1.0,),
    "repeats": 2,
    "folds": 4,
    "inner_folds": 3,
    "permutations": 200,
    "learning_curve": (0.6, 1.0),
}
NO_TESTS = Prediction(**FAST).model_copy(update={"permutations": 0})
"""Fewer permutations than the options allow, for tests of something else."""


def study(out, n=40, effect=0.4, datasets=("trial",), maps=False):
    """First-level outputs; responders have a higher first edge at the time point before."""
    rng = np.random.default_rng(11)
    cohort, runs, collected = [], [], {}
    for number in range(n):
        subject, dataset = f"{number:03d}", datasets[number * len(datasets) // n]
        responds = number % 4 < 2
        before = int(rng.integers(20, 40))
        after = before // 3 if responds else before - 2
        for point, score in (("pre", before), ("post", after)):
            key = f"r{subject}{point}"
            cohort.append(
                {
                    "dataset": dataset,
                    "subject": subject,
                    "time_point": point,
                    "runs": key,
                    "n_runs": "1",
                    "df": "30",
                    "mean_fd": round(float(rng.uniform(0.05, 0.3)), 3),
                    "age": 20 + number,
                    "site": "ab"[number % 2],
                    "arm": "n/a" if number == 7 else ("drug", "placebo")[number // (n // 2)],
                    "MADRS": score,
                    "MADRS_change": score - before,
                    "MADRS_percent_change": 100 * (score - before) / before,
                    "response": "n/a" if number == 5 else ("nonresponder", "responder")[responds],
                }
            )
            runs.append({"run": key, "df": "30", "included": "true"})
            z = rng.normal(0, 0.2, size=(4, 4))
            z[0, 1] += effect * responds
            z = np.triu(z, 1) + np.triu(z, 1).T
            entities = {"sub": subject, "ses": point, "task": "rest", "space": "MNI152NLin2009cAsym"}
            table = pd.DataFrame(np.tanh(z), columns=REGIONS)
            if number == 9:
                table.loc[3], table["dL"] = np.nan, np.nan
            np.fill_diagonal(table.to_numpy(), 1.0)
            table.insert(0, "roi", REGIONS)
            write_tsv(out / paths.relmat(entities), table, digits=15)
            files = [paths.relmat(entities)]
            if maps:
                values = rng.normal(0, 0.1, size=GRID.shape)
                values[:4, :4, :4] += effect * responds
                images.write_map(out / paths.seed_map(entities, "aL"), GRID, values)
                files.append(paths.seed_map(entities, "aL"))
            collected[key] = {path.as_posix(): "0" * 64 for path in files}
    write_tsv(out / paths.COHORT, pd.DataFrame(cohort))
    write_tsv(out / paths.RUNS, pd.DataFrame(runs))
    write_json(out / paths.COLLECTED, collected)


def run(out, settings, edges=None, clinical=CLINICAL):
    prediction(out, "p", settings, clinical, "weighted", edges or {}, seed=0, alpha=0.05)
    return read_json(out / "prediction/p.json"), read_tsv(out / "prediction/p.tsv")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    study(out)
    return out, *run(out, Prediction(**FAST))


@pytest.mark.truth
def test_responders_with_another_connection_at_baseline_are_told_from_the_others(made):
    _, record, _ = made
    assert record["n"] == 39
    assert record["n_event"] == 19
    assert record["scores"]["auc"]["low"] > 0.5
    assert record["total"]["p"] <= 0.01
    assert record["increment"]["p"] <= 0.01
    assert record["clinical"] == ["MADRS.pre"]
    assert record["apparent"]["auc"] > record["scores"]["auc"]["estimate"]


def test_everybody_is_predicted_once_in_every_repeat_by_a_fold_of_others(made):
    _, record, table = made
    assert len(table) == 2 * 39
    assert table.groupby("repeat")["subject"].nunique().tolist() == [39, 39]
    assert set(table["fold"]) == {"1", "2", "3", "4"}
    areas = []
    for _, rows in table.astype({"predicted": float, "observed": float}).groupby(["repeat", "fold"]):
        areas.append(scores.auc(rows["predicted"].to_numpy(), rows["observed"].to_numpy()))
    assert np.mean(areas) == pytest.approx(record["scores"]["auc"]["estimate"], abs=1e-9)


def test_who_was_left_out_and_what_was_filled_is_told(made):
    _, record, _ = made
    assert record["excluded"] == [{"dataset": "trial", "subject": "005", "reason": "no_outcome"}]
    assert record["filled"] == 3
    words = " ".join(record["words"])
    assert "Not in it: no outcome 1." in words
    assert "circular" in words
    assert "39 people, 19 of them responder" in words


def test_the_saved_model_is_the_one_of_everybody_and_predicts_new_people(made):
    out, record, _ = made
    model = model_file.read(read_json(out / "prediction" / record["model"]))
    assert model.features == tuple(EDGES)
    assert model.covariates == ("mean_fd",)
    columns = {edge: [0.1, 0.2] for edge in EDGES} | {"MADRS.pre": [30, 20], "mean_fd": [0.1, 0.2]}
    chances = model.predict(["x", "y"], columns)
    assert ((chances > 0) & (chances < 1)).all()
    columns["aL-bL"] = [2.0, 0.2]
    assert model.predict(["x", "y"], columns)[0] > chances[0]


def test_the_same_settings_give_the_same_bytes(made, tmp_path):
    out, _, _ = made
    study(tmp_path)
    run(tmp_path, Prediction(**FAST))
    for name in ("p.tsv", "p.json", "p_model.json"):
        assert (tmp_path / "prediction" / name).read_bytes() == (out / "prediction" / name).read_bytes()


def test_a_score_is_predicted_with_its_baseline_unless_that_is_declined(made):
    out, *_ = made
    with_it = NO_TESTS.model_copy(update={"outcome": "MADRS.post"})
    record, _ = run(out, with_it)
    assert record["kind"] == "regression"
    assert record["clinical"] == ["MADRS.pre"]
    assert record["n_event"] is None
    assert "r2" in record["scores"]
    record, table = run(out, with_it.model_copy(update={"clinical": ()}))
    assert record["clinical_scores"] is None
    assert set(table["predicted_clinical"]) == {"n/a"}
    assert any("baseline of MADRS is not among the predictors" in sentence for sentence in record["words"])


RATED = CLINICAL.model_copy(
    update={
        "scales": {"MADRS": Scale(columns={"pre": "a", "post": "b"}, reliability=0.8)},
        "variables": CLINICAL.variables | {"late": Variable(column="b")},
    }
)


@pytest.mark.parametrize(
    "reference",
    ["MADRS.post", "MADRS.change", "MADRS.percent_change", "MADRS.rci", "MADRS.locf", "MADRS.locf.post",
     "response", "late"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["clinical", "remove"])
def test_what_is_not_known_at_the_scan_is_refused_whatever_it_is_for(made, field, reference):
    out, *_ = made
    says = rf"{field}: {reference} is made of MADRS at post and is not known at pre, when the scan is made.*"
    with pytest.raises(ConfigError, match=says + r"Use MADRS\.pre or leave it out"):
        run(out, NO_TESTS.model_copy(update={field: (reference,)}), clinical=RATED)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"harmonise": "response"}, r"harmonise: response .* not known at pre.*such as the site"),
        ({"strata": ("response",)}, r"strata: response .* folds and permutations within it would depend"),
        ({"leave_out": "response"}, r"leave_out: response is the outcome; a model of the others"),
        ({"outcome": "MADRS.post", "strata": ("response",)}, r"strata: response is made of MADRS at post"),
        ({"outcome": "MADRS.post", "leave_out": "response"}, r"as the outcome MADRS\.post is"),
        ({"outcome": "arm", "event": "drug", "harmonise": "arm"}, r"harmonise: arm is the outcome"),
        ({"outcome": "age", "remove": ("age",)}, r"remove: age is the outcome.*Use what is known at pre"),
        ({"at": "post", "outcome": "MADRS.post", "clinical": ("MADRS.change",)}, r"as the outcome MADRS"),
    ],
)  # fmt: skip
def test_the_outcome_in_another_form_is_refused(made, changes, says):
    out, *_ = made
    with pytest.raises(ConfigError, match=says):
        run(out, NO_TESTS.model_copy(update=changes), clinical=RATED)


def test_what_is_known_when_a_later_scan_is_made_may_predict(made):
    out, *_ = made
    table = scans(out, "prediction.p", "weighted")
    later = {"at": "post", "outcome": "arm", "event": "drug", "clinical": ("MADRS.change", "response")}
    settings = NO_TESTS.model_copy(update=later)
    known = predictors.known(table, settings, CLINICAL, {}, "prediction.p")
    assert known.clinical == ("MADRS.change", "response=responder")
    baseline = NO_TESTS.model_copy(update={"outcome": "MADRS.pre"})
    assert predictors.known(table, baseline, CLINICAL, {}, "prediction.p").clinical == ()


def test_sites_are_harmonised_left_out_and_balanced(made):
    out, *_ = made
    settings = NO_TESTS.model_copy(update={"harmonise": "site", "leave_out": "site"})
    record, table = run(out, settings)
    assert [one["name"] for one in record["left_out"]["groups"]] == ["a", "b"]
    assert (table["part"] == "left_out").sum() == 39
    model = read_json(out / "prediction/p_model.json")
    assert model["steps"]["sites"]["names"] == ["a", "b"]
    assert any("predicted by a model of the others" in sentence for sentence in record["words"])


def test_a_model_of_one_data_set_is_tested_in_another(tmp_path):
    study(tmp_path, n=80, datasets=("first", "second"))
    settings = NO_TESTS.model_copy(update={"train": ("first",), "test": ("second",)})
    record, table = run(tmp_path, settings)
    assert set(table.loc[table["part"] == "cross_validation", "dataset"]) == {"first"}
    assert set(table.loc[table["part"] == "test", "dataset"]) == {"second"}
    assert record["n_tested"] == (table["part"] == "test").sum() == 40
    assert record["external"]["auc"]["low"] < record["external"]["auc"]["estimate"]
    assert any("The finished model in second (40 people)" in sentence for sentence in record["words"])


def test_a_subset_and_missing_categories_leave_people_out_with_their_reason(made):
    out, *_ = made
    settings = NO_TESTS.model_copy(update={"subset": {"arm": ("drug",)}, "inner_folds": 2})
    record, _ = run(out, settings)
    assert record["n"] == 18
    reasons = [one["reason"] for one in record["excluded"]]
    assert reasons.count("not_in_subset") == 20
    assert reasons.count("subset_unknown") == 1
    with pytest.raises(ConfigError, match="nobody has 'ketamine'"):
        run(out, NO_TESTS.model_copy(update={"subset": {"arm": ("ketamine",)}}))


def test_networks_are_features(made):
    out, *_ = made
    settings = NO_TESTS.model_copy(update={"features": "networks", "networks": ("one",)})
    record, _ = run(out, settings, {"one": [["aL", "bL", 1], ["cL", "dL", -1]]})
    assert record["n_features"] == 1
    table = scans(out, "prediction.p", "weighted")
    found = predictors.known(table, settings, CLINICAL, {"one": [["aL", "bL", 1], ["aL", "cL", -1]]}, "p")
    z = edges_of(table, table.people, ["pre"], [("aL", "bL"), ("aL", "cL")]).z["pre"]
    np.testing.assert_allclose(found.imaging[:, 0], (z[:, 0] - z[:, 1]) / 2)
    assert read_json(out / "prediction/p_model.json")["features"] == ["one"]


@pytest.mark.truth
def test_maps_are_averaged_over_cubes_and_predict(tmp_path):
    study(tmp_path, maps=True)
    settings = NO_TESTS.model_copy(
        update={"features": "seeds", "seeds": ("aL",), "reduce": "pca", "n_reduced": 5}
    )
    record, _ = run(tmp_path, settings)
    assert record["n_features"] == 2 * 2 * 3
    assert record["scores"]["auc"]["estimate"] > 0.8
    names = read_json(tmp_path / "prediction/p_model.json")["features"]
    assert names[0] == "aL@4_4_4"
    assert len(set(names)) == 12


def test_cubes_hold_every_voxel_once_and_know_where_they_are():
    voxels = np.arange(int(np.prod(GRID.shape)))
    cube, centre = predictors.cubes_of(GRID, voxels, 12)
    index = np.stack(np.unravel_index(voxels, GRID.shape, order="F"))
    for number in np.unique(cube):
        inside = index[:, cube == number]
        assert (np.ptp(inside, axis=1) <= 3).all()
        corner = 4 * (inside.min(axis=1) // 4)
        np.testing.assert_allclose(centre(int(number)), 3 * (corner + 1.5))


def test_nobody_left_is_an_error_that_counts_reasons(made):
    out, *_ = made
    with pytest.raises(TooLittleDataError, match="nobody is left to test in"):
        run(out, NO_TESTS.model_copy(update={"train": ("trial",), "test": ("elsewhere",)}))


def test_an_event_that_nobody_has_is_named(made):
    out, *_ = made
    with pytest.raises(ConfigError, match="'cured' is no value of response: nonresponder, responder"):
        run(out, NO_TESTS.model_copy(update={"event": "cured"}))
    with pytest.raises(ConfigError, match="is a number and has no event"):
        run(out, NO_TESTS.model_copy(update={"outcome": "MADRS.post", "event": "responder"}))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"features": "seeds"}, "seeds: name them"),
        ({"networks": ("x",)}, "networks: name them"),
        ({"permuted_repeats": 5}, "more than repeats"),
        ({"train": ("a",), "test": ("a",)}, "under both"),
        ({"test": ("a",)}, "test needs train"),
        ({"permutations": 100}, "greater than or equal to 200"),
    ],
)
def test_options_that_contradict_each_other_are_refused(wrong, says):
    with pytest.raises(ValidationError, match=says):
        Prediction(**{**FAST, **wrong})


def configured(tmp_path, **changes):
    """A configuration with one prediction, checked."""
    settings = {"at": "pre", "outcome": "MADRS.post"} | changes
    path = tmp_path / "study.yaml"
    path.write_text(
        json.dumps(
            {
                "datasets": {
                    "trial": {"bids_dir": "data", "time_points": {"labels": {"pre": ["1"], "post": ["2"]}}}
                },
                "clinical": {
                    "scales": {
                        "MADRS": {"columns": {"screening": "s", "pre": "a", "middle": "m", "post": "b"}}
                    },
                    "variables": {
                        "age": {"column": "age"},
                        "late": {"column": "b"},
                        "site": {"column": "site", "kind": "category"},
                    },
                },
                "prediction": {"p": settings},
            }
        )
    )
    check(load(path), path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"at": "per"}, r"prediction\.p\.at = 'per': no such time point; did you mean 'pre'"),
        ({"outcome": "response"}, "response needs a rule; add clinical.response"),
        ({"outcome": "MADR.post"}, r"p\.outcome: 'MADR' is unknown"),
        ({"clinical": ["weight"]}, r"p\.clinical\[0\]: 'weight' is unknown"),
        ({"harmonise": "age"}, r"p\.harmonise: 'age' is no category"),
        ({"edges": "descendingModulatio"}, "is no network"),
        ({"edges": [["PAG", "Elsewhere"]]}, "region Elsewhere is not in this study"),
        ({"edge_measure": "partial"}, r"partial correlations are not computed; add connectivity\.partial"),
        ({"features": "seeds", "seeds": ["LC"]}, r"p\.seeds: LC has no map"),
        ({"train": ["other"]}, r"p\.train: 'other' is none of datasets: trial"),
        (
            {"clinical": ["MADRS.post"]},
            r"p\.clinical: MADRS\.post is made of MADRS at post and is not known",
        ),
        ({"clinical": ["MADRS.middle"]}, r"p\.clinical: MADRS\.middle .* is not known at pre"),
        ({"remove": ["late"]}, r"p\.remove: late is made of MADRS at post"),
    ],
)
def test_names_that_lead_nowhere_are_told_before_anything_runs(tmp_path, changes, says):
    configured(tmp_path, clinical=["MADRS.screening", "MADRS.pre"])
    with pytest.raises(ConfigError, match=says):
        configured(tmp_path, **changes)
