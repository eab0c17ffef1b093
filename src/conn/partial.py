"""Partial correlations from retained coefficients: of regions given all others, of voxels given other seeds.

Columns are time courses in an orthonormal basis without the constant, as in `conn.correlation`. A partial
correlation given m other columns has m degrees of freedom fewer than a correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.correlation import BLOCK, correlation_matrix, fisher_z

OWN_SHARE = 1e-8
"""A column of which the others leave no more than this share of its variance counts as one of their sums."""

MOST_CONDITION = 1.0 / OWN_SHARE
"""Condition number above which a correlation matrix is not inverted."""

NOISE = 1e-6
"""Of a voxel in float32, a residual below this share of its norm may be nothing but rounding."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PartialCorrelation:
    """Partial correlations of regions.

    Attributes
    ----------
    r : ndarray of shape (n_rois, n_rois)
        Exactly symmetric, 1 on the diagonal, within ±1; NaN altogether when a region is not there or has no
        variance, or when the matrix cannot be inverted.
    condition
        Condition number of the matrix that was inverted; NaN when a region is not there.
    """

    r: Float64
    condition: float


def partial_correlations(series: Float64, shrinkage: float = 0.0) -> PartialCorrelation:
    """Correlation of each pair of regions given all the others.

    With P the inverse of (1 - shrinkage) R + shrinkage I, where R is the correlation matrix, the partial
    correlation of i and j is -P_ij / √(P_ii P_jj).

    Parameters
    ----------
    series
        ndarray of shape (k, n_rois), coefficients of the regions.
    shrinkage
        Towards the identity, from 0 to below 1. The same number for all scans that will be compared: one
        chosen from each scan would follow its k, and a difference in k would look like an effect.

    Returns
    -------
    PartialCorrelation

    References
    ----------
    Marrelec et al. 2006, NeuroImage 32, 228-237, https://www.hal.inserm.fr/inserm-00163740.
    """
    R = correlation_matrix(series)
    lost = np.full_like(R, np.nan)
    if not np.isfinite(R).all():
        return PartialCorrelation(lost, float("nan"))
    R = (1.0 - shrinkage) * R + shrinkage * np.eye(len(R))
    values, vectors = np.linalg.eigh(R)
    condition = float(values[-1] / values[0]) if values[0] > 0 else float("inf")
    if condition > MOST_CONDITION:
        return PartialCorrelation(lost, condition)
    precision = (vectors / values) @ vectors.T
    scale = np.sqrt(np.diag(precision))
    r = -precision / np.outer(scale, scale)
    r = np.clip((r + r.T) / 2, -1.0, 1.0)
    np.fill_diagonal(r, 1.0)
    return PartialCorrelation(r, condition)


@dataclass(frozen=True, eq=False)
class UniqueMaps:
    """Maps of seeds that were entered together.

    Attributes
    ----------
    z : ndarray of shape (n_seeds, n_voxels), float32
        Fisher z of the partial correlation of each seed with each voxel given the other seeds. NaN for a seed
        that is a sum of others, for all seeds when one of them is not there, and for voxels without variance
        or with none left beside the other seeds.
    own : ndarray of shape (n_seeds,)
        Share of each seed's variance that the other seeds do not explain; NaN when one is not there.
    """

    z: Float32
    own: Float64

    @property
    def collinear(self) -> NDArray[np.bool_]:
        """Which seeds are sums of the others, up to rounding; ndarray of shape (n_seeds,)."""
        return self.own <= OWN_SHARE


def unique_maps(Y: Float32, seeds: Float64) -> UniqueMaps:
    """Fisher-z maps of the partial correlation of each seed given the other seeds.

    In the regression of a voxel on all seeds, r = b / √(b² + RSS·[(S'S)⁻¹]_ii) for the coefficient b of
    seed i. RSS comes from residuals: as a difference of sums of squares, it would be rounding where the seeds
    explain a voxel well.

    Parameters
    ----------
    Y
        ndarray of shape (k, n_voxels), smoothed or not.
    seeds
        ndarray of shape (k, n_seeds), coefficients of the seed series; n_seeds well below k.

    Returns
    -------
    UniqueMaps

    References
    ----------
    Roy et al. 2009, 10.1016/j.neuroimage.2008.11.030 (voxelwise regression on subdivisions of the amygdala).
    """
    norm = np.linalg.norm(seeds, axis=0)
    maps = np.full((seeds.shape[1], Y.shape[1]), np.nan, dtype=np.float32)
    if not (np.isfinite(norm).all() and (norm > 0).all()):
        return UniqueMaps(maps, np.full(seeds.shape[1], np.nan))
    unit = seeds / norm
    directions, own = _own_directions(unit)
    span = _span(unit)
    for start in range(0, Y.shape[1], BLOCK):
        block = Y[:, start : start + BLOCK].astype(np.float64)
        maps[:, start : start + BLOCK] = fisher_z(_partial_r(block, directions, span))
    return UniqueMaps(maps, own)


def _partial_r(block: Float64, directions: Float64, span: Float64) -> Float64:
    """Partial r of shape (n_seeds, n_voxels): what a seed alone explains, against that and the residual."""
    alone = directions.T @ block
    rest = block - span @ (span.T @ block)
    left = alone**2 + np.einsum("ij,ij->j", rest, rest)
    size = np.einsum("ij,ij->j", block, block)
    r: Float64 = alone / np.sqrt(np.where(left > NOISE**2 * size, left, np.nan))
    return r


def _own_directions(unit: Float64) -> tuple[Float64, Float64]:
    """What each column has beside the others: a unit vector (NaN for sums of the others), and its share."""
    directions = np.full_like(unit, np.nan)
    own = np.zeros(unit.shape[1])
    for i in range(unit.shape[1]):
        others = _span(np.delete(unit, i, axis=1))
        rest = unit[:, i] - others @ (others.T @ unit[:, i])
        rest -= others @ (others.T @ rest)
        own[i] = min(float(rest @ rest), 1.0)
        if own[i] > OWN_SHARE:
            directions[:, i] = rest / np.sqrt(rest @ rest)
    return directions, own


def _span(unit: Float64) -> Float64:
    """Orthonormal basis of what unit columns span; directions in which they differ by rounding are none."""
    left, singular, _ = np.linalg.svd(unit, full_matrices=False)
    basis: Float64 = left[:, singular > np.sqrt(OWN_SHARE)]
    return basis
