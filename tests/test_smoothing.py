"""Smoothing equals nilearn's, edges included."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nilearn.image import smooth_img

from conn.smoothing import TILE, reach, smooth, smooth_mask, support


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


def mask(shape: tuple[int, int, int]) -> np.ndarray:
    """An irregular region that touches the edge of the grid in two places."""
    x, y, z = np.indices(shape)
    inside = (x - 8) ** 2 + (y - 9) ** 2 / 2 + (z - 20) ** 2 / 4 < 40
    inside[0, 5:8, 20:22] = inside[3:5, 4:6, -1] = True
    return inside


@pytest.mark.oracle
@pytest.mark.parametrize("voxel", [(2.0, 2.0, 2.0), (3.0, 3.5, 2.5)])
def test_a_mask_and_its_surroundings_are_all_that_smoothing_needs(voxel):
    shape = (23, 28, TILE + 17)
    maps = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    inside = mask(shape)
    voxels = np.flatnonzero(inside.ravel(order="F"))
    area = support(voxels, shape, 6.0, np.array(voxel))
    assert np.array_equal(area.voxels[area.mask], voxels)
    assert area.voxels.size < inside.size
    flat = maps.transpose(0, 3, 2, 1).reshape(3, -1)
    made = smooth_mask(
        flat[:, area.voxels], np.ones(area.voxels.size, dtype=bool), area, 6.0, np.array(voxel)
    )
    for one, mine in zip(maps, made, strict=True):
        theirs = smooth_img(nib.Nifti1Image(one, np.diag([*voxel, 1.0])), 6.0).get_fdata()
        assert np.abs(mine - theirs.ravel(order="F")[voxels]).max() < 1e-6


def test_invalid_voxels_count_as_zero_in_a_mask():
    shape = (23, 28, 40)
    area = support(np.flatnonzero(mask(shape).ravel(order="F")), shape, 5.0, np.full(3, 2.0))
    Y = np.random.default_rng(2).normal(size=(2, area.voxels.size)).astype(np.float32)
    valid = np.ones(area.voxels.size, dtype=bool)
    valid[::7] = False
    zero = np.where(valid, Y, np.float32(0))
    Y[:, ~valid] = np.nan
    every = np.ones(valid.size, dtype=bool)
    assert np.array_equal(
        smooth_mask(Y, valid, area, 5.0, np.full(3, 2.0)),
        smooth_mask(zero, every, area, 5.0, np.full(3, 2.0)),
    )


def test_within_the_mask_a_constant_stays_what_it_is_up_to_its_edge():
    shape = (23, 28, 40)
    voxels = np.flatnonzero(mask(shape).ravel(order="F"))
    area = support(voxels, shape, 6.0, np.full(3, 2.0), within_mask=True)
    assert np.array_equal(area.voxels, voxels)
    valid = np.arange(voxels.size) % 5 != 0
    Y = np.full((1, voxels.size), 3.0, dtype=np.float32)
    Y[:, ~valid] = np.nan
    made = smooth_mask(Y, valid, area, 6.0, np.full(3, 2.0), within_mask=True)
    assert np.abs(made - 3.0).max() < 1e-5


def test_within_the_mask_the_mean_is_over_valid_voxels_alone():
    shape = (23, 28, 40)
    inside = mask(shape)
    voxels = np.flatnonzero(inside.ravel(order="F"))
    values = np.random.default_rng(5).normal(size=voxels.size).astype(np.float32)
    valid = np.arange(voxels.size) % 4 != 0
    area = support(voxels, shape, 6.0, np.array([2.0, 3.0, 2.5]), within_mask=True)
    made = smooth_mask(values[None], valid, area, 6.0, np.array([2.0, 3.0, 2.5]), within_mask=True)
    pair = np.zeros((2, int(np.prod(shape))), dtype=np.float32)
    pair[0, voxels[valid]], pair[1, voxels[valid]] = values[valid], 1
    volumes = pair.reshape(2, *shape[::-1]).transpose(0, 3, 2, 1)
    above, below = smooth(volumes, 6.0, np.array([2.0, 3.0, 2.5]))
    expected = above.ravel(order="F")[voxels] / below.ravel(order="F")[voxels]
    assert np.abs(made[0] - expected).max() < 1e-5
