"""F and G, covariates of a feature's own, missing rows, rows of several values: against obvious loops."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from conn import inference
from conn.errors import DesignError
from conn.general import general
from conn.glm import f_to_z, make_model, t_to_z
from conn.inference import _block, _blocks, _Progress
from conn.multivariate import blocks
from conn.permutation import PermutationSet, permutation_set
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS
from reference_inference import direct_f, direct_g, refit_one, two_sided

Floats = NDArray[np.float64]
pytestmark = pytest.mark.oracle


def three_groups(sizes: tuple[int, int, int]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Matrix (intercept, two groups, a covariate), contrast of rank 2, group codes."""
    codes = np.repeat(np.arange(3), sizes)
    covariate = np.random.default_rng(5).normal(size=codes.size)
    matrix = np.column_stack([np.ones(codes.size), codes == 1, codes == 2, covariate])
    return matrix.astype(float), np.array([[0.0, 1, 0, 0], [0, 0, 1, 0]]), codes


def two_groups(sizes: tuple[int, int]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    matrix, _, _ = three_groups((*sizes, 0))
    return matrix[:, [0, 1, 3]], np.array([0.0, 1, 0]), matrix[:, 1].astype(np.int64)


def drawn(n: int, kind: str = "labels", n_permutations: int = 60) -> PermutationSet:
    return permutation_set(n, kind, n_permutations=n_permutations, seed=3, has_nuisance=True)


def sizes_of(
    y: Floats,
    m: Floats,
    c: Floats,
    own_set: PermutationSet,
    covariate: Floats | None = None,
    groups: NDArray[np.int64] | None = None,
    *,
    as_z: bool = False,
) -> Floats:
    """|statistic| of every rearrangement and feature by refitting."""
    rank = None if c.ndim == 1 else len(c)
    out = np.empty((own_set.n_set, y.shape[1]))
    for b, one in enumerate(own_set.table):
        for j in range(y.shape[1]):
            own = None if covariate is None else covariate[:, j]
            stat, df = refit_one(y[:, j], m, c, one, own_set.kind, own, groups)
            out[b, j] = two_sided(stat, df, rank) if as_z or groups is not None else abs(stat)
    return out


def agree(found: inference.TestResult, expected: Floats, rtol: float = 1e-7) -> None:
    np.testing.assert_allclose(found.maxima, expected.max(axis=1), rtol=rtol)
    np.testing.assert_allclose(found.on_scale(found.scale), expected[0], rtol=rtol)
    counts = (expected >= expected[0] * (1 - 1e-9)).mean(axis=0)
    np.testing.assert_allclose(found.p, counts)


def test_f_is_that_of_two_fits_and_of_anova() -> None:
    m, c, codes = three_groups((5, 6, 7))
    y = np.random.default_rng(0).normal(size=(18, 4)) + 2.0
    found = inference.test(y, m, c, drawn(18))
    for j in range(4):
        np.testing.assert_allclose((found.stat[j], found.df[j]), direct_f(y[:, j], m, c), rtol=1e-10)
    assert found.scale == "F"
    assert found.rank == 2
    plain = inference.test(y, m[:, :3], c[:, :3], drawn(18))
    anova = stats.f_oneway(*(y[codes == g] for g in range(3)))
    np.testing.assert_allclose(plain.stat, anova.statistic, rtol=1e-10)
    assert np.isnan(found.effect).all()


def test_f_of_every_rearrangement_is_that_of_a_refit() -> None:
    m, c, _ = three_groups((5, 6, 7))
    y = np.random.default_rng(1).normal(size=(18, 3))
    agree(inference.test(y, m, c, drawn(18)), sizes_of(y, m, c, drawn(18)))


def test_f_of_rank_one_is_the_square_of_t() -> None:
    m, c, _ = two_groups((7, 9))
    y = np.random.default_rng(2).normal(size=(16, 5))
    t, f = (inference.test(y, m, contrast, drawn(16)) for contrast in (c, c[None, :]))
    np.testing.assert_allclose(f.stat, t.stat**2, rtol=1e-10)
    np.testing.assert_allclose(f.maxima, t.maxima**2, rtol=1e-9)
    np.testing.assert_array_equal(f.p, t.p)
    np.testing.assert_allclose(f_to_z(f.stat, 1, f.df), np.abs(t_to_z(t.stat, t.df)), rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "rank", "df"), [(3.2, 2, 17.0), (0.4, 5, 3.3), (80.0, 3, 40.0), (2e4, 4, 60.0)]
)
def test_f_goes_to_the_deviate_with_its_p(f: float, rank: int, df: float) -> None:
    z = float(f_to_z(f, rank, df))
    assert 2 * stats.norm.sf(z) == pytest.approx(stats.f.sf(f, rank, df), rel=1e-8)


def test_f_beyond_underflow_still_grows() -> None:
    z = f_to_z(np.array([1e5, 1e6, 1e7]), 3, np.full(3, 200.0))
    assert np.isfinite(z).all()
    assert (np.diff(z) > 0).all()


def test_g_is_welchs_anova_without_covariates() -> None:
    m, c, codes = three_groups((6, 8, 11))
    y = np.random.default_rng(3).normal(size=(25, 3)) * (1 + codes)[:, None]
    found = inference.test(y, m[:, :3], c[:, :3], drawn(25), codes)
    for j in range(3):
        parts = [y[codes == g, j] for g in range(3)]
        n, mean, var = (np.array([f(x) for x in parts]) for f in (len, np.mean, lambda x: np.var(x, ddof=1)))
        w = n / var
        centre = (w * mean).sum() / w.sum()
        spread = ((1 - w / w.sum()) ** 2 / (n - 1)).sum()
        welch = (w * (mean - centre) ** 2).sum() / 2 / (1 + 2 / 8 * spread)
        np.testing.assert_allclose((found.stat[j], found.df[j]), (welch, 8 / (3 * spread)), rtol=1e-9)


def test_g_with_a_covariate_is_that_of_the_formula_in_every_rearrangement() -> None:
    m, c, codes = three_groups((6, 8, 11))
    y = np.random.default_rng(4).normal(size=(25, 3)) * (1 + codes)[:, None]
    found = inference.test(y, m, c, drawn(25, n_permutations=25), codes)
    np.testing.assert_allclose((found.stat[0], found.df[0]), direct_g(y[:, 0], m, c, codes), rtol=1e-9)
    agree(found, sizes_of(y, m, c, drawn(25, n_permutations=25), None, codes))


@pytest.mark.parametrize("kind", ["labels", "flips"])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_covariate_of_each_feature_is_refitted_in_every_rearrangement(kind: str, rank: int) -> None:
    m, c, _ = two_groups((7, 9)) if rank == 1 else three_groups((5, 5, 6))
    rng = np.random.default_rng(6)
    covariate = rng.normal(size=(16, 5)) + m[:, 1:2]
    y = rng.normal(size=(16, 5)) + 0.6 * covariate
    own = drawn(16, kind)
    agree(inference.test(y, m, c, own, covariate=covariate), sizes_of(y, m, c, own, covariate))


def test_the_adjusted_difference_is_that_of_least_squares() -> None:
    m, c, _ = two_groups((7, 9))
    rng = np.random.default_rng(7)
    covariate = rng.normal(size=(16, 4))
    y = rng.normal(size=(16, 4)) + 0.6 * covariate + 0.5 * m[:, 1:2]
    found = inference.test(y, m, c, drawn(16), covariate=covariate)
    for j in range(4):
        wide = np.column_stack([m, covariate[:, j]])
        beta, rss = np.linalg.lstsq(wide, y[:, j], rcond=None)[:2]
        se = np.sqrt(rss[0] / 12 * np.linalg.inv(wide.T @ wide)[1, 1])
        np.testing.assert_allclose((found.effect[j], found.se[j]), (beta[1], se), rtol=1e-9)
    assert (found.df == 12).all()


def test_unequal_variances_and_a_covariate_of_each_feature_go_together() -> None:
    m, c, codes = two_groups((6, 12))
    rng = np.random.default_rng(8)
    covariate = rng.normal(size=(18, 3))
    y = rng.normal(size=(18, 3)) * (1 + 2 * (1 - codes))[:, None] + covariate
    own = drawn(18, n_permutations=40)
    found = inference.test(y, m, c, own, codes, covariate=covariate)
    assert found.scale == "z"
    agree(found, sizes_of(y, m, c, own, covariate, codes))


def test_maps_in_single_precision_agree_with_edges_in_double() -> None:
    m, c, codes = two_groups((7, 9))
    rng = np.random.default_rng(9)
    covariate = rng.normal(size=(16, 40))
    y = rng.normal(size=(16, 40)) + covariate
    for groups in (None, codes):
        low, high = (
            inference.test(y, m, c, drawn(16), groups, covariate=covariate, precision=p)
            for p in ("float32", "float64")
        )
        np.testing.assert_allclose(low.maxima, high.maxima, rtol=2e-4)
        np.testing.assert_array_equal(low.stat, high.stat)


@pytest.mark.parametrize("kind", ["labels", "flips"])
@pytest.mark.parametrize("welch", [False, True])
def test_rows_that_are_missing_move_with_the_residuals(kind: str, welch: bool) -> None:
    m, c, codes = two_groups((8, 9))
    rng = np.random.default_rng(10)
    y = rng.normal(size=(17, 6))
    y[2, 1] = y[11, 1] = y[5, 2] = y[16, 4] = np.nan
    own = drawn(17, kind, 40)
    groups = codes if welch else None
    found = inference.test(y, m, c, own, groups, cells=codes, min_share=0.8)
    assert found.valid.all()
    assert found.scale == "z"
    if not welch:
        np.testing.assert_array_equal(found.df[[0, 1, 2, 4]], [14, 12, 13, 13])
    agree(found, sizes_of(y, m, c, own, None, groups, as_z=True))


def test_baselines_that_are_missing_leave_their_rows_out() -> None:
    m, c, codes = two_groups((9, 9))
    rng = np.random.default_rng(11)
    y, covariate = rng.normal(size=(18, 3)), rng.normal(size=(18, 3))
    y[3, 0] = covariate[12, 0] = covariate[4, 1] = np.nan
    own = drawn(18, n_permutations=40)
    found = inference.test(y, m, c, own, covariate=covariate, cells=codes, min_share=0.7)
    agree(found, sizes_of(y, m, c, own, covariate, as_z=True))


def test_too_few_rows_in_all_or_in_a_cell_take_a_feature_out() -> None:
    m, c, codes = two_groups((6, 12))
    y = np.random.default_rng(12).normal(size=(18, 4))
    y[:4, 0] = np.nan  # 14 of 18, but 2 of the smaller group
    y[6:12, 1] = np.nan  # 12 of 18
    y[0, 2] = np.nan
    found = inference.test(y, m, c, drawn(18), cells=codes, min_share=0.7)
    np.testing.assert_array_equal(found.valid, [False, False, True, True])
    everything = inference.test(y, m, c, drawn(18))
    np.testing.assert_array_equal(everything.valid, [False, False, False, True])


def test_the_general_way_gives_what_the_shared_design_gives() -> None:
    m, c, codes = two_groups((7, 9))
    y = np.random.default_rng(13).normal(size=(16, 40))
    for groups in (None, codes):
        model, own = make_model(m, c, groups), drawn(16, n_permutations=200)
        job = general(y, model, own, np.arange(40), np.float64)
        part = _block(job, _blocks(job, 1 << 30, 1)[0], _Progress(lambda share: None, 7))
        fast = inference.test(y, m, c, own, groups)
        expected = fast.maxima if groups is not None else t_to_z(fast.maxima, 13)
        np.testing.assert_allclose(part.maxima, expected, rtol=1e-9)
        np.testing.assert_allclose(part.fits[0].effect, fast.effect, rtol=1e-9)
        np.testing.assert_allclose(part.fits[0].se, fast.se, rtol=1e-9)


def hotelling(d: Floats) -> tuple[float, float]:
    """F of the mean vector of rows (n, q), and its p."""
    n, q = d.shape
    t2 = n * d.mean(axis=0) @ np.linalg.solve(np.cov(d.T), d.mean(axis=0))
    f = (n - q) / (q * (n - 1)) * t2
    return float(f), float(stats.f.sf(f, q, n - q))


def test_two_values_in_a_row_give_hotellings_f() -> None:
    y = np.random.default_rng(14).normal(size=(2, 11, 3)) + 0.4
    own = permutation_set(11, "flips", n_permutations=100, seed=0, has_nuisance=False)
    found = inference.test(y, np.ones((11, 1)), [1.0], own)
    expected = np.empty((own.n_set, 3))
    for b, signs in enumerate(own.table):
        for j in range(3):
            expected[b, j] = hotelling((y[:, :, j] * signs).T)[0]
    agree(found, expected)
    assert (found.rank, found.df[0]) == (2, 9)


@pytest.mark.parametrize(("n_groups", "q"), [(2, 2), (3, 2), (2, 3), (4, 3)])
def test_wilks_lambda_is_that_of_statsmodels(n_groups: int, q: int) -> None:
    from statsmodels.multivariate.multivariate_ols import _MultivariateOLS

    codes = np.repeat(np.arange(n_groups), 7)
    rng = np.random.default_rng(15)
    m = np.column_stack([np.ones(codes.size), *(codes == g for g in range(1, n_groups))]).astype(float)
    m = np.column_stack([m, rng.normal(size=codes.size)])
    c = np.eye(m.shape[1])[1:n_groups]
    y = rng.normal(size=(q, codes.size, 2)) + 0.5 * (codes == 1)[None, :, None]
    found = inference.test(y, m, c, drawn(codes.size, n_permutations=5))
    for j in range(2):
        table = _MultivariateOLS(y[:, :, j].T, m).fit().mv_test([("groups", c)]).results["groups"]["stat"]
        row = table.loc["Wilks' lambda"]
        got = (found.stat[j], found.rank, found.df[j])
        np.testing.assert_allclose(got, [float(row[k]) for k in ("F Value", "Num DF", "Den DF")], rtol=1e-8)


def test_wilks_of_every_rearrangement_is_that_of_its_determinants() -> None:
    m, c, _ = three_groups((5, 5, 6))
    y = np.random.default_rng(16).normal(size=(3, 16, 2))
    own = drawn(16, n_permutations=30)
    found = inference.test(y, m, c, own)
    reduced = m @ np.linalg.svd(c)[2][2:].T
    expected = np.empty((own.n_set, 2))
    for b, order in enumerate(own.table):
        for j in range(2):
            rows = y[:, :, j].T
            e = (rows - reduced @ np.linalg.lstsq(reduced, rows, rcond=None)[0])[order]
            left = [e - x @ np.linalg.lstsq(x, e, rcond=None)[0] for x in (m, reduced)]
            lost = np.linalg.det(left[0].T @ left[0]) / np.linalg.det(left[1].T @ left[1])
            root = np.sqrt(lost)  # three values, rank 2
            expected[b, j] = (1 - root) / root * found.df[0] / found.rank
    agree(found, expected)


def test_one_value_in_a_row_is_the_plain_f() -> None:
    m, c, _ = three_groups((5, 5, 6))
    y = np.random.default_rng(17).normal(size=(16, 4))
    one, plain = (inference.test(v, m, c, drawn(16)) for v in (y[None], y))
    np.testing.assert_allclose(one.stat, plain.stat, rtol=1e-10)
    np.testing.assert_allclose(one.maxima, plain.maxima, rtol=1e-9)


def test_blocks_and_threads_do_not_change_a_byte() -> None:
    m, c, codes = two_groups((7, 9))
    rng = np.random.default_rng(18)
    y, covariate = rng.normal(size=(16, 2100)), rng.normal(size=(16, 2100))
    y[3, 5::90] = np.nan
    kwargs = {"covariate": covariate, "cells": codes, "min_share": 0.9}
    whole = inference.test(y, m, c, drawn(16), **kwargs)
    parts = inference.test(y, m, c, drawn(16), block_bytes=1, workers=2, **kwargs)
    for name in ("effect", "stat", "df", "p", "maxima"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_p_fwe_and_simultaneous_intervals_agree_where_rows_are_missing() -> None:
    m, c, codes = two_groups((8, 9))
    rng = np.random.default_rng(19)
    y = rng.normal(size=(17, 30)) + 1.2 * m[:, 1:2] * (np.arange(30) % 2)
    y[2, ::3] = np.nan
    found = inference.test(y, m, c, drawn(17, n_permutations=199), cells=codes, min_share=0.9)
    corrected = inference.correct([found]).results[0]
    outside = (corrected.ci_sim_low > 0) | (corrected.ci_sim_high < 0)
    np.testing.assert_array_equal(outside, corrected.p_fwe <= 0.05)
    assert 0 < outside.sum() < 30


def test_what_does_not_fit_is_said() -> None:
    m, c, codes = two_groups((7, 9))
    y = np.zeros((16, 3))
    with pytest.raises(DesignError, match=r"min_share is 1\.5"):
        inference.test(y, m, c, drawn(16), min_share=1.5)
    with pytest.raises(DesignError, match=r"covariate has shape \(16, 2\)"):
        inference.test(y, m, c, drawn(16), covariate=y[:, :2])
    with pytest.raises(DesignError, match="one covariance"):
        blocks(np.zeros((2, 16, 3)), make_model(m, c, codes), drawn(16), np.arange(3), np.float64)
    with pytest.raises(DesignError, match="rank 1"):
        inference.test(y, m, np.stack([c, 2 * c]), drawn(16))
    with pytest.raises(DesignError, match="fewer time points"):
        inference.test(
            np.zeros((5, 6, 2)),
            np.ones((6, 2)) * [[1, 0]] + [[0, 1]] * np.arange(6)[:, None],
            [1.0, 0],
            drawn(6),
        )


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("n_features", [100, 1100, 7000])
def test_blocks_are_of_equal_size_as_many_for_each_worker_and_within_the_bound(workers, n_features) -> None:
    m, c, _ = two_groups((7, 9))
    own = drawn(16, n_permutations=19)
    job = general(np.zeros((16, n_features)), make_model(m, c), own, np.arange(n_features), np.float64)
    bound = 4 * TILE_FEATURES * job.bytes_per_feature
    blocks = _blocks(job, bound, workers)
    assert [start for block in blocks for start in block] == list(job.starts)
    sizes = [len(block) for block in blocks]
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= 4
    assert len(blocks) % workers == 0 or len(blocks) == len(job.starts)


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_grows_to_the_whole(workers: int) -> None:
    m, c, _ = two_groups((7, 9))
    y = np.random.default_rng(20).normal(size=(16, 2100))
    told: list[float] = []
    own = drawn(16, n_permutations=999)
    inference.test(y, m, c, own, block_bytes=1, workers=workers, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    blocks, batches = -(-2100 // TILE_FEATURES), -(-1000 // TILE_PERMUTATIONS)
    assert len(told) == blocks * batches / 8 > 4
