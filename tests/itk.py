"""Transform files in the formats of ITK and ANTs, with known content."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from scipy.io import savemat

MATRIX = np.array([[1.02, 0.05, -0.03], [-0.04, 0.97, 0.06], [0.02, -0.07, 1.01]])
TRANSLATION = np.array([1.5, -2.25, 0.75])
CENTER = np.array([3.0, -4.0, 5.0])
SHAPE = (7, 8, 9)
SPACING = np.array([3.0, 2.5, 4.0])
ORIGIN = np.array([-9.0, -8.0, -17.0])
ANGLE = np.deg2rad(12)
DIRECTION = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, 1.0]])
FIELD = np.random.default_rng(4).normal(0, [2.0, 1.0, 0.5], size=(*SHAPE, 3)).astype(np.float32)
"""Displacements in LPS, of shape (x, y, z, 3); different along each axis."""

POINTS = np.array(
    [[0.0, 0, 0], [4.1, 3.3, -2.2], [-3.7, -5.1, 6.6], [2.0, 1.0, 9.5], [90.0, 10, 3], [-5.0, 4.2, -8.8]]
)
"""In RAS; the fifth is outside of the field."""


def write_all(folder: Path) -> dict[str, Path]:
    """One file of every format."""
    return {
        "text": write_text(folder / "affine.txt"),
        "mat": write_mat(folder / "affine.mat"),
        "image": write_image(folder / "field.nii.gz"),
        "composite": write_composite(folder / "both.h5"),
    }


def write_text(path: Path) -> Path:
    numbers = " ".join(repr(float(v)) for v in [*MATRIX.ravel(), *TRANSLATION])
    center = " ".join(repr(float(v)) for v in CENTER)
    lines = ["#Insight Transform File V1.0", "#Transform 0", "Transform: AffineTransform_double_3_3"]
    path.write_text("\n".join([*lines, f"Parameters: {numbers}", f"FixedParameters: {center}", ""]))
    return path


def write_mat(path: Path) -> Path:
    values = np.concatenate([MATRIX.ravel(), TRANSLATION])[:, None]
    savemat(path, {"AffineTransform_double_3_3": values, "fixed": CENTER[:, None]}, format="4")
    return path


def write_image(path: Path) -> Path:
    """A displacement field of ANTs: five dimensions, the affine of the file in RAS."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = DIRECTION * SPACING, ORIGIN
    image = nib.Nifti1Image(FIELD[:, :, :, None, :], np.diag([-1.0, -1, 1, 1]) @ affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


def write_composite(path: Path, stem: str = "Transform") -> Path:
    """A composite as TemplateFlow has them: an affine, then a field; the last is applied first."""
    text = h5py.string_dtype("ascii")
    with h5py.File(path, "w") as file:
        for name, value in (
            ("ITKVersion", "5.3.0"),
            ("HDFVersion", "1.12.1"),
            ("OSName", "Linux"),
            ("OSVersion", "1"),
        ):
            file.create_dataset(name, data=[value], dtype=text)
        group = file.create_group("TransformGroup")
        group.create_group("0").create_dataset(
            "TransformType", data=["CompositeTransform_double_3_3"], dtype=text
        )
        affine = group.create_group("1")
        affine.create_dataset("TransformType", data=["AffineTransform_double_3_3"], dtype=text)
        affine[f"{stem}Parameters"] = np.concatenate([MATRIX.ravel(), TRANSLATION])
        affine[f"{stem}FixedParameters"] = CENTER
        field = group.create_group("2")
        field.create_dataset("TransformType", data=["DisplacementFieldTransform_double_3_3"], dtype=text)
        field[f"{stem}Parameters"] = FIELD.transpose(2, 1, 0, 3).ravel().astype(np.float64)
        field[f"{stem}FixedParameters"] = np.concatenate([SHAPE, ORIGIN, SPACING, DIRECTION.ravel()]).astype(
            float
        )
    return path
