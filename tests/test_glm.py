from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conn.errors import DesignError
from conn.glm import fit, make_kernel, make_model, residuals, t_to_z, z_to_t
from reference_inference import direct_v

GOLDEN = Path(__file__).parent / "golden"


def two_groups(first, second):
    g = np.repeat([0.0, 1.0], [first, second])
    return g, np.column_stack([1 - g, g]), np.array([-1.0, 1.0])


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.oracle
def test_paired_t_is_that_of_scipy(rng):
    before, after = rng.normal(size=(2, 13, 9))
    found = fit(after - before, make_model(np.ones((13, 1)), [1.0]))
    expected = stats.ttest_rel(after, before)
    np.testing.assert_allclose(found.stat, expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(found.effect, (after - before).mean(axis=0), rtol=1e-10)
    assert (found.df == 12).all()


@pytest.mark.oracle
def test_two_sample_t_is_that_of_scipy(rng):
    g, m, c = two_groups(7, 9)
    y = rng.normal(size=(16, 11)) + 1e3
    expected = stats.ttest_ind(y[g == 1], y[g == 0])
    found = fit(y, make_model(m, c))
    np.testing.assert_allclose(found.stat, expected.statistic, rtol=1e-10)
    assert (found.df == 14).all()


@pytest.mark.oracle
def test_v_of_two_groups_is_welch_in_statistic_and_df(rng):
    g, m, c = two_groups(6, 15)
    y = rng.normal(size=(21, 12)) * (3 - 2 * g[:, None])
    expected = stats.ttest_ind(y[g == 1], y[g == 0], equal_var=False)
    found = fit(y, make_model(m, c, g))
    np.testing.assert_allclose(found.stat, expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(found.df, expected.df, rtol=1e-10)


@pytest.mark.oracle
def test_t_with_nuisance_is_that_of_statsmodels(rng):
    m = np.column_stack([np.ones(20), rng.normal(size=(20, 3))])
    y = rng.normal(size=(20, 8)) + 5
    found = fit(y, make_model(m, [0, 1.0, 0, -2.0]))
    for j in range(8):
        expected = sm.OLS(y[:, j], m).fit().t_test([0, 1.0, 0, -2.0])
        np.testing.assert_allclose(found.stat[j], expected.tvalue.item(), rtol=1e-8)
        np.testing.assert_allclose(found.effect[j], expected.effect.item(), rtol=1e-8)
        np.testing.assert_allclose(found.se[j], expected.sd.item(), rtol=1e-8)


@pytest.mark.oracle
@pytest.mark.parametrize("n_groups", [2, 3, 4])
def test_v_with_covariates_follows_the_formula_term_by_term(rng, n_groups):
    groups = np.repeat(np.arange(n_groups), [7, 12, 5, 6][:n_groups])
    m = np.column_stack([groups[:, None] == np.arange(n_groups), rng.normal(size=(groups.size, 2))]).astype(
        float
    )
    c = np.zeros(n_groups + 2)
    c[:2] = -1, 1
    y = rng.normal(size=(groups.size, 6)) * (1 + groups[:, None])
    found = fit(y, make_model(m, c, groups))
    for j in range(6):
        np.testing.assert_allclose(
            [found.effect[j], found.stat[j], found.df[j]], direct_v(y[:, j], m, c, groups), rtol=1e-10
        )


@pytest.mark.oracle
def test_numbers_that_r_printed_are_reproduced():
    r = json.loads((GOLDEN / "inference.json").read_text())
    g, age, y = (np.array(r[name])[:, None] for name in ("group", "age", "y"))
    welch = fit(y, make_model(np.hstack([1 - g, g]), [-1, 1], g[:, 0]))
    np.testing.assert_allclose([welch.stat[0], welch.df[0], welch.se[0]], r["welch"], rtol=1e-10)
    adjusted = fit(y, make_model(np.hstack([1 - g, g, age]), [-1, 1, 0]))
    np.testing.assert_allclose(
        [adjusted.effect[0], adjusted.se[0], adjusted.stat[0]], r["adjusted"], rtol=1e-9
    )


@pytest.mark.oracle
def test_t_to_z_is_exact_in_both_tails():
    t, df, z = np.array(json.loads((GOLDEN / "t_to_z.json").read_text())).T
    np.testing.assert_allclose(t_to_z(t, df), z, rtol=1e-12)
    np.testing.assert_allclose(t_to_z(-t, df), -z, rtol=1e-12)


def test_z_to_t_undoes_t_to_z():
    t, df = np.meshgrid([-40.0, -6.0, -1.0, 0.5, 3.0, 12.0], [2.0, 3.3, 17.0, 60.0, 400.0])
    np.testing.assert_allclose(z_to_t(t_to_z(t, df), df), t, rtol=1e-9)
    assert z_to_t(np.inf, 7.0) == np.inf


def test_t_to_z_of_a_huge_t_with_huge_df_is_finite_and_below_t():
    z = t_to_z([40.0, 50.0], [1e6, 1e5])
    assert (z < [40.0, 50.0]).all()
    np.testing.assert_allclose(z, [39.984, 49.69], rtol=1e-4)


@given(st.floats(0, 50), st.floats(1, 500))
def test_wallace_bounds_hold_the_exact_transform(t, df):
    u = np.sqrt(df * np.log1p(t * t / df))
    z = float(t_to_z(t, df))
    assert u * np.sqrt(1 - 0.5 / df) * (1 - 1e-12) - 2e-8 <= z <= u * (1 + 1e-12) + 2e-8


def test_statistics_do_not_depend_on_the_scale_and_shift_of_data(rng):
    g, m, c = two_groups(6, 9)
    m = np.column_stack([m, rng.normal(size=15)])
    y = rng.normal(size=(15, 5))
    for groups in (None, g):
        model = make_model(m, [*c, 0], groups)
        np.testing.assert_allclose(fit(y * 1e-3 + 40, model).stat, fit(y, model).stat, rtol=1e-9)


def test_missing_rows_and_constant_features_give_nan(rng):
    g, m, c = two_groups(5, 8)
    y = rng.normal(size=(13, 5))
    y[3, 0], y[4, 1], y[:, 2], y[:5, 3] = np.nan, np.inf, 2.5, 1.0
    pooled = fit(y, make_model(m, c))
    assert pooled.valid.tolist() == [False, False, False, True, True]
    assert np.isnan(pooled.stat[:3]).all()
    # One group without variance leaves v without a variance to weigh by.
    assert fit(y, make_model(m, c, g)).valid.tolist() == [False, False, False, False, True]


def test_residuals_are_orthogonal_to_the_nuisance(rng):
    basis = np.linalg.qr(rng.normal(size=(30, 4)))[0]
    assert abs(basis.T @ residuals(rng.normal(size=(30, 6)) * 1e6, basis)).max() < 1e-9


def test_an_intercept_costs_no_product_when_labels_are_exchanged():
    _, m, c = two_groups(5, 5)
    assert make_kernel(make_model(m, c), "labels").rows.shape == (1, 10)
    assert make_kernel(make_model(m, c), "flips").rows.shape == (2, 10)


@pytest.mark.parametrize(
    ("matrix", "contrast", "groups", "message"),
    [
        (np.ones((5, 2)), [1, 0], None, r"rank 1: columns \[0, 1\] depend"),
        (np.eye(3), [1, 0, 0], None, "more rows than columns"),
        (np.ones((5, 1)), [0], None, "zero in every column"),
        (np.ones((5, 1)), [1, 0], None, r"\(n, p\) and \(p,\)"),
        (np.array([[1.0], [np.nan], [1.0]]), [1], None, r"missing values \(rows \[1\]\)"),
        (np.ones((5, 1)), [1], [0, 0], "variance_groups has shape"),
        (two_groups(1, 6)[1], [-1, 1], two_groups(1, 6)[0], r"variance group of rows \[0\]"),
    ],
)
def test_wrong_designs_raise_and_name_what_is_wrong(matrix, contrast, groups, message):
    with pytest.raises(DesignError, match=message):
        make_model(matrix, contrast, groups)
