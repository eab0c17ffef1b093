from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conn.errors import DesignError
from conn.permutation import permutation_set


def labels(column, strata=None, n_permutations=100_000, seed=0, nuisance=False):
    return permutation_set(
        len(column),
        "labels",
        strata=strata,
        matrix_effect=column,
        n_permutations=n_permutations,
        seed=seed,
        has_nuisance=nuisance,
    )


def flips(n, n_permutations=100_000, seed=0, nuisance=False):
    return permutation_set(n, "flips", n_permutations=n_permutations, seed=seed, has_nuisance=nuisance)


def arrangements(column, found):
    """Which label each row of the data gets."""
    return {tuple(np.asarray(column)[np.argsort(order)]) for order in found.order}


def test_all_flips_are_enumerated_once_with_the_identity_first():
    found = flips(6)
    assert found.signs.shape == (64, 6)
    assert found.signs.dtype == np.int8
    assert (found.signs[0] == 1).all()
    assert {tuple(row) for row in found.signs.tolist()} == set(itertools.product((1, -1), repeat=6))
    assert found.exact
    assert found.complete
    assert found.smallest_p == 2 / 64


def test_two_groups_are_enumerated_as_distinct_label_assignments():
    group = [0, 1, 1, 0, 1, 1, 0]
    found = labels(group)
    assert found.total == found.n_set == math.comb(7, 3)
    assert (found.order[0] == np.arange(7)).all()
    assert len(arrangements(group, found)) == 35
    assert found.smallest_p == 1 / 35


def test_equal_groups_reach_twice_one_over_the_binomial_coefficient():
    assert labels([0, 0, 0, 0, 1, 1, 1, 1]).smallest_p == 2 / 70
    assert labels(list("aaaabbbb")).smallest_p == 2 / 70


def test_a_continuous_column_is_enumerated_over_all_row_orders():
    found = labels([0.1, 2.0, 2.7, 9.0, 11.0])
    assert found.n_set == 120
    assert len(arrangements([0.1, 2.0, 2.7, 9.0, 11.0], found)) == 120
    assert found.smallest_p == 1 / 120


def test_a_continuous_column_with_ties_counts_equal_orders_once():
    column = [1.0, 2.5, 2.5, 7.0, 9.0]
    found = labels(column)
    assert found.n_set == 60
    assert len(arrangements(column, found)) == 60


def test_an_equally_spaced_column_has_a_mirror_image():
    assert labels([1.0, 2.0, 3.0, 4.0]).smallest_p == 2 / 24


def test_rows_never_leave_their_stratum():
    strata = np.array(list("aabbabab"))
    for n_permutations in (10, 100_000):
        found = labels([0, 1, 0, 1, 1, 0, 1, 0], strata, n_permutations)
        assert (strata[found.order] == strata).all()


def test_strata_multiply_the_number_of_assignments():
    found = labels([0, 1, 0, 1, 1, 0, 1, 1], list("aabbabab"))
    assert found.total == math.comb(4, 2) * math.comb(4, 1)
    assert len(arrangements([0, 1, 0, 1, 1, 0, 1, 1], found)) == found.n_set == 24
    assert found.smallest_p == 1 / 24  # stratum b is not balanced


def test_with_nuisance_the_rows_are_permuted_and_exact_is_not_claimed():
    found = labels([0, 0, 0, 1, 1, 1], nuisance=True)
    assert found.total == found.n_set == 720
    assert found.complete
    assert not found.exact
    assert found.smallest_p == 1 / 720
    assert not flips(5, nuisance=True).exact


def test_many_rearrangements_are_drawn_from_the_seed():
    first, again, other = (labels(np.arange(20), n_permutations=50, seed=seed) for seed in (0, 0, 1))
    assert first.n_set == 51
    assert (first.order[0] == np.arange(20)).all()
    assert (np.sort(first.order, axis=1) == np.arange(20)).all()
    assert first.digest == again.digest != other.digest
    assert not first.exact
    assert first.smallest_p == 1 / 51


def test_monte_carlo_never_claims_less_than_one_over_n_plus_one():
    assert flips(15, n_permutations=1000).smallest_p == 1 / 1001
    assert flips(10, n_permutations=1000).smallest_p == 2 / 1024


@pytest.mark.calibration
def test_random_orders_put_every_row_everywhere_equally_often():
    found = labels(np.arange(12), n_permutations=6000)
    counts = np.stack([np.bincount(found.order[1:, i], minlength=12) for i in range(12)])
    assert abs(counts / 6000 - 1 / 12).max() < 4.5 * np.sqrt(1 / 12 * 11 / 12 / 6000)


@pytest.mark.calibration
def test_random_flips_are_fair():
    assert abs(flips(30, n_permutations=6000).signs[1:].mean(axis=0)).max() < 4.5 / np.sqrt(6000)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=7), st.data())
def test_enumeration_is_complete_and_without_repeats(column, data):
    strata = data.draw(st.lists(st.integers(0, 1), min_size=len(column), max_size=len(column)))
    expected = {
        tuple(np.asarray(column)[list(order)])
        for order in itertools.permutations(range(len(column)))
        if all(strata[i] == strata[j] for i, j in enumerate(order))
    }
    if len(expected) == 1:
        with pytest.raises(DesignError, match="nothing can change places"):
            labels(column, strata)
        return
    found = labels(column, strata)
    assert found.n_set == found.total == len(expected)
    assert arrangements(column, found) == expected
    assert (found.order[0] == np.arange(len(column))).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "at least 2 rows"),
        ({"n_permutations": 0}, "at least 1"),
        ({"exchange": "swaps"}, "'flips' or 'labels'"),
        ({"strata": [1, 2]}, r"strata has shape \(2,\)"),
        ({"matrix_effect": [1, 2, 3]}, r"matrix_effect has shape \(3,\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    good = {"n": 4, "exchange": "labels", "n_permutations": 10, "seed": 0, "has_nuisance": False}
    with pytest.raises(DesignError, match=message):
        permutation_set(**{**good, **arguments})
