"""Rows of several values beside several covariates of each feature."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.multivariate.manova import MANOVA

from conn import inference
from conn.errors import DesignError
from conn.permutation import permutation_set


def arms(*sizes: int):
    codes = np.repeat(np.arange(len(sizes)), sizes)
    matrix = np.column_stack([np.ones(codes.size), *(codes == g for g in range(1, len(sizes)))]).astype(float)
    contrast = np.eye(len(sizes))[1:]
    return matrix, contrast[0] if len(sizes) == 2 else contrast, codes


def orders(codes, permutations: int = 199, seed: int = 3):
    return permutation_set(
        codes.size, "labels", matrix_effect=codes, n_permutations=permutations, seed=seed, has_nuisance=True
    )


def judged(y, b, matrix, contrast, own, **options):
    return inference.test(y, matrix, contrast, own, covariate=b, **options)


def lost(y, few, more) -> float:
    """Wilks' lambda of two least-squares fits of values (n, q)."""
    error, total = (y - x @ np.linalg.lstsq(x, y, rcond=None)[0] for x in (more, few))
    return float(np.linalg.det(error.T @ error) / np.linalg.det(total.T @ total))


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("sizes", "q", "c"), [((9, 11), 2, 2), ((7, 8, 9), 2, 2), ((10, 10), 1, 1), ((9, 9), 3, 2)]
)
def test_f_is_that_of_a_multivariate_regression_and_p_that_of_rearranged_residuals(sizes, q, c):
    rng = np.random.default_rng(1)
    matrix, contrast, codes = arms(*sizes)
    b = rng.normal(size=(c, codes.size, 3))
    y = rng.normal(size=(q, codes.size, 3)) + 0.8 * b[:1] + 0.5 * codes[:, None]
    own = orders(codes)
    found = judged(y, b, matrix, contrast, own)
    for j in range(3):
        values, base = y[:, :, j].T, b[:, :, j].T
        data = pd.DataFrame(
            {f"y{u}": values[:, u] for u in range(q)} | {f"b{u}": base[:, u] for u in range(c)}
        )
        few = np.column_stack([np.ones(codes.size), base])
        more = np.column_stack([matrix, base])
        if q > 1:
            terms = " + ".join(["C(g)", *(f"b{u}" for u in range(c))])
            left = " + ".join(f"y{u}" for u in range(q))
            table = MANOVA.from_formula(f"{left} ~ {terms}", data.assign(g=codes)).mv_test()
            wilks = table.results["C(g)"]["stat"].loc["Wilks' lambda"]
            assert found.stat[j] == pytest.approx(float(wilks["F Value"]), rel=1e-8)
            assert (found.rank, found.df[j]) == pytest.approx((wilks["Num DF"], wilks["Den DF"]))
        residual = values - few @ np.linalg.lstsq(few, values, rcond=None)[0]
        sizes_of = np.array([lost(residual[order], few, more) for order in own.order])
        assert found.p[j] == pytest.approx((sizes_of <= sizes_of[0] * (1 + 1e-9)).mean())


@pytest.mark.oracle
def test_one_value_with_one_covariate_is_the_f_of_the_univariate_engine():
    rng = np.random.default_rng(2)
    matrix, contrast, codes = arms(8, 8)
    b, y = rng.normal(size=(2, 16, 5))
    own = orders(codes)
    several, single = judged(y[None], b[None], matrix, contrast, own), judged(y, b, matrix, contrast, own)
    np.testing.assert_allclose(several.stat, single.stat**2, rtol=1e-9)
    np.testing.assert_array_equal(several.p, single.p)
    np.testing.assert_allclose(several.maxima, single.maxima**2, rtol=1e-9)


def test_any_linear_change_of_values_or_of_covariates_leaves_f_as_it_is():
    rng = np.random.default_rng(4)
    matrix, contrast, codes = arms(9, 9)
    b, y = rng.normal(size=(2, 2, 18, 4))
    turn = np.array([[2.0, 1], [-0.5, 3]])
    own = orders(codes)
    plain = judged(y, b, matrix, contrast, own)
    turned = judged(np.tensordot(turn, y, 1), np.tensordot(turn.T, b, 1), matrix, contrast, own)
    np.testing.assert_allclose(turned.stat, plain.stat, rtol=1e-9)
    np.testing.assert_array_equal(turned.p, plain.p)
    moved = judged(y + 3 * b[[1, 0]], b, matrix, contrast, own)
    np.testing.assert_allclose(moved.stat, plain.stat, rtol=1e-7)


def test_missing_values_and_constant_covariates_are_not_tested():
    rng = np.random.default_rng(5)
    matrix, contrast, codes = arms(9, 9)
    b, y = rng.normal(size=(2, 2, 18, 4))
    y[1, 3, 0] = b[0, 2, 1] = np.nan
    b[1, :, 2] = 2.0
    found = judged(y, b, matrix, contrast, orders(codes))
    assert found.valid.tolist() == [False, False, False, True]


@pytest.mark.truth
def test_a_difference_that_baselines_hide_is_found():
    rng = np.random.default_rng(6)
    matrix, contrast, codes = arms(15, 15)
    b = 3 * rng.normal(size=(2, 30, 40))
    y = b + 0.5 * rng.normal(size=b.shape) + np.array([0.8, -0.8])[:, None, None] * codes[:, None]
    own = orders(codes)
    adjusted = judged(y, b, matrix, contrast, own)
    plain = inference.test(y, matrix, contrast, own)
    assert (adjusted.p <= 0.05).mean() > 0.95
    assert (plain.p <= 0.05).mean() < 0.3


@pytest.mark.calibration
def test_without_an_effect_p_is_uniform_and_the_family_holds_alpha():
    rng, false, sets = np.random.default_rng(20241141), 0, 200
    matrix, contrast, codes = arms(10, 10)
    ps = []
    for i in range(sets):
        b = rng.normal(size=(2, 20, 12)) + codes[:, None]
        y = 0.7 * b + rng.normal(size=b.shape)
        found = judged(y, b, matrix, contrast, orders(codes, 99, i))
        ps.append(found.p[0])
        false += bool((inference.correct([found]).results[0].p_fwe <= 0.05).any())
    low, high = stats.binom.ppf([0.0005, 0.9995], sets, 0.05)
    assert low <= false <= high
    assert stats.kstest(ps, "uniform").pvalue > 0.001


def test_too_few_people_and_wrong_shapes_are_refused():
    rng = np.random.default_rng(7)
    matrix, contrast, codes = arms(3, 3)
    y, b = rng.normal(size=(2, 6, 2)), rng.normal(size=(3, 6, 2))
    with pytest.raises(DesignError, match="2 values with 3 baselines and leave 1 residual degrees"):
        judged(y, b, matrix, contrast, orders(codes, 19))
    with pytest.raises(DesignError, match="the covariates have shape"):
        judged(y, b[:, :5], matrix, contrast, orders(codes, 19))
