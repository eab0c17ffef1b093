"""CompCor components of a simulated run: principal components of tissue that holds no signal of regions.

As fMRIPrep computes them: the mean and cosines slower than 128 s are removed from each voxel of a mask, each
voxel gets unit variance, and the strongest temporal components that explain half of what is left become
columns (10.1016/j.neuroimage.2007.04.042). Nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.confounds import EXPLAINED
from conn.simulate.anatomy import FloatMap

Array = NDArray[np.float64]

PREFIXES = {"CSF": "c_comp_cor_", "WM": "w_comp_cor_", "combined": "a_comp_cor_"}
"""Names of the columns of each mask since fMRIPrep 21; older versions call all of them ``a_comp_cor``."""

_DIGITS = 10
_VOXELS = 4096


@dataclass(frozen=True)
class Components:
    """Component columns of a confounds table, and the entries of its JSON file.

    Attributes
    ----------
    columns
        ndarrays of shape (n_volumes,) by name, of unit length, masks one after the other.
    metadata
        One entry for each column, and for each component that was ``dropped``.
    """

    columns: Mapping[str, Array]
    metadata: Mapping[str, Mapping[str, Any]]


def components(csf: FloatMap, wm: FloatMap, slow: Array) -> Components:
    """Components of CSF, white matter, and both together.

    Parameters
    ----------
    csf, wm
        ndarrays of shape (n_volumes, n_voxels), the series of two masks.
    slow
        ndarray of shape (n_volumes, n_cosines), orthonormal cosines that are removed first.
    """
    columns: dict[str, Array] = {}
    metadata: dict[str, Mapping[str, Any]] = {}
    dropped = 0
    for mask, parts in {"CSF": [csf], "WM": [wm], "combined": [csf, wm]}.items():
        series, singular = _principal(parts, slow)
        explained = singular**2 / (singular**2).sum()
        cumulative = np.cumsum(explained)
        kept = int(np.searchsorted(cumulative, EXPLAINED)) + 1
        for number in range(singular.size):
            retained = number < kept
            name = f"{PREFIXES[mask]}{number:02d}" if retained else f"dropped_{dropped}"
            dropped += not retained
            metadata[name] = {
                "Method": "aCompCor",
                "Mask": mask,
                "Retained": retained,
                "SingularValue": round(float(singular[number]), _DIGITS),
                "VarianceExplained": round(float(explained[number]), _DIGITS),
                "CumulativeVarianceExplained": round(float(cumulative[number]), _DIGITS),
            }
            if retained:
                columns[name] = series[:, number]
    return Components(columns, metadata)


def _principal(parts: list[FloatMap], slow: Array) -> tuple[Array, Array]:
    """Temporal components of voxels of unit variance, strongest first, and their singular values."""
    volumes = len(slow)
    removed = np.column_stack([np.full(volumes, volumes**-0.5), slow])
    gram = np.zeros((volumes, volumes))
    for part in parts:
        for start in range(0, part.shape[1], _VOXELS):
            block = part[:, start : start + _VOXELS].astype(np.float64)
            block -= removed @ (removed.T @ block)
            spread = block.std(axis=0)
            block /= np.where(spread > 0, spread, 1.0)
            gram += block @ block.T
    squared, series = np.linalg.eigh(gram)
    size = min(volumes, sum(part.shape[1] for part in parts))
    singular = np.sqrt(np.clip(squared[::-1], 0.0, None))[:size]
    return _signed(series[:, ::-1][:, :size]), singular


def _signed(series: Array) -> Array:
    """Components whose largest value is positive, as their sign has no meaning."""
    largest = np.take_along_axis(series, np.abs(series).argmax(axis=0)[None, :], axis=0)
    signed: Array = series * np.sign(largest)
    return signed
