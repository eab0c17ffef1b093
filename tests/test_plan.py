"""What decides a model is in its plan, and nothing else is."""

from __future__ import annotations

import copy
import hashlib
import json
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from conn import lock
from conn.config import load
from conn.config.association import Association
from conn.config.checks import check
from conn.config.mediation import Mediation
from conn.config.model import (
    Clinical,
    Config,
    Connectivity,
    Crossover,
    Dataset,
    Denoise,
    EdgeEnhancement,
    Enhancement,
    Formula,
    GroupByTime,
    Inference,
    Moderator,
    OneSample,
    Paired,
    ParallelArms,
    Partial,
    Regression,
    Remission,
    Response,
    Rois,
    Scale,
    TimePoints,
    TreatmentByOutcome,
    TwoSample,
    Variable,
    Within,
)
from conn.config.prediction import Prediction
from conn.config.replication import Replication
from conn.lock import Lock, Plan
from conn.plan import plan_of, plans_of
from conn.rois import networks

SETTINGS: dict[str, Any] = {
    "out": "results",
    "seed": 7,
    "datasets": {
        "trial": {
            "bids_dir": "data",
            "subjects": ["01", "02", "03"],
            "filters": {"acq": ["mb4", "mb6"]},
            "time_points": {"labels": {"pre": ["1"], "post": ["2"]}},
        }
    },
    "clinical": {
        "baseline": "pre",
        "endpoint": "post",
        "tables": [{"path": "tables/participants.tsv"}],
        "scales": {
            "MADRS": {"columns": {"pre": "m1", "post": "m2"}},
            "HAMD": {"columns": {"pre": "h1", "post": "h2"}},
        },
        "response": {"scale": "MADRS", "percent": 50},
        "remission": {"scale": "HAMD", "threshold": 7},
        "variables": {
            "arm": {"column": "arm", "kind": "category"},
            "site": {"column": "site", "kind": "category"},
            "age": {"column": "age"},
            "weight": {"column": "weight"},
        },
    },
    "rois": {
        "use": ["sgACC", "insula", "PAG"],
        "custom": {
            "mine": {"center": [1, 2, 3], "radius_mm": 4, "space": "MNI152"},
            "drawn": {"mask": "masks/drawn.nii.gz", "space": "MNI152"},
        },
        "transforms": [
            {"regions": "MNI152NLin6Asym", "images": "MNI152NLin2009cAsym", "file": "xfm/a.h5"}
        ],
    },
    "connectivity": {
        "seeds": ["sgACC", "mine"],
        "together": {"pair": ["insulaL", "PAG"]},
        "partial": {"rois": ["sgACCL", "insulaL", "PAG"], "shrinkage": 0.1},
        "nuisance_regions": ["fourthVentricle"],
    },
    "models": {
        "change": {
            "design": "paired",
            "before": "pre",
            "after": "post",
            "covariates": ["age", "mean_fd"],
            "subset": {"arm": ["drug", "placebo"]},
            "edges": [["sgACCL", "PAG"], ["insulaL", "drawn"]],
            "contrasts": {"change": {"confirmatory": True}},
        },
        "arms": {
            "design": "group_by_time",
            "before": "pre",
            "after": "post",
            "group": "response",
            "levels": ["responder", "nonresponder"],
            "strata": ["site", "arm"],
            "seeds": "none",
        },
        "slope": {
            "design": "regression",
            "before": "pre",
            "after": "post",
            "predictor": "HAMD.change",
            "seeds": ["insulaLUnique"],
            "edge_measure": "partial",
        },
        "baseline": {
            "design": "two_sample",
            "at": "pre",
            "group": "remission",
            "levels": ["remitted", "not_remitted"],
            "edges": "none",
        },
    },
    "inference": {"enhancement": {}},
}  # fmt: skip
ANYWHERE = tuple(SETTINGS["models"])


def with_change(*where: str, to: Any) -> dict[str, Any]:
    """The settings with one value replaced, or put in."""
    settings = copy.deepcopy(SETTINGS)
    place = settings
    for key in where[:-1]:
        place = place.setdefault(key, {})
    place[where[-1]] = to
    return settings


def content(text: str) -> str:
    """A sum of an image that is not there."""
    return hashlib.sha256(text.encode()).hexdigest()


def plans(settings: dict[str, Any], digest=content) -> dict[str, Plan]:
    config = Config.model_validate_json(json.dumps(settings))
    check(config, Path("my.yaml"))
    return plans_of(config, digest)


BEFORE = plans(SETTINGS)
ENTRY = lock.next_entry(Lock("my.lock.json"), BEFORE, date="2026-03-01T00:00:00Z", version="0.1.0")


@pytest.mark.parametrize(
    ("where", "to", "key", "old", "new", "models"),
    [
        (("seed",), 8, "seed", "7", "8", ANYWHERE),
        (("denoise", "strategy"), "24P", "denoise.strategy", "simple", "24P", ANYWHERE),
        (("denoise", "low_pass"), None, "denoise.low_pass", "0.1", "null", ANYWHERE),
        (("denoise", "min_df"), 30, "denoise.min_df", "25", "30", ANYWHERE),
        (("inference", "alpha"), 0.01, "inference.alpha", "0.05", "0.01", ANYWHERE),
        (("inference", "permutations"), 999, "inference.permutations", "5000", "999", ANYWHERE),
        (("rois", "weighting"), "centre", "rois.weighting", "coverage", "centre", ANYWHERE),
        (
            ("connectivity", "combine_runs"), "first",
            "connectivity.combine_runs", "weighted", "first", ANYWHERE,
        ),
        (
            ("connectivity", "fwhm_mm"), 4,
            "connectivity.fwhm_mm", "6.0", "4.0", ("change", "slope", "baseline"),
        ),
        (
            ("connectivity", "partial", "shrinkage"), 0.2,
            "connectivity.partial.shrinkage", "0.1", "0.2", ("slope",),
        ),
        (
            ("datasets", "trial", "subjects"), ["01", "02"],
            "datasets.trial.subjects", '["01", "02", "03"]', '["01", "02"]', ANYWHERE,
        ),
        (("datasets", "trial", "dummy_scans"), 4, "datasets.trial.dummy_scans", "0", "4", ANYWHERE),
        (("datasets", "trial", "task"), "nback", "datasets.trial.task", "rest", "nback", ANYWHERE),
        (
            ("clinical", "response", "percent"), 40,
            "clinical.response.percent", "50.0", "40.0", ("arms",),
        ),
        (
            ("clinical", "remission", "threshold"), 8,
            "clinical.remission.threshold", "7.0", "8.0", ("baseline",),
        ),
        (
            ("clinical", "scales", "HAMD", "direction"), "higher_is_better",
            "clinical.scales.HAMD.direction", "lower_is_better", "higher_is_better", ("slope", "baseline"),
        ),
        (
            ("clinical", "variables", "arm", "column"), "arm2",
            "clinical.variables.arm.column", "arm", "arm2", ("change", "arms"),
        ),
        (("clinical", "endpoint"), "pre", "clinical.endpoint", "post", "pre", ANYWHERE),
        (("models", "baseline", "at"), "post", "models.baseline.at", "pre", "post", ("baseline",)),
        (
            ("models", "change", "covariates"), ["mean_fd"],
            "models.change.covariates", '["age", "mean_fd"]', '["mean_fd"]', ("change",),
        ),
        (
            ("models", "change", "contrasts", "change", "confirmatory"), False,
            "models.change.contrasts.change.confirmatory", "true", "false", ("change",),
        ),
        (
            ("models", "change", "edges"), [["sgACCL", "PAG"]],
            "models.change.edges", '["PAG-sgACCL", "drawn-insulaL"]', '["PAG-sgACCL"]', ("change",),
        ),
        (
            ("models", "arms", "levels"), ["nonresponder", "responder"],
            "models.arms.levels", '["responder", "nonresponder"]', '["nonresponder", "responder"]', ("arms",),
        ),
        (
            ("models", "slope", "predictor"), "HAMD.percent_change",
            "models.slope.predictor", "HAMD.change", "HAMD.percent_change", ("slope",),
        ),
        (
            ("rois", "custom", "mine", "radius_mm"), 5, "regions.mine",
            "sphere 4 mm at 1 2 3, MNI152", "sphere 5 mm at 1 2 3, MNI152", ("change", "arms", "baseline"),
        ),
        (
            ("inference", "enhancement", "height_power"), 1,
            "inference.enhancement.height_power", "2.0", "1.0", ANYWHERE,
        ),
    ],
)  # fmt: skip
def test_a_change_of_the_analysis_is_listed_with_key_old_and_new(where, to, key, old, new, models):
    found = {change.key: change for change in lock.compare(ENTRY, plans(with_change(*where, to=to)))}
    change = found.pop(key)
    assert (change.old, change.new, change.models) == (old, new, models)
    # What is no longer referred to goes with it.
    assert all(other.new == "not there" for other in found.values())
    assert all(name.startswith(("regions.", "clinical.variables.age.")) for name in found)


def test_a_seed_more_is_listed_and_brings_what_maps_depend_on():
    found = lock.compare(ENTRY, plans(with_change("models", "arms", "seeds", to=["mine"])))
    assert [change.key for change in found] == ["models.arms.seeds"]
    smoothed = with_change("connectivity", "fwhm_mm", to=4)
    smoothed["models"]["arms"]["seeds"] = ["mine"]
    keys = {change.key for change in lock.compare(ENTRY, plans(smoothed)) if "arms" in change.models}
    assert keys == {"models.arms.seeds", "connectivity.fwhm_mm"}


def test_the_content_of_an_image_counts():
    found = lock.compare(ENTRY, plans(SETTINGS, lambda text: content(f"other {text}")))
    assert {change.key for change in found} == {"regions.drawn", "rois.transforms"}


@pytest.mark.parametrize(
    ("where", "to"),
    [
        (("out",), "elsewhere"),
        (("report",), {"title": "Another", "anonymise": True}),
        (("datasets", "trial", "bids_dir"), "moved/data"),
        (("datasets", "trial", "derivatives"), "moved/derivatives"),
        (("clinical", "tables"), [{"path": "moved/participants.tsv"}]),
        (("connectivity", "xdf"), True),
        (("connectivity", "seeds"), ["mine", "sgACCL", "sgACCR"]),
        (("clinical", "variables", "weight", "column"), "kg"),
        (("datasets", "trial", "subjects"), ["03", "01", "02"]),
        (("datasets", "trial", "filters"), {"acq": ["mb6", "mb4"]}),
        (("models", "change", "covariates"), ["mean_fd", "age"]),
        (("models", "change", "subset"), {"arm": ["placebo", "drug"]}),
        (("models", "change", "edges"), [["drawn", "insulaL"], ["PAG", "sgACCL"]]),
        (("models", "arms", "strata"), ["arm", "site"]),
        (("models", "arms", "contrasts"), {"interaction": {"confirmatory": False}}),
        (("rois", "use"), ["PAG", "insulaR", "insulaL", "sgACC"]),
        (("rois", "reference"), {"other": {"image": "x.nii.gz", "space": "MNI152"}}),
    ],
)
def test_what_decides_nothing_is_no_change(where, to):
    assert lock.compare(ENTRY, plans(with_change(*where, to=to))) == ()


def test_an_image_that_moved_with_its_content_is_no_change():
    moved = with_change("rois", "custom", "drawn", "mask", to="elsewhere/d.nii.gz")
    names = {"elsewhere/d.nii.gz": "masks/drawn.nii.gz"}
    assert lock.compare(ENTRY, plans(moved, lambda text: content(names.get(text, text)))) == ()


def test_the_order_of_keys_and_comments_do_not_change_the_sum(tmp_path: Path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text(
        "datasets: {t: {bids_dir: data, task: rest}}\n"
        "models: {m: {design: paired, before: pre, after: post}}\nseed: 3\n"
    )
    other.write_text(
        "# why\nseed: 3  # a comment\nmodels:\n  m:\n    after: post\n    before: pre\n    design: paired\n"
        "datasets:\n  t:\n    task: 'rest'\n    bids_dir: data\n"
    )
    sums = [plan_of(load(path), "m", str).sha256 for path in (one, other)]
    assert sums[0] == sums[1]


def test_a_plan_names_neither_folders_nor_what_other_models_use():
    text = json.dumps(BEFORE["change"].settings)
    for word in ("masks", "tables/", "xfm", "results", 'weight"', "HAMD", "response", "models.arms"):
        assert word not in text, word
    assert "connectivity.fwhm_mm" not in BEFORE["arms"].settings
    assert "regions.fourthVentricle" in BEFORE["arms"].settings


def test_what_is_tested_is_spelled_out():
    settings = BEFORE["arms"].settings
    assert settings["models.arms.seeds"] == []
    assert settings["models.arms.edges"] == "all pairs of edge_regions"
    assert settings["models.arms.edge_regions"] == [
        "PAG",
        "drawn",
        "insulaL",
        "insulaR",
        "mine",
        "sgACCL",
        "sgACCR",
    ]
    assert BEFORE["slope"].settings["models.slope.edge_regions"] == ["PAG", "insulaL", "sgACCL"]
    assert BEFORE["slope"].settings["connectivity.together.pair"] == ["PAG", "insulaL"]
    assert BEFORE["baseline"].settings["models.baseline.edges"] == []
    assert BEFORE["change"].settings["models.change.seeds"] == [
        "PAGUnique", "insulaLUnique", "mine", "sgACCL", "sgACCR",
    ]  # fmt: skip


def test_contrasts_are_those_that_the_design_tests():
    assert BEFORE["change"].contrasts == {"change": True}
    assert BEFORE["arms"].contrasts == {"interaction": False, "interactionScore": False}
    several = plans(
        with_change("models", "arms", "contrasts", to={"group": {}, "interaction": {"confirmatory": True}})
    )
    assert several["arms"].contrasts == {
        "interaction": True,
        "group": False,
        "interactionScore": False,
        "groupScore": False,
    }


def test_defaults_are_known_as_such_wherever_they_stand():
    defaults = BEFORE["change"].defaults
    assert {"denoise.strategy", "inference.alpha", "models.change.edge_measure"} <= defaults
    assert {"datasets.trial.dummy_scans", "clinical.variables.age.kind"} <= defaults
    assert (
        not {"seed", "inference.enhancement.kind", "models.change.covariates", "models.change.before"}
        & defaults
    )


EVERYTHING = copy.deepcopy(SETTINGS)
"""The settings with a model of every design, and with outcomes of every kind."""
EVERYTHING["rois"]["use"] += ["plasticity"]
EVERYTHING["connectivity"]["seeds"] += ["insula"]
EVERYTHING["inference"] = {"enhancement": {}, "edge_enhancement": {}}
EVERYTHING["models"] |= {
    "mean": {
        "design": "one_sample", "at": "pre", "seeds": "none", "edges": "none", "networks": ["plasticity"],
        "seed_factors": {"side": ["insulaL", "insulaR"]},
    },
    "trial": {
        "design": "parallel_arms", "before": "pre", "after": "post", "arm": "arm",
        "levels": ["a", "b", "c"], "randomised": True,
    },
    "crossed": {
        "design": "crossover", "treatment": "pre", "control": "post", "sequence": "arm",
        "levels": ["ab", "ba"],
    },
    "course": {"design": "within", "points": ["pre", "mid", "post"], "group": "arm", "levels": ["a", "b"]},
    "outcomes": {
        "design": "treatment_by_outcome", "at": "post", "arm": "arm", "arm_levels": ["a", "b"],
        "outcome": "response", "outcome_levels": ["responder", "nonresponder"],
    },
    "benefit": {
        "design": "moderator", "at": "pre", "arm": "arm", "levels": ["a", "b"], "outcome": "MADRS.post",
    },
    "written": {
        "design": "formula", "at": "pre", "formula": "age * site", "tests": {"age": {"age": 1.0}},
        "contrasts": {"age": {"confirmatory": True}},
    },
}  # fmt: skip
EVERYTHING["datasets"]["trial"]["time_points"]["labels"]["mid"] = ["3"]
EVERYTHING["associations"] = {
    "mood": {
        "before": "pre",
        "after": "post",
        "scales": ["MADRS.change", "HAMD.change"],
        "covariates": ["age"],
        "edges": "plasticity",
        "confirmatory": True,
    }
}
EVERYTHING["mediation"] = {
    "carried": {
        "arm": "arm",
        "levels": ["a", "b"],
        "before": "pre",
        "after": "post",
        "randomised": True,
        "outcome": "MADRS",
        "seeds": ["sgACC"],
        "edge_measure": "partial",
        "strata": ["site"],
        "together": [["sgACCL", "PAG"], ["insulaL", "PAG"]],
    }
}
EVERYTHING["prediction"] = {
    "who": {"at": "pre", "outcome": "response", "subset": {"arm": ["a"]}},
    "maps": {"at": "pre", "outcome": "HAMD.post", "features": "seeds", "seeds": ["mine"]},
}
EVERYTHING["replication"] = {
    "twice": {"model": "trial", "by": "site", "contrasts": ["changeAVsB"], "edges": [["sgACCL", "PAG"]]}
}
EVERY = plans(EVERYTHING)


@pytest.mark.parametrize(
    ("model", "contrasts"),
    [
        ("mean", {"mean": False}),
        ("trial", {"adjusted": False, "change": False}),
        ("crossed", {"treatment": False, "treatmentFlips": False, "carryover": False}),
        ("course", {"groupByWithin": False}),
        ("outcomes", {"interaction": False, "interactionScore": False}),
        ("benefit", {"moderation": False}),
        ("written", {"age": True}),
    ],
)
def test_every_design_has_its_contrasts_in_the_plan(model: str, contrasts: dict[str, bool]):
    assert EVERY[model].contrasts == contrasts
    keys = {key for key in EVERY[model].settings if key.startswith(f"models.{model}.contrasts.")}
    assert keys == {f"models.{model}.contrasts.{name}.confirmatory" for name in contrasts}


def test_the_signs_of_a_network_are_in_the_plan_and_a_changed_one_is_a_change():
    settings = copy.deepcopy(EVERYTHING)
    settings["connectivity"]["networks"] = {"own": [["sgACC", "insula"], ["insulaL", "insulaR", -1]]}
    settings["models"] = {"mean": {**EVERYTHING["models"]["mean"], "networks": ["own"]}}
    settings["replication"] = {}
    first = plans(settings)["mean"]
    assert first.settings["models.mean.networks"] == {
        "own": ["insulaL-insulaR (-1)", "insulaL-sgACCL", "insulaR-sgACCR"]
    }
    settings["connectivity"]["networks"]["other"] = [["sgACCL", "sgACCR"]]
    assert plans(settings)["mean"].sha256 == first.sha256
    settings["connectivity"]["networks"]["own"][1] = ["insulaL", "insulaR"]
    assert plans(settings)["mean"].sha256 != first.sha256


def test_networks_and_compared_maps_bring_their_edges_and_regions():
    settings = EVERY["mean"].settings
    pairs = {"-".join(sorted(pair)) for pair in networks.edges("plasticity")}
    assert settings["models.mean.networks"] == {"plasticity": sorted(pairs)}
    assert settings["models.mean.seed_factors"] == {"side": ["insulaL", "insulaR"]}
    regions = {region for pair in networks.edges("plasticity") for region in pair}
    regions |= {"insulaL", "insulaR", "fourthVentricle"}
    assert {key for key in settings if key.startswith("regions.")} == {f"regions.{name}" for name in regions}
    assert "connectivity.fwhm_mm" in settings


def test_variables_in_a_formula_are_locked():
    assert EVERY["written"].settings["clinical.variables.site.column"] == "site"
    assert "clinical.variables.weight.column" not in EVERY["written"].settings


ANALYSES = (
    "associations.mood",
    "mediation.carried",
    "prediction.who",
    "prediction.maps",
    "replication.twice",
)


def test_analyses_stand_beside_the_models_and_are_confirmatory_as_a_whole():
    assert set(EVERY) == {*EVERYTHING["models"], *ANALYSES}
    assert [EVERY[name].contrasts for name in ANALYSES] == [
        {lock.WHOLE: True}, *[{lock.WHOLE: False}] * 4,
    ]  # fmt: skip
    assert "associations.mood.confirmatory" not in EVERY["associations.mood"].defaults
    assert "mediation.carried.confirmatory" in EVERY["mediation.carried"].defaults


def test_a_plan_of_an_analysis_spells_out_what_it_looks_at():
    mood, carried = EVERY["associations.mood"].settings, EVERY["mediation.carried"].settings
    pairs = {"-".join(sorted(pair)) for pair in networks.edges("plasticity")}
    assert mood["associations.mood.edges"] == sorted(pairs)
    assert mood["associations.mood.networks"] == {"plasticity": sorted(pairs)}
    assert mood["associations.mood.scales"] == ["HAMD.change", "MADRS.change"]
    assert carried["mediation.carried.edge_regions"] == ["PAG", "insulaL", "sgACCL"]
    assert carried["mediation.carried.seeds"] == ["sgACCL", "sgACCR"]
    assert carried["mediation.carried.together"] == ["PAG-insulaL", "PAG-sgACCL"]
    assert carried["connectivity.partial.shrinkage"] == 0.1
    assert {"regions.sgACCR", "regions.PAG", "connectivity.fwhm_mm"} <= set(carried)
    assert EVERY["prediction.maps"].settings["prediction.maps.edges"] == []
    assert "regions.mine" in EVERY["prediction.maps"].settings


def test_a_plan_of_an_analysis_holds_what_is_clinical_about_it_and_nothing_of_others():
    who, carried = EVERY["prediction.who"].settings, EVERY["mediation.carried"].settings
    assert who["clinical.response.percent"] == 50
    assert who["clinical.scales.MADRS.columns"] == {"pre": "m1", "post": "m2"}
    assert who["clinical.variables.arm.column"] == "arm"
    assert carried["clinical.variables.site.column"] == "site"
    assert "clinical.scales.MADRS.columns" in carried
    for word in ("HAMD", "variables.age", "variables.arm2", "response", "models.", "associations.", "masks"):
        assert word not in json.dumps(carried), word


def test_of_inference_analyses_hold_what_they_use():
    def used(name: str) -> set[str]:
        return {key for key in EVERY[name].settings if key.startswith("inference.")}

    both = {"inference.alpha", "inference.permutations"}
    assert used("associations.mood") == both | {"inference.robust_slopes"}
    assert used("mediation.carried") == both
    assert used("prediction.who") == {"inference.alpha"}
    fitted = {"inference.min_share", "inference.robust_slopes"}
    assert used("replication.twice") == used("associations.mood") | fitted


@pytest.mark.parametrize(
    ("where", "to", "key", "analysis"),
    [
        (("associations", "mood", "adjusted"), True, "associations.mood.adjusted", "associations.mood"),
        (("associations", "mood", "confirmatory"), False, "associations.mood.confirmatory",
            "associations.mood"),
        (("mediation", "carried", "levels"), ["b", "a"], "mediation.carried.levels", "mediation.carried"),
        (("mediation", "carried", "seeds"), ["mine"], "mediation.carried.seeds", "mediation.carried"),
        (("prediction", "who", "folds"), 4, "prediction.who.folds", "prediction.who"),
        (("replication", "twice", "trials"), ["x", "y"], "replication.twice.trials", "replication.twice"),
        (("replication", "twice", "contrasts"), ["change"], "replication.twice.contrasts",
            "replication.twice"),
        (("prediction", "who", "outcome"), "remission", "prediction.who.outcome", "prediction.who"),
    ],
)  # fmt: skip
def test_a_changed_option_of_an_analysis_is_a_change_of_it_alone(where, to, key, analysis):
    entry = lock.next_entry(Lock("my.lock.json"), EVERY, date="2026-03-01T00:00:00Z", version="0.1.0")
    settings = copy.deepcopy(EVERYTHING)
    settings[where[0]][where[1]][where[2]] = to
    found = lock.compare(entry, plans(settings))
    assert key in {change.key for change in found}
    assert {change.models for change in found} == {(analysis,)}


def test_a_plan_of_a_replication_holds_its_model_but_not_what_else_that_looks_at():
    plan = EVERY["replication.twice"].settings
    assert plan["replication.twice.edges"] == ["PAG-sgACCL"]
    assert {key for key in plan if key.startswith("regions.")} >= {"regions.PAG", "regions.sgACCL"}
    assert plan["models.trial.levels"] == ["a", "b", "c"]
    assert "models.trial.edges" not in plan
    assert plan["clinical.variables.site.column"] == "site"
    assert plan["clinical.variables.arm.column"] == "arm"
    settings = copy.deepcopy(EVERYTHING)
    settings["models"]["trial"]["covariates"] = ["age"]
    assert plans(settings)["replication.twice"].sha256 != EVERY["replication.twice"].sha256
    settings = copy.deepcopy(EVERYTHING)
    settings["models"]["trial"]["seeds"] = ["mine"]
    assert plans(settings)["replication.twice"].sha256 == EVERY["replication.twice"].sha256


def test_a_lock_of_before_there_were_plans_of_analyses_is_read_and_names_them():
    models = {name: plan for name, plan in EVERY.items() if name not in ANALYSES}
    old = lock.next_entry(Lock("my.lock.json"), models, date="2026-03-01T00:00:00Z", version="0.1.0")
    assert [change.key for change in lock.compare(old, EVERY)] == list(ANALYSES)
    assert lock.state_of(old, "mediation.carried", EVERY["mediation.carried"]) == "not locked"
    assert lock.state_of(old, "change", EVERY["change"]) == "locked 2026-03-01"


SECTIONS: tuple[type[BaseModel], ...] = (
    Dataset, TimePoints, Clinical, Scale, Variable, Response, Remission, Denoise, Connectivity, Partial, Rois,
    Paired, TwoSample, GroupByTime, Regression, OneSample, ParallelArms, Crossover, Within,
    TreatmentByOutcome, Moderator, Formula, Inference, Enhancement, EdgeEnhancement, Association, Mediation,
    Prediction, Replication,
)  # fmt: skip
LEFT_OUT = {
    # Where data are.
    *("Dataset.bids_dir", "Dataset.derivatives"),
    # Regions stand with their definitions, as far as a model needs them; nothing is computed from reference.
    *("Rois.use", "Rois.custom", "Rois.atlases", "Rois.reference"),
    # From where on scores are told to be improbable; nothing is computed from it.
    "Clinical.improbable_sd",
    # A variance for reading.
    "Connectivity.xdf",
}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: one.__name__)
def test_every_option_is_in_the_plan_or_left_out_by_name(section: type[BaseModel]):
    keys = [key for one in EVERY.values() for key in one.settings]
    parts = {part for key in keys for part in key.split(".")}
    known = {name for name in section.model_fields if name in parts}
    left_out = {name for name in section.model_fields if f"{section.__name__}.{name}" in LEFT_OUT}
    assert set(section.model_fields) - known == left_out


def test_every_top_section_is_in_the_plan_or_left_out_by_name():
    parts = {key.split(".")[0] for one in EVERY.values() for key in one.settings}
    assert set(Config.model_fields) - parts == {"out", "report", "reliability"}


def test_the_sections_that_are_looked_at_are_all_that_a_model_can_depend_on():
    seen: set[type[BaseModel]] = set()
    waiting: list[Any] = [Config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and not typing.get_args(one) and issubclass(one, BaseModel):
            waiting += [] if one in seen else [field.annotation for field in one.model_fields.values()]
            seen.add(one)
        waiting += typing.get_args(one)
    names = {one.__name__ for one in seen} - {section.__name__ for section in SECTIONS}
    apart = {
        "Config",
        "Report",
        "Contrast",
        "ClinicalTable",
        "CustomRoi",
        "RoiShape",
        "Atlas",
        "ReferenceAtlas",
        # Tests nothing.
        "Reliability",
    }
    assert names == apart | {"Transform"}
