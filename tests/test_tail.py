"""The tail of a distribution of maxima goes further than the count, and never pretends to know 0."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from conn import inference, tail
from conn.errors import DesignError
from conn.permutation import permutation_set
from conn.tail import ACCEPTED, FEWEST, FURTHEST, _misfit, fit_tail, tail_p

FEATURES, DF = 200, 58


def largest_t(p):
    """The largest |t| of 200 features with 58 degrees of freedom that is exceeded with probability p."""
    return stats.t.isf(-special.expm1(special.log1p(-np.asarray(p)) / FEATURES) / 2, DF)


QUANTILES = {
    "exponential": stats.expon.isf,
    "bounded": lambda p: stats.genpareto.isf(p, -0.2),
    "heavy": lambda p: stats.genpareto.isf(p, 0.2),
    "largest t": largest_t,
    "cube of the largest t": lambda p: largest_t(p) ** 3,
}


def maxima_of(name, n_set, rng):
    return QUANTILES[name](rng.uniform(size=n_set))


@pytest.mark.truth
@pytest.mark.parametrize("name", QUANTILES)
def test_a_p_of_one_in_ten_thousand_is_found_within_a_factor_of_fifteen_from_500_maxima(name):
    rng = np.random.default_rng(7)
    value = QUANTILES[name](1e-4)
    found = np.array([tail_p(maxima_of(name, 501, rng), [value])[0] for _ in range(200)])
    fitted = np.isfinite(found)
    assert fitted.mean() > 0.95
    ratio = found[fitted] / 1e-4
    assert np.mean((ratio > 1 / 15) & (ratio < 15)) > 0.9
    assert 1 / 5 < np.median(ratio) < 5


@pytest.mark.truth
@pytest.mark.parametrize("name", QUANTILES)
def test_a_p_of_one_in_two_hundred_is_found_closer_than_the_count_does_from_1000_maxima(name):
    rng = np.random.default_rng(8)
    value = QUANTILES[name](5e-3)
    drawn = [maxima_of(name, 1001, rng) for _ in range(200)]
    counted = np.array([np.mean(maxima >= value) for maxima in drawn])
    found = np.array([tail_p(maxima, [value])[0] for maxima in drawn])
    assert np.isfinite(found).mean() > 0.95
    assert np.nanmean(np.square(found - 5e-3)) < np.mean(np.square(counted - 5e-3))
    assert np.nanmean(found) == pytest.approx(5e-3, rel=0.2)


@pytest.mark.truth
@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_the_shape_and_scale_of_a_known_tail_are_found(shape):
    maxima = 5 + 2 * stats.genpareto.rvs(shape, size=8001, random_state=3)
    fit = fit_tail(maxima)
    assert fit.exceedances == 2000
    assert fit.shape == pytest.approx(shape, abs=0.06)
    assert fit.scale == pytest.approx(2 + shape * (fit.threshold - 5), rel=0.1)
    assert fit.threshold == pytest.approx(5 + 2 * stats.genpareto.isf(0.25, shape), rel=0.03)


@pytest.mark.oracle
@pytest.mark.parametrize("name", QUANTILES)
def test_the_fit_is_near_the_likeliest_one(name):
    maxima = maxima_of(name, 6001, np.random.default_rng(11))
    fit = fit_tail(maxima)
    excesses = np.sort(maxima[1:])[-fit.exceedances :] - fit.threshold
    shape, _, scale = stats.genpareto.fit(excesses, floc=0)
    assert fit.shape == pytest.approx(shape, abs=0.02)
    assert fit.scale == pytest.approx(scale, rel=0.02)


@pytest.mark.oracle
def test_p_is_the_mean_over_the_shapes_and_scales_that_the_excesses_allow():
    maxima = maxima_of("largest t", 801, np.random.default_rng(12))
    fit = fit_tail(maxima)
    m = fit.exceedances
    values = fit.threshold + np.array([0.0, 0.3, 1.1, 2.0])
    expected = np.zeros(4)
    for rate, shape, weight in zip(fit.rates, fit.shapes, fit.weights, strict=True):
        allowed = stats.invgamma(m, scale=m * abs(shape)).ppf((np.arange(4000) + 0.5) / 4000)[:, None]
        allowed = np.copysign(allowed, shape)
        each = stats.genpareto.sf(values, allowed, fit.threshold, allowed / rate)
        expected += weight * each.mean(axis=0)
    assert fit.weights.sum() == pytest.approx(1)
    assert expected[-1] < 1e-2
    np.testing.assert_allclose(fit.p_of(values), fit.share * expected, rtol=2e-3)
    np.testing.assert_array_equal(tail_p(maxima, values)[-2:], fit.p_of(values)[-2:])


@pytest.mark.oracle
def test_the_misfit_is_that_of_scipy_for_an_exponential():
    excesses = np.sort(np.random.default_rng(13).exponential(size=(1, 300)))
    uniform = np.sort(np.random.default_rng(14).uniform(size=300))
    by_hand = -300 - np.mean(
        [(2 * j + 1) * (np.log(uniform[j]) + np.log(1 - uniform[299 - j])) for j in range(300)]
    )
    assert tail._anderson_darling(uniform[None])[0] == pytest.approx(by_hand, rel=1e-12)
    assert 0.1 < _misfit(excesses)[0] < 2


@pytest.mark.oracle
@pytest.mark.parametrize("name", QUANTILES)
def test_the_tail_agrees_with_the_count_where_the_count_is_precise(name):
    maxima = maxima_of(name, 20_001, np.random.default_rng(15))
    values = QUANTILES[name]([0.05, 0.02, 0.01])
    counted = np.mean(maxima[:, None] >= values, axis=0)
    np.testing.assert_allclose(tail_p(maxima, values), counted, rtol=0.15)


@pytest.mark.calibration
@pytest.mark.parametrize("name", QUANTILES)
def test_p_of_the_observed_maximum_is_uniform_below_a_tenth_when_nothing_is_there(name):
    rng = np.random.default_rng(16)
    found = []
    for _ in range(3000):
        maxima = maxima_of(name, 401, rng)
        if np.mean(maxima >= maxima[0]) <= 0.1:
            found.append(tail_p(maxima, maxima[:1])[0])
    found = np.array(found)
    known = found[np.isfinite(found)]
    assert known.size > 0.9 * found.size
    low, high = stats.binom.interval(0.999, found.size, 0.05 / 0.1)
    assert low * known.size / found.size <= np.sum(known <= 0.05) <= high
    assert stats.kstest(known[known <= 0.08] / 0.08, "uniform").pvalue > 0.001


@pytest.mark.calibration
def test_p_is_uniform_below_a_tenth_for_permutations_of_data_without_an_effect():
    rng = np.random.default_rng(17)
    arm = np.arange(24) % 2
    matrix = np.column_stack([np.ones(24), arm])
    found = []
    for seed in range(600):
        drawn = permutation_set(
            24, "labels", matrix_effect=arm, n_permutations=300, seed=seed, has_nuisance=False
        )
        result = inference.test(rng.normal(size=(24, 30)), matrix, [0.0, 1.0], drawn)
        found.append(tail_p(result.maxima, result.maxima[:1])[0])
    found = np.array(found)
    for alpha in (0.05, 0.02):
        low, high = stats.binom.interval(0.999, 600, alpha)
        assert low <= np.sum(found <= alpha) <= high


@pytest.mark.calibration
def test_a_tail_that_is_generalised_pareto_is_refused_in_one_case_of_twenty():
    rng = np.random.default_rng(18)
    moved = [fit_tail(maxima_of("heavy", 401, rng)).exceedances < 100 for _ in range(600)]
    low, high = stats.binom.interval(0.999, 600, ACCEPTED)
    assert low <= np.sum(moved) <= high


def test_p_beyond_the_end_of_a_bounded_tail_is_not_0_but_the_furthest_that_is_extrapolated():
    maxima = stats.genpareto.rvs(-0.4, size=501, random_state=19)
    fit = fit_tail(maxima)
    assert fit.shape < -0.2
    end = fit.threshold - fit.scale / fit.shape
    found = tail_p(maxima, [end * 1.001, end * 3, 1e6])
    assert 0 < fit.smallest_p == FURTHEST / 501
    assert found[0] > found[-1] == fit.smallest_p


def test_p_falls_as_values_grow():
    maxima = maxima_of("largest t", 501, np.random.default_rng(20))
    found = tail_p(maxima, np.linspace(4, 8, 41))
    known = found[np.isfinite(found)]
    assert known.size > 20
    assert (np.diff(known) <= 0).all()


def test_scaling_the_statistic_changes_nothing():
    maxima = maxima_of("heavy", 501, np.random.default_rng(21))
    values = np.quantile(maxima, [0.5, 0.93, 0.99, 1.0]) * [1, 1, 1, 1.5]
    found = tail_p(maxima, values)
    np.testing.assert_array_equal(np.isnan(found), [True, False, False, False])
    for scale in (1e-6, 0.3, 1e9):
        np.testing.assert_allclose(tail_p(scale * maxima, scale * values), found, rtol=1e-6)


def test_the_order_of_the_rearrangements_changes_nothing():
    maxima = maxima_of("heavy", 501, np.random.default_rng(22))
    turned = np.concatenate([maxima[:1], maxima[:0:-1]])
    values = maxima.max() * np.array([1.0, 1.2])
    np.testing.assert_array_equal(tail_p(turned, values), tail_p(maxima, values))


def test_an_effect_does_not_stretch_the_tail_it_is_compared_with():
    maxima = maxima_of("largest t", 501, np.random.default_rng(23))
    effect = maxima.copy()
    effect[0] = 9.0
    assert fit_tail(effect).threshold == fit_tail(maxima).threshold
    assert tail_p(effect, [9.0])[0] < 1e-4
    assert tail_p(np.append(effect, 9.0), [9.0])[0] > tail_p(effect, [9.0])[0]


def test_values_that_the_count_judges_well_or_that_are_missing_get_no_p():
    maxima = maxima_of("exponential", 1001, np.random.default_rng(24))
    values = np.array([[0.1, np.nan, 2.0], [5.0, 2.4, 8.0]])
    found = tail_p(maxima, values)
    assert found.shape == (2, 3)
    np.testing.assert_array_equal(np.isnan(found), [[True, True, True], [False, False, False]])
    assert np.isnan(tail_p(maxima, [2.4], limit=0.02))[0]
    assert np.isfinite(tail_p(maxima, [2.0], limit=0.2))[0]


def test_every_rearrangement_of_few_rows_twice_over_gives_no_tail():
    drawn = permutation_set(10, "flips", n_permutations=2000, seed=0, has_nuisance=False)
    assert drawn.complete
    data = np.random.default_rng(25).normal(size=(10, 7))
    result = inference.test(data, np.ones((10, 1)), [1.0], drawn)
    assert result.maxima.size == 1024
    assert fit_tail(result.maxima) is None
    assert np.isnan(tail_p(result.maxima, result.maxima[:3])).all()


@pytest.mark.parametrize("maxima", [np.zeros(501), np.round(np.random.default_rng(26).normal(4, 1, 501), 1)])
def test_few_distinct_maxima_give_no_tail(maxima):
    assert np.isnan(tail_p(maxima, [1.0, 4.0, 9.0])).all()


def test_too_few_rearrangements_give_no_tail():
    maxima = maxima_of("exponential", 1000, np.random.default_rng(27))
    assert fit_tail(maxima[: 4 * FEWEST - 2]) is None
    assert fit_tail(maxima[: 4 * FEWEST]).exceedances == FEWEST
    assert fit_tail(maxima[:1]) is None
    assert np.isnan(tail_p(maxima[:100], [9.0]))[0]


def test_the_threshold_moves_up_until_the_tail_fits():
    rng = np.random.default_rng(28)
    maxima = np.concatenate([rng.uniform(0, 1, 850), 1 + rng.exponential(size=151)])
    fit = fit_tail(rng.permutation(maxima))
    assert FEWEST <= fit.exceedances < 250
    assert fit.p_fit > ACCEPTED
    assert np.isnan(fit.p_of(fit.threshold - 0.01))


def test_a_distribution_with_two_humps_in_its_tail_gets_no_p():
    rng = np.random.default_rng(29)
    maxima = rng.permutation(np.concatenate([rng.normal(0, 1, 361), rng.normal(50, 0.5, 140)]))
    maxima[np.argsort(maxima)[-20:]] += 100
    assert fit_tail(maxima) is None


def test_wrong_input_is_named():
    with pytest.raises(DesignError, match=r"shape \(2, 3\)"):
        fit_tail(np.ones((2, 3)))
    with pytest.raises(DesignError, match="1 of them not finite"):
        tail_p([1.0, np.nan, 2.0], [1.0])
    with pytest.raises(DesignError, match=r"share is 1\.5"):
        fit_tail(np.arange(400.0), share=1.5)
    with pytest.raises(DesignError, match="limit is 0"):
        tail_p(np.arange(400.0), [1.0], limit=0)
