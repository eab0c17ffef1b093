"""Enhancement on a lattice by bits: against the links of the same lattice, and pieces against scipy's."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from conn.graph import STEPS as AXES
from conn.graph import Graph, lattice
from conn.grid import BITS, STEPS, TO_CENTRE, WORD, around, enter, grid_of, piece
from conn.inference import test as run_test
from conn.order import descending
from conn.permutation import permutation_set
from conn.tfce import Tfce

# Longer than a word on both of its axes, so that windows lie across several of them.
SHAPE = (17, 13, 6)


def by_links(graph: Graph) -> Graph:
    """The same graph without its grid, which takes the way of any graph."""
    return Graph(graph.starts, graph.neighbours)


def assert_same(mask: np.ndarray, values: np.ndarray, connectivity: int, powers=(0.5, 2.0)) -> None:
    graph = lattice(mask, connectivity)
    assert graph.grid is not None
    fast, slow = Tfce(graph, *powers), Tfce(by_links(graph), *powers)
    expected = slow.scores(values)
    assert np.abs(fast.scores(values) - expected).max() <= 1e-12 * np.abs(expected).max()
    for given_values in (values, values.astype(np.float32)):
        assert fast.maxima(given_values) == pytest.approx(slow.maxima(given_values), rel=1e-12)


@pytest.mark.oracle
@given(
    st.integers(0, 10_000),
    st.sampled_from(sorted(AXES)),
    st.sampled_from([0.05, 0.4, 0.8, 1.0]),
    st.sampled_from([None, 4, 1]),
    st.sampled_from([(0.5, 2.0), (0.4, 3.0), (1.0, 1.5)]),
)
@settings(max_examples=60, deadline=None)
def test_a_lattice_by_its_bits_is_the_lattice_by_its_links(seed, connectivity, density, ties, powers):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, np.array(SHAPE) + 1))
    mask = rng.uniform(size=shape) < density
    mask[tuple(rng.integers(shape))] = True
    values = 2 * ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0, 1)).T[mask.T]
    if ties:
        values = np.round(values * ties) / ties
    values[rng.uniform(size=values.size) < 0.05] = np.nan
    assert_same(mask, values, connectivity, powers)


@pytest.mark.oracle
@pytest.mark.parametrize("connectivity", AXES)
def test_masks_of_a_voxel_a_row_a_plane_and_two_far_corners_are_no_special_case(connectivity):
    masks = {name: np.zeros(SHAPE, dtype=bool) for name in ("voxel", "corners")}
    masks["voxel"][3, 12, 5] = True
    masks["corners"][0, 0, 0] = masks["corners"][-1, -1, -1] = masks["corners"][-1, -1, -2] = True
    for axis, at in product(range(3), (0, -1)):
        for name, free in (("row", [axis]), ("plane", [a for a in range(3) if a != axis])):
            one = np.zeros(SHAPE, dtype=bool)
            one[tuple(slice(None) if a in free else at for a in range(3))] = True
            masks[f"{name} {axis} {at}"] = one
    for seed, mask in enumerate(masks.values()):
        assert_same(mask, np.random.default_rng(seed).normal(size=mask.sum()), connectivity)


@pytest.mark.oracle
@pytest.mark.parametrize("connectivity", AXES)
def test_what_is_around_a_voxel_falls_into_the_pieces_that_scipy_labels(connectivity):
    structure = ndimage.generate_binary_structure(3, AXES[connectivity])
    grid = lattice(np.ones((3, 3, 3), dtype=bool), connectivity).grid
    neighbours = structure.copy()
    neighbours[1, 1, 1] = False
    rng = np.random.default_rng(0)
    for _ in range(300):
        window = rng.uniform(size=(3, 3, 3)) < rng.uniform(0.05, 0.9)
        window[1, 1, 1] = False
        labels, _ = ndimage.label(window, structure)
        bits = np.array([labels[tuple(np.array(step) + 1)] for step in STEPS])
        there = sum(1 << bit for bit in np.flatnonzero(bits).tolist())
        near, found = there & grid.near, []
        while near:
            one, own = piece(there, near, grid.edges, grid.corners)
            (number,) = {bits[bit] for bit in range(27) if own >> bit & 1}
            assert own == sum(1 << bit for bit in np.flatnonzero(bits == number).tolist())
            assert own & near & one == one > 0 and one.bit_count() == 1
            near &= ~own
            found.append(number)
        assert sorted(found) == sorted(set(labels[neighbours & window].tolist()))


def test_voxels_see_who_entered_around_them_across_words():
    rng = np.random.default_rng(1)
    inside = rng.uniform(size=SHAPE) < 0.7
    inside[0, 0, 0] = inside[-1, -1, -1] = True
    at = np.stack(np.unravel_index(np.flatnonzero(inside.ravel(order="F")), SHAPE, order="F"))
    grid = grid_of(at, 3)
    bitmap, entered = np.zeros(grid.n_words, dtype=np.int64), np.zeros(np.array(SHAPE) + 2, dtype=bool)
    for x, y, z in at.T[rng.permutation(at.shape[1])]:
        first = int(grid.columns[x, 0] + grid.rows[y, 0] + z * WORD)
        expected = sum(
            1 << bit
            for bit, step in enumerate(STEPS)
            if entered[x + 1 + step[0], y + 1 + step[1], z + 1 + step[2]]
        )
        assert around(bitmap, first) == expected
        enter(bitmap, first + TO_CENTRE, grid.columns[x, 1], grid.rows[y, 1])
        entered[x + 1, y + 1, z + 1] = True
    assert first >> BITS < grid.n_words


@given(st.integers(0, 10_000), st.sampled_from(sorted(AXES)), st.permutations([0, 1, 2]), st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_turned_and_mirrored_maps_have_turned_and_mirrored_scores(seed, connectivity, axes, mirrors):
    rng = np.random.default_rng(seed)
    mask, values = rng.uniform(size=SHAPE) < 0.6, rng.normal(size=SHAPE)

    def scores(inside: np.ndarray, volume: np.ndarray) -> np.ndarray:
        made = np.zeros(inside.size)
        flat = inside.ravel(order="F")
        made[flat] = Tfce(lattice(inside, connectivity)).scores(volume.ravel(order="F")[flat])
        return made.reshape(inside.shape, order="F")

    def turned(volume: np.ndarray) -> np.ndarray:
        return np.flip(volume, [axis for axis in range(3) if mirrors >> axis & 1]).transpose(axes)

    assert np.allclose(scores(turned(mask), turned(values)), turned(scores(mask, values)), atol=1e-9)


def test_a_box_too_large_for_its_bits_takes_the_way_of_any_graph():
    far = np.array([[0, 2000], [0, 2000], [0, 2000]])
    assert grid_of(far, 3) is None and grid_of(far // 2, 3) is not None
    assert lattice(np.zeros(SHAPE, dtype=bool)).grid is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_above_0_comes_in_descending_order_and_equal_values_as_they_were_given(dtype, sign):
    rng = np.random.default_rng(2)
    values = np.round(rng.normal(size=3000) * 50).astype(dtype) / 10
    values[:6] = [np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf]
    values[6:8] = [np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).smallest_subnormal]
    names, heights = descending(values, np.arange(3000, dtype=np.uint32) * 7, sign)
    expected = sorted((i for i in range(3000) if sign * values[i] > 0), key=lambda i: -sign * values[i])
    assert np.array_equal(names, 7 * np.array(expected)) and heights.dtype == dtype
    assert np.array_equal(heights, sign * values[expected])


@pytest.mark.parametrize("groups", [None, np.repeat([0, 1], [7, 9])])
def test_scores_of_rearrangements_do_not_depend_on_the_number_of_threads(groups):
    arm = np.repeat([0.0, 1.0], [7, 9])
    data = np.random.default_rng(3).normal(size=(16, 17 * 13 * 11)).astype(np.float32)
    # A gap, so that features with a value do not follow each other; more features than two tiles have.
    data[:, 100] = data[3, 1500] = np.nan
    orders = permutation_set(16, "labels", matrix_effect=arm, n_permutations=40, seed=0, has_nuisance=False)
    graph = lattice(np.ones((17, 13, 11), dtype=bool))
    made = [
        run_test(
            data,
            np.column_stack([np.ones(16), arm]),
            [0.0, 1.0],
            orders,
            groups,
            workers=threads,
            precision="float32",
            enhance=Tfce(graph, threads=threads),
        )
        for threads in (1, 2, 3)
    ]
    assert len({(one.score.tobytes(), one.score_maxima.tobytes()) for one in made}) == 1
    assert np.unique(made[0].score_maxima).size == 41 and np.isnan(made[0].score[[100, 1500]]).all()
