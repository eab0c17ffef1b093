"""Slopes on the baseline of each feature: estimates, permutation p, and calibration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from conn import inference
from conn.permutation import permutation_set
from conn.slopes import slope_difference


def arms(*sizes: int):
    """Matrix, contrast and group codes."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    matrix = np.column_stack([np.ones(codes.size), *(codes == g for g in range(1, len(sizes)))]).astype(float)
    contrast = np.eye(len(sizes))[1:]
    return matrix, contrast[0] if len(sizes) == 2 else contrast, codes


def orders(codes, permutations: int = 399, seed: int = 3):
    return permutation_set(
        codes.size, "labels", matrix_effect=codes, n_permutations=permutations, seed=seed, has_nuisance=True
    )


def slowly(y, b, matrix, contrast, own) -> float:
    """Share of rearranged residuals whose F of two least-squares fits is as large."""
    groups = matrix @ np.linalg.pinv(np.atleast_2d(contrast))
    few = np.column_stack([matrix, b])
    more = np.column_stack([few, b[:, None] * groups])
    left = y - few @ np.linalg.lstsq(few, y, rcond=None)[0]

    def f(values):
        before, after = (np.linalg.lstsq(x, values, rcond=None)[1][0] for x in (few, more))
        return (before - after) / after

    all_f = np.array([f(left[order]) for order in own.order])
    return float((all_f >= all_f[0] * (1 - 1e-9)).mean())


@pytest.mark.oracle
@pytest.mark.parametrize("sizes", [(9, 9), (8, 8, 8)])
def test_p_is_the_share_of_rearranged_residuals_with_a_larger_f(sizes):
    rng = np.random.default_rng(1)
    matrix, contrast, codes = arms(*sizes)
    b = rng.normal(size=(codes.size, 3)) + 5
    y = rng.normal(size=b.shape) + b * (1 + 0.4 * codes[:, None])
    b[2, 1] = np.nan
    own = orders(codes)
    found = slope_difference(y, b, matrix, contrast, own)
    assert np.isnan(found.p).tolist() == [False, True, False]
    for j in (0, 2):
        assert found.p[j] == pytest.approx(slowly(y[:, j], b[:, j], matrix, contrast, own))
        groups = matrix @ np.linalg.pinv(np.atleast_2d(contrast))
        x = np.column_stack([matrix, b[:, j], b[:, [j]] * groups])
        expected = np.linalg.lstsq(x, y[:, j], rcond=None)[0][-1] if len(sizes) == 2 else np.nan
        assert found.estimate[j] == pytest.approx(expected, nan_ok=True)


@pytest.mark.oracle
@pytest.mark.parametrize("sizes", [(12, 7), (9, 6, 11)])
def test_a_variance_for_each_group_is_that_of_the_engine(sizes):
    """v and G of `conn.inference`, edge by edge."""
    rng = np.random.default_rng(2)
    matrix, contrast, codes = arms(*sizes)
    b = rng.normal(size=(codes.size, 2))
    y = rng.normal(size=b.shape) * (1 + codes[:, None]) + 0.5 * b * codes[:, None]
    own = orders(codes, 199)
    found = slope_difference(y, b, matrix, contrast, own, codes)
    groups = matrix @ np.linalg.pinv(np.atleast_2d(contrast))
    for j in range(2):
        x = np.column_stack([matrix, b[:, j], b[:, [j]] * groups])
        picked = np.eye(x.shape[1])[-groups.shape[1] :]
        one = inference.test(y[:, [j]], x, picked if len(sizes) > 2 else picked[0], own, codes)
        assert found.p[j] == pytest.approx(one.p[0])
        assert found.estimate[j] == pytest.approx(one.effect[0], nan_ok=True)


def test_an_edge_that_somebody_lacks_is_tested_in_the_others_when_asked_for():
    rng = np.random.default_rng(4)
    matrix, contrast, codes = arms(10, 10)
    b, y = rng.normal(size=(2, 20, 1))
    y[3], b[15] = np.nan, np.nan
    own = orders(codes, 199)
    assert np.isnan(slope_difference(y, b, matrix, contrast, own).p[0])
    found = slope_difference(y, b, matrix, contrast, own, cells=codes, min_share=0.8)
    there = np.delete(np.arange(20), [3, 15])
    x = np.column_stack([matrix, b, b * matrix[:, 1:]])[there]
    assert found.estimate[0] == pytest.approx(np.linalg.lstsq(x, y[there, 0], rcond=None)[0][-1])
    assert 0 < found.p[0] <= 1


@pytest.mark.truth
def test_slopes_that_differ_are_found_and_estimated():
    rng = np.random.default_rng(5)
    matrix, contrast, codes = arms(25, 25)
    b = rng.normal(size=(50, 60))
    y = 0.5 * rng.normal(size=b.shape) + b * np.where(codes == 1, 1.2, 0.4)[:, None]
    found = slope_difference(y, b, matrix, contrast, orders(codes, 199))
    assert found.estimate.mean() == pytest.approx(0.8, abs=0.06)
    assert (found.p <= 0.05).mean() > 0.95


@pytest.mark.calibration
@pytest.mark.parametrize("sizes", [(14, 14), (16, 9)])
def test_equal_slopes_are_called_different_in_five_percent(sizes):
    """Also when arms differ in level, in baseline, and (with a variance each) in noise."""
    rng, features = np.random.default_rng(20241131), 600
    matrix, contrast, codes = arms(*sizes)
    unequal = len(set(sizes)) > 1
    b = rng.normal(size=(codes.size, features)) + codes[:, None]
    noise = rng.normal(size=b.shape) * (1 + unequal * 0.5 * codes[:, None])
    y = noise + 0.7 * b + 2 * codes[:, None]
    p = slope_difference(y, b, matrix, contrast, orders(codes, 99), codes if unequal else None).p
    low, high = stats.binom.ppf([0.0005, 0.9995], features, 0.05)
    assert low <= (p <= 0.05).sum() <= high


def test_a_constant_baseline_has_no_slopes_to_compare():
    matrix, contrast, codes = arms(5, 5)
    y = np.random.default_rng(6).normal(size=(10, 1))
    assert np.isnan(slope_difference(y, np.ones((10, 1)), matrix, contrast, orders(codes, 99)).p).all()
