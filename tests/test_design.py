"""The design compiler: rows, matrices, exchange, families, refusals."""

from __future__ import annotations

import dataclasses
import gzip
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conn.cohort import build_cohort, read_clinical
from conn.config.model import (
    Clinical,
    ClinicalTable,
    Contrast,
    GroupByTime,
    Inference,
    Model,
    Paired,
    Regression,
    Response,
    Scale,
    TwoSample,
    Variable,
)
from conn.design import (
    Design,
    DesignContrast,
    compile_model,
    describe,
    dropped_words,
    exchange_words,
    load_design,
    save_design,
    smallest_p,
    variance_words,
)
from conn.errors import ConfigError, DesignError, InputError
from conn.permutation import permutation_set

CLINICAL = Clinical(
    baseline="pre",
    endpoint="post",
    scales={"BDI": Scale(columns={"pre": "a", "post": "b"})},
    response=Response(scale="BDI"),
    variables={
        "arm": Variable(column="arm", kind="category"),
        "site": Variable(column="site", kind="category"),
        "sex": Variable(column="sex", kind="category", levels={"m": "male", "f": "female"}),
        "age": Variable(column="age"),
        "dose": Variable(column="dose"),
        "twice": Variable(column="twice"),
    },
)
ALL = {name: Contrast() for name in ("interaction", "time", "group")}
INFERENCE = Inference(permutations=999)

# subject: arm, site, sex, age, BDI pre, BDI post, FD pre, FD post
PEOPLE: dict[str, tuple[Any, ...]] = {
    "01": ("drug", "A", "male", 30, 20, 10, 0.10, 0.20),
    "02": ("drug", "A", "female", 41, 22, 15, 0.15, 0.10),
    "03": ("drug", "B", "male", 25, 30, 12, 0.20, 0.22),
    "04": ("drug", "B", "female", 52, 18, 16, 0.12, 0.18),
    "05": ("placebo", "A", "male", 33, 24, 20, 0.11, 0.13),
    "06": ("placebo", "A", "female", 47, 26, 21, 0.25, 0.21),
    "07": ("placebo", "B", "male", 39, 28, 13, 0.09, 0.17),
    "08": ("placebo", "B", "female", 28, 21, 19, 0.30, 0.26),
}


def study(people: dict[str, tuple[Any, ...]] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cohort and run table of a small trial; sub-03 has two runs at post."""
    cohort, runs = [], []
    for subject, (arm, site, sex, age, pre, post, fd_pre, fd_post) in (people or PEOPLE).items():
        outcome = "responder" if 2 * (pre - post) >= pre else "nonresponder"
        for point, fd in (("pre", fd_pre), ("post", fd_post)):
            keys = [f"r{subject}{point}"] + (
                [f"r{subject}{point}b"] if (subject, point) == ("03", "post") else []
            )
            cohort.append(
                {
                    "dataset": "trial",
                    "subject": subject,
                    "time_point": point,
                    "runs": ";".join(keys),
                    "mean_fd": fd,
                    "arm": arm,
                    "site": site,
                    "sex": sex,
                    "age": age,
                    "dose": {"drug": 60, "placebo": 0}.get(arm, 30),
                    "twice": 2 * age + 1,
                    "BDI": pre if point == "pre" else post,
                    "BDI_change": 0 if point == "pre" else post - pre,
                    "BDI_percent_change": 0 if point == "pre" else 100 * (post - pre) / pre,
                    "response": outcome,
                    "remission": "n/a",
                }
            )
            runs += [{"run": key, "df": 42 if key.endswith("b") else 22, "included": "true"} for key in keys]
    return pd.DataFrame(cohort), pd.DataFrame(runs)


def change(table: pd.DataFrame, subject: str, point: str, column: str, value: object) -> pd.DataFrame:
    """A copy with one cell replaced; every column becomes text or stays as it is."""
    table = table.astype(object)
    table.loc[(table["subject"] == subject) & (table["time_point"] == point), column] = value
    return table


def compiled(model: Model, cohort: pd.DataFrame | None = None, inference: Inference = INFERENCE) -> Design:
    table, runs = study()
    return compile_model("m", model, CLINICAL, table if cohort is None else cohort, runs, inference)


def only(design: Design) -> DesignContrast:
    """The one contrast that is no repetition with motion as a covariate, and no score beside a dichotomy."""
    (contrast,) = (c for c in design.contrasts if not c.sensitivity and not c.name.endswith("Score"))
    return contrast


def paired(**options: Any) -> Paired:
    return Paired(design="paired", before="pre", after="post", **options)


def two_sample(**options: Any) -> TwoSample:
    settings = {"at": "pre", "group": "arm", "levels": ("drug", "placebo")} | options
    return TwoSample(design="two_sample", **settings)


def by_time(**options: Any) -> GroupByTime:
    settings = {"before": "pre", "after": "post", "group": "arm", "levels": ("drug", "placebo")} | options
    return GroupByTime(design="group_by_time", **settings)


def regression(**options: Any) -> Regression:
    settings = {"predictor": "age"} | ({} if "before" in options else {"at": "pre"}) | options
    return Regression(design="regression", **settings)


def estimate(contrast: DesignContrast, z: dict[str, float]) -> float:
    """Ordinary least squares of the contrast on one value per run."""
    y = np.array([sum(w * z[run] for run, w in row.items()) for row in contrast.run_weights])
    return float(contrast.contrast @ np.linalg.lstsq(contrast.matrix, y, rcond=None)[0])


def run_values(seed: int = 5) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    return {run: float(rng.normal()) for run in study()[1]["run"]}


def point_mean(z: dict[str, float], subject: str, point: str) -> float:
    """By hand: the second run of sub-03 at post has 40 of 60 parts of the weight."""
    if (subject, point) == ("03", "post"):
        return (20 * z["r03post"] + 40 * z["r03postb"]) / 60
    return z[f"r{subject}{point}"]


# Each design by hand --------------------------------------------------------------------------------


def test_paired_is_an_intercept_on_differences_with_sign_flips() -> None:
    contrast = only(compiled(paired()))
    assert (contrast.name, contrast.exchange, contrast.effect_type) == ("change", "flips", "paired")
    assert contrast.columns == ("intercept",)
    np.testing.assert_array_equal(contrast.matrix, np.ones((8, 1)))
    np.testing.assert_array_equal(contrast.contrast, [1.0])
    assert contrast.subjects == tuple(("trial", s) for s in PEOPLE)
    assert contrast.words == "mean change of connectivity, post minus pre"
    assert contrast.run_weights[0] == {"r01post": 1.0, "r01pre": -1.0}
    assert contrast.run_weights[2] == {"r03post": 20 / 60, "r03postb": 40 / 60, "r03pre": -1.0}
    assert not contrast.strata.any()
    assert not contrast.variance_groups.any()


@pytest.mark.truth
@pytest.mark.parametrize("covariates", [(), ("age", "sex", "mean_fd")])
def test_the_paired_effect_is_the_mean_of_differences_whatever_the_covariates(
    covariates: tuple[str, ...],
) -> None:
    z = run_values()
    by_hand = np.mean([point_mean(z, s, "post") - point_mean(z, s, "pre") for s in PEOPLE])
    assert estimate(only(compiled(paired(covariates=covariates))), z) == pytest.approx(by_hand, abs=1e-12)


def test_covariates_are_centred_and_varying_ones_are_differences() -> None:
    contrast = only(compiled(paired(covariates=("age", "mean_fd", "sex"))))
    assert contrast.columns == ("intercept", "age", "mean_fd", "sex=female")
    age = np.array([row[3] for row in PEOPLE.values()], dtype=float)
    fd = np.array([row[7] - row[6] for row in PEOPLE.values()])
    female = np.array([row[2] == "female" for row in PEOPLE.values()], dtype=float)
    by_hand = np.column_stack([np.ones(8), age - age.mean(), fd - fd.mean(), female - female.mean()])
    np.testing.assert_allclose(contrast.matrix, by_hand, atol=1e-12)
    assert contrast.words.endswith("adjusted for age, change of mean_fd and sex")
    assert contrast.has_nuisance


def test_two_sample_codes_the_group_so_that_the_coefficient_is_the_difference() -> None:
    contrast = only(compiled(two_sample(covariates=("mean_fd",))))
    assert (contrast.name, contrast.exchange, contrast.effect_type) == ("difference", "labels", "two_sample")
    assert contrast.columns == ("intercept", "drug - placebo", "mean_fd")
    fd = np.array([row[6] for row in PEOPLE.values()])
    by_hand = np.column_stack([np.ones(8), [0.5] * 4 + [-0.5] * 4, fd - fd.mean()])
    np.testing.assert_allclose(contrast.matrix, by_hand, atol=1e-12)
    np.testing.assert_array_equal(contrast.contrast, [0, 1, 0])
    assert contrast.run_weights[0] == {"r01pre": 1.0}
    assert contrast.row_levels == ("drug",) * 4 + ("placebo",) * 4
    assert not contrast.variance_groups.any()


@pytest.mark.truth
def test_the_two_sample_effect_is_first_minus_second_level() -> None:
    z = run_values()
    drug, placebo = list(PEOPLE)[:4], list(PEOPLE)[4:]
    by_hand = np.mean([z[f"r{s}pre"] for s in drug]) - np.mean([z[f"r{s}pre"] for s in placebo])
    assert estimate(only(compiled(two_sample())), z) == pytest.approx(by_hand, abs=1e-12)
    swapped = two_sample(levels=("placebo", "drug"))
    assert estimate(only(compiled(swapped)), z) == pytest.approx(-by_hand, abs=1e-12)


def unbalanced() -> pd.DataFrame:
    """Six on drug, two on placebo."""
    cohort = study()[0]
    cohort.loc[cohort["subject"].isin(["05", "06"]), "arm"] = "drug"
    return cohort


@pytest.mark.truth
def test_group_by_time_has_interaction_time_and_group_as_by_hand() -> None:
    z = run_values()
    design = compiled(by_time(contrasts=ALL, sensitivity="none"), unbalanced())
    assert [c.name for c in design.contrasts] == ["interaction", "time", "group"]
    drug, placebo = ["01", "02", "03", "04", "05", "06"], ["07", "08"]

    def mean(people: list[str], weight: float) -> float:
        return float(np.mean([point_mean(z, s, "post") + weight * point_mean(z, s, "pre") for s in people]))

    effects = [estimate(c, z) for c in design.contrasts]
    by_hand = [
        mean(drug, -1) - mean(placebo, -1),
        (mean(drug, -1) + mean(placebo, -1)) / 2,
        (mean(drug, 1) - mean(placebo, 1)) / 2,
    ]
    np.testing.assert_allclose(effects, by_hand, atol=1e-12)
    assert [c.exchange for c in design.contrasts] == ["labels", "flips", "labels"]
    assert [c.effect_type for c in design.contrasts] == ["two_sample", "paired", "two_sample"]
    assert "the unweighted mean of the changes of drug and placebo" in design.contrasts[1].words
    for contrast in design.contrasts:
        np.testing.assert_array_equal(contrast.variance_groups, [0, 0, 0, 0, 0, 0, 1, 1])
    assert design.contrasts[2].run_weights[0] == {"r01post": 0.5, "r01pre": 0.5}


def test_varying_covariates_are_differences_or_means_as_the_data_are() -> None:
    design = compiled(by_time(contrasts=ALL, covariates=("mean_fd",)))
    for contrast, weights in zip(design.contrasts, [(-1, 1), (-1, 1), (0.5, 0.5)], strict=True):
        fd = np.array([weights[0] * row[6] + weights[1] * row[7] for row in PEOPLE.values()])
        np.testing.assert_allclose(contrast.matrix[:, 2], fd - fd.mean(), atol=1e-12)


@pytest.mark.truth
def test_regression_gives_the_slope_per_unit_at_a_time_point_or_of_the_change() -> None:
    z = run_values()
    age = np.array([row[3] for row in PEOPLE.values()], dtype=float)
    at = only(compiled(regression()))
    assert (at.name, at.exchange, at.effect_type) == ("slope", "labels", "slope")
    np.testing.assert_allclose(at.matrix, np.column_stack([np.ones(8), age - age.mean()]), atol=1e-12)
    slope = np.polyfit(age, [z[f"r{s}pre"] for s in PEOPLE], 1)[0]
    assert estimate(at, z) == pytest.approx(slope, abs=1e-12)
    score = np.array([row[5] - row[4] for row in PEOPLE.values()], dtype=float)
    difference = [point_mean(z, s, "post") - point_mean(z, s, "pre") for s in PEOPLE]
    of_change = only(compiled(regression(before="pre", after="post", predictor="BDI.change")))
    assert estimate(of_change, z) == pytest.approx(np.polyfit(score, difference, 1)[0], abs=1e-12)
    assert of_change.words == "slope per unit of BDI.change: change of connectivity, post minus pre"


def test_strata_are_blocks_of_exchange_and_nuisance_columns() -> None:
    contrast = only(compiled(two_sample(strata=("site", "sex"))))
    assert contrast.strata_names == (
        "site=A, sex=female",
        "site=A, sex=male",
        "site=B, sex=female",
        "site=B, sex=male",
    )
    np.testing.assert_array_equal(contrast.strata, [1, 0, 3, 2, 1, 0, 3, 2])
    assert contrast.columns[2:] == contrast.strata_names[1:]
    np.testing.assert_allclose(contrast.matrix[:, 2:].sum(axis=0), 0, atol=1e-12)
    assert not contrast.has_nuisance
    words = exchange_words(only(compiled(two_sample(strata=("site",)))))
    assert words == "exchange of group labels within 2 strata (site=A: 4, site=B: 4)"


def test_sign_flips_need_no_strata_but_keep_them_as_nuisance() -> None:
    contrast = only(compiled(paired(strata=("site",))))
    assert contrast.columns == ("intercept", "site=B")
    assert not contrast.strata.any()
    assert contrast.strata_names == ("all",)


def test_response_is_a_group() -> None:
    contrast = only(compiled(two_sample(group="response", levels=("responder", "nonresponder"))))
    assert [
        s
        for (_, s), level in zip(contrast.subjects, contrast.row_levels, strict=True)
        if level == "responder"
    ] == [
        "01",
        "03",
        "07",
    ]
    np.testing.assert_array_equal(contrast.variance_groups, [0, 1, 0, 1, 1, 1, 0, 1])
    assert variance_words(contrast) == (
        "an error variance per group, because the sizes differ (responder 3, nonresponder 5)"
    )


def test_the_data_set_is_a_category_for_pooled_trials() -> None:
    cohort, runs = study()
    cohort.loc[cohort["subject"].isin(["02", "04", "06", "08"]), "dataset"] = "second"
    pooled = compile_model("m", two_sample(), CLINICAL, cohort, runs, INFERENCE)
    assert any("the rows come from 2 data sets (second 4, trial 4)" in note for note in pooled.notes)
    blocked = compile_model("m", two_sample(strata=("dataset",)), CLINICAL, cohort, runs, INFERENCE)
    assert only(blocked).strata_names == ("dataset=second", "dataset=trial")
    assert not any("data sets" in note for note in blocked.notes)
    one = compile_model("m", paired(subset={"dataset": ("second",)}), CLINICAL, cohort, runs, INFERENCE)
    assert {dataset for dataset, _ in only(one).subjects} == {"second"}


def test_levels_of_a_covariate_stand_in_configured_order() -> None:
    assert only(compiled(paired(covariates=("sex",)))).columns[1:] == ("sex=female",)
    assert only(compiled(paired(covariates=("arm",)))).columns[1:] == ("arm=placebo",)


def test_the_primary_contrast_is_the_default_and_confirmatory_is_as_configured() -> None:
    assert [c.name for c in compiled(by_time(sensitivity="none")).contrasts] == ["interaction"]
    chosen = {"group": Contrast(), "interaction": Contrast(confirmatory=True)}
    found = compiled(by_time(contrasts=chosen, sensitivity="none")).contrasts
    assert [(c.name, c.confirmatory) for c in found] == [("interaction", True), ("group", False)]


# Who is left out ------------------------------------------------------------------------------------


def test_everybody_left_out_has_a_reason_in_words() -> None:
    people = PEOPLE | {"10": ("drug", "A", "male", 61, 25, 20, 0.14, 0.31)}
    cohort, runs = study(people)
    cohort = change(cohort, "01", "post", "runs", "n/a")
    cohort = change(cohort, "02", "pre", "runs", "n/a")
    cohort = change(cohort, "02", "post", "runs", "n/a")
    for point in ("pre", "post"):
        cohort = change(cohort, "03", point, "age", math.nan)
        cohort = change(cohort, "04", point, "site", "C")
    cohort = change(cohort, "05", "pre", "mean_fd", "n/a")
    model = paired(covariates=("age", "mean_fd"), subset={"site": ("A", "B")})
    contrast = only(compile_model("m", model, CLINICAL, cohort, runs, INFERENCE))
    assert [s for _, s in contrast.subjects] == ["06", "07", "08", "10"]
    assert {s: reason for _, s, reason in contrast.dropped} == {
        "01": "no included run at post",
        "02": "no included run at pre and post",
        "03": "age is missing",
        "04": "site is C, which is not in the subset",
        "05": "mean_fd is missing",
    }


def test_other_and_missing_levels_are_left_out_with_their_reason() -> None:
    cohort = study()[0]
    for point in ("pre", "post"):
        cohort = change(cohort, "01", point, "arm", "cbt")
        cohort = change(cohort, "05", point, "arm", "n/a")
    design = compiled(by_time(), cohort)
    assert only(design).dropped == (
        ("trial", "01", "arm is cbt, neither drug nor placebo"),
        ("trial", "05", "arm is missing"),
    )
    assert dropped_words(only(design)) == [
        "arm is cbt, neither drug nor placebo: 1 (sub-01)",
        "arm is missing: 1 (sub-05)",
    ]


def test_covariates_are_centred_on_the_rows_used() -> None:
    cohort = change(study()[0], "08", "post", "runs", "n/a")
    contrast = only(compiled(paired(covariates=("age",)), cohort))
    assert contrast.n == 7
    assert contrast.matrix[:, 1].sum() == pytest.approx(0, abs=1e-12)


@given(st.permutations(range(16)), st.sampled_from(["paired", "two_sample", "by_time", "regression"]))
@settings(max_examples=40, deadline=None)
def test_row_order_of_the_cohort_changes_nothing(order: list[int], kind: str) -> None:
    models: dict[str, Model] = {
        "paired": paired(covariates=("age", "sex")),
        "two_sample": two_sample(strata=("site",)),
        "by_time": by_time(contrasts=ALL, covariates=("mean_fd",)),
        "regression": regression(),
    }
    cohort = change(study()[0], "04", "post", "runs", "n/a")
    first, other = compiled(models[kind], cohort), compiled(models[kind], cohort.iloc[order])
    assert_same(first, other)


@given(
    st.lists(st.sampled_from(["runs", "age", "arm"]), min_size=8, max_size=8),
    st.lists(st.booleans(), min_size=8),
)
@settings(max_examples=40, deadline=None)
def test_rows_and_left_out_people_are_the_cohort(holes: list[str], drop: list[bool]) -> None:
    cohort = study()[0]
    for subject, column, hole in zip(PEOPLE, holes, drop, strict=False):
        if hole:
            for point in ("pre", "post"):
                cohort = change(cohort, subject, point, column, "n/a")
    try:
        contrast = only(compiled(paired(covariates=("age",)), cohort))
    except DesignError as error:
        reasons = ("subjects can be rows", "subjects (", "no subject has an included run")
        assert any(reason in str(error) for reason in reasons)
        return
    people = [*contrast.subjects, *((d, s) for d, s, _ in contrast.dropped)]
    assert sorted(people) == [("trial", s) for s in PEOPLE]


# Refusals -------------------------------------------------------------------------------------------


def test_both_sessions_of_a_person_are_never_two_rows() -> None:
    cohort = study()[0]
    cohort["time_point"] = "pre"
    with pytest.raises(DesignError, match=r"models\.m: sub-01 of trial has two rows at time point 'pre'"):
        compiled(two_sample(), cohort)


def test_a_run_counts_for_one_row_only() -> None:
    cohort = change(study()[0], "02", "pre", "runs", "r01pre")
    with pytest.raises(
        DesignError, match="run r01pre is listed twice, for sub-01 of trial at pre and for sub-02"
    ):
        compiled(paired(), cohort)


def test_an_empty_cell_is_named_with_the_reasons() -> None:
    cohort = study()[0]
    for subject in ("05", "06", "07", "08"):
        cohort = change(cohort, subject, "post", "runs", "n/a")
    pattern = (
        r"the cell arm = 'placebo' is empty \(subjects: drug 4, placebo 0\)\. Left out: "
        r"no included run at post \(4\)"
    )
    with pytest.raises(DesignError, match=pattern):
        compiled(by_time(), cohort)
    lone = change(cohort, "05", "post", "runs", "r05post")
    with pytest.raises(DesignError, match="arm = 'placebo' has one subject, which has no variance"):
        compiled(by_time(), lone)


def test_too_few_rows_are_refused_with_names() -> None:
    people = {s: PEOPLE[s] for s in ("01", "05")}
    with pytest.raises(DesignError, match=r"2 subjects can be rows \(sub-01, sub-05\); at least 3"):
        compiled(paired(), study(people)[0])
    people = {s: PEOPLE[s] for s in ("01", "02", "05")}
    with pytest.raises(DesignError, match=r"3 subjects .* for 3 columns \(intercept, age, mean_fd\)"):
        compiled(paired(covariates=("age", "mean_fd")), study(people)[0])


def test_rank_deficiency_names_the_dependent_columns() -> None:
    with pytest.raises(DesignError, match="rank deficient: 'twice' follows from 'age'"):
        compiled(paired(covariates=("age", "twice")))
    with pytest.raises(DesignError, match="'twice' follows from 'age'"):
        compiled(regression(covariates=("twice",)))
    with pytest.raises(DesignError, match=r"'BDI\.change' follows from 'BDI\.pre', 'BDI\.post'"):
        compiled(paired(covariates=("BDI.pre", "BDI.post", "BDI.change")))


def test_a_covariate_that_is_the_group_in_other_words_is_refused() -> None:
    for reference, shown in (
        ("dose", r"0 in placebo, 60 in drug|60 in drug, 0 in placebo"),
        ("arm", "placebo"),
    ):
        with pytest.raises(
            DesignError, match=rf"'{reference}' says nothing but the group 'arm' \(.*({shown})"
        ):
            compiled(two_sample(covariates=(reference,)))
    cohort = study()[0]
    cohort["site"] = ["A", "A", "A", "A", "B", "B", "B", "B", "C", "C", "C", "C", "C", "C", "C", "C"]
    with pytest.raises(DesignError, match="rank deficient: 'site=C' follows from 'drug - placebo'"):
        compiled(two_sample(covariates=("site",)), cohort)


def test_constant_covariates_and_predictors_are_refused() -> None:
    cohort = study()[0]
    cohort["age"], cohort["sex"] = 40, "male"
    with pytest.raises(DesignError, match=r"models\.m\.covariates: 'age' is 40 in all 8 rows"):
        compiled(paired(covariates=("age",)), cohort)
    with pytest.raises(DesignError, match="'sex' is 'male' in all 8 rows"):
        compiled(paired(covariates=("sex",)), cohort)
    with pytest.raises(DesignError, match=r"models\.m\.predictor: 'age' is 40 in all 8 rows"):
        compiled(regression(), cohort)
    cohort["mean_fd"] = 0.25
    with pytest.raises(DesignError, match=r"'mean_fd' \(as a difference\) is 0 in all 8 rows"):
        compiled(paired(covariates=("mean_fd",)), cohort)


def test_unknown_levels_are_refused_with_those_there_are() -> None:
    pattern = (
        r"models\.m\.levels: no subject has arm = 'drugg'; the levels are drug \(4\), placebo \(4\)\. "
        r"Did you mean 'drug'"
    )
    with pytest.raises(DesignError, match=pattern):
        compiled(two_sample(levels=("drugg", "placebo")))
    with pytest.raises(DesignError, match="both levels are 'drug'"):
        compiled(two_sample(levels=("drug", "drug")))


def test_numbers_are_no_groups_and_categories_no_predictors() -> None:
    with pytest.raises(DesignError, match=r"'age' is a number\. Declare kind: category"):
        compiled(two_sample(group="age", levels=("30", "41")))
    with pytest.raises(DesignError, match=r"'age' is a number; strata are categories"):
        compiled(two_sample(strata=("age",)))
    with pytest.raises(DesignError, match="'arm' is a category; a slope needs a number"):
        compiled(regression(predictor="arm"))


def test_time_points_must_exist_differ_and_have_runs() -> None:
    same = Paired(design="paired", before="pre", after="pre")
    with pytest.raises(DesignError, match="before and after are both 'pre'"):
        compiled(same)
    with pytest.raises(
        DesignError, match=r"models\.m\.after: nobody has a time point 'pots'; .*Did you mean 'post'"
    ):
        compiled(Paired(design="paired", before="pre", after="pots"))
    cohort = study()[0].astype(object)
    cohort.loc[cohort["time_point"] == "post", "runs"] = "n/a"
    with pytest.raises(DesignError, match=r"no subject has an included run at 'post' \(.*pre 8, post 0\)"):
        compiled(paired(), cohort)


def test_unknown_contrasts_and_references_are_refused() -> None:
    with pytest.raises(
        DesignError, match=r"a paired design has no contrast 'changes'; .*Did you mean 'change'"
    ):
        compiled(paired(contrasts={"changes": Contrast()}))
    with pytest.raises(ConfigError, match=r"models\.m\.covariates: 'agee' is unknown\. Did you mean 'age'"):
        compiled(paired(covariates=("agee",)))


def test_strata_must_let_something_change_places() -> None:
    with pytest.raises(DesignError, match=r"no stratum holds both levels of 'arm' \(arm=drug: drug"):
        compiled(two_sample(strata=("arm",)))
    with pytest.raises(DesignError, match="'site' is listed under covariates and under strata"):
        compiled(two_sample(strata=("site",), covariates=("site",)))
    with pytest.raises(DesignError, match="'age' is listed twice"):
        compiled(paired(covariates=("age", "age")))


def test_a_group_whose_variance_cannot_be_estimated_is_refused() -> None:
    people = dict(PEOPLE) | {"09": ("drug", "B", "male", 44, 20, 11, 0.14, 0.12)}
    people["07"] = ("drug", "A", "male", 39, 28, 13, 0.09, 0.17)
    people["08"] = ("drug", "A", "male", 28, 21, 19, 0.30, 0.26)
    people["06"] = ("placebo", "C", "female", 47, 26, 21, 0.25, 0.21)
    cohort, runs = study(people)
    with pytest.raises(DesignError, match=r"no degrees of freedom for the variance of arm = 'placebo' \(2"):
        compile_model("m", two_sample(covariates=("site",)), CLINICAL, cohort, runs, INFERENCE)


def test_cohort_and_run_table_must_agree() -> None:
    cohort, runs = study()
    runs.loc[0, "included"] = "false"
    with pytest.raises(InputError, match=r"run r01pre of the cohort is false in runs\.tsv"):
        compile_model("m", paired(), CLINICAL, cohort, runs, INFERENCE)
    with pytest.raises(InputError, match=r"run r01pre of the cohort is absent in runs\.tsv"):
        compile_model("m", paired(), CLINICAL, cohort, runs.iloc[1:], INFERENCE)
    runs.loc[0, ["included", "df"]] = ["true", 2]
    with pytest.raises(InputError, match="run r01pre has df 2"):
        compile_model("m", paired(), CLINICAL, cohort, runs, INFERENCE)


# Smallest attainable p ------------------------------------------------------------------------------


def bare_contrast(exchange: str, tested: list[float], **changes: Any) -> DesignContrast:
    n = len(tested)
    x = np.array(tested)
    intercept_only = exchange == "flips"
    return dataclasses.replace(
        only(compiled(paired())),
        subjects=tuple(("trial", str(i)) for i in range(n)),
        matrix=np.ones((n, 1)) if intercept_only else np.column_stack([np.ones(n), x]),
        columns=("intercept",) if intercept_only else ("intercept", "x"),
        contrast=np.array([1.0]) if intercept_only else np.array([0.0, 1.0]),
        exchange=exchange,
        strata=np.zeros(n, dtype=np.int64),
        variance_groups=np.zeros(n, dtype=np.int64),
        **changes,
    )


def groups(first: int, second: int) -> list[float]:
    return [0.5] * first + [-0.5] * second


MANY = Inference(permutations=10**9)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("exchange", "tested", "expected"),
    [
        ("flips", [1.0] * 6, 2 / 2**6),
        ("labels", groups(4, 4), 2 / math.comb(8, 4)),
        ("labels", groups(3, 5), 1 / math.comb(8, 3)),
        ("labels", [1.0, 2.0, 4.0, 9.0], 1 / math.factorial(4)),
        ("labels", [1.0, 2.0, 4.0, 5.0], 2 / math.factorial(4)),
        ("labels", [1.0, 1.0, 2.0, 9.0], 2 / math.factorial(4)),
    ],
)
def test_the_smallest_p_follows_the_published_formulas(
    exchange: str, tested: list[float], expected: float
) -> None:
    contrast = bare_contrast(exchange, tested)
    assert smallest_p(contrast, MANY) == pytest.approx(expected, rel=1e-12)
    assert smallest_p(contrast, Inference(permutations=99)) == pytest.approx(max(expected, 1 / 100))


def test_the_smallest_p_never_falls_below_what_the_number_of_permutations_allows() -> None:
    assert smallest_p(bare_contrast("labels", groups(40, 40)), INFERENCE) == 1 / 1000
    assert smallest_p(bare_contrast("labels", [float(i) for i in range(400)]), INFERENCE) == 1 / 1000
    assert smallest_p(bare_contrast("flips", [1.0] * 3000), INFERENCE) == 1 / 1000


def test_strata_multiply_and_nuisance_permutes_rows() -> None:
    stratified = only(compiled(two_sample(strata=("site",))))
    assert smallest_p(stratified, MANY) == pytest.approx(2 / math.comb(4, 2) ** 2)
    adjusted = only(compiled(two_sample(covariates=("age",))))
    assert smallest_p(adjusted, MANY) == pytest.approx(1 / math.factorial(8))


@pytest.mark.oracle
@pytest.mark.parametrize(
    "model",
    [
        paired(),
        paired(covariates=("age",)),
        two_sample(),
        two_sample(strata=("site",)),
        two_sample(group="response", levels=("responder", "nonresponder")),
        by_time(),
        regression(subset={"arm": ("drug",)}),
    ],
)
def test_the_smallest_p_is_that_of_the_permutation_set(model: Model) -> None:
    contrast = only(compiled(model))
    found = permutation_set(
        contrast.n,
        contrast.exchange,
        strata=contrast.strata,
        matrix_effect=contrast.tested,
        n_permutations=5000,
        seed=0,
        has_nuisance=contrast.has_nuisance,
    )
    assert smallest_p(contrast, Inference(permutations=5000)) == pytest.approx(found.smallest_p, rel=1e-12)


# Families and words ---------------------------------------------------------------------------------


def test_families_are_one_per_contrast_and_kind() -> None:
    design = compiled(by_time(contrasts=ALL, sensitivity="none"))
    assert [f.name for f in design.families] == [
        f"{contrast}.{kind}" for contrast in ("interaction", "time", "group") for kind in ("maps", "edges")
    ]
    joint = compiled(paired(sensitivity="none"), inference=Inference(joint_families=True))
    assert [(f.name, f.kinds) for f in joint.families] == [("change.all", ("maps", "edges"))]
    no_maps = compiled(paired(seeds="none", sensitivity="none"), inference=Inference(joint_families=True))
    assert [f.name for f in no_maps.families] == ["change.edges"]
    assert compiled(paired(seeds="none", edges=())).families == ()


def test_a_model_is_described_in_sentences() -> None:
    cohort = change(study()[0], "04", "post", "runs", "n/a")
    model = by_time(
        covariates=("age",), contrasts={"interaction": Contrast(confirmatory=True)}, sensitivity="none"
    )
    assert describe(compiled(model, cohort)) == [
        "m, interaction (confirmatory): difference of changes, drug minus placebo: change of connectivity, "
        "post minus pre; adjusted for age.",
        "7 subjects (drug 3, placebo 4), 1 left out; columns: intercept, drug - placebo, age.",
        "exchange of group labels by way of residuals (Freedman-Lane, approximate) among 7 subjects; "
        "an error variance per group, because the sizes differ (drug 3, placebo 4).",
        "Families: interaction.maps, interaction.edges. Smallest attainable p: 0.001.",
        "Left out, no included run at post: 1 (sub-04).",
        "Note: interaction: groups of 4 and 3; should one group vary two or three times as much, family-wise "
        "false positives reach 12 % instead of 5 %, 16 % with strong skew (simulated; conn check --null "
        "looks into your own data).",
        "Note: 1 of 7 subjects have unequal numbers of runs at pre and post (1 and 2 in 1), so that one is "
        "measured more precisely than the other; connectivity.combine_runs first or most_df takes one run "
        "everywhere.",
        "Note: |Δk|, by how much the degrees of freedom of a subject differ between pre and post, is 6.0 on "
        "average (drug 14.0, placebo 0.0).",
    ]


def test_a_design_that_cannot_reach_alpha_says_so() -> None:
    people = {s: PEOPLE[s] for s in ("01", "02", "05", "06")}
    design = compiled(paired(sensitivity="none"), study(people)[0])
    assert design.smallest_p == (0.125,)
    assert describe(design)[-2].startswith(
        "Note: change: with 4 subjects the smallest attainable p is 0.12, above"
    )


# Files ----------------------------------------------------------------------------------------------


def assert_same(one: Design, other: Design) -> None:
    for field in ("model", "design", "families", "smallest_p", "notes"):
        assert getattr(one, field) == getattr(other, field), field
    for a, b in zip(one.contrasts, other.contrasts, strict=True):
        for field in dataclasses.fields(a):
            first, second = getattr(a, field.name), getattr(b, field.name)
            if isinstance(first, np.ndarray):
                assert first.dtype == second.dtype, field.name
                np.testing.assert_array_equal(first, second, err_msg=field.name)
            else:
                assert first == second, field.name


@pytest.mark.parametrize(
    "model",
    [
        paired(covariates=("age", "mean_fd", "sex")),
        two_sample(strata=("site",), contrasts={"difference": Contrast(confirmatory=True)}),
        by_time(contrasts=ALL, covariates=("age",), group="response", levels=("responder", "nonresponder")),
        regression(before="pre", after="post", predictor="BDI.percent_change"),
    ],
)
def test_a_design_survives_the_way_through_its_files_exactly(model: Model, tmp_path: Path) -> None:
    cohort = change(study()[0], "04", "post", "runs", "n/a")
    design = compiled(model, cohort)
    save_design(tmp_path, design, {"seeds": ["sgACC"]})
    assert_same(load_design(tmp_path, "m"), design)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["model-m_design.json", "model-m_design.tsv"]
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    save_design(tmp_path, compiled(model, cohort), {"seeds": ["sgACC"]})
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before
    assert not any(str(tmp_path).encode() in text for text in before)


def test_values_and_baselines_beside_the_rows_survive_the_way_through_files(tmp_path: Path) -> None:
    plain = only(compiled(by_time()))
    wide = dataclasses.replace(
        plain,
        contrast=np.eye(2)[1:],
        more_weights=(plain.run_weights, tuple({"a1": 0.1 + i, "b1": -1 / 3} for i in range(8))),
        covariate_weights=tuple({f"base{i}": 1.0} for i in range(8)),
        effect_type="none",
        sensitivity=True,
        exchanged="the sequence",
    )
    assert (wide.statistic, wide.rank, wide.n_variates, wide.has_nuisance) == ("F", 1, 3, True)
    np.testing.assert_array_equal(wide.tested, [1] * 4 + [0] * 4)
    save_design(tmp_path, Design("m", "group_by_time", (wide,), (), (0.1,)))
    assert_same(load_design(tmp_path, "m"), Design("m", "group_by_time", (wide,), (), (0.1,)))


def test_awkward_names_of_levels_and_variables_survive(tmp_path: Path) -> None:
    cohort, runs = study()
    cohort["arm"] = cohort["arm"].map({"drug": "two  words: 50 %;", "placebo": "plâcebo"})
    cohort = cohort.rename(columns={"age": "level"})
    clinical = CLINICAL.model_copy(
        update={"variables": {**CLINICAL.variables, "level": Variable(column="level")}}
    )
    model = two_sample(levels=("two  words: 50 %;", "plâcebo"), covariates=("level",))
    design = compile_model("m", model, clinical, cohort, runs, INFERENCE)
    assert only(design).columns == ("intercept", "two words: 50 %; - plâcebo", "level (covariate)")
    save_design(tmp_path, design)
    assert_same(load_design(tmp_path, "m"), design)


def test_files_that_are_no_design_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model-m_design\.tsv: the table is not there"):
        load_design(tmp_path, "m")
    save_design(tmp_path, compiled(paired()))
    (tmp_path / "model-m_design.json").write_text('{"model": "m"}')
    with pytest.raises(InputError, match=r"model-m_design\.json: not a design"):
        load_design(tmp_path, "m")
    with pytest.raises(ValueError, match="'notes' is already an entry"):
        save_design(tmp_path, compiled(paired()), {"notes": []})


# Real tables ----------------------------------------------------------------------------------------


def real_study(
    shared: Path, dataset: str, clinical: Clinical, labels: dict[str, tuple[str, ...]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cohort and run table of a data set whose every listed image is an included run."""
    folder = shared / "openneuro" / dataset
    text = gzip.decompress((folder / "FILES.txt.gz").read_bytes()).decode()
    names = sorted(set(re.findall(r"(sub-([A-Za-z0-9]+)_ses-([A-Za-z0-9]+)_\S*)_bold\.nii\.gz", text)))
    records = [
        {
            "run": re.sub("[^A-Za-z0-9]", "", name),
            "dataset": dataset,
            "subject": subject,
            "session": session,
            "time_point": session,
            "frames_kept": "100",
            "df": "30",
            "mean_fd": str(0.1 + i % 7 / 50),
            "included": "true",
        }
        for i, (name, subject, session) in enumerate(names)
    ]
    runs = pd.DataFrame(records, dtype=str)
    data = {dataset: read_clinical(folder, clinical, sorted(set(runs["subject"])))}
    return build_cohort(clinical, data, runs, {dataset: labels}).table, runs


DS003007 = Clinical(
    baseline="pre",
    endpoint="post",
    scales={"BDI": Scale(columns={"pre": "BDI_ses-pre", "post": "BDI_ses-post"})},
    response=Response(scale="BDI"),
    variables={
        "arm": Variable(column="group", kind="category"),
        "sex": Variable(column="gender", kind="category", levels={"m": "male", "f": "female"}),
        "age": Variable(column="age"),
    },
)


def test_ds003007_compiles_to_paired_arms_and_slope_designs(shared_data: Path) -> None:
    cohort, runs = real_study(shared_data, "ds003007", DS003007, {"pre": ("pre",), "post": ("post",)})

    def make(model: Model) -> DesignContrast:
        return only(compile_model("m", model, DS003007, cohort, runs, Inference()))

    everybody = make(paired(covariates=("age", "sex")))
    assert (everybody.n, everybody.matrix.shape, everybody.dropped) == (29, (29, 3), ())
    arms = make(by_time(levels=("depr_nfb", "depr_no_treatment")))
    assert (arms.n, len(arms.dropped)) == (21, 8)
    assert {reason for *_, reason in arms.dropped} == {
        "arm is depr_cbt, neither depr_nfb nor depr_no_treatment"
    }
    assert np.bincount(arms.variance_groups).tolist() == [6, 15]
    noted = compile_model(
        "m", by_time(levels=("depr_nfb", "depr_no_treatment")), DS003007, cohort, runs, Inference()
    ).notes
    assert any("groups of 15 and 6" in note and "reach 11 %" in note for note in noted)
    (skew,) = compile_model("m", paired(), DS003007, cohort, runs, Inference()).notes
    assert skew.startswith("change: sign flips assume symmetric values")
    slope = make(regression(before="pre", after="post", predictor="BDI.change"))
    assert (slope.n, {reason for *_, reason in slope.dropped}) == (25, {"BDI.change is missing"})
    responders = make(two_sample(group="response", levels=("responder", "nonresponder")))
    assert responders.n == 25


DS005917 = Clinical(
    tables=(ClinicalTable(), ClinicalTable(path="phenotype/phenotype.tsv")),
    scales={"MADRS": Scale(column="MADRS_Total")},
    variables={"diagnosis": Variable(column="group", kind="category"), "age": Variable(column="age")},
)


def test_ds005917_pairs_drug_with_placebo_and_says_who_lacks_which(shared_data: Path) -> None:
    labels = {name: (name,) for name in ("b0", "d2", "d10", "p2", "p10")}
    cohort, runs = real_study(shared_data, "ds005917", DS005917, labels)
    model = Paired(design="paired", before="p2", after="d2", subset={"diagnosis": ("MDD",)})
    contrast = only(compile_model("m", model, DS005917, cohort, runs, Inference()))
    table = cohort[cohort["runs"] != "n/a"]
    scanned = {point: set(table[table["time_point"] == point]["subject"]) for point in ("d2", "p2")}
    patients = set(cohort[cohort["diagnosis"] == "MDD"]["subject"])
    assert {s for _, s in contrast.subjects} == patients & scanned["d2"] & scanned["p2"]
    reasons = {s: reason for _, s, reason in contrast.dropped}
    assert {s for s, r in reasons.items() if r == "no included run at p2"} == patients & scanned[
        "d2"
    ] - scanned["p2"]
    assert sum("not in the subset" in reason for reason in reasons.values()) == 25
    several = [row for row in contrast.run_weights if len(row) > 2]
    assert several
    assert all(sum(row.values()) == pytest.approx(0, abs=1e-12) for row in contrast.run_weights)
    slope = regression(at="b0", predictor="MADRS.b0", covariates=("age",), subset={"diagnosis": ("MDD",)})
    baseline = only(compile_model("s", slope, DS005917, cohort, runs, Inference()))
    assert baseline.columns == ("intercept", "MADRS.b0", "age")
    assert baseline.n + len(baseline.dropped) == 58
