"""Series, matrices and maps from retained coefficients."""

from __future__ import annotations

import numpy as np
import pytest

from conn import correlation


@pytest.fixture
def coefficients():
    return np.random.default_rng(0).normal(size=(20, 50)).astype(np.float32)


def test_a_seed_map_is_the_correlation_with_the_seed(coefficients):
    seeds = correlation.roi_coefficients(coefficients, [np.array([1, 2, 3]), np.array([9])])
    maps = correlation.seed_maps(coefficients, seeds)
    for seed, row in zip(seeds.T, maps, strict=True):
        expected = (
            coefficients.T.astype(float)
            @ seed
            / np.linalg.norm(seed)
            / np.linalg.norm(coefficients.astype(float), axis=0)
        )
        assert np.abs(np.tanh(row) - expected).max() < 1e-6


def test_a_region_that_is_not_there_is_nan_everywhere(coefficients):
    series = correlation.roi_coefficients(
        coefficients, [np.array([0, 4]), np.array([], dtype=int), np.array([7])]
    )
    r = correlation.correlation_matrix(series)
    assert np.isnan(r[1]).all() and np.isnan(r[:, 1]).all()
    assert r[0, 0] == r[2, 2] == 1
    assert np.isnan(correlation.seed_maps(coefficients, series[:, [1]])).all()


def test_a_region_without_variance_is_nan_not_zero(coefficients):
    coefficients[:, 5] = 0
    series = correlation.roi_coefficients(coefficients, [np.array([5]), np.array([6])])
    assert np.isnan(correlation.correlation_matrix(series)[0]).all()
    assert np.isnan(correlation.seed_maps(coefficients, series[:, [1]])[0, 5])


def test_the_order_of_seeds_changes_nothing_but_the_order(coefficients):
    members = [np.array([i, i + 1]) for i in range(6)]
    series = correlation.roi_coefficients(coefficients, members)
    turned = correlation.roi_coefficients(coefficients, members[::-1])
    forward, backward = (
        correlation.seed_maps(coefficients, series),
        correlation.seed_maps(coefficients, turned)[::-1],
    )
    assert np.abs(forward - backward).max() < 1e-6


def test_fisher_z_is_finite_at_one_and_keeps_nan():
    z = correlation.fisher_z(np.array([1.0, -1.0, 0.5, np.nan]))
    assert np.isfinite(z[:3]).all() and np.isnan(z[3])
    assert z[2] == pytest.approx(0.5493061443)
