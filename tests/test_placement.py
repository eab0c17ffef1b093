"""Placement: which voxels a region has, how much of each, and what is left of it in a run."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nilearn.image import resample_to_img
from scipy.spatial.transform import Rotation

from conn.config.model import Rois
from conn.rois import placement, registry
from conn.rois.placement import LOW_COVERAGE, SUB_VOXEL, Placed, Sampled, Shapes, cover, nearest, place
from conn.rois.shapes import Shape

TURN = Rotation.from_euler("xyz", [9, -12, 11], degrees=True).as_matrix()


def by_centre(shapes, shape, affine) -> Placed:
    return place(Shapes(tuple(shapes)), shape, affine, "centre")


def of_mask(mask, mask_affine, shape, affine) -> Placed:
    return place(Sampled(mask, mask_affine), shape, affine, "centre")


def grid(voxel: float, origin: tuple[float, float, float] = (-90, -126, -72)) -> np.ndarray:
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = origin
    return affine


def centres(inside: np.ndarray, shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Voxel centres in mm of flat indices, sorted."""
    voxels = np.stack(np.unravel_index(inside, shape, order="F"), axis=1)
    mm = voxels @ affine[:3, :3].T + affine[:3, 3]
    return mm[np.lexsort(mm.T)]


def sphere_by_hand(center, radius, shape, affine) -> np.ndarray:
    """The obvious loop over all voxels."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    mm = voxels @ affine[:3, :3].T + affine[:3, 3]
    mm = mm[((mm - center) ** 2).sum(axis=1) <= radius**2 + 1e-9]
    return mm[np.lexsort(mm.T)]


# ---------------------------------------------------------------------------------------------- placement


@pytest.mark.parametrize(("center", "count"), [((0, 0, 0), 81), ((1, 1, 1), 56)])
def test_a_5_mm_sphere_on_a_2_mm_grid_has_as_many_voxels_as_its_centre_decides(center, count):
    placed = by_centre((Shape(center, radius=5.0),), (91, 109, 91), grid(2.0))
    assert (placed.inside.size, placed.voxels, placed.sub_voxel) == (count, count, False)


@pytest.mark.oracle
@pytest.mark.parametrize("voxel", [2.0, 3.0, 3.5])
def test_spheres_are_those_of_the_loop_over_all_voxels_on_an_oblique_grid(voxel):
    affine = np.eye(4)
    affine[:3, :3] = TURN @ np.diag([voxel, voxel * 1.1, voxel * 0.9])
    affine[:3, 3] = (40, 35, -50)
    shape = (24, 25, 27)
    middle = (affine @ [11.3, 12.1, 13.4, 1])[:3]
    placed = by_centre((Shape(tuple(middle), radius=9.0),), shape, affine)
    assert np.allclose(
        centres(placed.inside, shape, affine), sphere_by_hand(middle, 9.0, shape, affine), atol=1e-9
    )


def test_left_right_flipped_storage_gives_the_same_voxels_in_mm():
    shape, plain = (61, 73, 61), grid(3.0, (-90, -126, -72))
    flipped = plain @ np.array([[-1, 0, 0, 60], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    for roi in registry.regions(Rois()):
        one = centres(by_centre(roi.shapes, shape, plain).inside, shape, plain)
        two = centres(by_centre(roi.shapes, shape, flipped).inside, shape, flipped)
        assert np.allclose(one, two), roi.label
        if roi.label[-1] in "LR" and len(one) > 3:
            assert (np.sign(one[:, 0].mean()) < 0) == (roi.label[-1] == "L"), roi.label


def test_voxels_beyond_the_field_of_view_count_and_are_not_covered():
    shape, affine = (20, 20, 20), grid(2.0, (0, 0, 0))
    whole = by_centre((Shape((20.0, 20.0, 20.0), radius=5.0),), shape, affine)
    cut = by_centre((Shape((0.0, 20.0, 20.0), radius=5.0),), shape, affine)
    outside = by_centre((Shape((-30.0, 20.0, 20.0), radius=5.0),), shape, affine)
    assert (whole.voxels, cut.voxels, outside.voxels) == (81, 81, 81)
    assert cut.inside.size == 51
    assert outside.inside.size == 0
    column, valid = np.arange(8000), np.ones(8000, dtype=bool)
    assert cover(cut, column, valid, 0.5).coverage == pytest.approx(51 / 81)
    assert cover(cut, column, valid, 0.7).members.size == 0
    gone = cover(outside, column, valid, 0.0)
    assert (gone.coverage, gone.flag, gone.members.size) == (0.0, LOW_COVERAGE, 0)


def test_a_union_counts_each_voxel_once():
    shapes = (Shape((0, 0, 0), radius=4.0), Shape((2, 0, 0), radius=4.0))
    shape, affine = (40, 40, 40), grid(2.0, (-40, -40, -40))
    parts = [set(by_centre((s,), shape, affine).inside) for s in shapes]
    both = by_centre(shapes, shape, affine)
    assert set(both.inside) == parts[0] | parts[1]
    assert both.voxels == len(parts[0] | parts[1]) < len(parts[0]) + len(parts[1])


def test_a_box_holds_the_centres_between_its_faces():
    placed = by_centre((Shape((0, 0, 0), size=(6, 4, 2)),), (21, 21, 21), grid(1.0, (-10, -10, -10)))
    mm = centres(placed.inside, (21, 21, 21), grid(1.0, (-10, -10, -10)))
    assert placed.voxels == 7 * 5 * 3
    assert np.abs(mm).max(axis=0).tolist() == [3, 2, 1]


def test_a_region_smaller_than_a_voxel_is_the_nearest_voxel_and_flagged():
    shape, affine = (20, 20, 20), grid(3.0, (0, 0, 0))
    for center in ((28.4, 31.3, 28.6), (30.0, 30.0, 30.0)):
        placed = by_centre((Shape(center, radius=1.3),), shape, affine)
        assert centres(placed.inside, shape, affine).tolist() == [
            np.rint(np.array(center) / 3).dot(3).tolist()
        ]
        assert placed.sub_voxel
        held = cover(placed, np.arange(8000), np.ones(8000, dtype=bool), 0.5)
        assert (held.flag, held.covered) == (SUB_VOXEL, 1)


def test_the_sub_voxel_regions_of_the_registry_are_the_ones_measured():
    small = {
        roi.label
        for roi in registry.regions(Rois())
        if by_centre(roi.shapes, (61, 73, 61), grid(3.0)).sub_voxel
    }
    assert small == {"LCL", "LCR"}


@given(
    center=st.tuples(*[st.floats(-20, 20)] * 3),
    radius=st.floats(1, 8),
    voxel=st.sampled_from([2.0, 3.0, 3.5]),
)
def test_any_sphere_is_found_whole(center, radius, voxel):
    shape, affine = (30, 31, 32), grid(voxel, (-15 * voxel, -15.5 * voxel, -16 * voxel))
    placed = by_centre((Shape(center, radius=radius),), shape, affine)
    by_hand = sphere_by_hand(np.array(center), radius, shape, affine)
    if len(by_hand) == 0:
        assert (placed.inside.size, placed.sub_voxel) == (1, True)
    elif placed.inside.size == placed.voxels:
        assert abs(placed.inside.size - len(by_hand)) <= int(
            (np.abs(np.linalg.norm(by_hand - center, axis=1) - radius) < 1e-6).sum()
        )


@pytest.mark.oracle
@pytest.mark.parametrize("voxel", [1.7, 3.0, 4.3])
def test_a_mask_on_another_grid_is_seen_as_nilearn_sees_it(voxel):
    rng = np.random.default_rng(3)
    mask = rng.random((17, 18, 19)) > 0.6
    mask_affine = grid(2.0, (-15, -17, -16))
    mask_affine[0, 0], mask_affine[0, 3] = -2.0, 15.3
    shape, affine = (11, 12, 13), grid(voxel, (-14.23, -16.17, -15.71))
    # scipy cuts the outer half of the outermost voxels; an empty border takes that away.
    wider = nib.Nifti1Image(
        np.pad(mask, 1).astype(np.uint8), mask_affine @ nib.affines.from_matvec(np.eye(3), [-1] * 3)
    )
    target = nib.Nifti1Image(np.zeros(shape, np.uint8), affine)
    expected = resample_to_img(wider, target, interpolation="nearest", force_resample=True).get_fdata()
    assert expected.any()
    assert np.array_equal(nearest(mask, mask_affine, shape, affine), expected > 0)


@pytest.mark.parametrize("voxel", [1.0, 2.0, 3.0])
def test_a_grid_shifted_by_half_a_voxel_sees_each_voxel_of_a_mask_once(voxel):
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[4:11, 5:12, 6:9] = True
    half = grid(voxel, (voxel / 2, voxel / 2, voxel / 2))
    assert nearest(mask, grid(voxel, (0, 0, 0)), (20, 20, 20), half).sum() == mask.sum()


def test_a_mask_that_reaches_beyond_the_image_is_covered_only_in_part():
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[5:15, 5:15, 5:15] = True
    half = of_mask(mask, grid(2.0, (0, 0, 0)), (10, 20, 20), grid(2.0, (0, 0, 0)))
    assert (half.inside.size, half.voxels) == (500, 1000)
    coarse = of_mask(mask, grid(2.0, (0, 0, 0)), (5, 10, 10), grid(4.0, (1, 1, 1)))
    assert coarse.voxels == pytest.approx(125, abs=25)
    assert coarse.inside.size / coarse.voxels == pytest.approx(0.5, abs=0.1)
    none = of_mask(mask, grid(2.0, (0, 0, 0)), (4, 4, 4), grid(2.0, (100, 100, 100)))
    assert (none.inside.size, none.voxels) == (0, 1000)


def test_a_mask_smaller_than_a_voxel_is_the_voxel_that_holds_it_and_flagged():
    mask = np.zeros((30, 30, 30), dtype=bool)
    mask[13, 13, 13] = True
    shape, affine = (8, 8, 8), grid(4.0, (0, 0, 0))
    for weighting, weight in (("centre", 1.0), ("coverage", 1 / 64)):
        placed = place(Sampled(mask, grid(1.0, (0, 0, 0))), shape, affine, weighting)
        assert centres(placed.inside, shape, affine).tolist()[0] == [12, 12, 12]
        assert placed.sub_voxel
        assert placed.half == 0
        assert placed.weight.sum() == pytest.approx(weight, rel=0.1)
        assert cover(placed, np.arange(512), np.ones(512, dtype=bool), 0.5).flag == SUB_VOXEL


def test_coverage_counts_only_voxels_in_the_mask_that_are_usable():
    placed = by_centre((Shape((10, 10, 10), radius=4.0),), (11, 11, 11), grid(2.0, (0, 0, 0)))
    column = np.full(11**3, -1)
    column[placed.inside[:20]] = np.arange(20)
    valid = np.ones(20, dtype=bool)
    valid[:5] = False
    held = cover(placed, column, valid, 15 / placed.voxels)
    assert (held.voxels, held.covered) == (placed.voxels, 15)
    assert held.members.tolist() == list(range(5, 20))
    assert cover(placed, column, valid, 16 / placed.voxels).members.size == 0


# ----------------------------------------------------------------------------------------------- coverage


@pytest.mark.truth
@pytest.mark.parametrize("radius", [1.34, 3.0, 5.0, 10.0])
@pytest.mark.parametrize("voxel", [2.0, 3.0, 3.5])
def test_the_weights_of_a_sphere_add_up_to_its_volume(voxel, radius):
    affine = grid(voxel, (-30.3, -29.1, -31.7))
    placed = place(Shapes((Shape((-8.4, -7.1, -6.7), radius=radius),)), (20, 21, 22), affine)
    volume = 4 / 3 * np.pi * radius**3
    assert placed.total * voxel**3 == pytest.approx(volume, rel=0.015)
    assert placed.weight.sum() == pytest.approx(placed.total)
    assert ((placed.weight > 0) & (placed.weight <= 1)).all()


@pytest.mark.oracle
def test_the_weights_are_those_of_a_very_fine_grid_also_when_the_image_is_oblique():
    affine = np.eye(4)
    affine[:3, :3] = TURN @ np.diag([3.0, 2.5, 3.5])
    affine[:3, 3] = (-12, -10, -9)
    shapes = (Shape((0.3, 2.1, 1.2), radius=4.0), Shape((3.0, 0.0, 1.0), size=(9, 4, 5)))
    shape = (8, 9, 7)
    placed = place(Shapes(shapes), shape, affine)
    weight = np.zeros(int(np.prod(shape)))
    weight[placed.inside] = placed.weight
    fine, n = np.zeros(shape), 21
    line = (np.arange(n) - n // 2) / n
    voxels = np.stack(np.indices(shape), axis=-1).reshape(-1, 3)
    for offset in np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3):
        mm = (voxels + offset) @ affine[:3, :3].T + affine[:3, 3]
        inside = ((mm - shapes[0].center) ** 2).sum(axis=1) <= 16
        inside |= (np.abs(mm - shapes[1].center) <= np.array([4.5, 2, 2.5])).all(axis=1)
        fine += inside.reshape(shape) / n**3
    assert np.abs(weight.reshape(shape, order="F") - fine).max() < 0.02
    assert placed.half == (fine >= 0.5).sum() or np.abs(fine - 0.5).min() < 0.02


@given(center=st.tuples(*[st.floats(-4, 4)] * 3), radius=st.floats(2, 9))
def test_turning_the_storage_of_an_image_turns_the_weights_with_it(center, radius):
    shape, affine = (12, 13, 14), grid(3.0, (-18, -19.5, -21))
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = shape[0] - 1
    field = Shapes((Shape(center, radius=radius),))
    one, two = place(field, shape, affine), place(field, shape, affine @ flip)
    plain, turned = np.zeros(shape), np.zeros(shape)
    plain.ravel()[np.ravel_multi_index(np.unravel_index(one.inside, shape, order="F"), shape)] = one.weight
    turned.ravel()[np.ravel_multi_index(np.unravel_index(two.inside, shape, order="F"), shape)] = two.weight
    assert np.allclose(plain, turned[::-1], atol=1e-12)
    assert (one.voxels, one.half, one.sub_voxel) == (two.voxels, two.half, two.sub_voxel)


@pytest.mark.parametrize("voxel", [2.0, 3.0, 3.5])
def test_the_locus_coeruleus_fills_no_voxel_to_the_half(voxel):
    # The grids of MNI152NLin2009cAsym as fMRIPrep writes them.
    origin = (-96.5, -132.5, -78.5) if voxel == 2 else (-96.0, -132.0, -78.0)
    for label in ("LCL", "LCR"):
        shapes = registry.find(label, Rois()).shapes
        placed = place(Shapes(shapes), (97, 115, 97), grid(voxel, origin))
        assert placed.half == 0, (label, voxel)
        assert placed.sub_voxel
        assert placed.total * voxel**3 == pytest.approx(10, abs=1)


@pytest.mark.truth
@pytest.mark.parametrize("voxel", [1.0, 1.5, 2.0, 3.0, 3.5])
def test_no_voxel_of_a_mask_is_lost_or_counted_twice_on_another_grid(voxel):
    rng = np.random.default_rng(5)
    mask = rng.random((17, 18, 19)) > 0.7
    affine = np.eye(4)
    affine[:3, :3] = TURN * voxel
    affine[:3, 3] = -affine[:3, :3] @ [40, 40, 40]
    placed = place(Sampled(mask, grid(2.0, (-15, -17, -16))), (81, 82, 83), affine)
    assert placed.total * voxel**3 == pytest.approx(mask.sum() * 8, rel=0.01)
    assert placed.weight.sum() == pytest.approx(placed.total)


def test_on_its_own_grid_a_mask_is_itself():
    mask = np.random.default_rng(1).random((7, 8, 9)) > 0.5
    affine = np.diag([-3.0, 3, 3, 1])
    for weighting in ("coverage", "centre"):
        placed = place(Sampled(mask, affine), (7, 8, 9), affine, weighting)
        assert np.array_equal(placed.inside, np.flatnonzero(mask.ravel(order="F")))
        assert (placed.weight == 1).all()
        assert placed.voxels == placed.half == mask.sum()


def test_probabilities_are_weights_and_keep_their_mass():
    rng = np.random.default_rng(2)
    p = np.zeros((15, 16, 17), np.float32)
    p[3:10, 4:12, 5:11] = rng.random((7, 8, 6))
    same = place(Sampled(p, grid(2.0, (0, 0, 0))), p.shape, grid(2.0, (0, 0, 0)))
    assert np.allclose(same.weight, p.ravel(order="F")[same.inside], atol=1e-7)
    other = place(Sampled(p, grid(2.0, (0, 0, 0))), (20, 20, 20), grid(3.1, (-8, -7, -6)))
    assert other.total * 3.1**3 == pytest.approx(p.sum() * 8, rel=0.02)
    assert not other.sub_voxel


@pytest.mark.truth
def test_a_region_is_looked_up_through_a_transform_and_also_beyond_the_field_of_view():
    turn = TURN * 1.04
    shift = np.array([4.0, -3.0, 2.0])

    def warp(points):
        return points @ turn.T + shift

    center = np.array([5.0, 3.0, -2.0])
    here = np.linalg.solve(turn, center - shift)
    field = Shapes((Shape(tuple(center), radius=6.0),))
    affine = grid(2.0, (-20, -20, -20))
    seen = place(field, (21, 21, 21), affine, warp=warp)
    expected = place(Shapes((Shape(tuple(here), radius=6.0 / 1.04),)), (21, 21, 21), affine)
    assert np.array_equal(seen.inside, expected.inside)
    assert np.abs(seen.weight - expected.weight).max() < 0.05
    far = place(field, (4, 4, 4), affine, warp=warp)
    assert far.inside.size == 0
    assert far.total == pytest.approx(expected.total, rel=0.01)


def test_what_a_region_may_not_have_is_not_missed():
    placed = place(Shapes((Shape((10, 10, 10), radius=5.0),)), (11, 11, 11), grid(2.0, (0, 0, 0)))
    column, valid = np.arange(11**3), np.ones(11**3, dtype=bool)
    grey = np.zeros((11, 11, 11), dtype=bool)
    grey[:6] = True
    flat = grey.ravel(order="F")
    held = cover(placed, column, valid, 0.5, flat)
    assert held.coverage == pytest.approx(1.0)
    assert flat[held.members].all()
    assert held.weights.sum() == pytest.approx(placed.weight[flat[placed.inside]].sum())
    none = cover(placed, column, valid, 0.5, np.zeros(11**3, dtype=bool))
    assert (none.members.size, none.coverage, none.flag) == (0, 0.0, LOW_COVERAGE)


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    shapes = tuple(Shape((3.0 * i, 2.0 * i, i), radius=2.5) for i in range(6))
    whole = place(Shapes(shapes), (20, 20, 20), grid(2.0, (-2, -2, -2)))
    monkeypatch.setattr(placement, "BLOCK", 5000)
    blocks = place(Shapes(shapes), (20, 20, 20), grid(2.0, (-2, -2, -2)))
    assert np.array_equal(whole.weight, blocks.weight)
