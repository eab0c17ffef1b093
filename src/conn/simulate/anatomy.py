"""Where simulated tissue is: the grids of fMRIPrep and the ICBM tissue maps that nilearn ships.

nilearn's maps are those of MNI152NLin2009aSym. On the grid of MNI152NLin2009cAsym they are within a voxel of
that template, which is enough for data whose truth is defined by coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from conn.errors import ConfigError

FloatMap = NDArray[np.float32]
Grid = tuple[tuple[int, int, int], NDArray[np.float64]]

FINEST, COARSEST = 1.5, 8.0
_TEMPLATE_SHAPE = (193, 229, 193)
_ORIGIN = (-96.0, -132.0, -78.0)
_ORIGIN_RES2 = (-96.5, -132.5, -78.5)


@dataclass(frozen=True)
class Anatomy:
    """Tissue on a grid.

    Maps hold the `n_active` voxels that get data: the brain and a rim around it. Voxels are in file order,
    the first axis fastest.

    Attributes
    ----------
    shape, affine
        The grid; `affine` of shape (4, 4) goes from voxels to mm.
    active : ndarray of shape (n_active,), int64
        Flat indices on the grid.
    box : tuple of 3 (start, stop)
        Bounding box of the active voxels along z, y, x.
    in_box : ndarray of shape (n_active,), int64
        Flat indices within that box.
    xyz : ndarray of shape (n_active, 3), float32
        Centres in mm.
    brain : ndarray of shape (n_active,), bool
    gm, wm, csf : ndarray of shape (n_active,), float32
        Tissue probabilities.
    baseline : ndarray of shape (n_active,), float32
        Mean image, about 1000 in CSF.
    gradient : ndarray of shape (3, n_active), float32
        Its slope along x, y, z per mm.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    active: NDArray[np.int64]
    box: tuple[tuple[int, int], ...]
    in_box: NDArray[np.int64]
    xyz: FloatMap
    brain: NDArray[np.bool_]
    gm: FloatMap
    wm: FloatMap
    csf: FloatMap
    baseline: FloatMap
    gradient: FloatMap

    @property
    def voxel_mm(self) -> float:
        """Edge of a voxel in mm."""
        return float(self.affine[0, 0])


def grid(voxel_mm: float) -> Grid:
    """The grid that fMRIPrep writes in MNI152NLin2009cAsym.

    Parameters
    ----------
    voxel_mm
        Edge of a voxel in mm. 2 is TemplateFlow's `res-2`; others are what a native resolution becomes.

    Returns
    -------
    shape : tuple of 3 int
        (65, 77, 65) at 3 mm, (97, 115, 97) at 2 mm.
    affine : ndarray of shape (4, 4)

    Raises
    ------
    ConfigError
        Finer or coarser than the simulator can do.
    """
    if not FINEST <= voxel_mm <= COARSEST:
        raise ConfigError(f"voxel size {voxel_mm} mm is outside {FINEST} to {COARSEST} mm; choose 2 to 6")
    x, y, z = (int(np.ceil(n / voxel_mm)) for n in _TEMPLATE_SHAPE)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = _ORIGIN_RES2 if voxel_mm == 2 else _ORIGIN
    return (x, y, z), affine


def load_anatomy(voxel_mm: float) -> Anatomy:
    """Resample the ICBM tissue maps of nilearn's wheel (10.1016/j.neuroimage.2010.07.033) to a grid.

    Parameters
    ----------
    voxel_mm
        Edge of a voxel in mm.

    Raises
    ------
    ConfigError
        See `grid`.
    """
    shape, affine = grid(voxel_mm)
    gm, wm, brain = _tissues(shape, affine)
    inside = brain > 0.5
    csf = np.clip(1.0 - gm - wm, 0.0, 1.0) * inside
    smooth = ndimage.gaussian_filter(brain * (850 * gm + 650 * wm + 1050 * csf), 2.0 / voxel_mm)
    slopes = [np.gradient(smooth, voxel_mm, axis=axis) for axis in range(3)]
    rim = ndimage.binary_dilation(inside, iterations=1 if voxel_mm > 2.5 else 2)
    active = np.flatnonzero(rim.ravel(order="F"))
    box, in_box = _bounding_box(rim)

    def pick(volume: NDArray[np.floating]) -> FloatMap:
        return volume.ravel(order="F")[active].astype(np.float32)

    voxels = np.stack(np.unravel_index(active, shape, order="F"))
    return Anatomy(
        shape=shape,
        affine=affine,
        active=active,
        box=box,
        in_box=in_box,
        xyz=(affine[:3, :3] @ voxels + affine[:3, 3:]).T.astype(np.float32),
        brain=inside.ravel(order="F")[active],
        gm=pick(gm),
        wm=pick(wm),
        csf=pick(csf),
        baseline=pick(smooth),
        gradient=np.stack([pick(slope) for slope in slopes]),
    )


def _tissues(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> list[FloatMap]:
    """Grey matter, white matter and brain on a grid, by linear interpolation of slightly smoothed maps."""
    from nilearn import datasets

    images = (
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
        datasets.load_mni152_brain_mask(resolution=1),
    )
    maps = []
    for image in images:
        data = np.asarray(image.dataobj, dtype=np.float32)
        step = np.linalg.solve(image.affine, affine)
        blurred = ndimage.gaussian_filter(data, affine[0, 0] / 4)
        sampled = ndimage.affine_transform(blurred, step[:3, :3], step[:3, 3], output_shape=shape, order=1)
        maps.append(np.clip(sampled, 0.0, 1.0))
    return maps


def _bounding_box(rim: NDArray[np.bool_]) -> tuple[tuple[tuple[int, int], ...], NDArray[np.int64]]:
    """Box of a mask along z, y, x, and the mask's flat indices within it."""
    volume = rim.transpose(2, 1, 0)
    found = ndimage.find_objects(volume.astype(np.int8))[0]
    box = tuple((int(part.start), int(part.stop)) for part in found)
    return box, np.flatnonzero(volume[found].ravel())
