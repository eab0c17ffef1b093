"""Transforms of ITK and ANTs lead points where ANTs leads them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import itk
from conn.errors import InputError
from conn.rois.transforms import load_transform

GOLDEN = json.loads((Path(__file__).parent / "golden" / "transforms.json").read_text())


def by_hand(points: np.ndarray) -> np.ndarray:
    """The composite, point by point: the field between its eight neighbours, then the affine; both in LPS."""
    moved = []
    for start in points * [-1, -1, 1]:
        x = start.copy()
        voxel = np.linalg.solve(itk.DIRECTION * itk.SPACING, x - itk.ORIGIN)
        if ((voxel >= -0.5) & (voxel <= np.array(itk.SHAPE) - 0.5)).all():
            voxel = np.clip(voxel, 0, np.array(itk.SHAPE) - 1)
            low = np.minimum(np.floor(voxel).astype(int), np.array(itk.SHAPE) - 2)
            part, shift = voxel - low, np.zeros(3)
            for corner in np.ndindex(2, 2, 2):
                weight = np.prod(np.where(corner, part, 1 - part))
                shift += weight * itk.FIELD[tuple(low + corner)]
            x += shift
        moved.append(itk.MATRIX @ (x - itk.CENTER) + itk.CENTER + itk.TRANSLATION)
    return np.array(moved) * [-1, -1, 1]


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["text", "mat", "image", "composite"])
def test_points_go_where_ants_leads_them(tmp_path, name):
    lead = load_transform(itk.write_all(tmp_path)[name])
    assert np.array_equal(GOLDEN["points"], itk.POINTS)
    assert np.abs(lead(itk.POINTS) - GOLDEN[name]).max() < 2e-5


@pytest.mark.oracle
@pytest.mark.parametrize("stem", ["Transform", "Tranform"])
def test_a_composite_is_its_field_and_then_its_affine(tmp_path, stem):
    lead = load_transform(itk.write_composite(tmp_path / "both.h5", stem))
    points = np.random.default_rng(0).uniform(-14, 14, size=(200, 3))
    assert np.abs(lead(points) - by_hand(points)).max() < 1e-5


def test_nothing_is_moved_by_a_field_outside_of_it(tmp_path):
    lead = load_transform(itk.write_image(tmp_path / "field.nii.gz"))
    far = np.array([[90.0, 10, 3], [-200, 0, 0]])
    assert np.array_equal(lead(far), far)


def test_a_file_that_was_replaced_is_read_again(tmp_path):
    path = itk.write_text(tmp_path / "affine.txt")
    before = load_transform(path)(itk.POINTS)
    path.write_text(path.read_text().replace("0.75", "1.75"))
    assert np.allclose(load_transform(path)(itk.POINTS) - before, [0, 0, 1])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "1 0 0 0\n0 1 0 0\n", "does not begin with '#Insight Transform File'"),
        (
            "a.txt",
            "#Insight Transform File V1.0\nTransform: BSplineTransform_double_3_3\nParameters: 1\n",
            "BSpline",
        ),
        (
            "a.txt",
            "#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 2\n",
            "2 parameters",
        ),
        ("a.h5", "not hdf", "not a transform that can be read"),
        ("a.nii.gz", "not an image", "not an image"),
        ("a.lta", "type = 1\n", "a transform of ITK or ANTs is needed"),
        ("a.mat", "nothing", "not a transform that can be read"),
    ],
)
def test_what_is_no_transform_is_an_error_that_says_what_is_needed(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words) as raised:
        load_transform(tmp_path / name)
    assert name in str(raised.value)


def test_a_field_of_another_program_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), tmp_path / "fsl.nii.gz")
    with pytest.raises(InputError, match=r"has shape \(4, 4, 4, 3\); a displacement field of ANTs"):
        load_transform(tmp_path / "fsl.nii.gz")
    with pytest.raises(InputError, match=r"no\.h5: the file is not there"):
        load_transform(tmp_path / "no.h5")
