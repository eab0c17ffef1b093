"""Enhancement over graphs: exact integrals, against thresholds taken one by one."""

from __future__ import annotations

import json
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from conn.errors import DesignError
from conn.graph import STEPS, Graph, lattice, numbered, shared_nodes
from conn.suprathreshold import Clusters
from conn.tfce import Tfce

SHAPE = (7, 8, 9)
POWERS = [(0.5, 2.0), (1.0, 2.0), (0.4, 3.0), (1.0, 1.5), (0.0, 0.0)]


def mask() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=SHAPE) < 0.85


def field(seed: int = 0, smooth: float = 0.8) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), smooth)
    return 2.0 * noise / noise.std()


def in_mask(volume: np.ndarray) -> np.ndarray:
    return volume.ravel(order="F")[mask().ravel(order="F")]


def by_threshold(volume: np.ndarray, connectivity: int, e: float, h: float) -> np.ndarray:
    """The definition: every distinct height, sets labelled anew at each."""
    structure = ndimage.generate_binary_structure(3, STEPS[connectivity])
    total = np.zeros(SHAPE)
    for sign in (1, -1):
        values = np.where(mask(), sign * np.nan_to_num(volume), 0.0)
        heights = np.unique(values[values > 0])
        for low, high in zip(np.concatenate([[0.0], heights[:-1]]), heights, strict=True):
            labels, _ = ndimage.label(values >= high, structure)
            extent = np.bincount(labels.ravel())[labels]
            piece = extent**e * (high ** (h + 1) - low ** (h + 1)) / (h + 1)
            total += sign * np.where(labels > 0, piece, 0.0)
    return in_mask(total)


@pytest.mark.oracle
@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize(("e", "h"), POWERS)
def test_scores_are_those_of_all_thresholds_taken_one_by_one(connectivity, e, h):
    values, graph = in_mask(field()), lattice(mask(), connectivity)
    expected = by_threshold(field(), connectivity, e, h)
    enhance = Tfce(graph, e, h)
    assert np.abs(enhance.scores(values) - expected).max() <= 1e-6 * np.abs(expected).max()
    assert enhance.maxima(values)[0] == pytest.approx(np.abs(expected).max(), rel=1e-12)
    single = enhance.maxima(values.astype(np.float32))[0]
    assert single == pytest.approx(np.abs(expected).max(), rel=1e-4)


@pytest.mark.oracle
@pytest.mark.parametrize("connectivity", [6, 26])
def test_plateaus_and_values_that_are_not_there_are_no_special_case(connectivity):
    volume = np.round(field(3) * 2) / 2
    volume[2, 3, 4] = volume[5, 1, 1] = np.nan
    graph = lattice(mask(), connectivity)
    expected = by_threshold(volume, connectivity, 0.5, 2)
    found = Tfce(graph).scores(in_mask(volume))
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()
    assert Tfce(graph).maxima(in_mask(volume).astype(np.float32))[0] == pytest.approx(
        np.abs(expected).max(), rel=1e-6
    )


@pytest.mark.oracle
def test_scores_agree_with_the_program_of_other_people():
    golden = json.loads((Path(__file__).parent / "golden" / "tfce.json").read_text())
    shape = tuple(golden["shape"])
    values = np.array(golden["values"])
    graph = lattice(np.ones(shape, dtype=bool), golden["connectivity"])
    expected = np.array(golden["scores"])
    found = Tfce(graph, golden["E"], golden["H"]).scores(values)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_neighbours_are_those_of_the_lattice_and_links_go_both_ways():
    for connectivity in STEPS:
        graph = lattice(mask(), connectivity)
        places = np.argwhere(mask().transpose(2, 1, 0))[:, ::-1]
        apart = np.abs(places[:, None] - places[None])
        near = (apart.max(axis=-1) <= 1) & (apart.sum(axis=-1) <= STEPS[connectivity])
        np.fill_diagonal(near, False)
        links = np.zeros_like(near)
        for i in range(graph.n):
            links[i, graph.neighbours[graph.starts[i] : graph.starts[i + 1]]] = True
        assert np.array_equal(links, near) and np.array_equal(links, links.T)


@pytest.mark.oracle
def test_edges_are_neighbours_when_they_share_a_region():
    names = ["a", "b", "c", "d", "e"]
    pairs = [pair for pair in combinations(names, 2) if pair != ("a", "e")]
    graph = shared_nodes(numbered(pairs))
    for i, pair in enumerate(pairs):
        near = {pairs[j] for j in graph.neighbours[graph.starts[i] : graph.starts[i + 1]]}
        assert near == {other for other in pairs if other != pair and set(other) & set(pair)}
    values = np.random.default_rng(1).normal(size=len(pairs)) * 2
    expected = np.zeros(len(pairs))
    for sign in (1, -1):
        heights = np.unique(np.maximum(sign * values, 0))
        for low, high in pairwise(heights):
            above = [p for p, v in zip(pairs, sign * values, strict=True) if v >= high]
            for i, pair in enumerate(pairs):
                if pair in above:
                    expected[i] += sign * _component(pair, above) ** 0.4 * (high**4 - low**4) / 4
    assert np.allclose(Tfce(graph, 0.4, 3.0).scores(values), expected)


def _component(pair: tuple[str, str], above: list[tuple[str, str]]) -> int:
    found, grown = {pair}, True
    while grown:
        more = {p for p in above if any(set(p) & set(q) for q in found)} - found
        found, grown = found | more, bool(more)
    return len(found)


@given(st.integers(0, 10_000), st.sampled_from(POWERS))
@settings(max_examples=25, deadline=None)
def test_names_signs_and_units_of_features_do_not_matter(seed, powers):
    e, h = powers
    rng = np.random.default_rng(seed)
    graph, values = lattice(np.ones((3, 4, 5), dtype=bool), 18), rng.normal(size=60)
    found = Tfce(graph, e, h).scores(values)
    assert np.allclose(Tfce(graph, e, h).scores(-values), -found)
    assert np.allclose(Tfce(graph, e, h).scores(2 * values), 2 ** (h + 1) * found)
    order = rng.permutation(60)
    assert np.allclose(Tfce(_renamed(graph, order), e, h).scores(values[order]), found[order])
    assert Tfce(graph, e, h).maxima(values)[0] == pytest.approx(np.abs(found).max())
    assert ((found > 0) == (values > 0)).all()


def _renamed(graph: Graph, order: np.ndarray) -> Graph:
    place = np.argsort(order)
    lists = [place[graph.neighbours[graph.starts[i] : graph.starts[i + 1]]] for i in order]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int32)
    return Graph(starts, np.concatenate(lists).astype(np.int32))


def test_nothing_positive_gives_nothing_and_threads_change_nothing():
    graph = lattice(mask())
    assert Tfce(graph).maxima(np.zeros((2, graph.n)))[1] == 0
    assert not Tfce(graph).scores(np.full(graph.n, np.nan)).any()
    empty = lattice(np.zeros(SHAPE, dtype=bool))
    assert Tfce(empty).maxima(np.zeros((1, 0)))[0] == 0
    maps = np.stack([in_mask(field(seed)) for seed in range(6)]).astype(np.float32)
    one, two = (Tfce(graph, threads=n).maxima(maps) for n in (1, 2))
    assert one.tobytes() == two.tobytes() and np.unique(one).size == 6


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["extent", "mass"])
@pytest.mark.parametrize("connectivity", [6, 26])
def test_clusters_are_those_that_scipy_labels(kind, connectivity):
    volume, threshold = field(5), 1.3
    structure = ndimage.generate_binary_structure(3, STEPS[connectivity])
    expected, labels, last = np.zeros(SHAPE), np.zeros(SHAPE, int), 0
    for sign in (1, -1):
        values = np.where(mask(), sign * volume, 0.0)
        own, n = ndimage.label(values > threshold, structure)
        weight = np.ones(SHAPE) if kind == "extent" else values - threshold
        sums = ndimage.sum_labels(weight, own, np.arange(n + 1))
        expected += sign * np.where(own > 0, sums[own], 0.0)
        labels += np.where(own > 0, own + last, 0)
        last += n
    enhance = Clusters(lattice(mask(), connectivity), threshold, kind)
    values = in_mask(volume)
    assert np.allclose(enhance.scores(values), in_mask(expected))
    assert enhance.maxima(values)[0] == pytest.approx(np.abs(expected).max())
    found = enhance.labels(values)
    pairs = set(zip(found.tolist(), in_mask(labels).tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == last + 1


def test_features_without_neighbours_are_sets_of_their_own_wherever_they_stand():
    alone = np.zeros((9, 5, 4), dtype=bool)
    alone[0, 0, 0] = alone[4, 2, 1] = alone[5, 2, 1] = alone[8, 4, 3] = True
    values = np.array([1.0, 2.0, 1.5, 3.0])
    found = Tfce(lattice(alone), 1.0, 1.0).scores(values)
    assert np.allclose(found, [0.5, 2 * 1.5**2 / 2 + (2.0**2 - 1.5**2) / 2, 1.5**2, 4.5])
    assert Tfce(lattice(alone), 1.0, 1.0).maxima(values.astype(np.float32))[0] == pytest.approx(4.5)


def test_what_makes_no_sense_is_refused():
    graph = lattice(mask())
    for wrong in (
        lambda: lattice(mask(), 8),
        lambda: Tfce(graph, -1),
        lambda: Tfce(graph, 0.5, -1),
        lambda: Clusters(graph, 0.0),
        lambda: Tfce(graph).scores(np.zeros(3)),
    ):
        with pytest.raises(DesignError):
            wrong()
