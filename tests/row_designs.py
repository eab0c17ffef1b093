"""Small designs and noise for tests of null data and of power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conn.row_design import RowDesign

N_FEATURES = 20


def one_group(n: int) -> RowDesign:
    same = np.zeros(n, dtype=np.int64)
    return RowDesign(np.ones((n, 1)), np.array([1.0]), "flips", same, same, same, False)


def two_groups(first: int, second: int, *, welch: bool, covariate=None, strata=None) -> RowDesign:
    group = np.repeat([0, 1], [first, second])
    columns = [np.ones(group.size), np.where(group == 0, 0.5, -0.5)]
    columns += [] if covariate is None else [covariate - covariate.mean()]
    contrast = np.zeros(len(columns))
    contrast[1] = 1.0
    same = np.zeros_like(group)
    own = same if strata is None else np.asarray(strata)
    variances = group if welch else same
    return RowDesign(
        np.column_stack(columns), contrast, "labels", own, variances, group, covariate is not None
    )


def slope(predictor) -> RowDesign:
    same = np.zeros(predictor.size, dtype=np.int64)
    matrix = np.column_stack([np.ones(predictor.size), predictor - predictor.mean()])
    return RowDesign(matrix, np.array([0.0, 1.0]), "labels", same, same, same, False)


def noise(rng, n: int, *, skewed: bool = False, n_features: int = N_FEATURES):
    """Correlated features; skewed ones have a skewness of 1.75."""
    plain = 0.6 * rng.normal(size=(n, 1)) + 0.8 * rng.normal(size=(n, n_features))
    return np.exp(0.5 * plain) - np.exp(0.125) if skewed else plain


def groups_of(*sizes: int, welch: bool = False) -> RowDesign:
    """An F over several groups; the columns are as `conn.design` makes them."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    share = 1 / len(sizes)
    columns = [np.where(group == code, 1 - share, -share) for code in range(len(sizes) - 1)]
    contrast = np.column_stack([np.zeros(len(sizes) - 1), np.eye(len(sizes) - 1)])
    same = np.zeros_like(group)
    matrix = np.column_stack([np.ones(group.size), *columns])
    return RowDesign(matrix, contrast, "labels", same, group if welch else same, group, False)


def adjusted(first: int, second: int, *, welch: bool = False) -> RowDesign:
    """Two arms whose test holds a covariate of each feature constant."""
    return replace(two_groups(first, second, welch=welch), has_nuisance=True)


def score_by_arm(first: int, second: int, score, *, product: bool = False) -> RowDesign:
    """A slope on a score beside two arms, or on its product with the arm; each person has a variance."""
    plain = two_groups(first, second, welch=False, covariate=score)
    columns = [plain.matrix, *([(plain.matrix[:, 1] * plain.matrix[:, 2])[:, None]] if product else [])]
    matrix = np.column_stack(columns)
    contrast = np.eye(matrix.shape[1])[-1]
    return replace(plain, matrix=matrix, contrast=contrast, own_variances=True)


def cells(*sizes: int) -> RowDesign:
    """The interaction of four cells, a variance each when their sizes differ."""
    group = np.repeat(np.arange(4), sizes)
    first, second = np.where(group // 2 == 0, 0.5, -0.5), np.where(group % 2 == 0, 0.5, -0.5)
    matrix = np.column_stack([np.ones(group.size), first, second, first * second])
    same = np.zeros_like(group)
    return RowDesign(
        matrix, np.eye(4)[3], "labels", same, group if len(set(sizes)) > 1 else same, group, True
    )
