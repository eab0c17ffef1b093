"""Degrees of freedom where groups of rows have variances of their own.

The variance of a tested combination is a sum over groups, each known as well as the degrees of freedom of its
group allow. A group that the combination does not use must not enter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_LOAD = 1e-8
"""Part of a vector of length 1 that counts as none."""


def group_loads(weights: Floats, basis: Floats, groups: NDArray[np.int64]) -> tuple[Floats, bool]:
    """How much each group's variance counts in that of the tested combinations.

    Parameters
    ----------
    weights
        ndarray of shape (n, r): orthonormal, the combinations are ``weights.T @ y``.
    basis
        ndarray of shape (n, p): orthonormal basis of the whole design.
    groups
        int ndarray of shape (n,): 0 … n_groups - 1.

    Returns
    -------
    loads
        ndarray of shape (n_groups, r, r): the combinations have the covariance ``sum(loads * s)``, with s the
        variances of the groups.
    compares
        Whether the contrast asks for any difference between the groups. Its loads are those of the means of
        groups by their sizes also beside covariates, as in Welch's test and in v and G of Winkler et al.
        2014, 10.1016/j.neuroimage.2014.01.060.
    """
    inside = (groups == np.arange(groups.max() + 1)[:, None]).astype(np.float64)
    compares, sums = _compares(weights, basis, inside)
    if compares:
        return sums[:, :, None] * sums[:, None, :] / inside.sum(axis=1)[:, None, None], True
    return np.stack([weights[row > 0].T @ weights[row > 0] for row in inside]), False


def _compares(weights: Floats, basis: Floats, inside: Floats) -> tuple[bool, Floats]:
    """Whether means of all groups are compared, and the weight of each mean, of shape (n_groups, r)."""
    sums, length = inside @ weights, np.sqrt(inside.sum(axis=1))
    unit = inside / length[:, None]
    modelled = np.abs(unit - (unit @ basis) @ basis.T).max() < LEAST_LOAD
    differs = np.abs(sums.sum(axis=0)).max() < LEAST_LOAD * np.sqrt(weights.shape[0])
    full = len(sums) - 1 == weights.shape[1] == np.linalg.matrix_rank(sums, tol=LEAST_LOAD)
    return bool(modelled and differs and full), sums


def satterthwaite(parts: NDArray[Any], group_df: Floats) -> NDArray[Any]:
    """Degrees of freedom of the sum of independent variances.

    Parameters
    ----------
    parts
        ndarray of shape (n_groups, ...): what each group adds to the variance of the estimate.
    group_df
        ndarray of shape (n_groups,).

    Returns
    -------
    ndarray of shape (...), of the type of `parts`

    References
    ----------
    Satterthwaite 1946, 10.2307/3002019; Welch 1947, 10.1093/biomet/34.1-2.28.
    """
    total = parts.sum(axis=0)
    uncertain = np.tensordot((1 / group_df).astype(parts.dtype), np.square(parts), axes=1)
    return np.asarray(np.square(total) / uncertain)


def johansen(loads: Floats, variances: Floats, group_df: Floats) -> tuple[Floats, Floats]:
    """Johansen's A, by which F with a variance of each group is scaled and loses degrees of freedom.

    Parameters
    ----------
    loads
        From `group_loads`.
    variances
        ndarray of shape (n_groups, m).
    group_df
        ndarray of shape (n_groups,).

    Returns
    -------
    a, b : ndarrays of shape (m,)
        With D_g the share of a group in the covariance of the combinations, ``sum(tr(D_g^2) / df_g)`` and
        ``sum(tr(D_g)^2 / df_g)``. They are equal, and A, when a group has one mean in what is tested.

    References
    ----------
    Johansen 1980, 10.1093/biomet/67.1.85; with several means in a group, the first two moments of F as in
    Kenward and Roger 1997, 10.2307/2533558.
    """
    parts = loads[:, None] * variances[:, :, None, None]
    shares = parts @ np.linalg.inv(parts.sum(axis=0))
    a = np.einsum("gmij,gmji,g->m", shares, shares, 1 / group_df)
    b = np.einsum("gm,g->m", np.square(np.trace(shares, axis1=2, axis2=3)), 1 / group_df)
    return a, b


def f_scale(rank: int, a: Any, b: Any) -> tuple[Any, Any]:
    """What a squared length of `rank` combinations is divided by to be F, and its second degrees of freedom.

    Parameters
    ----------
    rank
        Number of combinations.
    a, b
        From `johansen`, numbers or arrays.
    """
    return rank + 2 * a - 2 * (2 * a + b) / (rank + 2), rank * (rank + 2) / (2 * a + b)
