"""Small designs and noise for tests of null data and of power."""

from __future__ import annotations

import numpy as np

from conn.nulls import RowDesign

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
