"""Transforms between templates, from files of ITK and ANTs: where a point of one template is in the other.

Regions are looked up at points, so a file that would resample an image from the template of a region to that
of the data is used as it is: that is the direction in which it leads points. ITK interpolates a displacement
field linearly and moves nothing outside of it; so do we. (nitransforms reads the same files, but fits a cubic
spline through the whole field at every call, which costs seconds per region, and moves points differently
between voxels than ITK does.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.io.matlab import MatReadError

from conn.errors import InputError

Points = NDArray[np.float64]
Step = Callable[[Points], Points]
"""Points of shape (n, 3) in mm → points of shape (n, 3) in mm."""

LPS = np.array([-1.0, -1.0, 1.0])
"""ITK counts x towards the left and y towards the back."""

EXPECTED = (
    "a transform of ITK or ANTs is needed: .h5 (affine and displacement field), .txt or .mat (affine), or "
    ".nii.gz (displacement field)"
)
LINEAR = ("AffineTransform", "MatrixOffsetTransformBase")
FIELD = "DisplacementFieldTransform"


@dataclass(frozen=True, eq=False)
class Affine:
    """x → matrix (x - center) + center + translation, in LPS.

    Attributes
    ----------
    matrix : ndarray of shape (3, 3)
    translation, center : ndarray of shape (3,)
    """

    matrix: NDArray[np.float64]
    translation: NDArray[np.float64]
    center: NDArray[np.float64]

    def __call__(self, points: Points) -> Points:
        """Points of shape (n, 3) in LPS, moved."""
        moved: Points = (points - self.center) @ self.matrix.T + self.center + self.translation
        return moved


@dataclass(frozen=True, eq=False)
class Displacement:
    """x → x + field(x), in LPS; linear between voxels, nothing outside.

    Attributes
    ----------
    field : ndarray of shape (3, nx, ny, nz), float32
    affine : ndarray of shape (4, 4)
        Voxel to LPS.
    """

    field: NDArray[np.float32]
    affine: NDArray[np.float64]

    def __call__(self, points: Points) -> Points:
        """Points of shape (n, 3) in LPS, moved."""
        inverse = np.linalg.inv(self.affine)
        voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
        inside = ((voxels >= -0.5) & (voxels <= np.asarray(self.field.shape[1:]) - 0.5)).all(axis=1)
        moved = points.copy()
        for axis in range(3):
            moved[inside, axis] += ndimage.map_coordinates(
                self.field[axis], voxels[inside].T, order=1, mode="nearest", output=np.float64
            )
        return moved


def load_transform(path: Path) -> Step:
    """Read a transform.

    Parameters
    ----------
    path
        Of ITK or ANTs: `.h5` (composite), `.txt` or `.mat` (affine), `.nii` or `.nii.gz` (displacement
        field).

    Returns
    -------
    callable
        Points of shape (n, 3) in mm (RAS) of the template that images would be resampled *to* → the same
        places in the template that they come from.

    Raises
    ------
    InputError
        Not there, damaged, or of a kind that is not known.
    """
    if not path.is_file():
        raise InputError(f"{path.name}: the file is not there")
    state = path.stat()
    return _load(path, (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=4)
def _load(path: Path, seen: tuple[int, int]) -> Step:
    try:
        steps = _steps(path)
    except (KeyError, ValueError, IndexError, TypeError, OSError, MatReadError) as error:
        raise InputError(f"{path.name}: not a transform that can be read ({error}); {EXPECTED}") from None

    def lead(points: Points) -> Points:
        moved = np.asarray(points, dtype=np.float64) * LPS
        for step in reversed(steps):  # of a composite, ITK applies the last first
            moved = step(moved)
        return np.asarray(moved * LPS)

    return lead


def _steps(path: Path) -> Sequence[Step]:
    if path.suffix == ".h5":
        return _composite(path)
    if path.suffix == ".mat":
        return [_binary(path)]
    if path.suffix in {".txt", ".tfm"}:
        return [_text(path)]
    if path.name.endswith((".nii", ".nii.gz")):
        return [_image(path)]
    raise InputError(f"{path.name}: {EXPECTED}")


def _composite(path: Path) -> list[Step]:
    import h5py

    steps: list[Step] = []
    with h5py.File(path) as file:
        group = file["TransformGroup"]
        for key in sorted(group, key=int):
            one = group[key]
            kind = one["TransformType"][0].decode()
            if kind.startswith("CompositeTransform"):
                continue
            # Older versions of ITK misspell the names.
            stem = "Transform" if "TransformParameters" in one else "Tranform"
            parameters, fixed = (
                np.asarray(one[f"{stem}Parameters"]),
                np.asarray(one[f"{stem}FixedParameters"]),
            )
            steps.append(_step(kind, parameters, fixed, path))
    if not steps:
        raise InputError(f"{path.name}: holds no transform; {EXPECTED}")
    return steps


def _step(kind: str, parameters: NDArray[Any], fixed: NDArray[Any], path: Path) -> Step:
    if kind.startswith(LINEAR):
        values = parameters.astype(np.float64)
        if values.size != 12:
            raise InputError(f"{path.name}: {kind} has {values.size} parameters; 12 are needed")
        return Affine(values[:9].reshape(3, 3), values[9:], fixed.astype(np.float64))
    if kind.startswith(FIELD):
        fixed = fixed.astype(np.float64)
        nx, ny, nz = (int(n) for n in fixed[:3])
        affine = np.eye(4)
        affine[:3, :3] = fixed[9:18].reshape(3, 3) * fixed[6:9]
        affine[:3, 3] = fixed[3:6]
        field = parameters.astype(np.float32, copy=False).reshape(nz, ny, nx, 3).transpose(3, 2, 1, 0)
        return Displacement(np.ascontiguousarray(field), affine)
    if kind.startswith("IdentityTransform"):
        return Affine(np.eye(3), np.zeros(3), np.zeros(3))
    raise InputError(f"{path.name}: holds a {kind}, which is not read; {EXPECTED}")


def _binary(path: Path) -> Step:
    from scipy.io import loadmat

    found = loadmat(str(path))
    kinds = [key for key in found if key.startswith(LINEAR)]
    if len(kinds) != 1:
        raise InputError(
            f"{path.name}: holds {', '.join(k for k in found if not k.startswith('__'))}; {EXPECTED}"
        )
    return _step(kinds[0], found[kinds[0]].ravel(), found["fixed"].ravel(), path)


def _text(path: Path) -> Step:
    text = path.read_text(encoding="utf-8", errors="replace")
    if "Insight Transform File" not in text:
        raise InputError(f"{path.name}: does not begin with '#Insight Transform File'; {EXPECTED}")
    kinds = re.findall(r"^Transform:\s*(\S+)", text, re.MULTILINE)
    if len(kinds) != 1:
        raise InputError(f"{path.name}: holds {len(kinds)} transforms; one is needed")
    values = {
        name: np.array([float(v) for v in line.split()])
        for name, line in re.findall(r"^(Parameters|FixedParameters):[ \t]*(.*)$", text, re.MULTILINE)
    }
    fixed = values.get("FixedParameters", np.zeros(0))
    return _step(kinds[0], values["Parameters"], fixed if fixed.size == 3 else np.zeros(3), path)


def _image(path: Path) -> Step:
    """A displacement field as ANTs writes it: five dimensions, vectors in LPS."""
    import nibabel as nib

    try:
        image = nib.load(path)
    except nib.filebasedimages.ImageFileError as error:
        raise InputError(f"{path.name}: not an image that can be read ({error})") from None
    shape = image.shape
    if len(shape) != 5 or shape[3:] != (1, 3):
        raise InputError(
            f"{path.name}: has shape {shape}; a displacement field of ANTs has (x, y, z, 1, 3). Fields of "
            "FSL and other programs say something else and are not read"
        )
    field = np.asarray(image.dataobj, dtype=np.float32)[..., 0, :].transpose(3, 0, 1, 2)
    affine = np.diag([*LPS, 1.0]) @ np.asarray(image.affine, dtype=np.float64)
    return Displacement(np.ascontiguousarray(field), affine)
