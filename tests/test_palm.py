"""What PALM prints for small data of each design; see golden/make_palm.m and the notes in palm.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conn import inference
from conn.glm import t_to_z
from conn.graph import lattice
from conn.permutation import PermutationSet, permutation_set
from conn.suprathreshold import Clusters
from conn.tfce import Tfce

PALM = json.loads((Path(__file__).parent / "golden" / "palm.json").read_text())
VOLUME = PALM["volume"]
TWO_SIDED = [case for case in PALM["cases"] if case["statistic"] in "fg" or "-twotail" in case["flags"]]


def same_set(case):
    """The rearrangements of PALM, as they are stored or because all there are were used."""
    n, exchange = len(case["design"]), "flips" if "-ise" in case["flags"] else "labels"
    if "order" in case:
        return as_set("labels", order=np.array(case["order"]))
    if "signs" in case:
        return as_set("flips", signs=np.array(case["signs"], dtype=np.int8))
    rows = "-cmcx" in case["flags"] or "regression" in case["name"]
    return permutation_set(
        n,
        exchange,
        strata=case.get("strata"),
        matrix_effect=what_is_tested(case),
        joint=len(np.atleast_2d(case["contrast"])) > 1,
        n_permutations=6000,
        seed=0,
        has_nuisance=rows,
    )


def what_is_tested(case):
    """The tested column, or a number for each combination of several."""
    design, rows = np.array(case["design"], dtype=float), np.atleast_2d(case["contrast"])
    if len(rows) == 1:
        return design[:, np.flatnonzero(rows[0])[0]]
    effect = design @ np.linalg.pinv(rows[:, : design.shape[1]])
    return np.unique(np.round(effect, 9), axis=0, return_inverse=True)[1].reshape(-1)


def as_set(kind, signs=None, order=None):
    table = signs if order is None else order
    return PermutationSet(kind, signs, order, False, True, len(table), 1 / len(table))


@pytest.mark.oracle
@pytest.mark.parametrize("case", TWO_SIDED, ids=[case["name"] for case in TWO_SIDED])
def test_statistics_and_both_p_are_those_of_palm(case):
    own = same_set(case)
    assert own.n_set == case["n_permutations"]
    welch = "_welch" if case["statistic"] == "v" else ""
    groups = case.get("variance_groups")
    contrast = np.array(case["contrast"], dtype=float)
    contrast = np.atleast_2d(contrast) if case["statistic"] in "fg" else np.ravel(contrast)
    contrast = contrast[..., : np.shape(case["design"])[1]]
    found = inference.test(
        case["data"], case["design"], contrast, own, groups, covariate=case.get("baseline")
    )
    np.testing.assert_allclose(found.stat, case["stat"], rtol=1e-9)
    np.testing.assert_allclose(found.df, case[f"df{welch}"], rtol=1e-9)
    if case["statistic"] in "tv":
        np.testing.assert_allclose(t_to_z(found.stat, found.df), case[f"z{welch}"], rtol=1e-4)
    np.testing.assert_allclose(found.p, case[f"p_ties{welch}"], rtol=1e-12)
    p_fwe = inference.correct([found]).results[0].p_fwe
    np.testing.assert_allclose(p_fwe, case[f"p_fwe_ties{welch}"], rtol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("case", PALM["multivariate"], ids=[case["name"] for case in PALM["multivariate"]])
def test_several_values_of_a_row_are_tested_as_by_palm(case):
    own = same_set(case)
    assert own.n_set == case["n_permutations"]
    values = np.array(case["data"])
    contrast = np.atleast_2d(np.array(case["contrast"], dtype=float))
    found = inference.test(values, case["design"], contrast, own)
    n, p = np.shape(case["design"])
    if case["statistic"] == "hotellingtsq":
        np.testing.assert_allclose(found.stat * found.rank * (n - p) / found.df, case["stat"], rtol=1e-9)
    np.testing.assert_allclose(found.p, case["p_ties"], rtol=1e-12)
    p_fwe = inference.correct([found]).results[0].p_fwe
    np.testing.assert_allclose(p_fwe, case["p_fwe_ties"], rtol=1e-12)


@pytest.mark.oracle
def test_degrees_of_freedom_of_v_are_three_times_those_of_palm():
    cases = [case for case in PALM["cases"] if case["statistic"] == "v"]
    assert cases
    for case in cases:
        np.testing.assert_allclose(case["df_welch"], 3 * np.array(case["df"]), rtol=1e-12)


@pytest.fixture(scope="module")
def maps():
    """z of all 256 flips, the observed one first; shape (256, n voxels)."""
    data = np.array(VOLUME["data"])
    signs = permutation_set(8, "flips", n_permutations=256, seed=0, has_nuisance=False).signs
    moved = signs[:, :, None] * data
    t = moved.mean(axis=1) / (moved.std(axis=1, ddof=1) / np.sqrt(8))
    return t_to_z(t, 7.0)


def graph(connectivity):
    inside = np.array(VOLUME["mask"], dtype=bool).reshape(VOLUME["shape"], order="F")
    return lattice(inside, connectivity)


def two_sided(case):
    """Score with its sign, and the p over both signs of the sign that a voxel has."""
    positive, negative = np.array(case["score"])
    up, down = np.array(case["p_fwe_both"])
    return positive - negative, np.where(positive > 0, up, down)


def p_of_largest(enhancer, maps):
    largest, own = enhancer.maxima(maps), np.abs(enhancer.scores(maps[0]))
    return (largest[:, None] >= own * (1 - 1e-4)).mean(axis=0)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("connectivity", "name", "error"),
    [(6, "tfce_6", 0.003), (26, "tfce_26", 0.003), (26, "tfce_26_auto", 0.01)],
)
def test_exact_tfce_is_near_the_sum_of_palm_over_steps(maps, connectivity, name, error):
    np.testing.assert_allclose(maps[0], VOLUME["z"], rtol=1e-4, atol=1e-4)
    expected, _ = two_sided(VOLUME[name])
    scores = Tfce(graph(connectivity)).scores(maps[0])
    np.testing.assert_allclose(scores, expected, atol=error * np.abs(expected).max())


@pytest.mark.oracle
@pytest.mark.parametrize(("connectivity", "name"), [(6, "tfce_6"), (26, "tfce_26")])
def test_p_of_exact_tfce_is_near_that_of_palm_with_fine_steps(maps, connectivity, name):
    expected, p = two_sided(VOLUME[name])
    clear = np.abs(expected) > 0.05 * np.abs(expected).max()
    assert clear.sum() > 30
    # Steps change the order of scores that are nearly equal.
    difference = np.abs(p_of_largest(Tfce(graph(connectivity)), maps) - p)[clear]
    assert difference.max() <= 8 / 256
    assert difference.mean() <= 1 / 256


@pytest.mark.oracle
def test_extent_of_clusters_and_its_p_are_those_of_palm(maps):
    expected, p = two_sided(VOLUME["cluster_extent"])
    extent = Clusters(graph(26), VOLUME["threshold"], "extent")
    np.testing.assert_array_equal(extent.scores(maps[0]), expected)
    inside = expected != 0
    assert inside.sum() > 30
    np.testing.assert_array_equal(p_of_largest(extent, maps)[inside], p[inside])


@pytest.mark.oracle
def test_mass_is_that_of_palm_less_the_threshold_of_every_voxel(maps):
    whole, _ = two_sided(VOLUME["cluster_mass"])
    extent, _ = two_sided(VOLUME["cluster_extent"])
    mass = Clusters(graph(26), VOLUME["threshold"], "mass").scores(maps[0])
    np.testing.assert_allclose(mass, whole - VOLUME["threshold"] * extent, atol=2e-3)
