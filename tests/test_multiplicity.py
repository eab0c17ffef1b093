from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conn.multiplicity import fdr, holm, holm_families

R = json.loads((Path(__file__).parent / "golden" / "inference.json").read_text())
P = st.floats(1e-4, 1)


@pytest.mark.oracle
def test_holm_and_benjamini_hochberg_are_those_of_r():
    np.testing.assert_allclose(holm(R["p"]), R["holm"], rtol=1e-12)
    np.testing.assert_allclose(fdr(R["p"]), R["bh"], rtol=1e-12)


def test_missing_p_stay_missing_and_are_not_counted():
    for method in (fdr, holm):
        found = method([0.01, np.nan, 0.04])
        assert np.isnan(found[1])
        np.testing.assert_array_equal(found[[0, 2]], method([0.01, 0.04]))
    assert np.isnan(fdr([np.nan, np.nan])).all()


def test_fdr_keeps_the_shape():
    assert fdr(np.full((3, 4), 0.2)).shape == (3, 4)


@given(st.lists(P, min_size=1, max_size=6))
def test_families_of_one_feature_give_holm(p):
    np.testing.assert_allclose(np.concatenate(holm_families([[x] for x in p])), holm(p), rtol=1e-12)


@given(st.lists(P, min_size=1, max_size=6))
def test_one_family_pays_nothing(p):
    np.testing.assert_array_equal(holm_families([p])[0], p)


@pytest.mark.oracle
@given(st.lists(st.lists(P, min_size=1, max_size=3), min_size=1, max_size=3))
def test_adjusted_p_is_that_of_the_closed_test_over_all_intersections(families):
    names = [(f, i) for f, family in enumerate(families) for i in range(len(family))]
    local = {}
    for size in range(1, len(names) + 1):
        for subset in itertools.combinations(names, size):
            local[subset] = len({f for f, _ in subset}) * min(families[f][i] for f, i in subset)
    found = holm_families(families)
    for f, i in names:
        expected = min(1.0, max(p for subset, p in local.items() if (f, i) in subset))
        assert found[f][i] == pytest.approx(expected, rel=1e-12)


def test_families_without_a_tested_feature_do_not_count():
    found = holm_families([[0.02, 0.5], [np.nan, np.nan]])
    np.testing.assert_array_equal(found[0], [0.02, 0.5])
    assert np.isnan(found[1]).all()


@pytest.mark.calibration
def test_error_over_features_holds_although_each_family_has_a_strong_effect():
    rng = np.random.default_rng(20240501)
    n_sets, alpha = 2000, 0.05
    false, by_smallest = 0, 0
    for _ in range(n_sets):
        families = [np.append(1e-6, rng.uniform()) for _ in range(3)]
        false += min(p[1] for p in holm_families(families)) <= alpha
        order = np.argsort([p.min() for p in families])
        by_smallest += any(families[f][1] * (3 - rank) <= alpha for rank, f in enumerate(order))
    low, high = stats.binom.ppf([0.0005, 0.9995], n_sets, alpha)
    assert low <= false <= high
    # Ordering families by their smallest p would not hold it: this is why it is not done.
    assert by_smallest > stats.binom.ppf(0.9995, n_sets, alpha)


@pytest.mark.truth
def test_a_strong_effect_survives_the_correction_across_families():
    found = holm_families([[0.001, 0.8], [0.6, 0.9], [0.03]])
    assert found[0][0] == pytest.approx(0.003)
    assert found[2][0] == pytest.approx(0.09)
