"""The smallest effect that a design finds: against statsmodels, and against simulated trials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.power import FTestAnovaPower, TTestIndPower, TTestPower

from conn import inference
from conn.design import helmert
from conn.errors import DesignError
from conn.permutation import permutation_set
from conn.power import detectable, foreseen, noncentrality, noncentrality_f, of_outcome, power_of
from conn.probes import value_weights
from conn.row_design import RowDesign
from row_designs import (
    adjusted,
    cells,
    groups_of,
    noise,
    one_group,
    score_by_arm,
    slope,
    two_groups,
)


def found_in(trials: int, power: float = 0.8) -> tuple[float, float]:
    """99.9 % of counts."""
    low, high = stats.binom.ppf([0.0005, 0.9995], trials, power)
    return float(low), float(high)


# The noncentral t ----------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("n", [4, 7, 13, 24, 101])
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.8), (0.05, 0.95)])
def test_the_smallest_mean_change_is_that_of_statsmodels(n, alpha, power):
    found = foreseen(np.full(n, 0.3), one_group(n), 1, alpha=alpha, power=power)
    expected = TTestPower().power(found.single[0] / 0.3, n, alpha)
    assert expected == pytest.approx(power, abs=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize(("first", "second"), [(5, 5), (12, 12), (20, 9)])
def test_the_smallest_difference_is_that_of_statsmodels(first, second):
    found = foreseen(np.full(first + second, 2.0), two_groups(first, second, welch=False), 1)
    expected = TTestIndPower().power(found.single[0] / 2, first, 0.05, ratio=second / first)
    assert expected == pytest.approx(0.8, abs=1e-6)


def test_power_comes_back_from_its_noncentrality():
    df, critical = np.meshgrid([1.0, 2.5, 8, 30, 1000], [0.5, 2, 4, 15, 60])
    for power in (0.8, 0.99):
        assert power_of(noncentrality(df, critical, power), df, critical) == pytest.approx(
            np.full(df.shape, power), abs=1e-9
        )


def test_without_an_effect_power_is_the_error_rate():
    df = np.array([3.0, 11, 200])
    assert power_of(0.0, df, stats.t.ppf(0.975, df)) == pytest.approx(np.full(3, 0.05))


def test_what_cannot_be_tested_has_no_number_and_what_is_never_reached_is_infinite():
    found = noncentrality([np.nan, 5, 5], [2, np.inf, 2])
    assert np.isnan(found[0]) and np.isinf(found[1]) and np.isfinite(found[2])


@pytest.mark.oracle
@pytest.mark.parametrize(("k", "n"), [(3, 6), (4, 10), (3, 40)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_the_smallest_difference_among_groups_is_that_of_statsmodels(k, n, alpha):
    """Cohen's f of two groups that differ, all others halfway between them."""
    found = foreseen(np.full(k * n, 0.7), groups_of(*[n] * k), 1, alpha=alpha)
    f = found.single[0] / 0.7 * np.sqrt(0.5 / k)
    power = FTestAnovaPower().power(f, nobs=k * n, alpha=alpha, k_groups=k)
    assert power == pytest.approx(0.8, abs=1e-6)


@pytest.mark.oracle
def test_the_noncentrality_of_f_is_that_of_scipy():
    rank, df, critical = np.array([1.0, 2, 5]), np.array([4.0, 20, 300]), np.array([7.0, 3.5, 2.2])
    found = noncentrality_f(rank, df, critical)
    assert stats.ncf.sf(critical, rank, df, found) == pytest.approx(np.full(3, 0.8), abs=1e-9)
    assert found[0] == pytest.approx(noncentrality(4, np.sqrt(7)) ** 2)
    gone = noncentrality_f([2, 2], [np.nan, 5], [3, np.inf])
    assert np.isnan(gone[0]) and np.isinf(gone[1])


# Designs -------------------------------------------------------------------------------------------------


@pytest.mark.truth
def test_the_smallest_change_is_found_in_four_of_five_simulated_trials():
    rng, trials = np.random.default_rng(20241111), 4000
    smallest = foreseen(np.full(13, 0.4), one_group(13), 1).single[0]
    rows = smallest + 0.4 * rng.normal(size=(13, trials))
    low, high = found_in(trials)
    assert low <= (stats.ttest_1samp(rows, 0).pvalue <= 0.05).sum() <= high


@pytest.mark.oracle
@pytest.mark.parametrize("product", [True, False])
def test_smallest_slopes_of_an_outcome_are_those_of_its_own_regression(product):
    """Roles are changed for the test; what is told is in units of the outcome, as the estimate is."""
    rng = np.random.default_rng(20241117)
    own, arm = 0.2 * noise(rng, 60, n_features=4), np.repeat([0.5, -0.5], [35, 25])
    score = 8 * rng.normal(size=60)
    design = replace(score_by_arm(35, 25, score - score.mean()), own_variances=False)
    data, covariate = (arm[:, None] * own, own) if product else (own, None)
    reversed_ = detectable(data, design, covariate=covariate, permutations=19)
    found = of_outcome(reversed_, data, design, covariate)
    for j in range(4):
        columns = [arm, own[:, j], *([arm * own[:, j]] if product else [])]
        fitted = sm.OLS(score, sm.add_constant(np.column_stack(columns))).fit()
        assert found.se[j] == pytest.approx(fitted.bse[-1])
        assert found.sd[j] == pytest.approx(np.sqrt(fitted.scale))
        assert found.single[j] / found.se[j] == pytest.approx(reversed_.single[j] / reversed_.se[j])
        assert found.df[j] == fitted.df_resid
    assert found.family / found.single == pytest.approx(reversed_.family / reversed_.single)


@pytest.mark.truth
def test_the_smallest_moderation_is_found_in_four_of_five_trials():
    """Points of a scale per z, for fixed people."""
    rng, trials = np.random.default_rng(20241118), 2000
    own, arm = 0.2 * rng.normal(size=60), np.repeat([0.5, -0.5], 30)
    product = arm * own
    rest = np.linalg.qr(np.column_stack([np.ones(60), arm, own]))[0]
    left = product - rest @ (rest.T @ product)
    smallest = []
    for _ in range(100):
        score = 8 * rng.normal(size=60)
        design = replace(score_by_arm(30, 30, score - score.mean()), own_variances=False)
        data, covariate = product[:, None], own[:, None]
        one = detectable(data, design, covariate=covariate, permutations=19)
        one = of_outcome(one, data, design, covariate)
        smallest.append(one.single[0] / one.sd[0])
    # The slope over the SD of the outcome is the same in every trial: people are fixed.
    assert np.ptp(smallest) == pytest.approx(0, abs=1e-9)
    score = smallest[0] * 8 * product[:, None] + 8 * rng.normal(size=(60, trials))
    score -= rest @ (rest.T @ score)
    slope = left @ score / (left @ left)
    t = slope / np.sqrt(np.square(score - left[:, None] * slope).sum(axis=0) / 56 / (left @ left))
    low, high = found_in(trials)
    assert low <= (2 * stats.t.sf(np.abs(t), 56) <= 0.05).sum() <= high


@pytest.mark.truth
def test_the_smallest_difference_with_a_variance_each_is_found_in_four_of_five_trials():
    rng, trials = np.random.default_rng(20241112), 4000
    sd = np.where(two_groups(20, 10, welch=True).groups == 1, 0.6, 0.3)
    smallest = foreseen(sd, two_groups(20, 10, welch=True), 1).single[0]
    rows = sd[:, None] * rng.normal(size=(30, trials))
    p = stats.ttest_ind(rows[:20] + smallest, rows[20:], equal_var=False).pvalue
    assert (p <= 0.05).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.truth
@pytest.mark.parametrize("sizes", [(10, 10, 10, 11), (6, 8, 12, 9)])
def test_the_smallest_interaction_of_unequal_cells_is_found_in_four_of_five_trials(sizes):
    rng, trials, design = np.random.default_rng(20250702), 4000, cells(*sizes)
    sd = np.array([0.4, 0.3, 0.3, 0.5])[design.groups]
    smallest = foreseen(sd, design, 1).single[0]
    rows = sd[:, None] * rng.normal(size=(design.n, trials)) + smallest * design.tested[:, None]
    found = design.test(rows, 1, 0)
    p = 2 * stats.t.sf(np.abs(found.stat), found.df)
    assert (p <= 0.05).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.truth
def test_the_smallest_effect_of_a_family_is_found_in_four_of_five_trials_by_the_largest_statistic():
    """One effect among 30 independent edges, tested as the program tests it."""
    rng, trials, found = np.random.default_rng(20241113), 400, 0
    design = one_group(16)
    smallest = foreseen(np.ones(16), design, 30).family[0]
    for i in range(trials):
        rows = rng.normal(size=(16, 30))
        rows[:, 4] += smallest
        own = permutation_set(16, "flips", n_permutations=399, seed=i, has_nuisance=False)
        result = inference.test(rows, design.matrix, design.contrast, own)
        found += bool(inference.correct([result]).results[0].p_fwe[4] <= 0.05)
    low, high = found_in(trials)
    assert low <= found <= high


@pytest.mark.truth
@pytest.mark.parametrize("middle", [0.0, 0.5, -2.0])
def test_two_groups_that_far_apart_are_found_wherever_the_third_one_is(middle):
    """In four of five trials when the third is halfway, more often when it is not."""
    rng, trials = np.random.default_rng(20241114), 4000
    design = groups_of(9, 9, 9)
    apart = foreseen(np.full(27, 0.4), design, 1).single[0]
    means = np.array([0.5, -0.5, middle]) * apart
    rows = means[design.groups][:, None] + 0.4 * rng.normal(size=(27, trials))
    p = stats.f_oneway(*(rows[design.groups == g] for g in range(3))).pvalue
    low, high = found_in(trials)
    found = (p <= 0.05).sum()
    assert low <= found <= high if middle == 0 else found >= low


@pytest.mark.truth
def test_a_change_between_two_of_three_time_points_is_found_in_four_of_five_trials_by_hotelling():
    """The third where it adds least, given how the three vary together."""
    rng, trials = np.random.default_rng(20241115), 3000
    mixing = np.array([[1.0, 0, 0], [0.5, 1, 0], [0.2, -0.4, 1.5]])
    n, basis = 14, np.array(helmert(3))
    pair = value_weights(3 - 1)
    spread = basis @ mixing @ mixing.T @ basis.T
    sizes = np.sqrt(np.einsum("kq,qr,kr->k", pair, spread, pair))
    apart = foreseen(np.full(n, sizes.max()), one_group(n), 1, n_values=2).single[0]
    worst = pair[sizes.argmax()]
    effect = spread @ worst / (worst @ spread @ worst) * apart
    assert effect @ worst == pytest.approx(apart)
    rows = np.einsum("qp,tnp->tnq", basis @ mixing, rng.normal(size=(trials, n, 3))) + effect
    mean = rows.mean(axis=1)
    left = rows - mean[:, None]
    inverse = np.linalg.inv(np.einsum("tnq,tnr->tqr", left, left) / (n - 1))
    f = n * np.einsum("tq,tqr,tr->t", mean, inverse, mean) * (n - 2) / (2 * (n - 1))
    low, high = found_in(trials)
    assert low <= (stats.f.sf(f, 2, n - 2) <= 0.05).sum() <= high


@pytest.mark.truth
def test_the_smallest_adjusted_difference_is_found_in_four_of_five_trials():
    """Regression on arm and baseline, for a fixed baseline of every edge."""
    rng, trials = np.random.default_rng(20241116), 300
    baseline = rng.normal(size=(20, 1))
    design = adjusted(10, 10)
    noisy = rng.normal(size=(20, 400))
    found = detectable(noisy, design, covariate=np.tile(baseline, 400), permutations=19)
    true = detectable(noisy[:, :1], design, covariate=baseline, permutations=19)
    assert found.df[0] == 17 and found.sd.mean() == pytest.approx(1.0, abs=0.05)
    own = np.linalg.lstsq(np.column_stack([design.matrix, baseline]), noisy[:, 0], rcond=None)[1][0]
    assert true.sd == pytest.approx([np.sqrt(own / 17)])
    smallest = true.single[0] / true.sd[0]
    rows = smallest * design.tested[:, None] + 0.6 * baseline + rng.normal(size=(20, 10 * trials))
    x = np.column_stack([design.matrix, baseline])
    beta, left, *_ = np.linalg.lstsq(x, rows, rcond=None)
    t = beta[1] / np.sqrt(left / 17 * np.linalg.inv(x.T @ x)[1, 1])
    low, high = found_in(10 * trials)
    assert low <= (2 * stats.t.sf(np.abs(t), 17) <= 0.05).sum() <= high


def test_an_f_takes_the_difference_that_is_the_hardest_to_find():
    rng = np.random.default_rng(8)
    design = groups_of(14, 5, 8)
    data = noise(rng, 27, n_features=5)
    found = detectable(data, design, permutations=199)
    assert found.scale == "F" and found.df == pytest.approx(np.full(5, 24.0))
    assert found.se / found.sd == pytest.approx(np.full(5, np.sqrt(1 / 5 + 1 / 8)))
    assert (found.family > found.single).all()
    unequal = detectable(data, groups_of(14, 5, 8, welch=True), permutations=39)
    assert unequal.scale == "z" and (unequal.family > unequal.single).all()


def test_rows_of_several_values_take_the_pair_of_time_points_that_varies_most():
    rng = np.random.default_rng(9)
    scans = (
        noise(rng, 15, n_features=4)[None] + rng.normal(size=(3, 15, 4)) * np.array([1, 2, 3])[:, None, None]
    )
    data = np.tensordot(np.array(helmert(3)), scans, axes=1)
    found = detectable(data, one_group(15), values=value_weights(2), permutations=99)
    changes = np.array([(scans[j] - scans[i]).std(axis=0, ddof=1) for i, j in ((0, 1), (0, 2), (1, 2))])
    assert found.sd == pytest.approx(changes.max(axis=0))
    assert found.df == pytest.approx(np.full(4, 13.0))
    with pytest.raises(DesignError, match="rows have 2 values; combinations of them have shape None"):
        detectable(data, one_group(15), permutations=19)


def test_an_f_that_is_not_about_groups_has_no_smallest_effect():
    design = replace(groups_of(4, 4, 4), groups=np.zeros(12, dtype=np.int64))
    with pytest.raises(DesignError, match="has no smallest effect of its own; test columns one by one"):
        detectable(noise(np.random.default_rng(1), 12), design, permutations=19)


def test_variances_are_those_of_the_rows():
    rng = np.random.default_rng(1)
    data = noise(rng, 17, n_features=7) * np.arange(1, 8) + 3
    found = detectable(data, one_group(17), permutations=99)
    assert found.sd == pytest.approx(data.std(axis=0, ddof=1))
    assert found.se == pytest.approx(data.std(axis=0, ddof=1) / np.sqrt(17))
    assert found.single == pytest.approx(
        [foreseen(np.full(17, sd), one_group(17), 1).single[0] for sd in found.sd]
    )


def test_a_slope_is_per_unit_of_its_predictor():
    rng = np.random.default_rng(2)
    score = rng.normal(size=19)
    data = noise(rng, 19, n_features=3)
    plain = detectable(data, slope(score), permutations=99)
    tenfold = detectable(data, slope(10 * score), permutations=99)
    assert plain.single == pytest.approx(10 * tenfold.single)
    assert plain.family == pytest.approx(10 * tenfold.family)


def test_real_effects_do_not_raise_what_is_needed():
    rng = np.random.default_rng(3)
    data = noise(rng, 15)
    moved = data.copy()
    moved[:, 4] += 2.5
    still, shifted = (detectable(y, one_group(15), permutations=299) for y in (data, moved))
    assert shifted.critical == pytest.approx(still.critical)
    assert shifted.family == pytest.approx(still.family)


def test_the_critical_value_is_that_of_the_largest_statistic_of_rows_without_effect():
    rng = np.random.default_rng(4)
    data, design = noise(rng, 14), one_group(14)
    own = permutation_set(14, "flips", n_permutations=299, seed=6, has_nuisance=False)
    result = inference.test(data - data.mean(axis=0), design.matrix, design.contrast, own)
    found = detectable(data, design, permutations=299, seed=6)
    assert found.critical == inference.correct([result]).critical
    assert power_of(found.family / found.se, found.df, found.critical) == pytest.approx(
        np.full(data.shape[1], 0.8)
    )


def test_related_edges_need_less_than_independent_ones():
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(30, 1)) + 0.05 * rng.normal(size=(30, 40))
    found = detectable(shared, one_group(30), permutations=999)
    assert found.critical < foreseen(np.ones(30), one_group(30), 40).critical
    assert (found.family > found.single).all()


def test_with_a_variance_each_the_critical_value_goes_from_z_to_the_t_of_every_edge():
    rng = np.random.default_rng(6)
    design = two_groups(14, 8, welch=True)
    data = noise(rng, 22) * np.where(design.groups == 1, 2.0, 1.0)[:, None]
    found = detectable(data, design, permutations=299)
    assert found.scale == "z" and np.ptp(found.df) > 0
    power = power_of(found.family / found.se, found.df, stats.t.isf(stats.norm.sf(found.critical), found.df))
    assert power == pytest.approx(np.full(data.shape[1], 0.8), abs=1e-6)


@pytest.mark.parametrize("make", [one_group, lambda n: two_groups(n, n, welch=False)])
def test_more_people_find_smaller_effects_and_more_edges_need_larger_ones(make):
    needed = [foreseen(np.ones(make(n).n), make(n), 10) for n in (4, 6, 9, 14, 30, 80)]
    assert (np.diff([one.single[0] for one in needed]) < 0).all()
    assert (np.diff([one.family[0] for one in needed]) < 0).all()
    by_size = [foreseen(np.ones(make(12).n), make(12), size).family[0] for size in (1, 2, 50, 561)]
    assert (np.diff(by_size) > 0).all()
    assert by_size[0] == pytest.approx(foreseen(np.ones(make(12).n), make(12), 1).single[0])


@pytest.mark.parametrize("n", [6, 10, 20])
def test_one_more_person_in_a_cell_does_not_take_power_away(n):
    """A variance of each cell is estimated then, which costs little: the interaction uses all of them."""
    even, one_more = cells(n, n, n, n), cells(n, n, n, n + 1)
    for tests in (1, 561):
        before, after = (foreseen(np.full(one.n, 0.2), one, tests) for one in (even, one_more))
        assert after.family[0] == pytest.approx(before.family[0], rel=0.03)
    data = 0.2 * noise(np.random.default_rng(10), one_more.n, n_features=60)
    found = [detectable(data[: one.n], one, permutations=99) for one in (even, one_more)]
    single = [np.median(one.single) for one in found]
    assert single[1] == pytest.approx(single[0], rel=0.1)


def test_an_f_with_a_variance_each_has_the_degrees_of_freedom_of_its_test():
    design = groups_of(14, 5, 8, welch=True)
    rows = np.concatenate([np.tile([-1.0, 1.0], 7), [-1.0, -1, 0, 1, 1], np.tile([-1.0, 1], 4)])
    spread = np.array([rows[design.groups == g].std(ddof=1) for g in range(3)])
    tested = design.test(rows[:, None], 1, 0)
    assert foreseen(spread[design.groups], design, 1).df == pytest.approx(tested.df)


def test_five_people_cannot_reach_a_corrected_p_and_a_missing_edge_has_no_number():
    data = noise(np.random.default_rng(7), 5)
    data[2, 3] = np.nan
    found = detectable(data, one_group(5))
    assert np.isinf(np.delete(found.family, 3)).all() and np.isfinite(np.delete(found.single, 3)).all()
    assert np.isnan([found.single[3], found.family[3], found.sd[3]]).all()


def test_rows_that_do_not_fit_the_design_are_refused():
    with pytest.raises(DesignError, match=r"row_sd has shape .9,.; the design matrix has 8 rows"):
        foreseen(np.ones(9), one_group(8), 3)
    design: RowDesign = replace(one_group(8), contrast=np.zeros(1))
    with pytest.raises(DesignError, match="zero in every column"):
        foreseen(np.ones(8), design, 3)
