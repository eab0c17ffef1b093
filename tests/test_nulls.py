"""Null data that do not come from the test's own exchange: what they unmask, and whom they leave in peace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from conn import inference
from conn.errors import DesignError
from conn.null_sets import NullSet, cells, centred, faultless, resampled, split
from conn.nulls import EVEN_SPREAD, check_nulls, clopper_pearson
from conn.permutation import permutation_set
from conn.row_design import RowDesign
from row_designs import (
    N_FEATURES,
    adjusted,
    groups_of,
    noise,
    one_group,
    score_by_arm,
    slope,
    two_groups,
)


def within(count: int, total: int, rate: float = 0.05) -> bool:
    """Inside the 99.9 % binomial interval."""
    low, high = stats.binom.ppf([0.0005, 0.9995], total, rate)
    return bool(low <= count <= high)


def by_own_exchange(data, design: RowDesign, sets: int) -> int:
    """Sets with a false positive when null data are made by the very exchange of the test."""
    rng = np.random.default_rng(7)
    left = centred(data, replace(design, groups=np.zeros_like(design.groups)))
    false = 0
    for i in range(sets):
        flips = rng.choice([-1.0, 1.0], size=(design.n, 1))
        made = left * flips if design.exchange == "flips" else left[rng.permutation(design.n)]
        own = permutation_set(
            design.n,
            design.exchange,
            matrix_effect=design.tested,
            n_permutations=199,
            seed=i,
            has_nuisance=False,
        )
        groups = design.variance_groups if design.variance_groups.any() else None
        result = inference.test(made, design.matrix, design.contrast, own, groups)
        false += bool((inference.correct([result]).results[0].p_fwe <= 0.05).any())
    return false


# What is unmasked --------------------------------------------------------------------------------------


@pytest.mark.calibration
def test_skewed_differences_are_unmasked_and_the_exchange_of_the_test_would_hide_them():
    data = noise(np.random.default_rng(20241101), 60, skewed=True)
    found = check_nulls(data, one_group(60), seed=1)[0]
    assert found.rate > 0.07 and found.low > 0.05
    assert found.rate > max(found.references)
    assert found.liberal
    assert within(by_own_exchange(data, one_group(60), 200), 200)


@pytest.mark.calibration
def test_unequal_variances_of_unequal_groups_are_unmasked_under_one_variance():
    rng = np.random.default_rng(20241102)
    design = two_groups(15, 6, welch=False)
    data = noise(rng, 21) * np.where(design.groups == 1, 3.0, 1.0)[:, None]
    drawn, parted = check_nulls(data, design, seed=2)
    assert drawn.liberal and drawn.rate > 0.2
    assert within(by_own_exchange(data, design, 200), 200)
    assert within(parted.false, parted.sets)


@pytest.mark.calibration
def test_a_spread_that_goes_with_the_predictor_is_unmasked_by_people_and_not_by_an_independent_predictor():
    rng = np.random.default_rng(20241103)
    score = rng.exponential(size=40)
    data = noise(rng, 40) * (0.2 + score**2)[:, None]
    drawn, independent = check_nulls(data, slope(score), seed=3)
    assert drawn.liberal and drawn.rate > 0.2
    assert within(independent.false, independent.sets)


@pytest.mark.calibration
def test_a_small_group_that_varies_more_is_unmasked_in_an_f_of_one_variance():
    rng = np.random.default_rng(20241121)
    design = groups_of(15, 12, 6)
    data = noise(rng, 33) * np.where(design.groups == 2, 3.0, 1.0)[:, None]
    drawn, parted = check_nulls(data, design, seed=2, references=7)
    assert drawn.liberal and drawn.rate > 0.15
    assert within(parted.false, parted.sets)


@pytest.mark.calibration
def test_skew_of_several_values_is_unmasked():
    rng = np.random.default_rng(20241122)
    data = np.stack([noise(rng, 40, skewed=True), noise(rng, 40, skewed=True)])
    found = check_nulls(data, one_group(40), permutations=99, seed=1, references=4)[0]
    assert found.liberal and found.method == "resampled"


@pytest.mark.calibration
def test_arms_of_unequal_variance_are_unmasked_beside_a_baseline_of_each_edge():
    rng = np.random.default_rng(20241123)
    design = adjusted(15, 6)
    baseline = noise(rng, 21)
    data = 0.5 * baseline + noise(rng, 21) * np.where(design.groups == 1, 3.0, 1.0)[:, None]
    drawn, parted = check_nulls(data, design, covariate=baseline, permutations=99, seed=2, references=4)
    assert drawn.liberal and drawn.rate > 0.15
    assert within(parted.false, parted.sets)


# What is left in peace ---------------------------------------------------------------------------------


@pytest.mark.calibration
@pytest.mark.parametrize("welch", [False, True])
def test_a_split_arm_holds_alpha_whatever_the_data_are(welch):
    rng = np.random.default_rng(20241104)
    design = two_groups(24, 12 if welch else 24, welch=welch)
    data = noise(rng, design.n, skewed=True) * np.where(design.groups == 1, 4.0, 1.0)[:, None]
    parted = check_nulls(data, design, sets=400, seed=4, references=0)[1]
    assert parted.method == "split"
    assert within(parted.false, parted.sets)


@pytest.mark.calibration
def test_a_baseline_with_its_slope_is_no_effect_and_holds_alpha():
    rng = np.random.default_rng(20241124)
    design = adjusted(30, 30)
    baseline = noise(rng, 60) + design.groups[:, None]
    data = 2 * baseline + noise(rng, 60)
    settings = {"covariate": baseline, "permutations": 99, "sets": 300, "seed": 4, "references": 0}
    drawn, parted = check_nulls(data, design, **settings)
    assert within(drawn.false, drawn.sets) and within(parted.false, parted.sets)


@pytest.mark.calibration
def test_three_parts_of_an_arm_hold_alpha_whatever_the_data_are():
    rng = np.random.default_rng(20241125)
    design = groups_of(30, 15, 15)
    data = noise(rng, 60, skewed=True) * np.where(design.groups == 1, 4.0, 1.0)[:, None]
    parted = check_nulls(data, design, sets=400, permutations=99, seed=4, references=0)[1]
    assert parted.method == "split" and within(parted.false, parted.sets)


@pytest.mark.calibration
def test_many_people_with_symmetric_differences_hold_alpha():
    rng = np.random.default_rng(20241105)
    found = check_nulls(noise(rng, 101), one_group(101), sets=400, seed=5, references=0)[0]
    assert within(found.false, found.sets)
    assert found.uncorrected == pytest.approx(0.05, abs=0.01)


@pytest.mark.slow
@pytest.mark.calibration
def test_few_people_give_high_rates_by_themselves_and_are_not_blamed_for_it():
    """Of 12 people, 20 edges seem skewed when their population is not."""
    rng = np.random.default_rng(20241106)
    found = [check_nulls(noise(rng, 12), one_group(12), sets=100, seed=i)[0] for i in range(6)]
    assert np.mean([one.rate for one in found]) > 0.07
    assert sum(one.too_high for one in found) >= 3
    assert sum(one.liberal for one in found) <= 1


@pytest.mark.slow
@pytest.mark.calibration
@pytest.mark.parametrize(
    "design", [one_group(12), one_group(24), two_groups(12, 12, welch=False), two_groups(15, 6, welch=True)]
)
def test_faultless_data_are_blamed_in_one_of_twenty_studies_at_most(design):
    rng = np.random.default_rng(20241107)
    found = [check_nulls(noise(rng, design.n), design, seed=i)[0] for i in range(20)]
    assert sum(one.liberal for one in found) <= stats.binom.ppf(0.9995, 20, 0.05)


@pytest.mark.calibration
@pytest.mark.parametrize("product", [False, True])
def test_a_real_slope_beside_arms_is_no_fault(product):
    """The same slope in both arms: an effect of the score, and none of its product with the arm."""
    rng = np.random.default_rng(20241131)
    data = noise(rng, 80, n_features=6)
    score = 2 * data[:, 0] + rng.normal(size=80)
    design = score_by_arm(40, 40, score - score.mean(), product=product)
    settings = {"sets": 200, "permutations": 59, "seed": 5}
    drawn, apart = check_nulls(data, design, references=5, **settings)
    assert (drawn.assumption, apart.method) == (EVEN_SPREAD, "independent")
    assert not drawn.liberal and within(apart.false, apart.sets)


@pytest.mark.calibration
def test_a_moderator_has_null_data_though_its_product_is_its_covariate_within_an_arm():
    rng = np.random.default_rng(20241132)
    own = noise(rng, 60, n_features=6)
    arm = np.repeat([0.5, -0.5], 30)
    score = 3 * arm * own[:, 0] + rng.normal(size=60)
    design = score_by_arm(30, 30, score - score.mean())
    settings = {"sets": 100, "permutations": 39, "seed": 5, "references": 0}
    drawn, apart = check_nulls(arm[:, None] * own, design, covariate=own, **settings)
    assert (drawn.impossible, apart.impossible, apart.method) == ("", "", "independent")
    assert within(drawn.false, drawn.sets) and within(apart.false, apart.sets)


# How null data are made ----------------------------------------------------------------------------------


def test_rows_are_centred_in_every_cell_and_keep_the_variance_of_their_cell():
    rng = np.random.default_rng(1)
    design = two_groups(7, 9, welch=True)
    data = noise(rng, 16) * np.where(design.groups == 1, 3.0, 1.0)[:, None] + 5 * design.groups[:, None]
    left = centred(data, design)
    for group in (0, 1):
        rows = design.groups == group
        assert left[rows].mean(axis=0) == pytest.approx(np.zeros(N_FEATURES), abs=1e-12)
        assert np.square(left[rows]).mean(axis=0) == pytest.approx(data[rows].var(axis=0, ddof=1))


def test_rows_beside_a_covariate_of_their_own_keep_their_variance_and_lose_its_slope():
    rng = np.random.default_rng(11)
    design = adjusted(9, 9)
    baseline, errors = noise(rng, 18), noise(rng, 18)
    left = centred(errors + 3 * baseline + design.tested[:, None], design, baseline)
    assert left == pytest.approx(centred(errors, design, baseline), abs=1e-10)
    inside = np.column_stack([design.matrix, np.zeros(18)])
    for j in range(N_FEATURES):
        inside[:, -1] = baseline[:, j]
        assert inside.T @ left[:, j] == pytest.approx(np.zeros(3), abs=1e-9)


def test_values_of_a_person_are_drawn_and_turned_together():
    rng = np.random.default_rng(12)
    data = np.stack([noise(rng, 9), noise(rng, 9)])
    clean = centred(data, one_group(9))
    made = next(resampled(rng, NullSet(data, one_group(9))))
    places = [np.flatnonzero(np.isclose(clean[0, :, 0], value))[0] for value in made.data[0, :, 0]]
    assert made.data == pytest.approx(clean[:, places])
    turned = faultless(rng, data, one_group(9)) / clean
    assert turned == pytest.approx(np.broadcast_to(turned[:1, :, :1], turned.shape))


def test_parts_of_an_arm_have_the_ratio_of_the_groups_within_strata():
    rng = np.random.default_rng(13)
    strata = np.tile([0, 1], 30)
    design = replace(groups_of(30, 20, 10), strata=strata)
    made = next(split(rng, NullSet(noise(rng, 60), design))).design
    assert made.n == 30
    assert np.bincount(made.groups).tolist() == [15, 10, 5]
    first = np.unique(design.groups, return_index=True)[1]
    assert made.matrix == pytest.approx(design.matrix[first][made.groups])


def test_rows_of_a_regression_have_no_slope_left():
    rng = np.random.default_rng(2)
    score = rng.normal(size=13)
    left = centred(noise(rng, 13) + 2 * score[:, None], slope(score))
    assert left.T @ score == pytest.approx(np.zeros(N_FEATURES), abs=1e-10)


def test_a_real_effect_does_not_change_the_null_data():
    rng = np.random.default_rng(3)
    design = two_groups(8, 8, welch=False)
    data = noise(rng, 16)
    moved = data + 4 * design.tested[:, None]
    settings = {"sets": 20, "permutations": 99, "references": 2}
    assert check_nulls(moved, design, **settings) == check_nulls(data, design, **settings)


def test_people_are_drawn_within_group_and_stratum_unless_a_cell_is_too_small():
    strata = np.tile([0, 1], 8)
    design = two_groups(8, 8, welch=False, strata=strata)
    assert len(set(zip(design.groups, strata, strict=True))) == len(set(cells(design))) == 4
    alone = np.r_[1, np.zeros(15, dtype=np.int64)]
    assert np.array_equal(cells(replace(design, strata=alone)), design.groups)


def test_faultless_rows_are_the_same_rows_with_other_signs_or_in_another_order():
    rng = np.random.default_rng(4)
    data = noise(rng, 18, skewed=True)
    flipped = faultless(rng, data, one_group(18))
    assert np.abs(flipped) == pytest.approx(np.abs(centred(data, one_group(18))))
    assert 3 < (flipped[:, 0] * centred(data, one_group(18))[:, 0] > 0).sum() < 15
    strata = np.repeat([0, 1, 0], 6)
    design = two_groups(9, 9, welch=False, strata=strata)
    rows, moved = centred(data, design), faultless(rng, data, design)
    for code in (0, 1):
        own = strata == code
        assert sorted(moved[own, 0]) == pytest.approx(sorted(rows[own, 0]))
    assert (moved[:, 0] != rows[:, 0]).sum() > 9


@pytest.mark.slow
@pytest.mark.calibration
def test_people_who_are_noisier_than_others_in_all_edges_are_no_fault():
    """Rows of unequal scale are exchangeable when scale goes with nobody's group."""
    rng = np.random.default_rng(20241108)
    design, found = two_groups(12, 12, welch=False), []
    for i in range(6):
        scale = np.exp(rng.normal(scale=0.7, size=(24, 1)))
        found.append(check_nulls(noise(rng, 24) * scale, design, sets=100, permutations=99, seed=i)[0])
    assert np.mean([one.rate for one in found]) > 0.07
    assert sum(one.liberal for one in found) <= 1


def test_strata_and_covariates_go_with_the_people():
    rng = np.random.default_rng(5)
    age = rng.normal(size=24)
    design = two_groups(12, 12, welch=False, covariate=age, strata=np.tile([0, 1, 2], 8))
    data = noise(rng, 24) + age[:, None]
    found = check_nulls(data, design, sets=30, permutations=99, references=1)
    assert [one.method for one in found] == ["resampled", "split"]
    assert all(one.sets == 30 and one.features == N_FEATURES for one in found)


def test_a_covariate_that_is_constant_in_the_arm_does_not_stop_its_split():
    rng = np.random.default_rng(6)
    site = np.r_[np.zeros(14), np.tile([0.0, 1.0], 5)]
    design = two_groups(14, 10, welch=True, covariate=site)
    parted = check_nulls(noise(rng, 24), design, sets=20, permutations=99, references=0)[1]
    assert parted.sets == 20 and not parted.impossible


def test_the_same_seed_gives_the_same_and_another_seed_something_else():
    data = noise(np.random.default_rng(7), 14)
    settings = {"sets": 40, "permutations": 99, "references": 3}
    first = check_nulls(data, one_group(14), seed=3, **settings)
    assert first == check_nulls(data, one_group(14), seed=3, **settings)
    assert first != check_nulls(data, one_group(14), seed=4, **settings)


def test_nothing_can_be_significant_with_four_people():
    data = noise(np.random.default_rng(8), 4)
    found = check_nulls(data, one_group(4), sets=25, references=2)[0]
    assert found.false == 0 and found.references == (0.0, 0.0)
    assert not found.liberal and not found.too_high


# What is refused -----------------------------------------------------------------------------------------


def test_an_arm_that_is_too_small_to_split_says_so():
    design = two_groups(3, 3, welch=False)
    parted = check_nulls(noise(np.random.default_rng(9), 6), design, sets=10, permutations=99, references=0)[
        1
    ]
    assert parted.sets == 0 and np.isnan(parted.rate)
    assert "the largest arm has 3 people" in parted.impossible
    assert not parted.liberal


@pytest.mark.parametrize(
    ("data", "settings", "words"),
    [
        (np.zeros((7, 2)), {}, "has shape .7, 2.; the design matrix has 8 rows"),
        (np.full((8, 2), np.nan), {}, "missing values"),
        (np.zeros((8, 501)), {}, "501 features; null data sets have 1 to 500"),
        (np.zeros((8, 0)), {}, "0 features"),
        (np.zeros((8, 2)), {"sets": 0}, "is 0; it must be at least 1"),
    ],
)
def test_data_that_give_no_null_sets_are_refused(data, settings, words):
    with pytest.raises(DesignError, match=words):
        check_nulls(data, one_group(8), **settings)


def test_null_data_that_cannot_be_drawn_say_why():
    found = check_nulls(np.zeros((8, 2)), two_groups(4, 4, welch=False), sets=2)
    assert [one.method for one in found] == ["resampled", "split"]
    for one in found:
        assert (one.sets, one.references, one.liberal) == (0, (), False)
        assert one.impossible.startswith("50 draws in a row cannot be tested (no feature varies)")


@pytest.mark.oracle
@pytest.mark.parametrize(("count", "total"), [(0, 200), (1, 13), (14, 200), (199, 200), (7, 7)])
def test_intervals_are_those_of_clopper_and_pearson(count, total):
    expected = proportion_confint(count, total, method="beta")
    assert clopper_pearson(count, total) == pytest.approx(np.nan_to_num(expected, nan=float(count > 0)))
