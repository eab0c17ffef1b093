"""Temporal cleaning as one orthonormal basis of what is retained.

All linear cleaning (mean, confounds, frequencies outside the band, censored frames) is one projection.
Its range has an orthonormal basis U of shape (n_volumes, k), so that ``Y = U'V`` of shape (k, n_voxels)
holds everything that correlations need; k is the number of degrees of freedom left. Doing it jointly keeps
filtered confounds and censored frames from leaking back into the data (Lindquist 2019,
10.1002/hbm.24528).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RANK_TOLERANCE = 1e-7
"""Confound directions weaker than this share of a column's norm are numerical noise."""

PANEL = 32
"""Volumes per matrix product; a constant, so that results do not depend on how a file is read."""

NOISE_FLOOR = 1e-5
"""A voxel keeps less than this share of its norm only when nothing but rounding is left (float32)."""

Array = NDArray[np.float64]


def cosines(n_volumes: int, tr: float, high_pass: float, low_pass: float | None) -> Array:
    """Orthonormal discrete cosines inside the pass band.

    Parameters
    ----------
    n_volumes
        Number of volumes T.
    tr
        Repetition time in seconds.
    high_pass, low_pass
        Lowest and highest frequency kept, in Hz; cosine j has the frequency j / (2 T tr).

    Returns
    -------
    ndarray of shape (n_volumes, m)
        The constant is never among them.
    """
    order = np.arange(1, n_volumes)
    frequency = order / (2.0 * n_volumes * tr)
    kept = frequency >= high_pass * (1 - 1e-9)
    if low_pass is not None:
        kept &= frequency <= low_pass * (1 + 1e-9)
    time = (np.arange(n_volumes) + 0.5) / n_volumes
    basis: Array = np.sqrt(2.0 / n_volumes) * np.cos(np.pi * np.outer(time, order[kept]))
    return basis


def retained_basis(
    confounds: Array, censored: NDArray[np.bool_], tr: float, high_pass: float, low_pass: float | None
) -> Array:
    """Orthonormal basis of the time courses that survive cleaning.

    Parameters
    ----------
    confounds
        ndarray of shape (n_volumes, n_confounds), finite.
    censored
        ndarray of shape (n_volumes,); True for frames that must not count.
    tr
        Repetition time in seconds.
    high_pass, low_pass
        Pass band in Hz; `low_pass` None for no upper limit.

    Returns
    -------
    ndarray of shape (n_volumes, k)
        Zero in censored frames, orthogonal to the constant, to every confound over the frames that are left,
        and to every cosine outside the band. k = T - rank[1, confounds, cosines outside the band, censored
        frames] and may be 0.
    """
    band = cosines(len(censored), tr, high_pass, low_pass)
    basis: Array = band @ _null_space(_constraints(band, confounds, censored))
    basis[censored] = 0.0
    return basis


def retained_df(
    confounds: Array, censored: NDArray[np.bool_], tr: float, high_pass: float, low_pass: float | None
) -> int:
    """Number of columns of `retained_basis`, without computing it."""
    band = cosines(len(censored), tr, high_pass, low_pass)
    if band.shape[1] == 0:
        return 0
    singular = np.linalg.svd(_constraints(band, confounds, censored), compute_uv=False)
    return int(band.shape[1] - (singular > RANK_TOLERANCE).sum())


def _constraints(band: Array, confounds: Array, censored: NDArray[np.bool_]) -> Array:
    """What a combination of cosines must be orthogonal to, of shape (n_constraints, m)."""
    return np.vstack([band[censored], _unit_columns(confounds, censored).T @ band])


def _unit_columns(confounds: Array, censored: NDArray[np.bool_]) -> Array:
    kept = ~censored
    if not kept.any() or confounds.shape[1] == 0:
        return np.zeros((len(censored), 0))
    centred = np.where(kept[:, None], confounds - confounds[kept].mean(axis=0), 0.0)
    norm = np.linalg.norm(centred, axis=0)
    scale = np.abs(confounds[kept]).max(axis=0)
    varying = norm > 1e-12 * np.maximum(scale, np.finfo(float).tiny)
    columns: Array = centred[:, varying] / norm[varying]
    return columns


def _null_space(constraints: Array) -> Array:
    """Orthonormal basis of the vectors that every row of `constraints` annihilates."""
    n_columns = constraints.shape[1]
    if constraints.shape[0] == 0 or n_columns == 0:
        return np.eye(n_columns)
    _, singular, right = np.linalg.svd(constraints, full_matrices=True)
    rank = int((singular > RANK_TOLERANCE).sum())
    space: Array = right[rank:].T
    return space


def operator_basis(operator: Array) -> tuple[Array, Array]:
    """Any linear cleaning A = U S W' as the pair (U, (S W')').

    Parameters
    ----------
    operator
        ndarray of shape (n_volumes, n_volumes) with the constant in its null space. What comes out is
        centred in time, as correlations need.

    Returns
    -------
    U, P
        ndarrays of shape (n_volumes, k): ``Y = P'V`` and the cleaned series are ``U Y``.
    """
    left, singular, right = np.linalg.svd(operator - operator.mean(axis=0))
    rank = int((singular > RANK_TOLERANCE * singular[0]).sum())
    return left[:, :rank], right[:rank].T * singular[:rank]


@dataclass(frozen=True)
class Projected:
    """A run as its retained coefficients.

    Attributes
    ----------
    Y : ndarray of shape (k, n_voxels), float32
    mean, sd : ndarray of shape (n_voxels,), float32
        Temporal mean and standard deviation over all frames, in units of the image.
    valid : ndarray of shape (n_voxels,), bool
        Finite, varying, and with something left after cleaning.
    """

    Y: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    valid: NDArray[np.bool_]


def project(volumes: Iterable[NDArray[np.float32]], basis: Array) -> Projected:
    """Accumulate ``Y = U'V`` over a stream of volumes.

    Neither the raw nor the cleaned data is ever held: memory is (k + a panel) × n_voxels. The first volume is
    subtracted before the product (the basis is orthogonal to the constant), so that float32 is enough.

    Parameters
    ----------
    volumes
        n_volumes arrays of shape (n_voxels,), in order of time.
    basis
        ndarray of shape (n_volumes, k), orthogonal to the constant.

    Returns
    -------
    Projected

    Raises
    ------
    ValueError
        The number of volumes is not that of the basis.
    """
    n_volumes, k = basis.shape
    operator = np.hstack([basis, np.full((n_volumes, 1), 1.0 / n_volumes)]).T.astype(np.float32)
    total: NDArray[np.float32] | None = None
    squares = first = None
    start = 0
    for panel in _panels(volumes):
        if first is None:
            first = panel[0].copy()
            total = np.zeros((k + 1, first.size), dtype=np.float32)
            squares = np.zeros(first.size, dtype=np.float64)
        stop = start + len(panel)
        if stop > n_volumes:
            break
        assert total is not None and squares is not None
        with np.errstate(invalid="ignore", over="ignore"):
            change = panel - first
            total += operator[:, start:stop] @ change
            squares += np.einsum("ij,ij->j", change, change)
        start = stop
    if first is None or total is None or squares is None or start != n_volumes:
        raise ValueError(f"the basis has {n_volumes} volumes, the data have another number")
    return _finish(total, squares, first, n_volumes)


def _panels(volumes: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    buffer: list[NDArray[np.float32]] = []
    for volume in volumes:
        buffer.append(volume)
        if len(buffer) == PANEL:
            yield np.stack(buffer)
            buffer.clear()
    if buffer:
        yield np.stack(buffer)


def _finish(
    total: NDArray[np.float32], squares: Array, first: NDArray[np.float32], n_volumes: int
) -> Projected:
    Y, shift = total[:-1], total[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        variance = np.maximum(squares / n_volumes - np.square(shift, dtype=np.float64), 0.0)
        left = np.einsum("ij,ij->j", Y, Y).astype(np.float64)
        valid = np.isfinite(left) & np.isfinite(first) & (squares > 0)
        valid &= left > np.square(NOISE_FLOOR) * np.maximum(variance * n_volumes, np.finfo(np.float32).tiny)
    Y[:, ~valid] = np.nan
    mean = (first + shift).astype(np.float32)
    return Projected(Y, mean, np.sqrt(variance).astype(np.float32), valid)
