"""Every design of the compile table beyond the first four: rows, matrix, weights and words by hand."""

from __future__ import annotations

import dataclasses
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conn import inference
from conn.config.contrasts import contrasts_of
from conn.config.model import (
    Contrast,
    Crossover,
    Formula,
    GroupByTime,
    Inference,
    Model,
    OneSample,
    Paired,
    ParallelArms,
    TreatmentByOutcome,
    TwoSample,
    Within,
)
from conn.design import (
    DesignContrast,
    describe,
    exchange_words,
    load_design,
    save_design,
    smallest_p,
    spec,
    variance_words,
)
from conn.design.plans import helmert
from conn.errors import ConfigError, DesignError
from conn.permutation import permutation_set
from test_design import assert_same
from trials import compiled, contrast, data, estimate, members, trial, values

MANY = Inference(permutations=10**9)
THREE = ("drug", "placebo", "cbt")


def named(*names: str) -> dict[str, Contrast]:
    return {name: Contrast() for name in names}


def two_sample(**options: Any) -> TwoSample:
    return TwoSample(design="two_sample", **{"at": "pre", "group": "arm", "levels": THREE} | options)


def by_time(**options: Any) -> GroupByTime:
    known = {"before": "pre", "after": "post", "group": "arm", "levels": THREE}
    return GroupByTime(design="group_by_time", **known | options)


def arms(**options: Any) -> ParallelArms:
    known = {"before": "pre", "after": "post", "arm": "arm", "levels": ("drug", "placebo")}
    return ParallelArms(design="parallel_arms", **known | {"randomised": True} | options)


def crossover(**options: Any) -> Crossover:
    known = {"treatment": "d2", "control": "p2", "sequence": "order", "levels": ("drugFirst", "placeboFirst")}
    return Crossover(design="crossover", **known | options)


def within(**options: Any) -> Within:
    return Within(design="within", **{"points": ("pre", "mid", "post")} | options)


def by_outcome(**options: Any) -> TreatmentByOutcome:
    known = {"arm": "arm", "arm_levels": ("drug", "placebo"), "outcome": "response"}
    known |= {"outcome_levels": ("responder", "nonresponder")}
    return TreatmentByOutcome(
        design="treatment_by_outcome", **known | {"before": "pre", "after": "post"} | options
    )


def written(formula: str, tests: dict[str, Any], **options: Any) -> Formula:
    return Formula(design="formula", formula=formula, tests=tests, **{"at": "pre"} | options)


def orders(first: int, second: int) -> dict[str, dict[str, Any]]:
    """People of a crossover: so many with the drug first, so many with placebo first."""
    order = ["drugFirst"] * first + ["placeboFirst"] * second
    return {f"{n:02d}": {"order": one} for n, one in enumerate(order, start=1)}


def cells(**counts: int) -> dict[str, dict[str, Any]]:
    """People by arm and outcome, as in ``cells(drug_responder=3)``."""
    names = [name.split("_") for name, count in counts.items() for _ in range(count)]
    return {f"{n:02d}": {"arm": arm, "response": outcome} for n, (arm, outcome) in enumerate(names, start=1)}


# One sample -----------------------------------------------------------------------------------------


def test_one_sample_is_the_mean_at_a_time_point_with_sign_flips() -> None:
    one = contrast(compiled(OneSample(design="one_sample", at="post"), trial(members(drug=7))), "mean")
    assert (one.exchange, one.effect_type, one.columns, one.statistic) == (
        "flips",
        "paired",
        ("intercept",),
        "t",
    )
    np.testing.assert_array_equal(one.matrix, np.ones((7, 1)))
    assert one.run_weights[3] == {"r04post": 1.0}
    assert one.words == "mean connectivity at post"
    assert smallest_p(one, MANY) == 2 / 2**7


# More than two groups -------------------------------------------------------------------------------


@pytest.mark.truth
def test_three_groups_have_coefficients_against_the_last_and_an_intercept_that_is_their_mean() -> None:
    tables = trial(members(drug=3, placebo=5, cbt=4))
    one = contrast(compiled(two_sample(), tables), "difference")
    assert one.columns == ("intercept", "drug - cbt", "placebo - cbt")
    np.testing.assert_allclose(
        one.matrix[[0, 3, 8]], [[1, 2 / 3, -1 / 3], [1, -1 / 3, 2 / 3], [1, -1 / 3, -1 / 3]]
    )
    np.testing.assert_array_equal(one.contrast, [[0, 1, 0], [0, 0, 1]])
    z = values(tables)
    means = [np.mean(data(one.run_weights[i:j], z)) for i, j in ((0, 3), (3, 8), (8, 12))]
    found = np.linalg.lstsq(one.matrix, data(one.run_weights, z), rcond=None)[0]
    np.testing.assert_allclose(found, [np.mean(means), means[0] - means[2], means[1] - means[2]], atol=1e-12)


def test_an_f_over_groups_names_them_and_has_no_effect_size() -> None:
    one = contrast(compiled(two_sample(), trial(members(drug=3, placebo=5, cbt=4))), "difference")
    assert (one.statistic, one.rank, one.n_variates, one.effect_type) == ("F", 2, 1, "none")
    assert one.words == "any difference between drug, placebo and cbt: connectivity at pre"
    assert exchange_words(one) == "exchange of group labels among 12 subjects"
    assert variance_words(one).endswith("because the sizes differ (drug 3, placebo 5, cbt 4)")
    np.testing.assert_array_equal(one.cells, [0] * 3 + [1] * 5 + [2] * 4)
    np.testing.assert_array_equal(one.variance_groups, one.cells)
    assert one.row_levels == ("drug",) * 3 + ("placebo",) * 5 + ("cbt",) * 4
    assert len(np.unique(one.tested[:3])) == 1
    assert len(np.unique(one.tested)) == 3
    assert not one.has_nuisance


def test_groups_of_equal_size_share_one_variance() -> None:
    one = contrast(compiled(two_sample(), trial(members(drug=4, placebo=4, cbt=4))), "difference")
    assert not one.variance_groups.any()


def test_each_pair_of_several_groups_is_the_design_of_two_groups() -> None:
    tables = trial(members(drug=3, placebo=5, cbt=4))
    pairs = {"DrugVsPlacebo": ("drug", "placebo"), "DrugVsCbt": ("drug", "cbt"), "PlaceboVsCbt": THREE[1:]}
    names = [f"difference{pair}" for pair in pairs]
    design = compiled(two_sample(contrasts=named(*names), sensitivity="none"), tables)
    assert [c.name for c in design.contrasts] == names
    for name, levels in zip(names, pairs.values(), strict=True):
        alone = contrast(compiled(two_sample(levels=levels), tables), "difference")
        pair = contrast(design, name)
        np.testing.assert_array_equal(pair.matrix, alone.matrix)
        for field in ("subjects", "run_weights", "words", "levels", "effect_type", "exchange", "dropped"):
            assert getattr(pair, field) == getattr(alone, field), field


def test_group_by_time_of_three_groups_has_f_f_and_pairs() -> None:
    model = by_time(contrasts=named("interaction", "time", "group", "groupDrugVsCbt"), sensitivity="none")
    design = compiled(model, trial(members(drug=4, placebo=4, cbt=4)))
    found = [(c.name, c.statistic, c.rank, c.exchange) for c in design.contrasts]
    assert found == [
        ("interaction", "F", 2, "labels"),
        ("time", "t", 1, "flips"),
        ("group", "F", 2, "labels"),
        ("groupDrugVsCbt", "t", 1, "labels"),
    ]
    words = [c.words for c in design.contrasts]
    change = "change of connectivity, post minus pre"
    assert words[0] == f"any difference of changes between drug, placebo and cbt: {change}"
    assert words[1] == f"mean {change}: the unweighted mean of the changes of drug, placebo and cbt"
    assert words[3] == "difference, drug minus cbt: connectivity averaged over pre and post"


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (("a b", "c-d", "é2"), ("ABVsCD", "ABVs2", "CDVs2")),
        (("x", "X", "y"), ("1Vs2", "1Vs3", "2Vs3")),
        (("é", "x", "y"), ("1Vs2", "1Vs3", "2Vs3")),
    ],
)
def test_names_of_pairs_are_letters_and_digits(levels: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert contrasts_of(two_sample(levels=levels))[1:] == tuple(f"difference{pair}" for pair in expected)


# Randomised arms ------------------------------------------------------------------------------------


def test_randomised_arms_are_adjusted_for_the_baseline_of_each_voxel_with_the_change_beside() -> None:
    design = compiled(arms(sensitivity="none"), trial(members(drug=4, placebo=4)))
    assert [c.name for c in design.contrasts] == ["adjusted", "change"]
    one = design.contrasts[0]
    assert one.run_weights[0] == {"r01post": 1.0}
    assert one.covariate_weights[0] == {"r01pre": 1.0}
    assert one.columns == ("intercept", "drug - placebo")
    assert (one.effect_type, one.exchange, one.has_nuisance) == ("ancova", "labels", True)
    assert one.words == (
        "difference, drug minus placebo: connectivity at post, adjusted for connectivity at pre of the same "
        "voxel or edge"
    )
    assert "made anew in each voxel or edge (Freedman-Lane, approximate)" in exchange_words(one)
    assert smallest_p(one, MANY) == 1 / math.factorial(8)
    assert one.runs[:4] == ("r01post", "r01pre", "r02post", "r02pre")
    assert design.contrasts[1].run_weights[0] == {"r01post": 1.0, "r01pre": -1.0}
    assert not design.contrasts[1].covariate_weights


@pytest.mark.truth
def test_the_adjusted_difference_is_that_of_means_minus_slope_times_that_of_baselines() -> None:
    tables = trial(members(drug=4, placebo=5))
    one = contrast(compiled(arms(), tables), "adjusted")
    z = values(tables)
    post, pre = data(one.run_weights, z), data(one.covariate_weights, z)
    inside = [slice(0, 4), slice(4, 9)]
    x = np.concatenate([pre[part] - pre[part].mean() for part in inside])
    y = np.concatenate([post[part] - post[part].mean() for part in inside])
    slope = x @ y / (x @ x)
    first, second = (post[part].mean() - slope * pre[part].mean() for part in inside)
    assert estimate(one, z) == pytest.approx(first - second, abs=1e-12)


def test_arms_that_were_not_randomised_compare_changes_first() -> None:
    design = compiled(arms(randomised=False, levels=THREE), trial(members(drug=4, placebo=5, cbt=4)))
    assert [(c.name, c.statistic) for c in design.contrasts] == [
        ("change", "F"),
        ("adjusted", "F"),
        ("changeFD", "F"),
    ]
    assert contrasts_of(arms(levels=THREE))[2:4] == ("adjustedDrugVsPlacebo", "adjustedDrugVsCbt")


def test_people_without_baseline_are_no_rows_of_an_adjusted_comparison() -> None:
    people = members(drug=5, placebo=5)
    people["03"]["without"] = ("pre",)
    design = compiled(arms(), trial(people))
    assert contrast(design, "adjusted").dropped == (("trial", "03", "no included run at pre"),)
    for person in people.values():
        person["without"] = ("pre",)
    with pytest.raises(DesignError, match=r"models\.m\.before: no subject has an included run at 'pre'"):
        compiled(arms(), trial(people))


def test_the_baseline_of_a_voxel_costs_a_degree_of_freedom() -> None:
    people = members(drug=2, placebo=2)
    model = arms(covariates=("age",), contrasts=named("adjusted"))
    with pytest.raises(DesignError, match=r"4 columns \(intercept, drug - placebo, age, connectivity at pre"):
        compiled(model, trial(people))


# Crossover ------------------------------------------------------------------------------------------


def test_a_crossover_exchanges_sequences_of_first_minus_second_period() -> None:
    one = contrast(compiled(crossover(), trial(orders(3, 4), ("d2", "p2"))), "treatment")
    assert one.run_weights[0] == {"r01d2": 1.0, "r01p2": -1.0}
    assert one.run_weights[6] == {"r07d2": -1.0, "r07p2": 1.0}
    assert one.columns == ("intercept", "d2 - p2")
    np.testing.assert_array_equal(one.matrix[:, 1], [1] * 3 + [-1] * 4)
    assert (one.exchange, one.effect_type, one.levels) == ("labels", "paired", ("drugFirst", "placeboFirst"))
    assert one.words.startswith("d2 minus p2, free of period: half of what the sequences drugFirst and ")
    assert exchange_words(one) == "exchange of sequence labels among 7 subjects"
    np.testing.assert_array_equal(one.variance_groups, [0] * 3 + [1] * 4)
    assert smallest_p(one, MANY) == 1 / math.comb(7, 3)


@pytest.mark.truth
@pytest.mark.parametrize("counts", [(4, 4), (3, 6)])
def test_period_and_treatment_of_a_crossover_are_told_apart_exactly(counts: tuple[int, int]) -> None:
    tables = trial(orders(*counts), ("d2", "p2"))
    model = crossover(contrasts=named("treatment", "treatmentFlips", "carryover", "period"))
    design = compiled(model, tables)
    drug, period, carry = 0.31, 0.17, 0.08
    z = {}
    for subject, order in ((s, p["order"]) for s, p in orders(*counts).items()):
        first = order == "drugFirst"
        own = 0.2 * int(subject)
        z[f"r{subject}d2"] = own + drug + (period if first else 0)
        z[f"r{subject}p2"] = own + (0 if first else period) + (carry if first else 0)
    clean = {key: value - 0.2 * int(key[1:3]) for key, value in z.items()}
    # A carry-over of the drug into the second period is part of both estimates, as in any two-period trial.
    assert estimate(contrast(design, "treatment"), z) == pytest.approx(drug - carry / 2, abs=1e-12)
    assert estimate(contrast(design, "treatmentFlips"), z) == pytest.approx(drug - carry / 2, abs=1e-12)
    assert estimate(contrast(design, "period"), z) == pytest.approx(period - carry / 2, abs=1e-12)
    assert estimate(contrast(design, "carryover"), clean) == pytest.approx(carry, abs=1e-12)


def test_the_further_contrasts_of_a_crossover_by_hand() -> None:
    design = compiled(
        crossover(contrasts=named(*contrasts_of(crossover()))), trial(orders(4, 4), ("d2", "p2"))
    )
    flips, carry, period = (contrast(design, name) for name in ("treatmentFlips", "carryover", "period"))
    assert flips.columns == ("intercept", "first period - second")
    np.testing.assert_array_equal(flips.matrix[:, 1], [1] * 4 + [-1] * 4)
    assert flips.run_weights[7] == {"r08d2": 1.0, "r08p2": -1.0}
    assert (flips.exchange, flips.has_nuisance, period.exchange) == ("flips", True, "flips")
    assert "the period held constant" in flips.words
    assert carry.run_weights[7] == {"r08d2": 1.0, "r08p2": 1.0}
    assert (carry.columns[1], carry.matrix[0, 1]) == ("drugFirst - placeboFirst", 0.5)
    assert carry.words.endswith("its power is low, and it never changes the analysis")
    assert period.run_weights == contrast(design, "treatment").run_weights
    assert period.words.startswith("first minus second period, free of treatment")


def test_motion_of_a_crossover_runs_from_the_first_to_the_second_period_as_the_data_do() -> None:
    tables = trial(orders(4, 5), ("d2", "p2"))
    one = contrast(compiled(crossover(), tables), "treatmentFD")
    fd = tables[0].set_index(["subject", "time_point"])["mean_fd"].astype(float)
    by_hand = [fd[s, "d2"] - fd[s, "p2"] for _, s in one.subjects]
    by_hand = np.array(by_hand) * ([1] * 4 + [-1] * 5)
    np.testing.assert_allclose(one.matrix[:, 2], by_hand - by_hand.mean(), atol=1e-12)
    assert one.words.endswith("adjusted for difference of mean_fd")


def test_a_crossover_takes_complete_pairs_with_a_known_sequence() -> None:
    people = orders(4, 5)
    people["02"]["without"] = ("p2",)
    people["05"]["order"] = "n/a"
    people["06"]["order"] = "other"
    one = contrast(compiled(crossover(), trial(people, ("d2", "p2"))), "treatment")
    assert {s: reason for _, s, reason in one.dropped} == {
        "02": "no included run at p2",
        "05": "order is missing",
        "06": "order is other, neither drugFirst nor placeboFirst",
    }


def test_a_crossover_needs_both_sequences() -> None:
    with pytest.raises(
        DesignError,
        match=r"models\.m\.levels: no subject has order = 'placeboFirst'; the levels are drugFirst",
    ):
        compiled(crossover(), trial(orders(8, 0), ("d2", "p2")))
    unknown = {s: {} for s in orders(4, 4)}
    with pytest.raises(DesignError, match="no subject has order = 'drugFirst'; the levels are none"):
        compiled(crossover(), trial(unknown, ("d2", "p2")))
    with pytest.raises(DesignError, match="treatment and control are both 'd2'; there is no change"):
        compiled(crossover(control="d2"), trial(orders(4, 4), ("d2", "p2")))


# More than two time points --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5])
def test_contrasts_of_time_points_are_orthonormal_and_leave_out_the_mean(n: int) -> None:
    made = np.array(helmert(n))
    np.testing.assert_allclose(made @ made.T, np.eye(n - 1), atol=1e-12)
    np.testing.assert_allclose(made.sum(axis=1), 0, atol=1e-12)


def test_more_than_two_time_points_are_several_values_of_a_row_flipped_at_once() -> None:
    one = contrast(compiled(within(), trial(members(drug=8), ("pre", "mid", "post"))), "within")
    a, b = 1 / math.sqrt(2), 1 / math.sqrt(6)
    assert one.run_weights[0] == pytest.approx({"r01pre": -a, "r01mid": a})
    assert len(one.more_weights) == 1
    assert one.more_weights[0][7] == pytest.approx({"r08pre": -b, "r08mid": -b, "r08post": 2 * b})
    assert (one.statistic, one.rank, one.n_variates, one.effect_type) == ("F", 1, 2, "none")
    np.testing.assert_array_equal(one.contrast, [[1.0]])
    assert one.words == "any change of connectivity over pre, mid and post"
    assert exchange_words(one).startswith("sign flips, one sign per subject for all 2 values; errors")
    assert variance_words(one) == "one error covariance of 2 values"
    assert smallest_p(one, MANY) == 2 / 2**8
    assert not one.has_nuisance


@pytest.mark.truth
def test_the_values_of_a_row_hold_all_differences_between_time_points_whatever_their_order() -> None:
    points = ("pre", "mid", "post")
    tables = trial(members(drug=8), points)
    z = values(tables)

    def hotelling(order: tuple[str, ...]) -> float:
        one = contrast(compiled(within(points=order), tables), "within")
        y = np.column_stack([data(w, z) for w in (one.run_weights, *one.more_weights)])
        return float(len(y) * y.mean(axis=0) @ np.linalg.solve(np.cov(y.T), y.mean(axis=0)))

    found = [hotelling(order) for order in permutations(points)]
    assert found == pytest.approx([found[0]] * 6)


def test_courses_of_groups_are_compared_by_labels() -> None:
    model = within(group="arm", levels=THREE, contrasts=named("within", "groupByWithin"))
    design = compiled(model, trial(members(drug=5, placebo=5, cbt=5), ("pre", "mid", "post")))
    groups, course = design.contrasts[:2]
    assert (groups.name, groups.exchange, groups.rank, groups.n_variates) == ("groupByWithin", "labels", 2, 2)
    assert groups.words == (
        "any difference of changes between drug, placebo and cbt: connectivity over pre, mid and post"
    )
    assert (course.name, course.exchange, course.has_nuisance) == ("within", "flips", True)
    assert course.words.endswith("post, the unweighted mean of drug, placebo and cbt")
    assert contrasts_of(within()) == ("within",)


def test_motion_enters_several_time_points_as_one_column_per_contrast() -> None:
    tables = trial(members(drug=9), ("pre", "mid", "post"))
    one = contrast(compiled(within(), tables), "withinFD")
    assert one.columns == ("intercept", "mean_fd (1)", "mean_fd (2)")
    fd = tables[0].set_index(["subject", "time_point"])["mean_fd"].astype(float).unstack()
    by_hand = fd[["pre", "mid", "post"]].to_numpy() @ np.array(helmert(3)).T
    np.testing.assert_allclose(one.matrix[:, 1:], by_hand - by_hand.mean(axis=0), atol=1e-12)
    assert one.words.endswith("adjusted for mean_fd at every time point")


def test_a_joint_test_needs_people_for_all_time_points() -> None:
    points = ("a", "b", "c", "d")
    with pytest.raises(
        DesignError, match=r"3 subjects .* for 1 columns and 3 contrasts of 4 time points; .* at least 4"
    ):
        compiled(within(points=points), trial(members(drug=3), points))


def test_unequal_groups_with_several_values_have_a_covariance_each() -> None:
    model = within(group="arm", levels=("drug", "placebo"), sensitivity="none")
    design = compiled(model, trial(members(drug=4, placebo=7), ("pre", "mid", "post")))
    one = design.contrasts[0]
    np.testing.assert_array_equal(one.variance_groups, one.cells)
    words = "an error covariance of 2 values per group, because the sizes differ (drug 4, placebo 7)"
    assert variance_words(one) == words
    assert any("groups of 7 and 4; should the smaller one" in note for note in design.notes)


def test_groups_too_small_for_a_covariance_are_refused() -> None:
    points = ("a", "b", "c", "d")
    model = within(group="arm", levels=("drug", "placebo"), points=points, sensitivity="none")
    with pytest.raises(
        DesignError, match=r"'drug' has 3 subjects and 2 degrees of freedom for that of 3 values\. At least 3"
    ):
        compiled(model, trial(members(drug=3, placebo=8), points))
    assert not compiled(model, trial(members(drug=3, placebo=3), points)).contrasts[0].variance_groups.any()


# Treatment by outcome -------------------------------------------------------------------------------


@pytest.mark.truth
def test_treatment_by_outcome_has_both_main_effects_and_their_difference_of_differences() -> None:
    people = cells(drug_responder=4, drug_nonresponder=2, placebo_responder=3, placebo_nonresponder=3)
    tables = trial(people)
    design = compiled(
        by_outcome(contrasts=named("interaction", "arm", "outcome"), sensitivity="none"), tables
    )
    z = values(tables)
    change = data(design.contrasts[0].run_weights, z)
    a, b, c, d = (change[i:j].mean() for i, j in ((0, 4), (4, 6), (6, 9), (9, 12)))
    by_hand = [(a - b) - (c - d), (a + b) / 2 - (c + d) / 2, (a + c) / 2 - (b + d) / 2]
    np.testing.assert_allclose([estimate(one, z) for one in design.contrasts[:3]], by_hand, atol=1e-12)
    assert [one.name for one in design.contrasts[3:]] == ["interactionScore", "outcomeScore"]


def test_cells_of_treatment_by_outcome_are_groups_with_a_variance_each() -> None:
    people = cells(drug_responder=4, drug_nonresponder=2, placebo_responder=3, placebo_nonresponder=3)
    one = compiled(by_outcome(), trial(people)).contrasts[0]
    assert one.levels == ("drug/responder", "drug/nonresponder", "placebo/responder", "placebo/nonresponder")
    np.testing.assert_array_equal(one.cells, [0] * 4 + [1] * 2 + [2] * 3 + [3] * 3)
    np.testing.assert_array_equal(one.variance_groups, one.cells)
    assert one.columns[3] == "(drug - placebo) x (responder - nonresponder)"
    np.testing.assert_array_equal(one.matrix[:, 3], one.matrix[:, 1] * one.matrix[:, 2])
    assert one.has_nuisance
    assert one.words.startswith(
        "difference of differences, drug minus placebo of responder minus nonresponder:"
    )
    assert exchange_words(one).startswith("exchange of cells by way of residuals (Freedman-Lane")


def test_an_empty_cell_of_treatment_by_outcome_is_named() -> None:
    people = cells(drug_responder=4, drug_nonresponder=2, placebo_responder=5)
    pattern = r"the cell arm = 'placebo', response = 'nonresponder' is empty \(subjects: drug/responder 4, "
    with pytest.raises(DesignError, match=pattern):
        compiled(by_outcome(), trial(people))


# Formula --------------------------------------------------------------------------------------------


def two_by_two(n: int = 13) -> dict[str, dict[str, Any]]:
    return {
        f"{i:02d}": {"arm": "drug" if i % 2 else "placebo", "sex": "m" if i % 3 else "f"}
        for i in range(1, n + 1)
    }


def test_a_formula_gives_centred_columns_and_centred_products() -> None:
    tables = trial(two_by_two())
    one = compiled(written("age * arm", {"slopes": {"age:arm=placebo": 1}}), tables).contrasts[0]
    assert one.columns == ("intercept", "age", "arm=placebo", "age:arm=placebo")
    age = np.array([20 + (7 * i) % 37 for i in range(1, 14)], dtype=float)
    placebo = np.array([i % 2 == 0 for i in range(1, 14)], dtype=float)
    product = (age - age.mean()) * (placebo - placebo.mean())
    np.testing.assert_allclose(one.matrix[:, 3], product - product.mean(), atol=1e-12)
    np.testing.assert_array_equal(one.contrast, [0, 0, 0, 1])
    assert one.words == "age:arm=placebo in the model age * arm: connectivity at pre"
    assert (one.effect_type, one.has_nuisance, one.levels) == ("slope", True, ())


@pytest.mark.truth
def test_the_product_of_a_formula_is_the_difference_of_slopes() -> None:
    tables = trial(two_by_two())
    one = compiled(written("age * arm", {"slopes": {"age:arm=placebo": 1}}), tables).contrasts[0]
    z = values(tables)
    y = data(one.run_weights, z)
    age = np.array([20 + (7 * i) % 37 for i in range(1, 14)], dtype=float)
    placebo = np.arange(1, 14) % 2 == 0
    slopes = [np.polyfit(age[part], y[part], 1)[0] for part in (placebo, ~placebo)]
    assert estimate(one, z) == pytest.approx(slopes[0] - slopes[1], abs=1e-12)


def test_tests_of_a_formula_are_weights_or_lists_of_columns() -> None:
    tests = {"sum": {"arm=placebo": 1, "sex=m": -0.5}, "any": ("arm=placebo", "sex=m")}
    design = compiled(written("age + arm + sex", tests, sensitivity="none"), trial(two_by_two()))
    weighted, joint = design.contrasts
    np.testing.assert_array_equal(weighted.contrast, [0, 0, 1, -0.5])
    assert weighted.words.startswith("arm=placebo plus -0.5 times sex=m in the model age + arm + sex:")
    assert (joint.statistic, joint.rank, joint.effect_type) == ("F", 2, "none")
    assert joint.words.startswith("any of arm=placebo and sex=m in the model")
    assert [f.name for f in design.families] == ["sum.maps", "sum.edges", "any.maps", "any.edges"]


def test_a_weighted_test_divides_the_matrix_into_what_is_tested_and_the_rest() -> None:
    one = compiled(written("age + arm + sex", {"sum": {"arm=placebo": 1, "sex=m": 2}}), trial(two_by_two()))
    weighted = one.contrasts[0]
    effect = spec.tested_columns(weighted.matrix, weighted.contrast)
    rest = spec.nuisance_columns(weighted.matrix, weighted.contrast)
    y = np.random.default_rng(4).normal(size=13)
    by_parts = np.linalg.lstsq(np.column_stack([effect, rest]), y, rcond=None)[0][0]
    whole = weighted.contrast @ np.linalg.lstsq(weighted.matrix, y, rcond=None)[0]
    assert by_parts == pytest.approx(whole, abs=1e-12)
    assert np.linalg.matrix_rank(np.column_stack([effect, rest])) == 4
    np.testing.assert_array_equal(weighted.tested, effect[:, 0])


def test_flips_of_a_formula_test_the_intercept_of_differences() -> None:
    model = written(
        "age", {"change": {"intercept": 1}}, at=None, before="pre", after="post", exchange="flips"
    )
    one = compiled(model, trial(two_by_two())).contrasts[0]
    assert (one.exchange, one.effect_type) == ("flips", "paired")
    assert exchange_words(one).startswith("sign flips by way of residuals")


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ({"a": {"intercept": 1}}, "leaves intercept as it is in all 13 rows, so that every p would be 1"),
        ({"a": {"intercept": -2}}, "Test 'intercept' by itself with exchange: flips.$"),
        ({"a": ("intercept", "age")}, "a part of intercept and age .* and other columns apart"),
        ({"a": ("arm=placebo", "intercept")}, r"models\.m\.tests\.a: an exchange of labels leaves a part of"),
    ],
)
@pytest.mark.parametrize("strata", [(), ("sex",)])
def test_labels_are_refused_for_an_intercept_that_they_do_not_change(
    tests: Any, message: str, strata: tuple[str, ...]
) -> None:
    model = written("age + arm", tests, strata=strata, sensitivity="none")
    with pytest.raises(DesignError, match=message):
        compiled(model, trial(two_by_two()))


def test_what_labels_change_is_not_refused_beside_an_intercept() -> None:
    tests = {"drug": {"intercept": 1, "arm=placebo": -0.5}, "any": ("age", "arm=placebo")}
    model = written("age + arm", tests, strata=("sex",), sensitivity="none")
    assert [one.name for one in compiled(model, trial(two_by_two())).contrasts] == ["drug", "any"]


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        (
            {"a": {"agee": 1}},
            r"models\.m\.tests\.a: the matrix has no column 'agee'; it has .*Did you mean 'age'",
        ),
        ({"a": {"arm=drug": 1}}, "no column 'arm=drug'.* The first level of arm has no column"),
    ],
)
def test_unknown_columns_of_a_formula_are_named_with_the_nearest(tests: Any, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        compiled(written("age + arm", tests), trial(two_by_two()))


def test_unknown_names_of_a_formula_are_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"models\.m\.formula: 'agge' is unknown\. Did you mean 'age'"):
        compiled(written("agge + arm", {"a": {"age": 1}}), trial(two_by_two()))


def test_a_formula_whose_product_has_an_empty_cell_is_refused() -> None:
    people = two_by_two()
    for person in people.values():
        person["sex"] = "m" if person["arm"] == "drug" else person["sex"]
    with pytest.raises(DesignError, match=r"rank deficient: 'arm=placebo:sex=m' follows from"):
        compiled(written("arm * sex", {"both": {"arm=placebo:sex=m": 1}}), trial(people))


# Sensitivity to motion ------------------------------------------------------------------------------


def test_the_primary_contrast_is_repeated_with_motion_over_edges_alone() -> None:
    model = arms(contrasts={"adjusted": Contrast(confirmatory=True)})
    design = compiled(model, trial(members(drug=4, placebo=5)))
    first, repeated = design.contrasts
    assert (first.sensitivity, first.confirmatory) == (False, True)
    assert (repeated.name, repeated.sensitivity, repeated.confirmatory) == ("adjustedFD", True, False)
    assert repeated.columns == (*first.columns, "mean_fd")
    assert [f.name for f in design.families] == ["adjusted.maps", "adjusted.edges", "adjustedFD.edges"]
    assert "adjustedFD (sensitivity analysis, edges only, not counted by Holm)" in "\n".join(describe(design))


@pytest.mark.parametrize(
    "options", [{"sensitivity": "none"}, {"covariates": ("mean_fd",)}, {"edges": "none"}, {"edges": ()}]
)
def test_no_repetition_where_none_is_asked_for_or_motion_is_there_already(options: dict[str, Any]) -> None:
    design = compiled(arms(**options), trial(members(drug=4, placebo=5)))
    assert [c.name for c in design.contrasts] == ["adjusted", "change"]
    assert not any("FD" in note for note in design.notes)


def test_joint_families_leave_the_repetition_alone() -> None:
    design = compiled(two_sample(), trial(members(drug=4, placebo=5, cbt=4)), Inference(joint_families=True))
    assert [(f.name, f.kinds) for f in design.families] == [
        ("difference.all", ("maps", "edges")),
        ("differenceFD.edges", ("edges",)),
    ]


def test_people_without_motion_are_named_and_leave_the_repetition_only() -> None:
    tables = trial(members(drug=4, placebo=5))
    cohort = tables[0]
    cohort.loc[(cohort["subject"] == "02") & (cohort["time_point"] == "post"), "mean_fd"] = "n/a"
    design = compiled(arms(), tables)
    assert [c.n for c in design.contrasts] == [9, 9, 8]
    assert "adjustedFD is without those whose mean_fd is missing: sub-02" in design.notes


def test_a_repetition_that_cannot_be_is_a_note_and_no_error() -> None:
    tables = trial(members(drug=4, placebo=5))
    tables[0]["mean_fd"] = "n/a"
    design = compiled(arms(), tables)
    assert [c.name for c in design.contrasts] == ["adjusted", "change"]
    (note,) = (note for note in design.notes if "FD" in note)
    assert note.startswith(
        "adjustedFD is left out, adjusted with motion as a covariate: the cell arm = 'drug' is"
    )
    small = compiled(OneSample(design="one_sample", at="pre", covariates=("age",)), trial(members(drug=3)))
    assert any("meanFD is left out" in note and "3 columns" in note for note in small.notes)


def test_the_difference_of_degrees_of_freedom_between_time_points_is_noted_by_group() -> None:
    people = members(drug=4, placebo=4)
    people["01"]["df"], people["05"]["df"] = {"post": 50}, {"pre": 26}
    notes = compiled(arms(), trial(people)).notes
    assert any(
        note.startswith("|Δk|") and note.endswith("is 3.0 on average (drug 5.0, placebo 1.0)")
        for note in notes
    )


# What is refused everywhere -------------------------------------------------------------------------


def test_a_covariate_that_says_the_same_as_several_groups_is_refused() -> None:
    people = members(drug=4, placebo=4, cbt=4)
    for person in people.values():
        person["site"] = {"drug": "A", "placebo": "B", "cbt": "C"}[person["arm"]]
        person["age"] = {"drug": 30, "placebo": 40, "cbt": 50}[person["arm"]]
    for covariate in ("site", "age"):
        with pytest.raises(DesignError, match=f"'{covariate}' says nothing but the group 'arm'"):
            compiled(two_sample(covariates=(covariate,)), trial(people))
    with pytest.raises(DesignError, match="no stratum holds two levels of 'arm'"):
        compiled(two_sample(strata=("site",)), trial(people))


def test_a_level_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(DesignError, match=r"models\.m\.levels: a level is listed twice: 'drug'"):
        compiled(two_sample(levels=("drug", "placebo", "drug")), trial(members(drug=4, placebo=4)))


def test_strata_of_a_crossover_are_blocks_of_sequences() -> None:
    people = orders(4, 4)
    for n, person in enumerate(people.values()):
        person["site"] = "AB"[n % 2]
    one = contrast(compiled(crossover(strata=("site",)), trial(people, ("d2", "p2"))), "treatment")
    assert exchange_words(one) == "exchange of sequence labels within 2 strata (site=A: 4, site=B: 4)"
    assert smallest_p(one, MANY) == 2 / math.comb(4, 2) ** 2


# Smallest attainable p of an F ----------------------------------------------------------------------


def f_values(codes: np.ndarray, y: np.ndarray) -> float:
    groups = [y[codes == code] for code in np.unique(codes)]
    between = sum(len(g) * (g.mean() - y.mean()) ** 2 for g in groups)
    inside = sum(((g - g.mean()) ** 2).sum() for g in groups)
    return float(between / inside)


@pytest.mark.oracle
@pytest.mark.parametrize("counts", [(2, 2, 2), (3, 2, 2), (1, 2, 3), (3, 3)])
def test_the_smallest_p_of_an_f_counts_groups_of_equal_size_that_change_names(
    counts: tuple[int, ...],
) -> None:
    codes = np.repeat(np.arange(len(counts)), counts)
    y = np.random.default_rng(8).normal(size=codes.size)
    arrangements = np.array(sorted(set(permutations(codes.tolist()))))
    found = np.array([f_values(one, y) for one in arrangements])
    by_hand = np.sum(found >= found.max() - 1e-9) / len(found)
    levels = tuple("abc"[: len(counts)])
    base = contrast(compiled(two_sample(levels=levels), trial(members(a=3, b=3, c=3))), "difference")
    group = (codes[:, None] == np.arange(len(counts) - 1)) - 1 / len(counts)
    one = dataclasses.replace(
        base,
        subjects=tuple(("trial", str(i)) for i in range(codes.size)),
        matrix=np.column_stack([np.ones(codes.size), group]),
        contrast=np.eye(len(counts))[1:],
        strata=np.zeros(codes.size, dtype=np.int64),
        cells=codes,
    )
    assert smallest_p(one, MANY) == pytest.approx(by_hand, rel=1e-12)


def test_groups_of_equal_size_must_be_so_in_every_stratum() -> None:
    people = members(drug=4, placebo=4, cbt=4)
    for n, person in enumerate(people.values()):
        person["site"] = "AB"[n % 2]
    even = contrast(compiled(two_sample(strata=("site",)), trial(people)), "difference")
    per_site = math.factorial(6) // math.factorial(2) ** 3
    assert smallest_p(even, MANY) == pytest.approx(math.factorial(3) / per_site**2)
    people["01"]["site"], people["06"]["site"] = "B", "A"
    uneven = contrast(compiled(two_sample(strata=("site",)), trial(people)), "difference")
    total = math.factorial(6) // (1 * 6 * 2) * math.factorial(6) // (6 * 1 * 2)
    assert smallest_p(uneven, MANY) == pytest.approx(1 / total)


# Invariances and files ------------------------------------------------------------------------------

CROSSED = orders(4, 5)
BY_ARM = {
    f"{i:02d}": {
        "arm": THREE[i % 3],
        "response": "responder" if i % 2 else "nonresponder",
        "order": "drugFirst" if i % 4 > 1 else "placeboFirst",
        "sex": "m" if i % 5 > 1 else "f",
    }
    for i in range(1, 25)
}
POINTS = ("pre", "mid", "post", "d2", "p2")
MODELS: dict[str, Model] = {
    "one": OneSample(design="one_sample", at="mid", covariates=("age",)),
    "groups": two_sample(covariates=("age",), contrasts=named("difference", "differenceDrugVsCbt")),
    "arms": arms(levels=THREE, covariates=("mean_fd",)),
    "crossover": crossover(contrasts=named(*contrasts_of(crossover())), strata=("sex",)),
    "within": within(group="arm", levels=THREE, contrasts=named("within", "groupByWithin")),
    "outcome": by_outcome(contrasts=named("interaction", "arm", "outcome")),
    "formula": written("age + arm * sex", {"any": ("arm=drug", "arm=placebo"), "sex": {"sex=m": 1}}),
}


@given(st.randoms(use_true_random=False), st.sampled_from(sorted(MODELS)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_tables_changes_nothing(random: Any, kind: str) -> None:
    cohort, runs = trial(BY_ARM, POINTS)
    order = list(range(len(cohort)))
    random.shuffle(order)
    first, other = compiled(MODELS[kind], (cohort, runs)), compiled(MODELS[kind], (cohort.iloc[order], runs))
    assert_same(first, other)


@given(st.permutations(range(len(BY_ARM))), st.sampled_from(sorted(MODELS)))
@settings(max_examples=25, deadline=None)
def test_new_names_of_people_change_their_order_and_nothing_else(order: list[int], kind: str) -> None:
    cohort, runs = trial(BY_ARM, POINTS)
    new = {old: f"x{place:02d}" for old, place in zip(BY_ARM, order, strict=True)}
    renamed = cohort.assign(subject=cohort["subject"].map(new))
    for one, other in zip(
        compiled(MODELS[kind], (cohort, runs)).contrasts,
        compiled(MODELS[kind], (renamed, runs)).contrasts,
        strict=True,
    ):
        place = {subject: i for i, (_, subject) in enumerate(other.subjects)}
        rows = [place[new[subject]] for _, subject in one.subjects]
        np.testing.assert_allclose(one.matrix, other.matrix[rows], atol=1e-12)
        assert one.run_weights == tuple(other.run_weights[row] for row in rows)
        assert one.row_levels == tuple(other.row_levels[row] for row in rows if other.levels)
        assert (one.words, one.columns) == (other.words, other.columns)
        np.testing.assert_array_equal(one.contrast, other.contrast)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_every_design_survives_the_way_through_its_files(kind: str, tmp_path: Path) -> None:
    design = compiled(MODELS[kind], trial(BY_ARM, POINTS))
    save_design(tmp_path, design)
    assert_same(load_design(tmp_path, "m"), design)


def rank_of(one: DesignContrast) -> tuple[int, int]:
    return int(np.linalg.matrix_rank(one.matrix)), one.matrix.shape[1]


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_every_matrix_has_full_rank_and_every_row_is_one_person(kind: str) -> None:
    for one in compiled(MODELS[kind], trial(BY_ARM, POINTS)).contrasts:
        found, columns = rank_of(one)
        assert found == columns
        assert len(set(one.subjects)) == one.n
        owners = [{run[1:3] for run in row} for row in one.run_weights]
        assert owners == [{subject} for _, subject in one.subjects]


@pytest.mark.oracle
@pytest.mark.parametrize("kind", sorted(MODELS))
def test_the_smallest_p_of_a_t_is_that_of_the_permutation_set(kind: str) -> None:
    for one in compiled(MODELS[kind], trial(BY_ARM, POINTS)).contrasts:
        if one.statistic == "t" or one.exchange == "flips":
            found = permutation_set(
                one.n,
                one.exchange,
                strata=one.strata,
                matrix_effect=one.tested,
                n_permutations=400,
                seed=0,
                has_nuisance=one.has_nuisance,
            )
            assert smallest_p(one, Inference(permutations=400)) == pytest.approx(found.smallest_p, rel=1e-12)


def test_tested_columns_that_depend_on_each_other_are_refused() -> None:
    tests = {"a": ("arm=placebo", "arm=placebo ")}
    with pytest.raises(DesignError, match=r"models\.m\.tests\.a: the tested columns depend on each other"):
        compiled(written("age + arm", tests), trial(two_by_two()))


# Error rates ----------------------------------------------------------------------------------------


def p_values(one: DesignContrast, z: dict[str, np.ndarray], permutations: int = 999) -> np.ndarray:
    """Uncorrected p of a t contrast, feature by feature."""
    y = np.array([sum(w * z[run] for run, w in row.items()) for row in one.run_weights])
    sets = permutation_set(
        one.n,
        one.exchange,
        strata=one.strata,
        matrix_effect=one.tested,
        n_permutations=permutations,
        seed=1,
        has_nuisance=one.has_nuisance,
    )
    return inference.test(y, one.matrix, one.contrast, sets, one.variance_groups).p


def crossed_data(people: dict[str, dict[str, Any]], drug: float, n: int = 2000) -> dict[str, np.ndarray]:
    """People of different levels, a period effect twice the noise, and a drug effect; n features."""
    rng = np.random.default_rng(21)
    z = {}
    for subject, person in people.items():
        own, first = 3 * rng.normal(size=n), person["order"] == "drugFirst"
        z[f"r{subject}d2"] = own + drug + 2 * first + rng.normal(size=n)
        z[f"r{subject}p2"] = own + 2 * (not first) + rng.normal(size=n)
    return z


@pytest.mark.calibration
@pytest.mark.parametrize("counts", [(5, 5), (3, 9)])
def test_a_crossover_keeps_its_error_rate_under_a_strong_effect_of_period(counts: tuple[int, int]) -> None:
    people = orders(*counts)
    design = compiled(crossover(), trial(people, ("d2", "p2")))
    z = crossed_data(people, drug=0.0)
    for name in ("treatment", "treatmentFlips", "carryover"):
        share = np.mean(p_values(contrast(design, name), z) <= 0.05)
        assert 0.03 <= share <= 0.07, name
    # What the design is for: without period, the orders not being equally many, the paired test is wrong.
    paired = Paired(design="paired", before="p2", after="d2")
    naive = np.mean(p_values(contrast(compiled(paired, trial(people, ("d2", "p2"))), "change"), z) <= 0.05)
    assert naive < 0.02 if counts == (5, 5) else naive > 0.1


@pytest.mark.truth
def test_a_crossover_finds_the_drug() -> None:
    people = orders(8, 8)
    design = compiled(crossover(), trial(people, ("d2", "p2")))
    z = crossed_data(people, drug=1.2)
    assert np.mean(p_values(contrast(design, "treatment"), z) <= 0.05) >= 0.8
    assert np.mean(p_values(contrast(design, "carryover"), z) <= 0.05) <= 0.07


@pytest.mark.calibration
def test_treatment_by_outcome_keeps_its_error_rate_beside_two_main_effects() -> None:
    people = cells(drug_responder=5, drug_nonresponder=5, placebo_responder=5, placebo_nonresponder=5)
    one = compiled(by_outcome(at="pre", before=None, after=None), trial(people)).contrasts[0]
    rng = np.random.default_rng(22)
    z = {
        f"r{s}pre": (p["arm"] == "drug") + 2.0 * (p["response"] == "responder") + rng.normal(size=2000)
        for s, p in people.items()
    }
    assert 0.03 <= np.mean(p_values(one, z) <= 0.05) <= 0.07
