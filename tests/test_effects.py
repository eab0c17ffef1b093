from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels import api as sm

from conn.effects import effect_size, g_av, hedges_factor, noncentrality_interval
from conn.errors import DesignError

R = json.loads((Path(__file__).parent / "golden" / "inference.json").read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def two_groups(first, second):
    g = np.repeat([0.0, 1.0], [first, second])
    return g, np.column_stack([1 - g, g]), np.array([-1.0, 1.0])


@pytest.mark.oracle
def test_noncentral_limits_are_those_of_r():
    for t, df, low, high in zip(R["nct_t"], R["nct_df"], R["nct_low"], R["nct_high"], strict=True):
        found = noncentrality_interval(np.array([t]), df)
        np.testing.assert_allclose(np.ravel(found), [low, high], rtol=1e-5, atol=1e-6)


@pytest.mark.oracle
def test_hedges_factor_is_that_of_the_tables():
    np.testing.assert_allclose([hedges_factor(df) for df in (2, 10, 40)], [0.5642, 0.9228, 0.9811], atol=1e-4)


def test_g_z_is_mean_over_sd_of_differences(rng):
    d = rng.normal(0.5, 1, size=(15, 4))
    found = effect_size("paired", d, np.ones((15, 1)), [1])
    np.testing.assert_allclose(
        found.g, hedges_factor(14) * d.mean(axis=0) / d.std(axis=0, ddof=1), rtol=1e-12
    )
    assert found.g_type == "g_z"


def test_g_of_two_samples_is_difference_over_pooled_sd(rng):
    g, m, c = two_groups(6, 11)
    y = rng.normal(size=(17, 4)) + g[:, None]
    found = effect_size("two_sample", y, m, c)
    a, b = y[g == 0], y[g == 1]
    pooled = np.sqrt((5 * a.var(axis=0, ddof=1) + 10 * b.var(axis=0, ddof=1)) / 15)
    np.testing.assert_allclose(
        found.g, hedges_factor(15) * (b.mean(axis=0) - a.mean(axis=0)) / pooled, rtol=1e-12
    )
    assert found.g_type == "g_pooled"


def test_with_covariates_the_residual_sd_is_used_and_the_type_says_so(rng):
    _, m, c = two_groups(8, 8)
    m = np.column_stack([m, rng.normal(size=16)])
    y = rng.normal(size=(16, 3)) + 2 * m[:, 2:]
    found = effect_size("two_sample", y, m, [*c, 0])
    beta = np.linalg.lstsq(m, y, rcond=None)[0]
    sd = np.sqrt(((y - m @ beta) ** 2).sum(axis=0) / 13)
    np.testing.assert_allclose(found.g, hedges_factor(13) * (beta[1] - beta[0]) / sd, rtol=1e-10)
    assert found.g_type == "g_pooled_adj"
    centred = np.column_stack([np.ones(16), m[:, 2] - m[:, 2].mean()])
    assert effect_size("paired", y, centred, [1, 0]).g_type == "g_z_adj"


@pytest.mark.oracle
def test_partial_r_and_its_interval_are_those_of_correlated_residuals(rng):
    x, z = rng.normal(size=(2, 25))
    y = rng.normal(size=25) + 0.6 * x + z
    found = effect_size("slope", y[:, None], np.column_stack([np.ones(25), x, z]), [0, 1, 0])
    nuisance = np.column_stack([np.ones(25), z])
    left = [v - nuisance @ np.linalg.lstsq(nuisance, v, rcond=None)[0] for v in (x, y)]
    r = np.corrcoef(left)[0, 1]
    np.testing.assert_allclose(found.g, r, rtol=1e-10)
    half = stats.norm.ppf(0.975) / np.sqrt(25 - 3 - 1)
    np.testing.assert_allclose(
        [found.low[0], found.high[0]], np.tanh([np.arctanh(r) - half, np.arctanh(r) + half]), rtol=1e-10
    )
    assert found.g_type == "partial_r"


@pytest.mark.oracle
def test_the_interval_of_a_plain_correlation_is_that_of_scipy(rng):
    x = rng.normal(size=30)
    y = rng.normal(size=30) + 0.5 * x
    found = effect_size("slope", y[:, None], np.column_stack([np.ones(30), x]), [0, 1])
    expected = stats.pearsonr(x, y).confidence_interval(0.95)
    np.testing.assert_allclose([found.low[0], found.high[0]], expected, rtol=1e-9)


def test_turning_the_contrast_turns_size_and_interval(rng):
    g, m, c = two_groups(7, 9)
    y = rng.normal(size=(16, 6)) + g[:, None]
    for kind in ("two_sample", "slope"):
        first, second = effect_size(kind, y, m, c), effect_size(kind, y, m, -c)
        np.testing.assert_allclose(first.g, -second.g, rtol=1e-12)
        np.testing.assert_allclose(first.low, -second.high, rtol=1e-9)


@pytest.mark.calibration
@pytest.mark.parametrize("kind", ["paired", "two_sample"])
def test_sizes_are_unbiased_and_intervals_cover(kind):
    rng = np.random.default_rng(20240502)
    delta, n_sets = 0.7, 4000
    if kind == "paired":
        found = effect_size(kind, rng.normal(delta, 1, size=(12, n_sets)), np.ones((12, 1)), [1])
    else:
        g, m, c = two_groups(8, 14)
        found = effect_size(kind, rng.normal(size=(22, n_sets)) + delta * g[:, None], m, c)
    assert found.g.mean() == pytest.approx(delta, abs=4 * found.g.std() / np.sqrt(n_sets))
    covered = ((found.low <= delta) & (delta <= found.high)).sum()
    assert stats.binom.ppf(0.0005, n_sets, 0.95) <= covered <= stats.binom.ppf(0.9995, n_sets, 0.95)


@pytest.mark.calibration
def test_partial_r_interval_covers():
    rng = np.random.default_rng(20240503)
    n_sets, rho = 4000, 0.5
    x, z = rng.normal(size=(2, 20))
    # The size is defined for a random x, so x is drawn anew in every set.
    covered = 0
    for _ in range(n_sets // 4):
        x = rng.normal(size=20)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=20) + z
        found = effect_size("slope", y[:, None], np.column_stack([np.ones(20), x, z]), [0, 1, 0])
        covered += bool(found.low[0] <= rho <= found.high[0])
    assert stats.binom.ppf(0.0005, n_sets // 4, 0.95) <= covered <= stats.binom.ppf(0.9995, n_sets // 4, 0.95)


def test_maps_need_no_interval(rng):
    found = effect_size("paired", rng.normal(size=(9, 20_000)), np.ones((9, 1)), [1], intervals=False)
    assert np.isfinite(found.g).all()
    assert np.isnan(found.low).all()


def test_missing_features_stay_missing(rng):
    y = rng.normal(size=(9, 3))
    y[2, 1] = np.nan
    for kind in ("paired", "slope"):
        found = effect_size(kind, y, np.column_stack([np.ones(9), np.arange(9.0) - 4]), [1, 0])
        for part in (found.g, found.low, found.high):
            assert np.isnan(part).tolist() == [False, True, False]


def test_g_av_is_mean_change_over_the_average_variance(rng):
    a = rng.normal(10, 1, size=(14, 3))
    b = a + rng.normal(0.8, 1.5, size=(14, 3))
    sd = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / 2)
    found = g_av(a, b)
    np.testing.assert_allclose(found.g, hedges_factor(13) * (b - a).mean(axis=0) / sd, rtol=1e-10)
    assert found.g_type == "g_av"
    assert ((found.low < found.g) & (found.g < found.high)).all()


@pytest.mark.oracle
def test_g_av_interval_is_that_of_scipys_bootstrap(rng):
    a = rng.normal(size=20)
    b = a * 0.5 + rng.normal(0.7, 1, size=20)

    def size(first, second, axis):
        mean = (second - first).mean(axis=axis)
        return (
            hedges_factor(19)
            * mean
            / np.sqrt((first.var(axis=axis, ddof=1) + second.var(axis=axis, ddof=1)) / 2)
        )

    expected = stats.bootstrap(
        (a, b), size, paired=True, n_resamples=100_000, batch=10_000, method="BCa", rng=1
    ).confidence_interval
    found = g_av(a[:, None], b[:, None], n_boot=100_000)
    np.testing.assert_allclose([found.low[0], found.high[0]], expected, atol=0.03)


@pytest.mark.calibration
def test_g_av_interval_covers():
    rng = np.random.default_rng(20240504)
    n_sets = 1000
    a = rng.normal(size=(30, n_sets))
    b = 0.6 * a + rng.normal(0.5, 0.8, size=(30, n_sets))
    found = g_av(a, b, n_boot=999)
    # A bootstrap of 30 subjects is approximate: 95 % nominal, 91 % is the least allowed.
    assert 0.91 <= ((found.low <= 0.5) & (found.high >= 0.5)).mean() <= 0.975


def test_g_av_is_reproducible_and_names_wrong_shapes(rng):
    a, b = rng.normal(size=(2, 8, 2))
    b[0, 1] = np.nan
    first, again = g_av(a, b), g_av(a, b)
    np.testing.assert_array_equal(first.low, again.low)
    assert np.isnan(first.g).tolist() == np.isnan(first.low).tolist() == [False, True]
    assert np.isnan(g_av(a, b, n_boot=0).low).all()
    with pytest.raises(DesignError, match="equal"):
        g_av(a, b[:5])
    with pytest.raises(DesignError, match="at least 3 subjects"):
        g_av(a[:2], b[:2])
    with pytest.raises(DesignError, match="slope"):
        effect_size("d", a, np.ones((8, 1)), [1])


@pytest.mark.oracle
@pytest.mark.parametrize("sign", [1, -1])
def test_a_slope_beside_a_baseline_of_each_feature_has_the_partial_correlation_of_all_columns(sign):
    rng = np.random.default_rng(8)
    n = 24
    score, age = rng.normal(size=(2, n))
    baseline = rng.normal(size=(n, 3)) + 0.8 * score[:, None]
    data = 0.9 * baseline + 0.2 * score[:, None] + rng.normal(size=(n, 3))
    matrix = np.column_stack([np.ones(n), score, age])
    found = effect_size("slope", data, matrix, [0, sign, 0], baseline=baseline)
    for j in range(3):
        whole = sm.OLS(data[:, j], np.column_stack([matrix, baseline[:, j]])).fit()
        t = sign * whole.tvalues[1]
        assert found.g[j] == pytest.approx(t / np.sqrt(t**2 + whole.df_resid), abs=1e-10)
        half = 1.959963985 / np.sqrt(whole.df_resid - 1)
        assert np.arctanh(found.high[j]) - np.arctanh(found.g[j]) == pytest.approx(half, rel=1e-8)
    alone = effect_size("slope", data, matrix, [0, sign, 0])
    assert np.abs(alone.g - found.g).max() > 0.2, "the baseline matters here"
