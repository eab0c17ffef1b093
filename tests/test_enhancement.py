"""Enhanced scores under rearrangement: each map by the obvious loop, error rates, planted effects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats
from statsmodels.api import OLS

from conn.errors import DesignError
from conn.glm import t_to_z
from conn.graph import lattice, numbered, shared_nodes
from conn.inference import correct, correct_scores
from conn.inference import test as run_test
from conn.permutation import permutation_set
from conn.suprathreshold import Clusters
from conn.tfce import Tfce

SHAPE = (5, 6, 4)


def smooth(rng: np.random.Generator, n: int, shape=SHAPE) -> np.ndarray:
    """Maps of n people, features in the order of their flat indices with the first axis fastest."""
    maps = ndimage.gaussian_filter(rng.normal(size=(n, *shape)), (0, 1, 1, 1))
    return _flat(maps / maps.std())


def _flat(maps: np.ndarray) -> np.ndarray:
    return np.stack([one.ravel(order="F") for one in maps])


def two_groups(n1: int, n2: int):
    group = np.repeat([0.5, -0.5], [n1, n2])
    return np.column_stack([np.ones(n1 + n2), group]), np.array([0.0, 1.0]), group


@pytest.mark.oracle
def test_the_scores_of_every_sign_flip_are_those_of_its_own_t_map():
    data = smooth(np.random.default_rng(0), 6)
    flips = permutation_set(6, "flips", n_permutations=200, seed=0, has_nuisance=False)
    enhance = Tfce(lattice(np.ones(SHAPE, dtype=bool), 18))
    result = run_test(data, np.ones((6, 1)), [1.0], flips, enhance=enhance)
    for place, signs in enumerate(flips.signs):
        t = stats.ttest_1samp(data * signs[:, None], 0).statistic
        assert result.score_maxima[place] == pytest.approx(np.abs(enhance.scores(t)).max(), rel=1e-9)
    family = correct_scores([result])
    counted = (family.maxima[None] >= np.abs(result.score)[:, None] * (1 - 1e-9)).mean(axis=1)
    assert np.array_equal(family.results[0].p_fwe, counted)
    assert family.smallest_p == 2 / 64 and (family.results[0].p_fwe >= 2 / 64).all()


@pytest.mark.oracle
@pytest.mark.parametrize("sizes", [(5, 5), (4, 7)])
def test_the_scores_of_every_order_are_those_of_a_freedman_lane_fit_on_the_scale_of_the_test(sizes):
    rng = np.random.default_rng(1)
    matrix, contrast, group = two_groups(*sizes)
    age = rng.normal(size=len(group))
    matrix = np.column_stack([matrix, age - age.mean()])
    contrast = np.append(contrast, 0.0)
    data = smooth(rng, len(group))
    orders = permutation_set(
        len(group), "labels", matrix_effect=group, n_permutations=60, seed=3, has_nuisance=True
    )
    groups = None if sizes[0] == sizes[1] else (group > 0).astype(int)
    enhance = Tfce(lattice(np.ones(SHAPE, dtype=bool), 6))
    result = run_test(data, matrix, contrast, orders, groups, enhance=enhance)
    nuisance = matrix[:, [0, 2]]
    left = data - nuisance @ np.linalg.lstsq(nuisance, data, rcond=None)[0]
    for place, order in enumerate(orders.order[:12]):
        moved = left[order]
        if groups is None:
            t = np.array([OLS(y, matrix).fit().tvalues[1] for y in moved.T])
        else:
            again = run_test(moved, matrix, contrast, orders, groups)
            t = t_to_z(again.stat, again.df)
        expected = np.abs(enhance.scores(t)).max()
        assert result.score_maxima[place] == pytest.approx(expected, rel=2e-4 if groups is not None else 1e-8)


def test_single_precision_and_missing_features_change_little_and_lose_nothing():
    rng = np.random.default_rng(2)
    data = smooth(rng, 9)
    data[3, 17] = np.nan
    flips = permutation_set(9, "flips", n_permutations=99, seed=0, has_nuisance=False)
    enhance = Tfce(lattice(np.ones(SHAPE, dtype=bool)))
    made = [
        run_test(data, np.ones((9, 1)), [1.0], flips, enhance=enhance, precision=precision)
        for precision in ("float64", "float32")
    ]
    assert np.allclose(made[0].score_maxima, made[1].score_maxima, rtol=1e-4)
    assert np.isnan(made[0].score[17]) and np.isfinite(np.delete(made[0].score, 17)).all()
    assert np.isnan(correct_scores(made[:1]).results[0].p_fwe[17])
    one, two = (
        run_test(data, np.ones((9, 1)), [1.0], flips, enhance=Tfce(enhance.graph, threads=n)) for n in (1, 2)
    )
    assert one.score_maxima.tobytes() == two.score_maxima.tobytes()


def _rejects(data: np.ndarray, design, enhance, seed: int) -> bool:
    matrix, contrast, exchange, effect, groups = design
    sets = permutation_set(
        len(matrix), exchange, matrix_effect=effect, n_permutations=199, seed=seed, has_nuisance=False
    )
    result = run_test(data, matrix, contrast, sets, groups, enhance=enhance)
    return bool((correct_scores([result]).results[0].p_fwe <= 0.05).any())


DESIGNS = {
    "flips": (np.ones((12, 1)), np.array([1.0]), "flips", None, None),
    "labels": (*two_groups(8, 8)[:2], "labels", two_groups(8, 8)[2], None),
    "welch": (*two_groups(7, 11)[:2], "labels", two_groups(7, 11)[2], np.repeat([0, 1], [7, 11])),
}


@pytest.mark.calibration
@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("kind", ["tfce", "mass"])
def test_the_family_wise_error_of_scores_is_kept(name, kind):
    graph = lattice(np.ones(SHAPE, dtype=bool), 26)
    enhance = Tfce(graph) if kind == "tfce" else Clusters(graph, 2.0)
    rng = np.random.default_rng(20)
    n = len(DESIGNS[name][0])
    # Each person has an effect of their own, and people differ in variance.
    false = sum(
        _rejects(
            smooth(rng, n) * rng.uniform(0.7, 1.3, (n, 1)) + rng.normal(0, 0.5, (n, 1)),
            DESIGNS[name],
            enhance,
            seed,
        )
        for seed in range(200)
    )
    assert false <= stats.binom.ppf(0.9995, 200, 0.05)
    if kind == "tfce":
        assert false >= stats.binom.ppf(0.0005, 200, 0.05)


@pytest.mark.truth
def test_a_weak_effect_over_many_voxels_is_found_more_often_than_by_the_largest_voxel():
    shape = (9, 10, 8)
    enhance = Tfce(lattice(np.ones(shape, dtype=bool)))
    planted = np.zeros(shape)
    planted[2:7, 2:8, 2:6] = 1.1
    found = np.zeros(2)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        data = smooth(rng, 12, shape) + planted.ravel(order="F")
        flips = permutation_set(12, "flips", n_permutations=199, seed=seed, has_nuisance=False)
        result = run_test(data, np.ones((12, 1)), [1.0], flips, enhance=enhance)
        inside = planted.ravel(order="F") > 0
        p = [correct_scores([result]).results[0].p_fwe, correct([result]).results[0].p_fwe]
        found += [(one[inside] <= 0.05).mean() for one in p]
    assert found[0] / 40 > 0.8 and found[0] > 1.2 * found[1]


@pytest.mark.truth
def test_edges_that_share_regions_support_each_other():
    names = [f"r{i}" for i in range(8)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    hub = np.array(["r0" in pair for pair in pairs])
    enhance = Tfce(shared_nodes(numbered(pairs)), 0.4, 3.0)
    rng = np.random.default_rng(5)
    data = rng.normal(size=(14, len(pairs))) + 1.5 * hub
    flips = permutation_set(14, "flips", n_permutations=499, seed=0, has_nuisance=False)
    p = correct_scores([run_test(data, np.ones((14, 1)), [1.0], flips, enhance=enhance)]).results[0].p_fwe
    assert (p[hub] <= 0.05).mean() >= 0.8


def test_scores_and_statistics_are_not_mixed_in_a_family():
    data = smooth(np.random.default_rng(3), 7)
    flips = permutation_set(7, "flips", n_permutations=200, seed=0, has_nuisance=False)
    plain = run_test(data, np.ones((7, 1)), [1.0], flips)
    with pytest.raises(DesignError, match="enhanced"):
        correct_scores([plain])
