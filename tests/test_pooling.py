"""One effect in several trials: metafor's numbers, planted effects, error rates and coverage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from conn.clinic import pooling
from conn.errors import DesignError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "pooling.json").read_text())


def column(values):
    return np.asarray(values, dtype=float)[:, None]


def of_case(case, df=1e9):
    """Metafor takes standard errors as known, which is what countless degrees of freedom say."""
    se = column(case["se"])
    return pooling.estimates(column(case["effect"]), se, np.full_like(se, df))


@pytest.mark.oracle
@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_known_standard_errors_give_what_metafor_gives(case):
    found = of_case(case)
    common, different = pooling.common_effect(found), pooling.heterogeneity(found)
    assert common.effect[0] == pytest.approx(case["common"], rel=1e-9)
    assert common.se[0] == pytest.approx(case["common_se_known"], rel=1e-7)
    assert different.q[0] == pytest.approx(case["q"], rel=1e-9)
    assert different.p_chi2[0] == pytest.approx(case["p_chi2"], rel=1e-8)
    assert different.tau2[0] == pytest.approx(case["tau2"], rel=1e-6, abs=1e-10)
    assert different.i2[0] == pytest.approx(case["i2"], rel=1e-6, abs=1e-8)
    assert (different.i2_low[0], different.i2_high[0]) == pytest.approx(case["i2_bounds"], rel=1e-5, abs=1e-7)


@pytest.mark.oracle
@pytest.mark.parametrize("case", [case for case in GOLDEN["cases"] if "random" in case])
def test_random_effects_are_those_of_metafor_with_modified_knapp_and_hartung(case):
    found = of_case(case)
    random = pooling.random_effects(found, pooling.heterogeneity(found).tau2)
    assert random.mean.effect[0] == pytest.approx(case["random"], rel=1e-6)
    assert random.mean.se[0] == pytest.approx(case["random_se"], rel=1e-6)
    assert (random.mean.low[0], random.mean.high[0]) == pytest.approx(case["random_ci"], rel=1e-5)
    assert (random.predicted_low[0], random.predicted_high[0]) == pytest.approx(case["predicted"], rel=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("case", GOLDEN["welch"])
def test_heterogeneity_with_estimated_standard_errors_is_welchs_f(case):
    own = [np.array(one) for one in case["samples"]]
    n = np.array([one.size for one in own])
    means, se = [one.mean() for one in own], [one.std(ddof=1) / np.sqrt(one.size) for one in own]
    found = pooling.estimates(column(means), column(se), column(n - 1))
    assert pooling.heterogeneity(found).p[0] == pytest.approx(case["p"], rel=1e-9)


def test_two_trials_have_no_random_effects():
    found = of_case(GOLDEN["cases"][0])
    random = pooling.random_effects(found, pooling.heterogeneity(found).tau2)
    assert np.isnan(random.mean.effect[0])
    assert np.isnan(random.predicted_low[0])


def test_a_trial_without_an_estimate_takes_no_part():
    effect = np.array([[0.2, 0.2], [np.nan, 0.1], [0.4, 0.4]])
    se, df = np.full((3, 2), 0.1), np.full((3, 2), 20.0)
    whole = pooling.estimates(effect, se, df)
    two = pooling.estimates(effect[[0, 2], :1], se[[0, 2], :1], df[[0, 2], :1])
    for function in (pooling.common_effect, pooling.heterogeneity):
        a, b = function(whole), function(two)
        for name in vars(a):
            assert getattr(a, name)[0] == pytest.approx(getattr(b, name)[0], rel=1e-9), name
    assert pooling.replicability(whole)[0] == pytest.approx(pooling.replicability(two)[0])
    assert whole.n.tolist() == [2, 3]
    assert pooling.same_sign(whole).tolist() == [2, 3]


def test_a_feature_of_one_trial_has_no_common_effect():
    found = pooling.estimates(column([0.3, np.nan]), column([0.1, np.nan]), column([20, np.nan]))
    assert np.isnan(pooling.common_effect(found).effect[0])
    assert np.isnan(pooling.heterogeneity(found).q[0])
    assert np.isnan(pooling.replicability(found)[0])


def test_replicability_of_two_trials_is_twice_the_larger_p_of_one_direction():
    found = pooling.estimates(column([0.3, 0.2]), column([0.1, 0.1]), column([20, 30]))
    larger = stats.t.sf(2.0, 30)
    assert pooling.replicability(found)[0] == pytest.approx(2 * larger, rel=1e-9)
    against = pooling.estimates(column([0.3, -0.2]), column([0.1, 0.1]), column([20, 30]))
    assert pooling.replicability(against)[0] == 1.0


def test_replicability_of_three_trials_needs_two_of_them():
    found = pooling.estimates(column([0.3, 0.4, -0.1]), column([0.1] * 3), column([20] * 3))
    second = stats.t.sf(3.0, 20)
    assert pooling.replicability(found)[0] == pytest.approx(2 * 2 * second, rel=1e-9)


def test_estimates_that_do_not_fit_are_refused():
    with pytest.raises(DesignError, match=r"equal \(n_trials, n_features\)"):
        pooling.estimates(np.zeros((2, 3)), np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(DesignError, match="needs two"):
        pooling.estimates(np.zeros((1, 3)), np.ones((1, 3)), np.ones((1, 3)))


# Simulated trials -----------------------------------------------------------------------------------

SETS = 4000


def trials(rng, sizes, sd, effect=0.0, between=0.0):
    """Means of trials with variances of their own: every feature is a set of trials."""
    sizes, sd = np.array(sizes), np.array(sd)
    true = effect + between * rng.standard_normal((sizes.size, SETS))
    mean = true + (sd / np.sqrt(sizes))[:, None] * rng.standard_normal((sizes.size, SETS))
    variance = (
        (sd**2)[:, None] * rng.chisquare((sizes - 1)[:, None], (sizes.size, SETS)) / (sizes - 1)[:, None]
    )
    df = np.repeat((sizes - 1.0)[:, None], SETS, axis=1)
    return pooling.estimates(mean, np.sqrt(variance / sizes[:, None]), df), true


def within(rate, expected, sets=SETS):
    low, high = stats.binom.interval(0.999, sets, expected)
    return low / sets <= rate <= high / sets


@pytest.mark.truth
def test_a_planted_common_effect_is_recovered():
    found, _ = trials(np.random.default_rng(1), [15, 40], [1.0, 1.6], effect=0.5)
    common = pooling.common_effect(found)
    assert common.effect.mean() == pytest.approx(0.5, abs=0.5 * 0.05)
    assert common.se.mean() == pytest.approx(common.effect.std(), rel=0.05)


@pytest.mark.calibration
@pytest.mark.parametrize(("sizes", "sd"), [([12, 20], [1, 2]), ([10, 16, 40], [1, 1, 2]), ([30, 30], [1, 1])])
def test_the_interval_of_the_common_effect_covers_it(sizes, sd):
    found, _ = trials(np.random.default_rng(2), sizes, sd, effect=0.3)
    common = pooling.common_effect(found)
    assert within(np.mean((common.low <= 0.3) & (common.high >= 0.3)), 0.95)


@pytest.mark.calibration
def test_with_weights_taken_as_known_small_trials_would_not_be_covered():
    found, _ = trials(np.random.default_rng(3), [8, 10], [1, 2])
    effect, se = pooling.common_effect(found).effect, 1 / np.sqrt(found.weights.sum(axis=0))
    assert np.mean(np.abs(effect) <= 1.96 * se) < 0.92
    common = pooling.common_effect(found)
    assert 0.935 <= np.mean((common.low <= 0) & (common.high >= 0)) <= 0.975


@pytest.mark.calibration
@pytest.mark.parametrize(("sizes", "sd"), [([12, 20], [1, 2]), ([15, 20, 40], [1, 1, 2])])
def test_trials_that_share_their_effect_rarely_look_heterogeneous(sizes, sd):
    found, _ = trials(np.random.default_rng(4), sizes, sd, effect=0.3)
    assert within(np.mean(pooling.heterogeneity(found).p <= 0.05), 0.05)


@pytest.mark.calibration
def test_random_effects_cover_the_mean_and_a_further_trial():
    rng = np.random.default_rng(5)
    found, _ = trials(rng, [30, 40, 50, 60, 40], [1] * 5, effect=0.3, between=0.3)
    random = pooling.random_effects(found, pooling.heterogeneity(found).tau2)
    covered = np.mean((random.mean.low <= 0.3) & (random.mean.high >= 0.3))
    assert 0.93 <= covered <= 0.98
    further = 0.3 + 0.3 * rng.standard_normal(SETS)
    assert 0.92 <= np.mean((random.predicted_low <= further) & (random.predicted_high >= further)) <= 0.98


@pytest.mark.calibration
@pytest.mark.parametrize("sizes", [[12, 20], [12, 20, 15]])
def test_an_effect_in_one_trial_alone_is_not_called_replicated(sizes):
    """The worst case: one trial with an effect too large to be missed, none in the others."""
    rng = np.random.default_rng(6)
    found, _ = trials(rng, sizes, [1.0] * len(sizes))
    effect = found.effect.copy()
    effect[0] += 20
    p = pooling.replicability(pooling.estimates(effect, found.se, found.df))
    assert np.mean(p <= 0.05) <= stats.binom.ppf(0.9995, SETS, 0.05) / SETS


@pytest.mark.truth
def test_an_effect_in_both_trials_is_called_replicated():
    found, _ = trials(np.random.default_rng(7), [30, 40], [1, 1], effect=0.8)
    assert np.mean(pooling.replicability(found) <= 0.05) > 0.9
