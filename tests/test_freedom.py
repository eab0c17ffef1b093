"""Degrees of freedom of contrasts of some of several groups with a variance each: three kinds of tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from conn import inference
from conn.freedom import f_scale, johansen
from conn.glm import fit, make_model
from conn.inference import _block, _blocks, _Progress
from conn.permutation import PermutationSet, permutation_set
from conn.slopes import slope_difference
from conn.welch_james import welch_james
from reference_inference import direct_v, direct_welch_james, refit_one, two_sided

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
GOLDEN = json.loads((Path(__file__).parent / "golden" / "freedom.json").read_text())
CELL, VALUES = np.array(GOLDEN["cell"]) - 1, np.array(GOLDEN["values"])


def codes_of(*sizes: int) -> Codes:
    return np.repeat(np.arange(len(sizes)), sizes)


def means_of(codes: Codes) -> Floats:
    """A matrix whose coefficients are the means of groups."""
    return (codes[:, None] == np.arange(codes.max() + 1)).astype(np.float64)


def effects(codes: Codes) -> Floats:
    """Intercept, both factors and their product, of four cells."""
    first, second = np.where(codes // 2 == 0, 0.5, -0.5), np.where(codes % 2 == 0, 0.5, -0.5)
    return np.column_stack([np.ones(codes.size), first, second, first * second])


def drawn(n: int, kind: str = "labels", n_permutations: int = 25) -> PermutationSet:
    return permutation_set(n, kind, n_permutations=n_permutations, seed=3, has_nuisance=True)


def additive(n: int) -> tuple[Floats, Codes, Codes]:
    """Intercept, an arm, two of three sites and a covariate; arms and sites. They overlap unevenly."""
    rng = np.random.default_rng(21)
    arm, site = (np.arange(n) % 5 < 2).astype(np.int64), np.arange(n) % 3
    columns = [np.ones(n), arm, site == 1, site == 2, rng.normal(size=n)]
    return np.column_stack(columns).astype(np.float64), arm, site


# Against other programs and slow loops --------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("number", range(4))
def test_one_combination_of_cells_has_the_degrees_of_freedom_of_r(number: int) -> None:
    found = fit(VALUES[:, :1], make_model(means_of(CELL), GOLDEN["contrasts"][number], CELL))
    got = [found.effect[0], found.se[0], found.df[0], found.stat[0]]
    got.append(2 * stats.t.sf(abs(found.stat[0]), found.df[0]))
    np.testing.assert_allclose(got, GOLDEN["satterthwaite"][number], rtol=1e-9)
    # Restricted maximum likelihood in nlme and emmeans, which differentiate numerically.
    np.testing.assert_allclose(got, GOLDEN["gls"][number], rtol=2e-3)


@pytest.mark.oracle
def test_the_interaction_is_the_same_in_columns_of_effects() -> None:
    found = fit(VALUES[:, :1], make_model(effects(CELL), [0.0, 0, 0, 1], CELL))
    np.testing.assert_allclose(found.df[0], GOLDEN["satterthwaite"][0][2], rtol=1e-9)


@pytest.mark.oracle
def test_an_f_over_three_of_four_groups_is_welchs_of_these_three() -> None:
    contrast = [[1.0, -1, 0, 0], [0, 1, -1, 0]]
    found = inference.test(VALUES[:, :1], means_of(CELL), contrast, drawn(34), CELL)
    f, df, p = GOLDEN["welch_of_three"]
    np.testing.assert_allclose([found.stat[0], found.df[0]], [f, df], rtol=1e-9)
    assert stats.f.sf(found.stat[0], 2, found.df[0]) == pytest.approx(p, rel=1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "q"), [("johansen_pairs", 2), ("johansen_pairs_one_value", 1)])
def test_two_differences_at_once_give_johansens_statistic(name: str, q: int) -> None:
    y = VALUES.T[:q, :, None]
    found = inference.test(y, means_of(CELL), GOLDEN["pairs"], drawn(34), CELL)
    f, rank, df, p = GOLDEN[name][:4]
    np.testing.assert_allclose([found.stat[0], found.rank, found.df[0]], [f, rank, df], rtol=1e-9)
    assert stats.f.sf(found.stat[0], found.rank, found.df[0]) == pytest.approx(p, rel=1e-8)


@pytest.mark.oracle
def test_one_combination_of_two_values_is_that_of_krishnamoorthy_and_yu() -> None:
    found = inference.test(VALUES.T[:, :, None], effects(CELL), [0.0, 0, 0, 1], drawn(34), CELL)
    expected = GOLDEN["yu_interaction"]
    np.testing.assert_allclose([found.stat[0], found.rank, found.df[0]], expected, rtol=1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("n_groups", [2, 3])
def test_the_mean_of_one_group_is_that_of_the_group_by_itself(n_groups: int) -> None:
    codes = codes_of(7, 11, 9)[: (18, 27)[n_groups - 2]]
    y = np.random.default_rng(1).normal(size=(codes.size, 6)) * (1 + codes)[:, None] + 0.4
    contrast = np.eye(n_groups)[0]
    found = inference.test(y, means_of(codes), contrast, drawn(codes.size, "flips"), codes)
    alone = stats.ttest_1samp(y[:7], 0)
    np.testing.assert_allclose(found.stat, alone.statistic, rtol=1e-9)
    np.testing.assert_allclose(found.df, 6, rtol=1e-9)
    interval = alone.confidence_interval()
    half = stats.t.ppf(0.975, found.df) * found.se
    np.testing.assert_allclose([found.effect - half, found.effect + half], interval, rtol=1e-8)


@pytest.mark.oracle
def test_two_values_of_one_group_are_hotellings_of_the_group_by_itself() -> None:
    codes = codes_of(7, 11, 9)
    y = np.random.default_rng(2).normal(size=(2, 27, 3)) * (1 + codes)[None, :, None] + 0.4
    found = inference.test(y, means_of(codes), [1.0, 0, 0], drawn(27, "flips"), codes)
    for j in range(3):
        rows = y[:, :7, j]
        t2 = 7 * rows.mean(axis=1) @ np.linalg.solve(np.cov(rows), rows.mean(axis=1))
        np.testing.assert_allclose([found.stat[j], found.df[j]], [t2 * 5 / (2 * 6), 5], rtol=1e-8)


CASES = {
    "pair of four cells": (effects(codes_of(7, 6, 8, 5)), [0.0, 1, 0, 0], codes_of(7, 6, 8, 5)),
    "part of an F": (means_of(codes_of(6, 8, 5, 7)), [[1.0, -1, 0, 0], [0, 1, -1, 0]], codes_of(6, 8, 5, 7)),
    "sites, a variance of each arm": (
        additive(26)[0], [[0.0, 0, 1, 0, 0], [0, 0, 0, 1, 0]], additive(26)[1],
    ),
    "an arm, a variance of each site": (additive(26)[0], [0.0, 1, 0, 0, 0], additive(26)[2]),
    "a covariate, a variance of each arm": (additive(26)[0], [0.0, 0, 0, 0, 1], additive(26)[1]),
}  # fmt: skip


def refitted(y: Floats, case: str, own: PermutationSet, covariate: Floats | None = None) -> Floats:
    """|z| of every rearrangement and feature."""
    m, c, groups = CASES[case]
    rank = None if np.ndim(c) == 1 else len(c)
    out = np.empty((own.n_set, y.shape[1]))
    for b, one in enumerate(own.table):
        for j in range(y.shape[1]):
            column = None if covariate is None else covariate[:, j]
            found = refit_one(y[:, j], m, np.array(c), one, own.kind, column, groups)
            out[b, j] = two_sided(*found, rank)
    return out


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["labels", "flips"])
@pytest.mark.parametrize("way", ["all rows", "gaps", "covariate of each feature"])
def test_every_rearrangement_is_that_of_a_refit(case: str, kind: str, way: str) -> None:
    m, c, groups = CASES[case]
    rng = np.random.default_rng(4)
    y = rng.normal(size=(26, 3)) * (1 + groups)[:, None]
    covariate = rng.normal(size=(26, 3)) + 0.3 * groups[:, None] if way.startswith("cov") else None
    if way == "gaps":
        y[3, 0] = y[11, 0] = y[20, 1] = np.nan
    own = drawn(26, kind, 12)
    found = inference.test(y, m, c, own, groups, covariate=covariate, min_share=0.8)
    expected = refitted(y, case, own, covariate)
    np.testing.assert_allclose(found.on_scale("z"), expected[0], rtol=1e-7)
    np.testing.assert_allclose(found.maxima, expected.max(axis=1), rtol=1e-7)


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES)
def test_rows_of_two_values_are_those_of_a_fit_with_covariances(case: str) -> None:
    m, c, groups = CASES[case]
    y = np.random.default_rng(5).normal(size=(2, 26, 4)) * (1 + groups)[None, :, None]
    found = inference.test(y, m, c, drawn(26), groups)
    expected = [direct_welch_james(y[:, :, j].T, m, np.array(c), groups) for j in range(4)]
    np.testing.assert_allclose(np.array([found.stat, found.df]).T, expected, rtol=1e-8)


@pytest.mark.oracle
@pytest.mark.parametrize("case", [name for name in CASES if np.ndim(CASES[name][1]) == 1])
def test_v_is_the_same_by_the_fit_and_by_the_grouped_way(case: str) -> None:
    m, c, groups = CASES[case]
    y = np.random.default_rng(6).normal(size=(26, 8))
    job = welch_james(y[None], make_model(m, c, groups), drawn(26), np.arange(8), np.float64)
    part = _block(job, _blocks(job, 1 << 30, 1)[0], _Progress(lambda share: None, 1))
    found = inference.test(y, m, c, drawn(26), groups)
    np.testing.assert_allclose(part.maxima, found.maxima, rtol=1e-9)
    for j in range(8):
        expected = direct_v(y[:, j], m, np.array(c), groups)
        np.testing.assert_allclose((found.effect[j], found.stat[j], found.df[j]), expected, rtol=1e-8)


@pytest.mark.oracle
def test_slopes_of_groups_are_compared_by_how_well_each_is_known() -> None:
    codes = codes_of(9, 7, 8)
    rng = np.random.default_rng(8)
    y, b = rng.normal(size=(24, 2)), rng.normal(size=(24, 2)) * (1 + 2 * (codes == 1))[:, None]
    m = np.column_stack([np.ones(24), codes == 1, codes == 2]).astype(float)
    own = drawn(24, n_permutations=40)
    found = slope_difference(y, b, m, np.eye(3)[1:], own, codes)
    for j in range(2):
        centred = b[:, j] - b[:, j].mean()
        wide = np.column_stack([m, centred, centred[:, None] * m[:, 1:]])
        size = [
            two_sided(*refit_one(y[:, j], wide, np.eye(6)[4:], one, "labels", None, codes), 2)
            for one in own.table
        ]
        assert found.p[j] == pytest.approx(np.mean(np.array(size) >= size[0] * (1 - 1e-9)))


# What must be equal ---------------------------------------------------------------------------------


def test_a_contrast_of_all_groups_keeps_the_degrees_of_freedom_of_welch_beside_a_covariate() -> None:
    codes = codes_of(6, 8, 11)
    m = np.column_stack([means_of(codes), np.random.default_rng(9).normal(size=25)])
    model = make_model(m, [[1.0, -1, 0, 0], [0, 1, -1, 0]], codes)
    s = np.array([[1.0], [4.0], [0.5]])
    weight = model.group_rows / s[:, 0]
    spread = (np.square(1 - weight / weight.sum()) / model.group_df).sum()
    a, b = johansen(model.loads, s, model.group_df)
    np.testing.assert_allclose([a[0], b[0]], spread, rtol=1e-10)
    scale, df = f_scale(2, a[0], b[0])
    np.testing.assert_allclose([scale, df], [2 * (1 + 2 / 8 * spread), 8 / (3 * spread)], rtol=1e-10)
    assert model.compares


def test_scaling_and_order_of_the_rows_of_a_contrast_change_nothing() -> None:
    m, c, groups = CASES["sites, a variance of each arm"]
    y = np.random.default_rng(10).normal(size=(26, 5))
    turned = np.array([[0.0, 3.0], [-2.0, 1.0]]) @ np.array(c)
    one, other = (inference.test(y, m, contrast, drawn(26), groups) for contrast in (c, turned))
    np.testing.assert_allclose(one.stat, other.stat, rtol=1e-9)
    np.testing.assert_allclose(one.df, other.df, rtol=1e-9)


def test_equal_variances_lose_few_degrees_of_freedom() -> None:
    """The formula of the whole comparison gave 4.1 of 38 here."""
    codes = codes_of(10, 10, 10, 12)
    y = np.random.default_rng(11).normal(size=(42, 2000))
    found = fit(y, make_model(effects(codes), [0.0, 0, 0, 1], codes))
    assert 30 < found.df.mean() < 36
    assert found.df.max() <= 38 + 1e-9
    assert found.df.min() >= 9


# Truth: intervals cover -----------------------------------------------------------------------------


def coverage(contrast: list[float] | Floats, matrix: Floats, codes: Codes, sd: list[float]) -> float:
    """Share of 95 % intervals, of 20,000, that cover an estimate of 0.7."""
    model = make_model(matrix, contrast, codes)
    y = np.random.default_rng(12).normal(size=(codes.size, 20_000)) * np.array(sd)[codes][:, None]
    y += (matrix @ np.linalg.pinv(model.contrast[None])[:, 0] * 0.7)[:, None]
    found = fit(y, model)
    return float((np.abs(found.effect - 0.7) <= stats.t.ppf(0.975, found.df) * found.se).mean())


@pytest.mark.truth
@pytest.mark.parametrize(
    ("sizes", "sd"),
    [
        ((10, 10, 10, 12), [1.0, 1, 1, 1]),
        ((6, 6, 6, 7), [1.0, 1, 1, 1]),
        ((20, 20, 20, 21), [1.0, 1, 1, 1]),
        ((12, 8, 8, 5), [1.0, 1, 1, 2]),
        ((6, 12, 12, 12), [3.0, 1, 1, 1]),
    ],
)
@pytest.mark.parametrize("tested", [1, 3])
def test_intervals_of_four_cells_cover(sizes: tuple[int, ...], sd: list[float], tested: int) -> None:
    codes = codes_of(*sizes)
    assert 0.93 < coverage(np.eye(4)[tested], effects(codes), codes, sd) < 0.97


@pytest.mark.truth
@pytest.mark.parametrize(
    ("sizes", "sd"),
    [((10, 10, 11), [1.0, 1, 1]), ((14, 9, 6), [1.0, 1, 2]), ((14, 9, 6), [1.0, 1, 1])],
)
@pytest.mark.parametrize("contrast", [[1 / 3, 1 / 3, 1 / 3], [1.0, -1, 0], [0, 0, 1.0]])
def test_intervals_of_three_groups_cover(
    sizes: tuple[int, ...], sd: list[float], contrast: list[float]
) -> None:
    codes = codes_of(*sizes)
    assert 0.93 < coverage(contrast, means_of(codes), codes, sd) < 0.97


# Calibration of F by its own degrees of freedom -----------------------------------------------------


@pytest.mark.calibration
@pytest.mark.parametrize(
    ("case", "q"), [("part of an F", 1), ("part of an F", 2), ("sites, a variance of each arm", 1)]
)
def test_f_of_part_of_the_groups_has_its_error(case: str, q: int) -> None:
    m, c, groups = CASES[case]
    y = np.random.default_rng(13).normal(size=(q, 26, 4000))
    one = permutation_set(26, "labels", n_permutations=1, seed=0, has_nuisance=True)
    found = inference.test(y, m, c, one, groups)
    low, high = stats.binom.ppf([0.0005, 0.9995], 4000, 0.05)
    assert low <= (stats.f.sf(found.stat, found.rank, found.df) <= 0.05).sum() <= high


def test_an_f_of_what_crosses_the_groups_has_no_more_degrees_of_freedom_than_the_rows() -> None:
    """Shares of arms in a comparison of the arms said 55 of 21, when sites are compared."""
    m, c, groups = CASES["sites, a variance of each arm"]
    y = np.random.default_rng(13).normal(size=(26, 50))
    found = inference.test(y, m, c, drawn(26), groups)
    model = make_model(m, c, groups)
    assert not model.compares
    assert (found.df <= model.df * (1 + 1e-9)).all()
    assert found.df.mean() > 0.7 * model.df
