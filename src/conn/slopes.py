"""Whether the slope on a baseline that every feature has of its own differs between groups, by permutation.

The tested column is another one in each feature, its baseline times the groups. So each is a test by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from conn import inference
from conn.errors import DesignError
from conn.freedom import f_scale, johansen
from conn.glm import Floats, Model, magnitude, make_model, residuals, variance_and_df
from conn.permutation import PermutationSet
from conn.tiles import TOLERANCE


@dataclass(frozen=True, eq=False)
class SlopeDifference:
    """Whether the slope on the baseline differs between groups; ndarrays of shape (n_features,).

    `estimate` is the difference of the slopes (NaN for more than two groups), `p` its uncorrected two-sided p
    by permutation.
    """

    estimate: Floats
    p: Floats


def slope_difference(
    data: ArrayLike,
    baseline: ArrayLike,
    matrix: ArrayLike,
    contrast: ArrayLike,
    permutations: PermutationSet,
    variance_groups: ArrayLike | None = None,
    *,
    cells: ArrayLike | None = None,
    min_share: float = 1.0,
) -> SlopeDifference:
    """Test whether groups have different slopes on a baseline that every feature has of its own.

    An adjusted difference speaks of all people only when they do not. Residuals of the design with the
    baseline are rearranged (Freedman-Lane), by t or v for two groups, F or G for more.

    Parameters
    ----------
    data, baseline
        arrays of shape (n, n_features).
    matrix, contrast
        arrays of shape (n, p), and (p,) or (r, p): the design without the baseline, and the difference of
        groups.
    permutations
        Of n rows.
    variance_groups, cells, min_share
        See `conn.inference.test`.

    Returns
    -------
    SlopeDifference
        NaN where slopes cannot be told apart: missing values, a constant baseline, too few rows.

    References
    ----------
    Freedman and Lane 1983, 10.2307/1391660; Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060.
    """
    y, b, m = (np.asarray(x, dtype=np.float64) for x in (data, baseline, matrix))
    weights = np.asarray(contrast, dtype=np.float64)
    groups = m @ np.linalg.pinv(np.atleast_2d(weights))
    estimate, p = (np.full(y.shape[1], np.nan) for _ in range(2))
    for j in range(y.shape[1]):
        there = np.isfinite(b[:, j])
        own = np.where(there, b[:, j] - b[there, j].mean() if there.any() else 0.0, 0.0)[:, None]
        model = np.column_stack([m, own, own * groups])
        picked = np.eye(model.shape[1])[-groups.shape[1] :]
        picked = picked if weights.ndim == 2 else picked[0]
        values = np.where(there, y[:, j], np.nan)
        try:
            if np.isfinite(values).all():
                one = make_model(model, picked, variance_groups)
                estimate[j], p[j] = _of_all(values, one, permutations)
            elif min_share < 1:
                estimate[j], p[j] = _of_some(
                    values, model, picked, permutations, variance_groups, cells, min_share
                )
        except DesignError:  # the baseline is constant, or too few rows are left for one more slope
            continue
    return SlopeDifference(estimate, p)


def _of_all(values: Floats, model: Model, permutations: PermutationSet) -> tuple[float, float]:
    """Estimate and p of one feature that every row has."""
    left = residuals(values[:, None], model.nuisance)[:, 0]
    table = permutations.table
    rows = left * table if permutations.kind == "flips" else left[table]
    size = _magnitudes(rows, model)
    if not np.isfinite(size[0]):
        return float("nan"), float("nan")
    reached = size >= size[0] * (1 - TOLERANCE["float64"]) - TOLERANCE["float64"]
    effect = float(model.weights @ values) if model.contrast.ndim == 1 else float("nan")
    return effect, float(reached.mean())


def _magnitudes(rows: Floats, model: Model) -> Floats:
    """Size of t, v, F or G of rearranged residuals of shape (n_set, n); as z where their df differ."""
    basis = np.column_stack([model.nuisance, model.effect])
    squares = np.square(residuals(rows.T, basis))
    sums = np.stack([squares[model.groups == g].sum(axis=0) for g in range(model.n_groups)])
    sums = np.where(sums > 1e-24 * np.square(rows).sum(axis=1), sums, np.nan)
    if model.contrast.ndim == 1:
        variance, df = variance_and_df(model, sums)
        t = rows @ model.weights / np.sqrt(variance)
        return np.abs(t) if model.n_groups == 1 else magnitude(t, df, None, "z")
    if model.n_groups == 1:
        explained = np.square(rows @ model.effect).sum(axis=1)
        return np.asarray(np.sqrt(explained / model.rank / (sums[0] / model.df)))
    return _welch(rows, model, model.group_df[:, None] / sums)


def _welch(rows: Floats, model: Model, precision: Floats) -> Floats:
    """G with a variance for each group, of `precision` (n_groups, n_set), on the scale z."""
    rank, m = model.rank, model.matrix
    parts = [m[model.groups == g] for g in range(model.n_groups)]
    cross = np.stack([part.T @ part for part in parts])
    beta = rows @ m @ np.linalg.inv(m.T @ m)
    covariance = np.linalg.inv(np.einsum("gs,gab->sab", precision, cross))
    tested, spread = beta @ model.contrast.T, model.contrast @ covariance @ model.contrast.T
    size = np.einsum("sa,sa->s", tested, np.linalg.solve(spread, tested[..., None])[..., 0])
    scale, df = f_scale(rank, *johansen(model.loads, 1 / precision, model.group_df))
    return magnitude(size / scale, df, rank, "z")


def _of_some(
    values: Floats,
    model: Floats,
    contrast: Floats,
    permutations: PermutationSet,
    variance_groups: ArrayLike | None,
    cells: ArrayLike | None,
    min_share: float,
) -> tuple[float, float]:
    """Estimate and p of one feature that some rows lack."""
    found = inference.test(
        values[:, None], model, contrast, permutations, variance_groups, cells=cells, min_share=min_share
    )
    return float(found.effect[0]), float(found.p[0])
