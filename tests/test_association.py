"""Change of connectivity with change of scores: three correlations, one family, intervals, arms."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.api import OLS

from clinic_people import correlated, people, skewed
from conn.clinic.arm_difference import differ
from conn.clinic.association import associate, each_scale
from conn.clinic.attenuation import ceiling, flags, reliability_of_rest
from conn.clinic.correlations import bent, correlate
from conn.clinic.estimates import difference, estimate
from conn.clinic.rates import REACHED
from conn.clinic.resampling import bca, draws, leave_one_out, percentile
from conn.errors import DesignError

GOLDEN = Path(__file__).parent / "golden"
R = json.loads((GOLDEN / "association.json").read_text())
FEW = {"permutations": 199, "seed": 3, "resamples": 0}
ONE = FEW | {"robust": False}
"""One error variance for all, as in the R script."""


def trial(adjusted=False, arms=True):
    """The people of the R script."""
    column = {key: np.array(R[key], dtype=float) for key in ("age", "site", "m0", "m1", "y0", "y1")}
    held = np.column_stack([column["age"], column["site"]])
    arm = R["arm"] if arms else None
    if adjusted:
        baselines = {"baseline": column["m0"][:, None], "score_baselines": column["y0"][:, None]}
        return people(column["m1"][:, None], column["y1"], arm, held, **baselines)
    return people((column["m1"] - column["m0"])[:, None], column["y1"] - column["y0"], arm, held)


# ------------------------------------------------------------------------------------------ references


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "adjusted"), [("pearson", False), ("adjusted", True)])
def test_partial_correlations_are_those_of_r(name, adjusted):
    found = associate(trial(adjusted), **ONE)
    r, df, _ = R[name]
    assert found.pearson.r[0, 0] == pytest.approx(r, abs=1e-12)
    assert found.df == df
    t = found.slope[0, 0] / found.slope_se[0, 0]
    assert t / np.sqrt(t**2 + df) == pytest.approx(r, abs=1e-12)
    assert associate(trial(adjusted), **FEW).pearson.r[0, 0] == found.pearson.r[0, 0]


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "adjusted"), [("spearman", False), ("adjusted_spearman", True)])
def test_correlations_of_ranks_are_those_of_r(name, adjusted):
    assert associate(trial(adjusted), **FEW).spearman.r[0, 0] == pytest.approx(R[name][0], abs=1e-12)


@pytest.mark.oracle
def test_one_arm_by_itself_is_that_of_r():
    everybody = trial()
    found = associate(everybody.of(everybody.arms == "drug"), **FEW)
    assert found.pearson.r[0, 0] == pytest.approx(R["drug"][0], abs=1e-12)
    assert found.df == R["drug"][1]


@pytest.mark.oracle
def test_percentage_bend_of_what_covariates_leave_is_that_of_r():
    assert associate(trial(), **FEW).bend.r[0, 0] == pytest.approx(R["bend"], abs=1e-12)


@pytest.mark.oracle
def test_the_comparison_of_correlations_by_fisher_is_that_of_r():
    # psych counts people; partial correlations have as many fewer as there are covariates.
    assert differ(trial(), **FEW).p_fisher[0, 0] == pytest.approx(R["fisher"], rel=1e-9)


@pytest.mark.oracle
def test_the_difference_of_slopes_is_that_of_r():
    found = differ(trial(), **ONE)
    slope, se, t, _, df = R["difference"]
    ours = [found.slope[0, 0], found.slope_se[0, 0], found.stat[0, 0]]
    np.testing.assert_allclose(ours, [slope, se, t], rtol=1e-9)
    assert found.df == df


@pytest.mark.oracle
def test_an_adjusted_difference_is_that_of_statsmodels():
    drug = np.array(R["arm"]) == "drug"
    age, site, m0, m1, y0, y1 = (
        np.array(R[key], dtype=float) for key in ("age", "site", "m0", "m1", "y0", "y1")
    )
    columns = [drug, ~drug, age, site, m0, y0 * drug, y0 * ~drug, y1, y1 * drug]
    plain = OLS(m1, np.column_stack(columns).astype(float)).fit()
    for robust, fit in ((False, plain), (True, plain.get_robustcov_results("HC3"))):
        found = differ(trial(adjusted=True), **FEW, robust=robust)
        assert found.stat[0, 0] == pytest.approx(fit.tvalues[-1], rel=1e-9)
        assert found.df == fit.df_resid


@pytest.mark.oracle
@pytest.mark.parametrize("adjusted", [False, True])
def test_robust_slopes_are_those_of_statsmodels(adjusted):
    found, drug = associate(trial(adjusted), **FEW), np.array(R["arm"]) == "drug"
    age, site, m0, m1, y0, y1 = (
        np.array(R[key], dtype=float) for key in ("age", "site", "m0", "m1", "y0", "y1")
    )
    columns = [drug, ~drug, age, site, *([m0, y0, y1] if adjusted else [y1 - y0])]
    outcome = m1 if adjusted else m1 - m0
    fit = OLS(outcome, np.column_stack(columns).astype(float)).fit(cov_type="HC3")
    assert found.slope[0, 0] == pytest.approx(fit.params[-1], rel=1e-9)
    assert found.slope_se[0, 0] == pytest.approx(fit.bse[-1], rel=1e-9)
    assert found.robust


@pytest.mark.oracle
def test_percentage_bend_correlations_are_those_of_pingouin():
    for case in json.loads((GOLDEN / "percentage_bend.json").read_text()):
        x, y = np.array(case["x"])[:, None], np.array(case["y"])
        assert correlate(x, y, np.ones((y.size, 1)), kind="bend")[0] == pytest.approx(case["r"], abs=1e-12)


@pytest.mark.oracle
def test_intervals_are_those_of_scipy_for_the_same_resamples():
    rng = np.random.default_rng(5)
    x = rng.exponential(size=30)
    y = x + rng.exponential(size=30)
    his = stats.bootstrap(
        (x, y),
        lambda a, b, axis=-1: stats.pearsonr(a, b, axis=axis).statistic,
        paired=True,
        vectorized=True,
        n_resamples=999,
        method="BCa",
        rng=np.random.default_rng(1),
    )
    again = his.bootstrap_distribution[:, None]
    left = np.array([[stats.pearsonr(x[rows], y[rows]).statistic] for rows in leave_one_out(30)])
    low, high = bca(np.array([stats.pearsonr(x, y).statistic]), again, [left])
    np.testing.assert_allclose([low[0], high[0]], his.confidence_interval, atol=1e-12)
    np.testing.assert_allclose(np.ravel(percentile(again)), np.percentile(again, [2.5, 97.5]), atol=1e-12)


@pytest.mark.oracle
def test_intervals_of_a_difference_are_those_of_scipy_for_two_samples():
    rng = np.random.default_rng(6)
    x, y = rng.exponential(size=14), rng.exponential(size=9)
    his = stats.bootstrap(
        (x, y),
        lambda a, b, axis=-1: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        n_resamples=999,
        method="BCa",
        rng=np.random.default_rng(1),
    )
    left = [x[leave_one_out(14)].mean(axis=1)[:, None], -y[leave_one_out(9)].mean(axis=1)[:, None]]
    found = bca(np.array([x.mean() - y.mean()]), his.bootstrap_distribution[:, None], left)
    np.testing.assert_allclose(np.ravel(found), his.confidence_interval, atol=1e-12)


def slow_p(values, score, arms, p_of):
    """Obvious loop: all orders within arms by brute force of a random set of them."""
    rng, n = np.random.default_rng(11), len(score)
    found = []
    for _ in range(1500):
        order = np.arange(n)
        for arm in np.unique(arms):
            rows = np.flatnonzero(arms == arm)
            order[rows] = rng.permutation(rows)
        found.append(p_of(values[order], score))
    return np.mean(np.abs(found) >= abs(p_of(values, score)) - 1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["robust", "pearson", "spearman", "bend"])
def test_p_is_that_of_an_obvious_loop(kind):
    rng = np.random.default_rng(8)
    arms = np.array(["a"] * 9 + ["b"] * 11)
    score = rng.standard_normal(20)
    values = 0.5 * score + rng.standard_normal(20)
    own = people(values[:, None], score, arms)
    found = associate(own, permutations=1500, seed=1, resamples=0, robust=kind == "robust")
    held = np.column_stack([arms == "a", arms == "b"]).astype(float)

    def r(x, y):
        if kind == "robust":
            return OLS(x, np.column_stack([held, y])).fit(cov_type="HC3").tvalues[-1]
        return correlate(x[:, None], y, held, kind=kind)[0]

    ours = {"robust": found.p, "pearson": found.p, "spearman": found.p_spearman, "bend": found.p_bend}[kind][
        0, 0
    ]
    # Two random sets of 1500: 3.3 standard errors of their difference.
    assert abs(ours - slow_p(values, score, arms, r)) < 3.3 * np.sqrt(2 * ours * (1 - ours) / 1500)


# --------------------------------------------------------------------------------------------- the family


def test_the_family_goes_over_scales_and_features():
    rng = np.random.default_rng(2)
    score, values = correlated(rng, 20, 3), rng.standard_normal((20, 6))
    found = associate(people(values, score), **FEW)
    own = [associate(people(values, score[:, [s]]), **FEW) for s in range(3)]
    np.testing.assert_allclose(found.maxima, np.max([one.maxima for one in own], axis=0), rtol=1e-12)
    t = np.abs(found.slope / found.slope_se)
    largest = np.unravel_index(np.nanargmax(t), (3, 6))
    expected = (found.maxima >= t[largest] - 1e-12).mean()
    assert found.p_fwe[largest] == pytest.approx(expected)
    assert found.n_features == 18


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), robust=st.booleans(), adjusted=st.booleans())
def test_simultaneous_intervals_leave_out_zero_exactly_when_p_says_so(seed, robust, adjusted):
    rng = np.random.default_rng(seed)
    score = correlated(rng, 15, 2)
    values = rng.standard_normal((15, 4)) + 0.9 * score[:, :1]
    before = {"baseline": rng.standard_normal((15, 4)), "score_baselines": rng.standard_normal((15, 2))}
    found = associate(people(values, score, **(before if adjusted else {})), **FEW, robust=robust)
    outside = (found.sim_low > 0) | (found.sim_high < 0)
    assert (outside == (found.p_fwe <= 0.05)).all()
    assert ((found.sim_low < found.pearson.r) & (found.pearson.r < found.sim_high)).all()


@pytest.mark.oracle
def test_with_one_variance_one_r_is_critical_for_all_features():
    rng = np.random.default_rng(12)
    score = correlated(rng, 25, 2)
    found = associate(people(rng.standard_normal((25, 5)) + score[:, :1], score), **ONE)
    critical_r = found.critical / np.sqrt(found.critical**2 + found.df)
    wide = np.arctanh(found.pearson.r) - np.arctanh(found.sim_low)
    np.testing.assert_allclose(wide, np.arctanh(critical_r), rtol=1e-9)
    np.testing.assert_array_equal(found.p_fwe <= 0.05, np.abs(found.pearson.r) > critical_r)


def test_somebody_who_alone_decides_on_a_robust_slope_is_told_and_one_variance_goes_on():
    rng = np.random.default_rng(13)
    only = people(rng.standard_normal((12, 2)), np.arange(12) == 3)
    with pytest.raises(
        DesignError, match=r"1 person of 12 alone decides on a slope of scale 1.*robust_slopes"
    ):
        associate(only, **FEW)
    assert np.isfinite(associate(only, **ONE).p_fwe).all()
    arms, sites = ["a"] * 4 + ["b"] * 8, ["x", "x", "y", "z"] + ["x"] * 8
    few = people(rng.standard_normal((12, 2)), rng.standard_normal(12), arms, strata=sites)
    with pytest.raises(DesignError, match=r"2 people of 12 alone decide on a slope of scale 1"):
        differ(few, **FEW)
    assert np.isfinite(differ(few, **ONE).p).all()


def test_too_few_rearrangements_give_intervals_without_ends():
    rng = np.random.default_rng(1)
    four = people(rng.standard_normal((5, 2)), rng.standard_normal(5))
    found = associate(four, permutations=10, seed=0, resamples=0)
    assert (found.sim_low == -1).all()
    assert (found.sim_high == 1).all()


def test_scales_with_people_of_their_own_are_corrected_by_their_number():
    rng = np.random.default_rng(2)
    score, values = rng.standard_normal((20, 2)), rng.standard_normal((20, 3))
    some = [people(values, score[:, 0]), people(values[:12], score[:12, 1])]
    found = each_scale(some, **FEW)
    alone = associate(some[1], **FEW)
    np.testing.assert_allclose(found[1].p_fwe, np.minimum(2 * alone.p_fwe, 1))
    assert not found[1].joint
    assert [one.n for one in found] == [20, 12]


def test_a_feature_that_somebody_lacks_is_not_tested_and_harms_no_other():
    rng = np.random.default_rng(4)
    values, score = rng.standard_normal((16, 3)), rng.standard_normal(16)
    found = associate(people(values[:, [0, 2]], score), permutations=99, seed=1, resamples=50)
    values[3, 1] = np.nan
    with_gap = associate(people(values, score), permutations=99, seed=1, resamples=50)
    for name in ("p", "p_fwe", "p_bend", "p_spearman", "sim_low"):
        np.testing.assert_array_equal(getattr(with_gap, name)[:, [0, 2]], getattr(found, name))
        assert np.isnan(getattr(with_gap, name)[0, 1])
    np.testing.assert_array_equal(with_gap.spearman.low[:, [0, 2]], found.spearman.low)
    assert with_gap.n_features == 2


def test_few_people_are_enumerated_and_the_test_is_exact():
    rng = np.random.default_rng(4)
    found = associate(
        people(rng.standard_normal((5, 2)), rng.standard_normal(5)), permutations=200, seed=1, resamples=0
    )
    assert found.permutations.exact
    assert found.permutations.n_set == 120


def test_covariates_make_it_approximate():
    assert not associate(trial(), **FEW).permutations.exact


def test_people_change_places_within_arms_alone():
    found = associate(trial(), **FEW)
    arms = np.array(R["arm"])
    assert (arms[found.permutations.table] == arms).all()


def test_too_few_people_are_told_with_what_costs_them():
    with pytest.raises(DesignError, match=r"5 people in 1 cells .* 2 columns held constant, leave 1 degrees"):
        associate(people(np.eye(5)[:, :1], np.arange(5.0), covariates=np.eye(5)[:, 1:3]), **FEW)


def test_a_score_that_is_the_covariate_has_no_correlation():
    age = np.arange(10.0)
    with pytest.raises(DesignError, match="scale 1 does not vary among 10 people beyond"):
        associate(people(np.random.default_rng(0).standard_normal((10, 1)), age, covariates=age), **FEW)


@pytest.mark.oracle
def test_differences_between_sites_are_held_constant():
    rng = np.random.default_rng(5)
    site = np.repeat(["x", "y"], 12)
    values, score = rng.standard_normal((24, 1)) + 5 * (site == "x")[:, None], rng.standard_normal(24)
    score = score + 5 * (site == "x")
    found = associate(people(values, score, strata=site), **FEW)
    own = [
        v - np.where(site == "x", v[site == "x"].mean(), v[site == "y"].mean()) for v in (values[:, 0], score)
    ]
    assert found.pearson.r[0, 0] == pytest.approx(np.corrcoef(*own)[0, 1], abs=1e-12)
    assert found.df == 21
    assert (site[found.permutations.table] == site).all()


# ------------------------------------------------------------------------------------------------ arms


def test_slopes_are_compared_for_three_arms_by_f():
    rng = np.random.default_rng(1)
    arms = np.repeat(["a", "b", "c"], 12)
    score = rng.standard_normal(36)
    values = np.where(arms == "c", 2 * score, 0)[:, None] + rng.standard_normal((36, 2))
    found = differ(people(values, score, arms), **ONE)
    assert found.rank == 2
    assert not found.robust
    assert found.p[0, 0] <= 0.01
    assert np.isnan(found.r.r).all()


@pytest.mark.oracle
def test_three_arms_are_compared_in_pairs_by_robust_t():
    rng = np.random.default_rng(1)
    arms = np.repeat(["a", "b", "c"], [12, 9, 14])
    score = rng.standard_normal((35, 2))
    values = np.where(arms == "c", 4 * score[:, 0], 0)[:, None] + rng.standard_normal((35, 4))
    found = differ(people(values, score, arms), **FEW)
    inside = (arms[:, None] == ["a", "b", "c"]).astype(float)
    for scale, feature in np.ndindex(2, 4):
        slopes = inside * score[:, [scale]]
        fit = OLS(values[:, feature], np.column_stack([inside, slopes])).fit(cov_type="HC3")
        pairs = [[0, 0, 0, 1, -1, 0], [0, 0, 0, 1, 0, -1], [0, 0, 0, 0, 1, -1]]
        t = max(abs(float(np.squeeze(fit.t_test(pair).tvalue))) for pair in pairs)
        assert found.stat[scale, feature] == pytest.approx(t, rel=1e-9)
    assert found.rank == 0
    assert found.robust
    assert found.n_features == 8
    assert found.p_fwe[0].max() <= 0.05 < found.p_fwe[1].min()
    # Three pairs: the smallest p of 200 rearrangements, three times.
    assert found.p[0].min() == pytest.approx(3 / 200)
    assert np.isnan(found.slope).all()


def test_an_arm_of_two_people_is_no_arm_to_compare():
    with pytest.raises(DesignError, match="there are: a 2, b 8"):
        differ(people(np.eye(10)[:, :1], np.arange(10.0), ["a"] * 2 + ["b"] * 8), **FEW)


def test_the_difference_of_correlations_is_that_of_the_arms():
    everybody = trial()
    drug, placebo = (everybody.of(everybody.arms == arm) for arm in ("drug", "placebo"))
    found = difference(drug, placebo, 200, seed=0)
    own = [estimate(arm, "pearson", 0, 0).r for arm in (drug, placebo)]
    np.testing.assert_allclose(found.r, own[0] - own[1], atol=1e-12)
    back = difference(placebo, drug, 200, seed=0)
    assert found.low < found.r < found.high
    assert back.low < back.r < back.high


# ------------------------------------------------------------------------------------ three correlations


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["pearson", "spearman", "bend"]))
def test_correlations_do_not_depend_on_units_or_on_the_order_of_people(seed, kind):
    rng = np.random.default_rng(seed)
    x, y, z = rng.standard_normal((12, 3)), rng.standard_normal(12), rng.standard_normal((12, 1))
    held = np.column_stack([np.ones(12), z])
    r = correlate(x, y, held, kind=kind)
    order = rng.permutation(12)
    np.testing.assert_allclose(correlate(x[order], y[order], held[order], kind=kind), r, atol=1e-9)
    np.testing.assert_allclose(correlate(3 * x + 1, -2 * y, held, kind=kind), -r, atol=1e-9)


def test_one_person_pulls_pearson_and_not_the_others():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((30, 1)), rng.standard_normal(30)
    held = np.ones((30, 1))
    before = {kind: correlate(x, y, held, kind=kind)[0] for kind in ("pearson", "spearman", "bend")}
    x[0], y[0] = 30, 30
    after = {kind: correlate(x, y, held, kind=kind)[0] for kind in before}
    assert after["pearson"] > 0.9
    assert abs(after["bend"] - before["bend"]) < 0.25
    assert abs(after["spearman"] - before["spearman"]) < 0.25


def test_most_people_alike_have_no_bend():
    values = np.zeros((10, 1))
    values[0] = 1
    assert (bent(values) == 0).all()
    assert np.isnan(correlate(values, np.arange(10.0), np.ones((10, 1)), kind="bend")).all()


def test_people_are_drawn_within_arms():
    arms = np.array(["a", "b", "a", "b", "b"])
    assert (arms[draws(arms, 50, 0)] == arms).all()


# ------------------------------------------------------------------------------------------------ truth


@pytest.mark.truth
def test_a_planted_association_is_found_and_no_other():
    rng = np.random.default_rng(20)
    n, rho, found = 60, 0.6, []
    for _ in range(30):
        score = correlated(rng, n, 2, share=0.3)
        values = rng.standard_normal((n, 12))
        values[:, 4] = rho * score[:, 0] + np.sqrt(1 - rho**2) * values[:, 4]
        one = associate(people(values, score), permutations=99, seed=0, resamples=0)
        found.append([one.p_fwe[0, 4] <= 0.05, one.pearson.r[0, 4]])
    power, r = np.mean(found, axis=0)
    assert power >= 0.9
    assert r == pytest.approx(rho, abs=0.04)


@pytest.mark.truth
def test_arms_that_differ_are_told_apart():
    rng = np.random.default_rng(21)
    arms = np.repeat(["drug", "placebo"], 40)
    hits = []
    for _ in range(40):
        score = rng.standard_normal(80)
        values = np.where(arms == "drug", 0.8 * score, 0)[:, None] + 0.6 * rng.standard_normal((80, 5))
        hits.append(
            differ(people(values, score, arms), permutations=199, seed=0, resamples=0).p_fwe.min() <= 0.05
        )
    assert np.mean(hits) >= 0.9


@pytest.mark.truth
def test_noise_of_measurement_draws_a_correlation_down_to_its_ceiling():
    rng = np.random.default_rng(22)
    n, m = 4000, 5
    change = rng.standard_normal((n, m))
    level = 2 * rng.standard_normal((n, m))
    sem = 0.8
    before, after = (
        level + sem * rng.standard_normal((n, m)),
        level + change + sem * rng.standard_normal((n, m)),
    )
    held = np.ones((n, 1))
    # The score is the true change of connectivity, with an error of its own.
    score = change + 0.5 * rng.standard_normal((n, m))
    rel_score = 1 / 1.25
    rel = reliability_of_rest(after - before, None, held, np.sqrt(2) * sem)
    np.testing.assert_allclose(rel, 1 / (1 + 2 * sem**2), atol=0.04)
    r = np.array([np.corrcoef((after - before)[:, i], score[:, i])[0, 1] for i in range(m)])
    np.testing.assert_allclose(r, ceiling(rel, np.full(m, rel_score)), atol=0.03)
    adjusted = reliability_of_rest(after, before, held, np.full(m, sem))
    # b = 4 / 4.64, of what is left the error is sem² (1 + b²)
    b = 4 / (4 + sem**2)
    true = 1 + 4 * (1 - b) ** 2
    np.testing.assert_allclose(adjusted, true / (true + sem**2 * (1 + b**2)), atol=0.04)


def test_a_reliability_that_is_not_above_zero_gives_no_ceiling():
    assert ceiling([0.25, -0.1, 0.0, np.nan], [1.0, 1.0, 0.5, 1.0]).tolist()[0] == 0.5
    assert np.isnan(ceiling([-0.1, 0.0, np.nan], [1.0, 0.5, 1.0])).all()


def test_correlations_near_their_ceiling_are_flagged():
    assert flags([0.1, -0.56, 0.7, np.nan, 0.5], [0.6, 0.6, 0.6, 0.6, np.nan]) == [
        "",
        "near",
        "above",
        "",
        "",
    ]


# ------------------------------------------------------------------------------------------ calibration


def false_ones(sets, n, draw, seed):
    """How often nothing was called something: in the family, and in its first feature."""
    rng = np.random.default_rng(seed)
    false = {"p_fwe": 0, "p": 0, "p_spearman": 0, "p_bend": 0}
    for _ in range(sets):
        score = correlated(rng, n, 3, draw=None if draw == "normal" else skewed)
        noise = rng.standard_normal((n, 4)) if draw == "normal" else skewed(rng, (n, 4))
        own = people(noise + rng.standard_normal((n, 1)), score, np.repeat(["a", "b"], n // 2))
        found = associate(own, permutations=99, seed=1, resamples=0)
        false["p_fwe"] += found.p_fwe.min() <= 0.05
        for name in ("p", "p_spearman", "p_bend"):
            false[name] += getattr(found, name)[0, 0] <= 0.05
    return false


def within_chance(counts, sets):
    """Inside the 99.9 % interval, whose lower end a test that never rejects is below."""
    low, high = stats.binom.interval(0.999, sets, 0.05)
    assert low > 0
    return all(low <= count <= high for count in counts)


@pytest.mark.calibration
@pytest.mark.parametrize(("n", "draw"), [(20, "normal"), (20, "skewed"), (40, "skewed")])
def test_errors_over_scales_and_features(n, draw):
    false = false_ones(200, n, draw, 100 + n)
    assert within_chance(false.values(), 200), false


def script():
    """The script that measures rates, as a module."""
    path = Path(__file__).parents[1] / "scripts" / "calibrate_association.py"
    spec = importlib.util.spec_from_file_location("calibrate_association", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.calibration
def test_documented_rates_are_in_the_page_and_in_what_check_and_report_say():
    made = script()
    measured, page = made.load(), made.PAGE.read_text(encoding="utf-8")
    assert made.filled(page, measured) == page
    for part in ("single", "arms"):
        assert set(made.keys(part)) == set(measured[part])
    for robust, name in ((True, "robust"), (False, "one")):
        told = tuple(
            max(
                round(100 * one[name] / one["sets"])
                for key, one in (measured["single"] | measured["arms"]).items()
                if key.endswith(shape)
            )
            for shape in made.SHAPES
        )
        assert REACHED[robust] == told


@pytest.mark.calibration
def test_documented_rates_keep_what_is_promised():
    measured = script().load()
    alike = [one for key, one in (measured["single"] | measured["arms"]).items() if "|1|" in key]
    assert len(alike) == 12
    for one in alike:
        assert one["sets"] >= 500
        assert within_chance([one["one"], one["robust"]], one["sets"]), one
    for key, one in measured["single"].items():
        assert one["robust"] <= 0.14 * one["sets"], key
        if "|1|" not in key:
            assert one["robust"] < 0.8 * one["one"], key
            assert one["p"] <= 0.08 * one["features"], key


@pytest.mark.calibration
@pytest.mark.parametrize(("part", "key"), [("single", "40|3|normal"), ("arms", "24, 10|3|skewed")])
def test_measured_rates_come_out_again(part, key):
    made = script()
    measured, again = made.load()[part][key], made.count(part, key, range(100))
    for name in ("one", "robust"):
        low, high = stats.binom.interval(0.999, 100, measured[name] / measured["sets"])
        assert low <= again[name] <= high
    assert again["one"] > again["robust"]


@pytest.mark.slow
@pytest.mark.calibration
@pytest.mark.parametrize("n", [20, 40])
@pytest.mark.parametrize("draw", ["normal", "skewed"])
def test_errors_over_scales_and_features_closely(n, draw):
    false = false_ones(1000, n, draw, 100 + n)
    assert within_chance(false.values(), 1000), false


@pytest.mark.calibration
def test_p_is_uniform_with_covariates_and_baselines():
    rng = np.random.default_rng(9)
    p = {"p": [], "p_spearman": [], "p_bend": [], "differ": []}
    for _ in range(150):
        age, m0, y0 = rng.standard_normal((3, 24))
        arms = np.repeat(["a", "b"], 12)
        values = (0.5 * m0 + 0.3 * age + skewed(rng, 24))[:, None]
        score = 0.6 * y0 + 0.4 * age + (arms == "a") + skewed(rng, 24)
        own = people(values, score, arms, age, baseline=m0[:, None], score_baselines=y0[:, None])
        found = associate(own, permutations=99, seed=1, resamples=0)
        for name in ("p", "p_spearman", "p_bend"):
            p[name].append(getattr(found, name)[0, 0])
        p["differ"].append(differ(own, permutations=99, seed=1, resamples=0).p[0, 0])
    for name, values in p.items():
        assert stats.kstest(values, "uniform").pvalue > 0.001, name
