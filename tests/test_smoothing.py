"""Smoothing equals nilearn's, edges included."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nilearn.image import smooth_img

from conn.smoothing import reach, smooth


@pytest.mark.oracle
@pytest.mark.parametrize("voxel", [(2.0, 2.0, 2.0), (3.0, 3.5, 2.5)])
def test_maps_are_smoothed_as_nilearn_does(voxel):
    maps = np.random.default_rng(0).normal(size=(2, 17, 18, 19)).astype(np.float32)
    affine = np.diag([*voxel, 1.0])
    ours = smooth(maps, 6.0, np.array(voxel))
    for one, mine in zip(maps, ours, strict=True):
        theirs = smooth_img(nib.Nifti1Image(one, affine), 6.0).get_fdata()
        assert np.abs(mine - theirs).max() < 1e-6


def test_voxels_that_are_not_finite_count_as_zero():
    maps = np.ones((1, 7, 8, 9), dtype=np.float32)
    maps[0, 3, 3, 3] = np.nan
    zero = maps.copy()
    zero[0, 3, 3, 3] = 0
    assert np.array_equal(smooth(maps, 4.0, np.full(3, 3.0)), smooth(zero, 4.0, np.full(3, 3.0)))


def test_the_kernel_ends_where_its_reach_says():
    maps = np.zeros((1, 31, 31, 31), dtype=np.float32)
    maps[0, 15, 15, 15] = 1
    far = reach(6.0, np.full(3, 2.0))
    touched = np.argwhere(smooth(maps, 6.0, np.full(3, 2.0))[0] > 0)
    assert touched.min(axis=0).tolist() == (15 - far).tolist()
    assert touched.max(axis=0).tolist() == (15 + far).tolist()
