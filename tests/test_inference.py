from __future__ import annotations

import itertools
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conn import inference, tiles
from conn.errors import DesignError
from conn.permutation import permutation_set
from reference_inference import refit_all

R = json.loads((Path(__file__).parent / "golden" / "inference.json").read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def two_groups(first, second):
    g = np.repeat([0.0, 1.0], [first, second])
    return g, np.column_stack([1 - g, g]), np.array([-1.0, 1.0])


def shuffled(n, exchange="labels", n_permutations=99, seed=0, **more):
    more = {"has_nuisance": True} | more
    return permutation_set(n, exchange, n_permutations=n_permutations, seed=seed, **more)


def same(first, second):
    """Equal to the bit, NaN included."""
    return all(
        np.array_equal(
            getattr(first, f.name), getattr(second, f.name), equal_nan=f.name not in ("scale", "permutations")
        )
        for f in fields(first)
    )


@pytest.mark.oracle
def test_small_paired_p_is_that_of_all_flips_by_hand(rng):
    d = rng.normal(0.6, 1, size=(8, 3))
    found = inference.test(d, np.ones((8, 1)), [1.0], shuffled(8, "flips", 1000, has_nuisance=False))
    t = np.array(
        [
            abs(stats.ttest_1samp(d * np.array(s)[:, None], 0).statistic)
            for s in itertools.product((1, -1), repeat=8)
        ]
    )
    np.testing.assert_array_equal(found.p, (t >= t[0] - 1e-9).mean(axis=0))
    p_fwe = inference.correct([found]).results[0].p_fwe
    np.testing.assert_array_equal(p_fwe, [(t.max(axis=1) >= own - 1e-9).mean() for own in t[0]])
    assert found.exact


@pytest.mark.oracle
@pytest.mark.parametrize("welch", [False, True])
def test_small_two_sample_p_is_that_of_all_assignments_by_hand(rng, welch):
    g, m, c = two_groups(4, 5)
    y = rng.normal(size=(9, 3)) * (1 + g[:, None]) + g[:, None]
    own = permutation_set(9, "labels", matrix_effect=g, n_permutations=1000, seed=0, has_nuisance=False)
    found = inference.test(y, m, c, own, g if welch else None)
    scores = []
    for chosen in itertools.combinations(range(9), 4):
        inside = np.isin(np.arange(9), chosen)
        one = stats.ttest_ind(y[~inside], y[inside], equal_var=not welch)
        scores.append(stats.norm.isf(one.pvalue / 2) if welch else abs(one.statistic))
    scores = np.array(scores)
    np.testing.assert_array_equal(found.p, (scores >= scores[0] - 1e-9).mean(axis=0))
    np.testing.assert_allclose(np.sort(found.maxima), np.sort(scores.max(axis=1)), rtol=1e-9)
    assert found.scale == ("z" if welch else "t")


@pytest.mark.oracle
def test_exact_p_values_that_r_printed_are_reproduced():
    g, m, c = two_groups(4, 5)
    own = permutation_set(9, "labels", matrix_effect=g, n_permutations=1000, seed=0, has_nuisance=False)
    labels = inference.test(np.array(R["small"])[:, None], m, c, own)
    assert labels.p[0] == pytest.approx(R["p_labels"][0], rel=1e-12)
    d = np.array(R["differences"])[:, None]
    flips = inference.test(d, np.ones((7, 1)), [1], shuffled(7, "flips", 1000, has_nuisance=False))
    assert flips.p[0] == pytest.approx(R["p_flips"][0], rel=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("exchange", ["labels", "flips"])
@pytest.mark.parametrize("n_groups", [1, 2, 3])
def test_rearranged_statistics_are_those_of_a_refit_each_time(rng, n_groups, exchange, precision):
    _, m, c = two_groups(8, 12)
    groups = None if n_groups == 1 else np.minimum(np.repeat([0, 1, 2], [8, 6, 6]), n_groups - 1)
    m = np.column_stack([m, rng.normal(size=(20, 2))])
    c = np.array([*c, 0, 0.5])
    y = rng.normal(size=(20, 7)) * (1 + m[:, 1:2]) + m[:, 2:3]
    own = shuffled(20, exchange, 70, strata=np.arange(20) % 3)
    found = inference.test(y, m, c, own, groups, precision=precision)
    expected = refit_all(y, m, c, own, groups)
    np.testing.assert_allclose(
        found.maxima, expected.max(axis=1), rtol=1e-9 if precision == "float64" else 1e-5
    )
    # What differs by less than the tolerance counts as a tie.
    near = found.tolerance * (1 + expected[0])
    assert ((expected >= expected[0] - near / 2).mean(axis=0) <= found.p).all()
    assert (found.p <= (expected >= expected[0] - near * 2).mean(axis=0)).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.booleans(), st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.2]), st.integers(0, 2)
)
def test_p_fwe_reaches_alpha_exactly_when_the_simultaneous_interval_excludes_zero(seed, welch, alpha, extra):
    rng = np.random.default_rng(seed)
    # Covariates may take as many degrees of freedom from one group as there are.
    g, m, c = two_groups(int(rng.integers(3 + extra, 8)), int(rng.integers(3 + extra, 8)))
    n = g.size
    m = np.column_stack([m, rng.normal(size=(n, extra))])
    y = rng.normal(size=(n, 12)) * (1 + 2 * g[:, None]) + g[:, None] * rng.uniform(0, 4, 12)
    y[:, 11] = np.round(y[:, 11])  # ties
    own = permutation_set(n, "labels", matrix_effect=g, n_permutations=149, seed=seed, has_nuisance=extra > 0)
    c, groups = [*c, *[0] * extra], g if welch else None
    family = inference.correct(
        [inference.test(part, m, c, own, groups) for part in (y[:, :5], y[:, 5:])], alpha
    )
    for result in family.results:
        outside = (result.ci_sim_low > 0) | (result.ci_sim_high < 0)
        tested = np.isfinite(result.p_fwe)
        np.testing.assert_array_equal(outside[tested], (result.p_fwe <= alpha)[tested])


@pytest.mark.parametrize("n", [5, 6, 8])
def test_complete_flips_have_ties_and_the_intervals_still_agree(rng, n):
    y = rng.normal(1, 0.6, size=(n, 40))
    own = shuffled(n, "flips", 1000, has_nuisance=False)
    for alpha in (0.01, 0.05, 2 / 2**n, 0.25):
        family = inference.correct([inference.test(y, np.ones((n, 1)), [1], own)], alpha)
        result = family.results[0]
        np.testing.assert_array_equal(
            (result.ci_sim_low > 0) | (result.ci_sim_high < 0), result.p_fwe <= alpha
        )
        if alpha < own.smallest_p:
            assert family.critical == np.inf
            assert np.isinf(result.ci_sim_high).all()
            assert not (result.p_fwe <= alpha).any()


def test_no_p_is_smaller_than_the_set_can_give(rng):
    y = rng.normal(5, 0.1, size=(6, 4))
    found = inference.test(y, np.ones((6, 1)), [1], shuffled(6, "flips", 1000, has_nuisance=False))
    assert (found.p == 2 / 64).all()
    assert (inference.correct([found]).results[0].p_fwe == found.smallest_p).all()


def test_family_p_is_never_below_the_uncorrected_one_and_equals_it_for_one_feature(rng):
    g, m, c = two_groups(6, 10)
    y = rng.normal(size=(16, 30)) + g[:, None] * 0.8
    for groups in (None, g):
        found = inference.test(y, m, c, shuffled(16), groups)
        assert (inference.correct([found]).results[0].p_fwe >= found.p).all()
        alone = inference.test(y[:, :1], m, c, shuffled(16), groups)
        assert inference.correct([alone]).results[0].p_fwe[0] == alone.p[0] == found.p[0]


def test_tests_of_a_family_share_their_maximum(rng):
    _, m, c = two_groups(8, 8)
    y = rng.normal(size=(16, 30))
    own = shuffled(16)
    apart = [inference.test(part, m, c, own) for part in (y[:, :10], y[:, 10:])]
    together = inference.test(y, m, c, own)
    family, one = inference.correct(apart), inference.correct([together])
    np.testing.assert_array_equal(np.concatenate([r.p_fwe for r in family.results]), one.results[0].p_fwe)
    assert family.n_features == 30
    assert family.critical == pytest.approx(one.critical, rel=1e-12)


def test_tests_with_different_df_go_to_z_before_they_share_a_maximum(rng):
    _, m, c = two_groups(8, 8)
    y, own = rng.normal(size=(16, 5)), shuffled(16)
    plain = inference.test(y, m, c, own)
    adjusted = inference.test(y, np.column_stack([m, rng.normal(size=(16, 4))]), [*c, 0, 0, 0, 0], own)
    family = inference.correct([plain, adjusted])
    assert family.scale == "z"
    expected = max(stats.norm.isf(stats.t.sf(r.maxima[7], r.df[0])) for r in (plain, adjusted))
    assert family.maxima[7] == pytest.approx(expected, rel=1e-10)


def test_marginal_intervals_are_those_of_t_with_own_df(rng):
    g, m, c = two_groups(5, 12)
    y = rng.normal(size=(17, 4))
    result = inference.correct([inference.test(y, m, c, shuffled(17), g)], 0.1).results[0]
    expected = stats.ttest_ind(y[g == 1], y[g == 0], equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose(result.ci_low, expected.low, rtol=1e-9)
    np.testing.assert_allclose(result.ci_high, expected.high, rtol=1e-9)


@pytest.mark.parametrize("welch", [False, True])
def test_results_do_not_depend_on_memory_or_workers_to_the_bit(rng, welch):
    g, m, c = two_groups(9, 14)
    y = rng.normal(size=(23, 5000)).astype(np.float32)
    m, c = np.column_stack([m, rng.normal(size=23)]), [*c, 0]
    own, groups = shuffled(23, n_permutations=40), g if welch else None
    for precision in ("float32", "float64"):
        whole = inference.test(y, m, c, own, groups, precision=precision)
        for more in ({"block_bytes": 1}, {"block_bytes": 10**6}, {"block_bytes": 10**6, "workers": 2}):
            assert same(whole, inference.test(y, m, c, own, groups, precision=precision, **more))


def test_float32_finds_the_p_of_float64_where_all_flips_tie_in_pairs(rng):
    y = rng.normal(0.3, 1, size=(9, 400))
    own = shuffled(9, "flips", 1000, has_nuisance=False)
    low, high = (inference.test(y, np.ones((9, 1)), [1], own, precision=p) for p in ("float32", "float64"))
    # Its wider tolerance can only add a pair of near ties, never lose a true one.
    assert ((low.p == high.p) | (low.p == high.p + 2 / 512)).all()
    assert (low.p == high.p).mean() > 0.99
    corrected = [inference.correct([r]).results[0].p_fwe for r in (low, high)]
    assert ((corrected[0] == corrected[1]) | (corrected[0] == corrected[1] + 2 / 512)).all()


@pytest.mark.parametrize("welch", [False, True])
def test_p_does_not_depend_on_scale_shift_or_nuisance_that_is_added(rng, welch):
    g, m, c = two_groups(7, 9)
    age = rng.normal(size=16)
    m, c = np.column_stack([m, age]), [*c, 0]
    y = rng.normal(size=(16, 20)) + g[:, None]
    moved = -3e-4 * y + 17 + 0.01 * age[:, None]
    first, second = (inference.test(v, m, c, shuffled(16), g if welch else None) for v in (y, moved))
    np.testing.assert_array_equal(first.p, second.p)
    np.testing.assert_allclose(first.maxima, second.maxima, rtol=1e-8)


def test_features_that_cannot_be_tested_are_nan_and_leave_the_family(rng):
    g, m, c = two_groups(6, 8)
    y = rng.normal(size=(14, 40))
    bad = np.zeros(40, bool)
    bad[[0, 7, 39]] = True
    spoiled = np.where(bad, np.nan, y)
    spoiled[:, 7] = 3.25
    for groups in (None, g):
        found = inference.test(spoiled, m, c, shuffled(14), groups)
        clean = inference.test(y[:, ~bad], m, c, shuffled(14), groups)
        np.testing.assert_array_equal(found.valid, ~bad)
        np.testing.assert_array_equal(found.p[~bad], clean.p)
        np.testing.assert_allclose(found.maxima, clean.maxima, rtol=1e-12)
        family = inference.correct([found])
        assert family.n_features == 37
        for name in ("p_fwe", "ci_low", "ci_sim_low", "ci_sim_high"):
            np.testing.assert_array_equal(np.isnan(getattr(family.results[0], name)), bad)


def test_nothing_to_test_is_not_an_error():
    _, m, c = two_groups(4, 4)
    found = inference.test(np.full((8, 3), np.nan), m, c, shuffled(8))
    assert not found.valid.any()
    assert np.isnan(inference.correct([found]).results[0].p_fwe).all()


def test_observed_effect_is_the_estimate_of_the_model(rng):
    g, m, c = two_groups(6, 8)
    y = rng.normal(size=(14, 5))
    found = inference.test(y, m, c, shuffled(14), g)
    np.testing.assert_allclose(found.effect, y[g == 1].mean(axis=0) - y[g == 0].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.effect / found.se, found.stat, rtol=1e-12)


def test_small_variance_groups_are_computed_in_float64(rng):
    g, m, c = two_groups(4, 30)
    found = inference.test(rng.normal(size=(34, 20_001)), m, c, shuffled(34, n_permutations=3), g)
    assert found.tolerance == tiles.TOLERANCE["float64"]


def test_tests_of_different_permutation_sets_are_no_family(rng):
    _, m, c = two_groups(6, 6)
    y = rng.normal(size=(12, 2))
    results = [inference.test(y, m, c, shuffled(12, seed=s)) for s in (0, 1)]
    with pytest.raises(DesignError, match="different permutation sets"):
        inference.correct(results)
    with pytest.raises(DesignError, match="at least one test"):
        inference.correct([])
    with pytest.raises(DesignError, match="alpha is 5"):
        inference.correct(results[:1], 5)


def test_rows_that_do_not_match_are_named(rng):
    _, m, c = two_groups(6, 6)
    with pytest.raises(DesignError, match="12 rows"):
        inference.test(rng.normal(size=(11, 2)), m, c, shuffled(12))
    with pytest.raises(DesignError, match="permutations are for 11 rows"):
        inference.test(rng.normal(size=(12, 2)), m, c, shuffled(11))


@pytest.mark.parametrize("exchange", ["flips", "labels"])
def test_simultaneous_intervals_are_the_critical_value_times_the_standard_error(exchange):
    rng = np.random.default_rng(5)
    data = rng.normal(size=(12, 40)) + np.where(np.arange(40) < 4, 1.5, 0.0)
    group = np.repeat([0.5, -0.5], 6)
    matrix = np.ones((12, 1)) if exchange == "flips" else np.column_stack([np.ones(12), group])
    if exchange == "labels":
        data[:6, :4] += 4.0
    contrast = np.eye(matrix.shape[1])[-1]
    sets = permutation_set(
        12, exchange, matrix_effect=matrix[:, -1], n_permutations=999, seed=0, has_nuisance=False
    )
    result = inference.test(data, matrix, contrast, sets)
    family = inference.correct([result])
    one = family.results[0]
    half = family.critical * result.se
    assert np.allclose(one.ci_sim_low, result.effect - half, rtol=1e-6, atol=1e-9)
    assert np.allclose(one.ci_sim_high, result.effect + half, rtol=1e-6, atol=1e-9)
    assert ((one.p_fwe <= 0.05) == (np.abs(result.effect) > half)).all()
    assert (one.p_fwe[:4] <= 0.05).any() and (one.p_fwe[4:] > 0.05).any()
