"""Variances of groups where rows hold several values, and variances of single rows: three kinds of tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import null_trials as nt
from conn import inference
from conn.errors import DesignError
from conn.glm import f_to_z, fit, make_model
from conn.inference import _block, _blocks, _Progress
from conn.permutation import PermutationSet, permutation_set
from conn.sandwich import fit_robust
from conn.welch_james import welch_james
from conn.zscale import z_of_f
from reference_inference import direct_hc3, direct_welch_james, two_sided

Floats = NDArray[np.float64]
GOLDEN = json.loads((Path(__file__).parent / "golden" / "variances.json").read_text())


def grouped(*sizes: int, covariate: bool = True) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Matrix (intercept, groups, a covariate), contrast of all groups, group codes."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    columns = [np.ones(codes.size), *(codes == g for g in range(1, len(sizes)))]
    if covariate:
        columns.append(np.random.default_rng(5).normal(size=codes.size))
    matrix = np.column_stack(columns).astype(float)
    contrast = np.eye(matrix.shape[1])[1 : len(sizes)]
    return matrix, contrast[0] if len(sizes) == 2 else contrast, codes


def slope(n: int, seed: int = 6) -> tuple[Floats, Floats]:
    """Matrix (intercept, a skewed predictor, a covariate) and contrast of the predictor."""
    rng = np.random.default_rng(seed)
    return np.column_stack([np.ones(n), rng.exponential(size=n), rng.normal(size=n)]), np.array([0.0, 1, 0])


def drawn(n: int, kind: str = "labels", n_permutations: int = 40) -> PermutationSet:
    return permutation_set(n, kind, n_permutations=n_permutations, seed=3, has_nuisance=True)


def moved(y: Floats, m: Floats, c: Floats, one: NDArray[np.int64], kind: str) -> Floats:
    """Residuals of the nuisance of (n, …) data after a rearrangement; rows without a value are left out."""
    rows = np.atleast_2d(c)
    reduced = m @ np.linalg.svd(rows)[2][len(rows) :].T
    there = np.isfinite(y).reshape(len(y), -1).all(axis=1)
    e = np.full_like(y, np.nan)
    e[there] = y[there] - reduced[there] @ np.linalg.lstsq(reduced[there], y[there], rcond=None)[0]
    return (e.T * one).T if kind == "flips" else e[one]


# Against other programs and slow loops --------------------------------------------------------------


@pytest.mark.oracle
def test_three_groups_of_two_values_give_johansens_statistic() -> None:
    codes, y = np.array(GOLDEN["three"]) - 1, np.array(GOLDEN["three_values"])
    m, c, _ = grouped(*np.bincount(codes), covariate=False)
    found = inference.test(y.T[:, :, None], m, c, drawn(28), codes)
    f, f1, f2, p = GOLDEN["three_johansen"][:4]
    np.testing.assert_allclose([found.stat[0], found.rank, found.df[0]], [f, f1, f2], rtol=1e-10)
    assert stats.f.sf(found.stat[0], found.rank, found.df[0]) == pytest.approx(p, rel=1e-9)


@pytest.mark.oracle
def test_two_groups_of_three_values_give_the_statistic_of_krishnamoorthy_and_yu() -> None:
    codes, y = np.array(GOLDEN["two"]) - 1, np.array(GOLDEN["two_values"])
    m, c, _ = grouped(*np.bincount(codes), covariate=False)
    found = inference.test(y.T[:, :, None], m, c, drawn(17), codes)
    f, f1, f2 = GOLDEN["two_yu"][:3]
    np.testing.assert_allclose([found.stat[0], found.rank, found.df[0]], [f, f1, f2], rtol=1e-10)


@pytest.mark.oracle
def test_a_slope_has_the_hc3_error_of_sandwich() -> None:
    x, age, y = (np.array(GOLDEN[name]) for name in ("x", "age", "score"))
    m = np.column_stack([np.ones(18), x, age])
    found = inference.test(y[:, None], m, [0.0, 1, 0], drawn(18), own_variances=True)
    np.testing.assert_allclose([found.effect[0], found.se[0], found.stat[0]], GOLDEN["hc3"], rtol=1e-10)
    assert found.df[0] == 15


@pytest.mark.oracle
@pytest.mark.parametrize(("sizes", "q"), [((9, 6), 2), ((6, 8, 10), 2), ((7, 9), 3), ((7, 5, 8), 1)])
@pytest.mark.parametrize("kind", ["labels", "flips"])
def test_every_rearrangement_is_that_of_a_fit_with_a_covariance_of_each_group(
    sizes: tuple[int, ...], q: int, kind: str
) -> None:
    m, c, codes = grouped(*sizes)
    y = np.random.default_rng(7).normal(size=(q, codes.size, 3)) * (1 + codes)[None, :, None]
    own = drawn(codes.size, kind)
    found = inference.test(y, m, c, own, codes)
    expected = np.empty((own.n_set, 3))
    for b, one in enumerate(own.table):
        for j in range(3):
            e = moved(y[:, :, j].T, m, c, one, kind)
            expected[b, j] = two_sided(*direct_welch_james(e, m, c, codes), np.atleast_2d(c).shape[0] * q)
    np.testing.assert_allclose(found.on_scale("z"), expected[0], rtol=1e-8)
    np.testing.assert_allclose(found.maxima, expected.max(axis=1), rtol=1e-8)
    np.testing.assert_allclose(found.p, (expected >= expected[0] * (1 - 1e-9)).mean(axis=0), rtol=1e-12)


@pytest.mark.oracle
def test_the_mean_over_groups_has_their_covariances() -> None:
    m, _, codes = grouped(9, 6)
    c = np.array([1.0, 0.5, 0])
    y = np.random.default_rng(8).normal(size=(2, 15, 2)) + 0.5
    found = inference.test(y, m, c, drawn(15, "flips"), codes)
    expected = [direct_welch_james(y[:, :, j].T, m, c, codes) for j in range(2)]
    np.testing.assert_allclose(np.array([found.stat, found.df]).T, expected, rtol=1e-10)


@pytest.mark.oracle
@pytest.mark.parametrize("sizes", [(8, 5), (8, 5, 7)])
def test_one_value_in_a_row_is_v_or_g(sizes: tuple[int, ...]) -> None:
    m, c, codes = grouped(*sizes)
    y = np.random.default_rng(9).normal(size=(codes.size, 5))
    own = drawn(codes.size, n_permutations=99)
    one, plain = (inference.test(v, m, c, own, codes) for v in (y[None], y))
    np.testing.assert_allclose(one.on_scale("z"), plain.on_scale("z"), rtol=1e-10)
    np.testing.assert_allclose(one.df, plain.df, rtol=1e-10)
    np.testing.assert_allclose(one.maxima, plain.maxima, rtol=1e-9)


@pytest.mark.oracle
def test_a_contrast_of_one_row_is_v_by_the_grouped_way_too() -> None:
    m, c, codes = grouped(8, 5)
    y = np.random.default_rng(10).normal(size=(13, 30))
    own = drawn(13, n_permutations=99)
    job = welch_james(y[None], make_model(m, c, codes), own, np.arange(30), np.float64)
    part = _block(job, _blocks(job, 1 << 30, 1)[0], _Progress(lambda share: None, 7))
    found = inference.test(y, m, c, own, codes)
    np.testing.assert_allclose(part.maxima, found.maxima, rtol=1e-9)
    np.testing.assert_allclose(part.fits[0].effect, found.effect, rtol=1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["labels", "flips"])
@pytest.mark.parametrize("gaps", [False, True])
def test_robust_slopes_are_those_of_a_fit_to_each_rearrangement(kind: str, gaps: bool) -> None:
    m, c = slope(16)
    y = np.random.default_rng(11).normal(size=(16, 4)) * (1 + m[:, 1:2])
    if gaps:
        y[2, 1] = y[9, 1] = y[5, 2] = np.nan
    own = drawn(16, kind)
    found = inference.test(y, m, c, own, own_variances=True, min_share=0.8)
    expected = np.empty((own.n_set, 4))
    for b, one in enumerate(own.table):
        for j in range(4):
            e = moved(y[:, j], m, c, one, kind)
            kept = np.isfinite(e)
            _, t, df = direct_hc3(e[kept], m[kept], c)
            expected[b, j] = two_sided(t, df, None) if gaps else abs(t)
    np.testing.assert_allclose(found.on_scale(found.scale), expected[0], rtol=1e-8)
    np.testing.assert_allclose(found.maxima, expected.max(axis=1), rtol=1e-8)
    assert found.scale == ("z" if gaps else "t")


@pytest.mark.oracle
def test_robust_slopes_with_a_covariate_of_each_feature() -> None:
    m, c = slope(15)
    rng = np.random.default_rng(12)
    y, covariate = rng.normal(size=(15, 3)), rng.normal(size=(15, 3))
    found = inference.test(y, m, c, drawn(15), covariate=covariate, own_variances=True)
    for j in range(3):
        wide = np.column_stack([m, covariate[:, j]])
        effect, t, df = direct_hc3(y[:, j], wide, np.append(c, 0))
        got = (found.effect[j], found.stat[j], found.df[j])
        np.testing.assert_allclose(got, (effect, t, df), rtol=1e-8)


@pytest.mark.oracle
def test_maps_in_single_precision_agree_with_double() -> None:
    rng = np.random.default_rng(13)
    m, c, codes = grouped(14, 10, 12)
    own = drawn(36, n_permutations=60)
    y = rng.normal(size=(2, 36, 50)) * (1 + codes)[None, :, None]
    x, k = slope(36)
    for data, matrix, contrast, options in (
        (y, m, c, {"variance_groups": codes}),
        (y[0], m, c, {"variance_groups": codes}),
        (y[0], x, k, {"own_variances": True}),
    ):
        kinds = ("float64", "float32")
        double, single = (
            inference.test(data, matrix, contrast, own, precision=kind, **options) for kind in kinds
        )
        np.testing.assert_allclose(single.maxima, double.maxima, rtol=2e-4)
        np.testing.assert_array_equal(single.stat, double.stat)


@pytest.mark.oracle
@pytest.mark.parametrize("rank", [2, 3, 6])
def test_the_table_of_f_gives_the_deviate(rank: int) -> None:
    rng = np.random.default_rng(14)
    df = np.exp(rng.uniform(np.log(0.8), np.log(400), 20_000)).astype(np.float32)
    f = (rng.exponential(size=df.size) * rng.uniform(0, 8, df.size)).astype(np.float32)
    exact = f_to_z(f.astype(float), rank, df.astype(float))
    np.testing.assert_allclose(z_of_f(f, rank, df), exact, rtol=1e-4, atol=1e-4)


def test_p_fwe_and_simultaneous_intervals_agree_for_robust_slopes() -> None:
    m, c = slope(24)
    y = np.random.default_rng(15).normal(size=(24, 30)) + 0.9 * m[:, 1:2] * (np.arange(30) % 2)
    found = inference.test(y, m, c, drawn(24, n_permutations=199), own_variances=True)
    corrected = inference.correct([found]).results[0]
    outside = (corrected.ci_sim_low > 0) | (corrected.ci_sim_high < 0)
    np.testing.assert_array_equal(outside, corrected.p_fwe <= 0.05)
    assert 0 < outside.sum() < 30


def test_blocks_and_threads_do_not_change_a_byte() -> None:
    m, c, codes = grouped(7, 9)
    rng = np.random.default_rng(16)
    y, (x, k) = rng.normal(size=(2, 16, 2100)), slope(16)
    for data, matrix, contrast, options in (
        (y, m, c, {"variance_groups": codes}),
        (y[0], x, k, {"own_variances": True}),
    ):
        whole = inference.test(data, matrix, contrast, drawn(16), **options)
        parts = inference.test(data, matrix, contrast, drawn(16), block_bytes=1, workers=2, **options)
        for name in ("effect", "stat", "df", "p", "maxima"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_what_cannot_be_is_said() -> None:
    m, c, codes = grouped(4, 9, covariate=False)
    with pytest.raises(
        DesignError, match=r"rows \[0, 1, 2, 3\] has 3 residual degrees of freedom; at least 4"
    ):
        inference.test(np.zeros((4, 13, 2)), m, c, drawn(13), codes)
    with pytest.raises(DesignError, match="without variance groups"):
        inference.test(np.zeros((13, 2)), m, c, drawn(13), codes, own_variances=True)
    alone = np.column_stack([np.ones(8), np.arange(8) == 3]).astype(float)
    with pytest.raises(DesignError, match="row 3 alone"):
        inference.test(np.zeros((8, 2)), alone, [0.0, 1], drawn(8), own_variances=True)


# Truth ----------------------------------------------------------------------------------------------


@pytest.mark.truth
def test_a_planted_difference_of_courses_is_found_where_it_is() -> None:
    m, c, codes = grouped(20, 9, covariate=False)
    rng = np.random.default_rng(17)
    y = rng.normal(size=(2, 29, 40)) * np.where(codes == 1, 2.0, 1.0)[None, :, None]
    y[0, codes == 1, :5] += 8
    found = inference.test(y, m, c, drawn(29, n_permutations=499), codes)
    p = inference.correct([found]).results[0].p_fwe
    assert (p[:5] <= 0.05).all()
    assert (p[5:] > 0.05).all()


@pytest.mark.truth
def test_a_robust_slope_has_no_bias_and_its_interval_covers() -> None:
    rng, c = np.random.default_rng(18), np.array([0.0, 1, 0])
    m = np.column_stack([np.ones(40), rng.uniform(0, 3, 40), rng.normal(size=40)])
    y = 0.7 * m[:, 1:2] + (0.3 + np.abs(m[:, 1:2] - 1.5)) * rng.normal(size=(40, 8000))
    model = make_model(m, c)
    robust, plain = fit_robust(y, model), fit(y, model)
    limit = stats.t.ppf(0.975, 37)
    covered = (np.abs(robust.effect - 0.7) <= limit * robust.se).mean()
    assert robust.effect.mean() == pytest.approx(0.7, abs=0.02)
    assert 0.92 < covered < 0.98
    assert (np.abs(plain.effect - 0.7) <= limit * plain.se).mean() < 0.93


# Calibration ----------------------------------------------------------------------------------------

LIBERAL: dict[str, tuple[nt.Case, float, float]] = {
    "courses of unequal groups": (nt.within("groupByWithin", 20, 8, ratio=2.0), 0.41, 0.07),
    "mean course of unequal groups": (nt.within("within", 20, 8, ratio=2.0), 1.0, 0.05),
    "formula of unequal groups": (nt.formula(14, 9, 6, ratio=2.0), 0.20, 0.09),
    "slope": (nt.regression(40, ratio=2.0), 0.175, 0.08),
}
"""A case, its rate with one variance, and the rate that it has now."""


@pytest.mark.calibration
@pytest.mark.parametrize("name", LIBERAL)
def test_designs_that_were_liberal_are_near_their_error(name: str) -> None:
    case, before, now = LIBERAL[name]
    found = nt.false_positives(nt.made(case), 120, 20250611)
    low, high = stats.binom.ppf([0.0005, 0.9995], 120, now)
    assert low <= found <= high
    assert found / 120 < before
