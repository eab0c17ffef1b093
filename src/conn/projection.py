"""Temporal cleaning as one orthonormal basis of what is retained.

All linear cleaning (mean, confounds, frequencies outside the band, censored frames) is one projection.
Its range has an orthonormal basis U of shape (n_volumes, k), so that ``Y = U'V`` of shape (k, n_voxels)
holds everything that correlations need; k is the number of degrees of freedom left. Doing it jointly keeps
filtered confounds and censored frames from leaking back into the data (Lindquist 2019,
10.1002/hbm.24528).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANK_TOLERANCE = 1e-7
"""Confound directions weaker than this share of a column's norm are numerical noise."""

PANEL = 32
"""Volumes per matrix product; a constant, so that results do not depend on how a file is read."""

BLOCK = 4096
"""Voxels per matrix product; a constant too. Operands and product of a block fit a processor's cache."""

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
        In units of the image; NaN where `valid` is False.
    mean, sd : ndarray of shape (n_voxels,), float32
        Temporal mean and standard deviation over the frames that count, in units of the image.
    valid : ndarray of shape (n_voxels,), bool
        Finite, varying, and with something left after cleaning.
    flat, not_finite : tuple of int
        Frames that count and in which every voxel holds one and the same number, or none a finite one.
    """

    Y: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    valid: NDArray[np.bool_]
    flat: tuple[int, ...] = ()
    not_finite: tuple[int, ...] = ()

    def take(self, voxels: NDArray[np.int64]) -> Projected:
        """The same run in fewer voxels, by their columns."""
        Y = np.empty((len(self.Y), voxels.size), dtype=np.float32)
        for source, target in zip(self.Y, Y, strict=True):
            np.take(source, voxels, out=target, mode="clip")
        return replace(self, Y=Y, mean=self.mean[voxels], sd=self.sd[voxels], valid=self.valid[voxels])


def panels(volumes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Volumes that are in memory, as the panels that `project` takes.

    Parameters
    ----------
    volumes
        ndarray of shape (n_volumes, n_voxels).
    """
    for start in range(0, len(volumes), PANEL):
        yield volumes[start : start + PANEL]


def project(
    panels: Iterable[NDArray[Any]],
    basis: Array,
    slope: float = 1.0,
    intercept: float = 0.0,
    brain: NDArray[np.int64] | None = None,
) -> Projected:
    """Accumulate ``Y = U'V`` over a stream of volumes.

    Neither the raw nor the cleaned data is ever held: memory is (k + 1) × n_voxels and a panel. The first
    volume is subtracted before anything is rounded to float32 (the basis is orthogonal to the constant), and
    what is retained is projected on, never the removed part subtracted: float32 is enough. Frames in which
    the basis is 0 were censored; they are not looked at.

    Parameters
    ----------
    panels
        ndarrays of shape (`PANEL`, n_voxels) of one numeric type, the last one shorter when n_volumes is
        no multiple of it, in order of time. A panel is no longer used when the next one is asked for.
    basis
        ndarray of shape (n_volumes, k), orthogonal to the constant.
    slope, intercept
        From the numbers in `panels` to units of the image.
    brain
        ndarray of shape (m,), columns in which frames are looked at for `flat` and `not_finite`; all by
        default.

    Returns
    -------
    Projected

    Raises
    ------
    ValueError
        The number of volumes is not that of the basis, or a panel has another length.
    """
    sums = None
    for start, panel in _numbered(panels, len(basis)):
        if sums is None:
            sums = _Sums(basis, np.arange(panel.shape[1]) if brain is None else brain, panel.shape[1])
        sums.add(start, panel)
    if sums is None:
        raise ValueError(f"the basis has {len(basis)} volumes, the data have none")
    return sums.finish(slope, intercept)


def _numbered(panels: Iterable[NDArray[Any]], n_volumes: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Panels with the number of their first volume; every one checked for its length."""
    start = 0
    for panel in panels:
        expected = min(PANEL, n_volumes - start)
        if len(panel) != expected:
            raise ValueError(
                f"the basis has {n_volumes} volumes; {len(panel)} came after {start}, not {expected}"
            )
        yield start, panel
        start += len(panel)
    if start != n_volumes:
        raise ValueError(f"the basis has {n_volumes} volumes, the data have {start}")


class _Sums:
    """Running sums of a run: products with the basis, shift of the mean, squares."""

    def __init__(self, basis: Array, brain: NDArray[np.int64], n_voxels: int) -> None:
        self.counts = (basis != 0).any(axis=1)
        self.n = int(self.counts.sum())
        self.operator = np.vstack([basis.T, self.counts / max(self.n, 1)]).astype(np.float32)
        self.total = np.zeros((len(self.operator), n_voxels), dtype=np.float32)
        self.squares = np.zeros(n_voxels)
        self.brain, self.some = brain, brain[:: max(1, brain.size // 64)]
        self.flat: list[int] = []
        self.not_finite: list[int] = []
        self.first: NDArray[Any] | None = None

    def add(self, start: int, panel: NDArray[Any]) -> None:
        """Add the frames of a panel that count; it begins with volume `start`."""
        rows = np.flatnonzero(self.counts[start : start + len(panel)])
        if rows.size == 0:
            return
        for row in rows.tolist():
            self._look_at(start + row, panel[row])
        if self.first is None:
            self.first = panel[rows[0]].astype(np.result_type(panel.dtype, np.float32))
        operator = np.ascontiguousarray(self.operator[:, start + rows])
        every = rows.size == len(panel)
        for at in range(0, panel.shape[1], BLOCK):
            block = slice(at, at + BLOCK)
            self._add_block(block, operator, panel[:, block] if every else panel[rows, block])

    def _look_at(self, number: int, frame: NDArray[Any]) -> None:
        """Note a frame without a picture; most are known to have one from a few voxels."""
        for test, found in ((_is_flat, self.flat), (_is_not_finite, self.not_finite)):
            if test(frame[self.some]) and test(frame[self.brain]):
                found.append(number)

    def _add_block(self, block: slice, operator: NDArray[np.float32], values: NDArray[Any]) -> None:
        assert self.first is not None
        with np.errstate(invalid="ignore", over="ignore"):
            change = np.subtract(
                values, self.first[block], dtype=self.first.dtype, casting="same_kind"
            ).astype(np.float32, copy=False)
            self.total[:, block] += operator @ change
            self.squares[block] += np.einsum("ij,ij->j", change, change)

    def finish(self, slope: float, intercept: float) -> Projected:
        """Coefficients, mean, standard deviation and validity, in units of the image."""
        Y, shift = self.total[:-1], self.total[-1].astype(np.float64)
        first = np.zeros(shift.size) if self.first is None else self.first.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            variance = np.maximum(self.squares / max(self.n, 1) - np.square(shift), 0.0)
            left = np.einsum("ij,ij->j", Y, Y).astype(np.float64)
            least = np.square(NOISE_FLOOR) * np.maximum(variance * self.n, np.finfo(np.float32).tiny)
            valid = np.isfinite(left) & np.isfinite(first) & (self.squares > 0) & (left > least)
            mean = slope * (first + shift) + intercept
            sd = abs(slope) * np.sqrt(variance)
        if not valid.all():
            Y[:, ~valid] = np.nan
        if slope != 1.0:
            Y *= np.float32(slope)
        return Projected(
            Y, mean.astype(np.float32), sd.astype(np.float32), valid, tuple(self.flat), tuple(self.not_finite)
        )


def _is_flat(values: NDArray[Any]) -> bool:
    return bool((values == values[0]).all())


def _is_not_finite(values: NDArray[Any]) -> bool:
    return not np.isfinite(values).any()
