"""The audit of regions: distances, surroundings, shared signal, shares in an atlas."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from conn.rois import audit
from conn.rois.placement import Placed, Shapes, place
from conn.rois.shapes import Shape

SHAPE = (11, 12, 13)
TURN = Rotation.from_euler("xyz", [9, -12, 11], degrees=True).as_matrix()
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = TURN * [2.0, 2.5, 3.5]
OBLIQUE[:3, 3] = (-11, -14, -20)
STRAIGHT = np.diag([2.0, 2.5, 3.5, 1.0])


def voxels_of(flat: np.ndarray) -> np.ndarray:
    return np.stack(np.unravel_index(flat, SHAPE, order="F"), axis=1)


def mm_of(flat: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return voxels_of(flat) @ affine[:3, :3].T + affine[:3, 3]


def sphere(affine: np.ndarray, voxel: tuple[int, int, int], radius: float) -> Placed:
    center = tuple(affine[:3, :3] @ voxel + affine[:3, 3])
    return place(Shapes((Shape(center, radius=radius),)), SHAPE, affine)


def brain() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:10, 1:11, 1:12] = True
    mask[4, 5, 11] = False
    return mask


def core(placed: Placed) -> np.ndarray:
    return placed.inside[placed.weight >= 0.5]


@pytest.mark.oracle
@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE])
def test_distances_are_those_of_the_loop_over_all_voxels(affine):
    rng = np.random.default_rng(1)
    csf = rng.uniform(0, 0.52, SHAPE).astype(np.float32)
    around = audit.surroundings(brain(), affine, None, csf)
    placed = sphere(affine, (5, 5, 6), 4.5)
    everything = np.arange(np.prod(SHAPE))
    own = mm_of(core(placed), affine)
    fluid = everything[((csf >= 0.5) & brain()).ravel(order="F")]
    assert fluid.size > 0
    nearest = min(np.linalg.norm(a - b) for a, b in product(own, mm_of(fluid, affine)))
    assert audit.csf_distance(placed, around) == pytest.approx(nearest)
    # Outside the brain is also what lies beyond the field of view: a layer of voxels around it.
    layer = np.array(list(product(*(range(-1, n + 1) for n in SHAPE))))
    inside_box = ((layer >= 0) & (layer < SHAPE)).all(axis=1)
    out = np.ones(len(layer), dtype=bool)
    out[inside_box] = ~brain()[tuple(layer[inside_box].T)]
    outside = layer[out] @ affine[:3, :3].T + affine[:3, 3]
    edge = min(np.linalg.norm(outside - a, axis=1).min() for a in own)
    assert audit.edge_distance(placed, around) == pytest.approx(edge)


def test_a_region_that_reaches_out_or_holds_fluid_is_at_distance_0_and_unknown_stays_unknown():
    around = audit.surroundings(brain(), STRAIGHT, None, np.ones(SHAPE, np.float32))
    assert audit.edge_distance(sphere(STRAIGHT, (1, 5, 6), 4.5), around) == 0
    assert audit.csf_distance(sphere(STRAIGHT, (5, 5, 6), 4.5), around) == 0
    bare = audit.surroundings(brain(), STRAIGHT)
    placed = sphere(STRAIGHT, (5, 5, 6), 4.5)
    assert np.isnan(audit.csf_distance(placed, bare)) and np.isnan(audit.grey_share(placed, bare))
    nowhere = audit.surroundings(brain(), STRAIGHT, None, np.zeros(SHAPE, np.float32))
    assert np.isnan(audit.csf_distance(placed, nowhere))


def test_grey_matter_is_the_mean_weighted_by_how_much_of_a_voxel_counts():
    grey = np.random.default_rng(2).uniform(size=SHAPE).astype(np.float32)
    placed = sphere(OBLIQUE, (5, 5, 6), 4.5)
    flat = grey.ravel(order="F")
    expected = (
        sum(flat[v] * w for v, w in zip(placed.inside, placed.weight, strict=True)) / placed.weight.sum()
    )
    around = audit.surroundings(brain(), OBLIQUE, grey)
    assert audit.grey_share(placed, around) == pytest.approx(expected, rel=1e-6)


@pytest.mark.truth
def test_a_region_whose_surroundings_carry_its_signal_is_found_and_one_with_its_own_is_not():
    rng = np.random.default_rng(3)
    k, placed = 60, sphere(STRAIGHT, (5, 5, 6), 4.5)
    around = audit.surroundings(brain(), STRAIGHT)
    column = np.arange(np.prod(SHAPE))
    taken = np.zeros(column.size, dtype=bool)
    taken[placed.inside] = True
    ring = audit.ring(placed, around, taken, column)
    distance = np.linalg.norm(
        mm_of(ring, STRAIGHT)[:, None] - mm_of(placed.inside, STRAIGHT)[None], axis=-1
    ).min(axis=1)
    assert ring.size > 50 and distance.min() > 0 and distance.max() <= audit.RING_MM
    assert not set(ring) & set(placed.inside)
    signal = rng.normal(size=k)
    Y = rng.normal(size=(k, column.size)).astype(np.float32)
    spilled, own = Y.copy(), Y.copy()
    spilled[:, ring] += 2 * signal[:, None].astype(np.float32)
    own[:, placed.inside] += 2 * signal[:, None].astype(np.float32)
    assert audit.correlation_with(signal, spilled, ring) > 0.95
    assert abs(audit.correlation_with(signal, own, ring)) < 0.35
    assert np.isnan(audit.correlation_with(signal, own, ring[:0]))
    assert np.isnan(audit.correlation_with(np.full(k, np.nan), own, ring))


@pytest.mark.truth
def test_spill_over_from_fluid_is_seen_in_the_fluid_nearest_to_the_region():
    rng = np.random.default_rng(4)
    csf = np.zeros(SHAPE, np.float32)
    csf[5, 5, 9:11] = csf[4:7, 6, 10] = csf[1, 1, 1] = 0.9
    around = audit.surroundings(brain(), STRAIGHT, None, csf)
    placed = sphere(STRAIGHT, (5, 5, 6), 4.5)
    column = np.arange(np.prod(SHAPE))
    near = audit.nearest_csf(placed, around, column)
    assert near.size == 5 and (csf.ravel(order="F")[near] > 0.8).all(), "the far corner is beyond 15 mm"
    k, beat = 50, rng.normal(size=50)
    Y = rng.normal(size=(k, column.size)).astype(np.float32)
    Y[:, near] += 3 * beat[:, None].astype(np.float32)
    spilled = 0.8 * beat + rng.normal(size=k)
    assert audit.correlation_with(spilled, Y, near) > 0.5
    assert abs(audit.correlation_with(rng.normal(size=k), Y, near)) < 0.4
    gone = column.copy()
    gone[near[:1]] = -1
    assert audit.nearest_csf(placed, around, gone).size == 0, "four voxels are too few"


@pytest.mark.oracle
def test_own_variance_is_what_a_regression_on_the_family_leaves():
    rng = np.random.default_rng(5)
    series = rng.normal(size=(70, 6)) @ (np.eye(6) + 0.8 * rng.normal(size=(6, 6)))
    series[:, 4] = np.nan
    found = audit.own_variance(series, ["a", "a", "a", "", "a", "b"])
    for i, others in ((0, [1, 2]), (1, [0, 2]), (2, [0, 1])):
        fitted = series[:, others] @ np.linalg.lstsq(series[:, others], series[:, i], rcond=None)[0]
        left = ((series[:, i] - fitted) ** 2).sum() / (series[:, i] ** 2).sum()
        assert found[i] == pytest.approx(left)
    assert np.isnan(found[3:]).all()


@pytest.mark.oracle
@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE])
def test_pairs_share_what_a_loop_over_their_voxels_counts(affine):
    placed = [
        sphere(affine, voxel, radius)
        for voxel, radius in (((4, 4, 4), 5.0), ((6, 4, 4), 4.0), ((5, 9, 8), 3.5), ((9, 10, 11), 2.5))
    ]
    pairs = {(pair.a, pair.b): pair for pair in audit.pairs(placed, SHAPE, affine)}
    for a, b in product(range(4), range(4)):
        if a >= b:
            continue
        weights = [dict(zip(p.inside, p.weight, strict=True)) for p in (placed[a], placed[b])]
        shared = sum(min(weights[0][v], weights[1][v]) for v in weights[0].keys() & weights[1].keys())
        first, second = (mm_of(core(placed[i]), affine) for i in (a, b))
        gap = np.linalg.norm(first[:, None] - second[None], axis=-1).min()
        if (a, b) not in pairs:
            assert shared == 0 and gap > audit.NEAR_MM
            continue
        pair = pairs[a, b]
        assert pair.shared == pytest.approx(shared) and pair.gap_mm == pytest.approx(gap)
        smaller = min(placed[a].weight.sum(), placed[b].weight.sum())
        assert pair.share == pytest.approx(shared / smaller)
        steps = np.abs(voxels_of(core(placed[a]))[:, None] - voxels_of(core(placed[b]))[None]).max(axis=-1)
        if shared > 0:
            assert pair.touching
        if steps.min() <= 1:
            assert pair.touching
    assert pairs[0, 1].touching and pairs[0, 1].shared > 0


def test_shares_in_labels_add_up_and_are_those_of_counting():
    labels = np.random.default_rng(6).integers(0, 4, SHAPE)
    placed = sphere(OBLIQUE, (5, 5, 6), 5.0)
    shares = audit.label_shares(placed, labels)
    assert sum(shares.values()) == pytest.approx(1)
    flat = labels.ravel(order="F")
    for label in range(4):
        own = sum(w for v, w in zip(placed.inside, placed.weight, strict=True) if flat[v] == label)
        assert shares[label] == pytest.approx(own / placed.total)
    cut = sphere(OBLIQUE, (0, 5, 6), 5.0)
    beyond = 1 - cut.weight.sum() / cut.total
    assert beyond > 0.2
    assert audit.label_shares(cut, np.ones(SHAPE, int)) == pytest.approx({1: 1 - beyond, 0: beyond})
    probability = np.full(SHAPE, 0.25)
    assert audit.mean_probabilities(placed, probability) == pytest.approx(0.25)
