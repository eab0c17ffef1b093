"""Series, matrices and maps from retained coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.oracle
@pytest.mark.parametrize("block", [7, 16, 50])
def test_a_matrix_made_in_blocks_is_that_of_numpy(coefficients, block, monkeypatch):
    monkeypatch.setattr(correlation, "BLOCK", block)
    series = coefficients.astype(np.float64)
    series[:, 11] = np.nan
    r = correlation.correlation_matrix(series)
    there = np.arange(50) != 11
    centred = series[:, there] / np.linalg.norm(series[:, there], axis=0)
    assert np.allclose(r[np.ix_(there, there)], centred.T @ centred, atol=1e-12)
    assert np.array_equal(r, r.T, equal_nan=True)
    assert np.isnan(r[11]).all() and np.isnan(r[:, 11]).all()


def test_more_regions_than_a_block_are_no_special_case():
    series = np.random.default_rng(3).normal(size=(300, correlation.BLOCK + 900))
    r = correlation.correlation_matrix(series)
    unit = series / np.linalg.norm(series, axis=0)
    for i, j in ((0, correlation.BLOCK + 5), (correlation.BLOCK - 1, 17), (4500, 4800)):
        assert r[i, j] == pytest.approx(unit[:, i] @ unit[:, j], abs=1e-12)
        assert r[i, j] == r[j, i]
    assert (np.diag(r) == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.permutations(range(5)))
def test_maps_and_matrices_know_no_scale_and_no_order(seed, scale, order):
    rng = np.random.default_rng(seed)
    Y = rng.normal(size=(15, 40)).astype(np.float32)
    members = [np.array([7 * i, 7 * i + 3]) for i in range(5)]
    series = correlation.roi_coefficients(Y, members)
    maps, r = correlation.seed_maps(Y, series), correlation.correlation_matrix(series)
    turned = correlation.roi_coefficients(np.float32(scale) * Y, [members[i] for i in order])
    assert np.allclose(correlation.seed_maps(np.float32(scale) * Y, turned), maps[order], atol=1e-5)
    assert np.allclose(correlation.correlation_matrix(turned), r[np.ix_(order, order)], atol=1e-6)
    assert (np.abs(r) <= 1).all() and np.array_equal(r, r.T)
    assert np.isfinite(maps).all() and np.abs(np.tanh(maps)).max() <= 1


@pytest.mark.oracle
def test_fisher_z_is_the_inverse_hyperbolic_tangent():
    r = np.concatenate([np.linspace(-0.9999, 0.9999, 999), [1e-12, 1 - 1e-6]])
    assert np.abs(correlation.fisher_z(r) - np.arctanh(r)).max() < 1e-10


def test_fisher_z_is_finite_at_one_and_keeps_nan():
    z = correlation.fisher_z(np.array([1.0, -1.0, 0.5, np.nan]))
    assert np.isfinite(z[:3]).all() and np.isnan(z[3])
    assert z[2] == pytest.approx(0.5493061443)
