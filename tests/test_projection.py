"""Cleaning is one projection: equal to explicit regression, and to nilearn when given its operator."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from conn import correlation, projection

TR = 2.0


def outside_band(n: int, tr: float, high_pass: float, low_pass: float | None) -> NDArray[np.float64]:
    """Every cosine that the band does not hold, the constant among them; written out slowly."""
    columns = []
    for j in range(n):
        frequency = j / (2 * n * tr)
        if j == 0 or frequency < high_pass or (low_pass is not None and frequency > low_pass):
            columns.append(np.cos(np.pi * j * (np.arange(n) + 0.5) / n))
    return np.array(columns).T


def regress(
    data: NDArray[np.float64],
    confounds: NDArray[np.float64],
    censored: NDArray[np.bool_],
    low_pass: float | None,
) -> NDArray[np.float64]:
    """Residuals of an ordinary least-squares fit over the frames that are kept."""
    design = np.hstack([outside_band(len(data), TR, 0.008, low_pass), confounds])[~censored]
    design = design / np.linalg.norm(design, axis=0)
    kept = data[~censored]
    return kept - design @ np.linalg.lstsq(design, kept, rcond=1e-10)[0]


@pytest.fixture
def scan() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(1)
    confounds = np.cumsum(rng.normal(size=(120, 8)), axis=0)
    data = 900 + 40 * rng.normal(size=(120, 15)) + confounds @ rng.normal(size=(8, 15)) * 20
    data[:, 5:9] += 30 * np.sin(np.arange(120) / 6)[:, None]
    censored = np.zeros(120, dtype=bool)
    censored[[0, 1, 30, 31, 77]] = True
    data[censored] += 4000
    return np.rint(data), confounds, censored


def correlations(Y: NDArray[np.float32]) -> NDArray[np.float64]:
    return correlation.correlation_matrix(Y.astype(np.float64))


@pytest.mark.oracle
@pytest.mark.parametrize("low_pass", [0.1, None])
def test_correlations_equal_explicit_regression_with_censoring(scan, low_pass):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, low_pass)
    Y = projection.project(projection.panels(data.astype(np.float32)), basis).Y
    expected = np.corrcoef(regress(data, confounds, censored, low_pass), rowvar=False)
    assert np.abs(correlations(Y) - expected).max() < 1e-5


def test_degrees_of_freedom_are_volumes_minus_the_rank_of_everything_removed(scan):
    _, confounds, censored = scan
    doubled = np.hstack([confounds, confounds @ np.ones((8, 1)), np.ones((120, 1))])
    basis = projection.retained_basis(doubled, censored, TR, 0.008, 0.1)
    removed = np.hstack([outside_band(120, TR, 0.008, 0.1), confounds, np.eye(120)[:, censored]])
    assert basis.shape[1] == 120 - np.linalg.matrix_rank(removed / np.linalg.norm(removed, axis=0), tol=1e-8)
    assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-10)
    assert np.abs(basis[censored]).max() == 0


def test_the_numbers_of_degrees_of_freedom_that_are_promised():
    free = np.zeros(100, dtype=bool)
    none, some = np.zeros((100, 0)), np.random.default_rng(0).normal(size=(100, 32))
    assert projection.retained_basis(none, free, 2.5, 0.008, 0.1).shape == (100, 47)
    assert projection.retained_basis(some, free, 2.5, 0.008, 0.1).shape == (100, 15)
    assert projection.retained_basis(some[:, :26], free, 2.5, 0.008, 0.1).shape == (100, 21)
    assert projection.retained_basis(some, free, 2.5, 0.008, None).shape == (100, 64)


def test_more_confounds_than_volumes_leave_nothing():
    basis = projection.retained_basis(
        np.random.default_rng(0).normal(size=(40, 50)), np.zeros(40, dtype=bool), TR, 0.008, 0.1
    )
    assert basis.shape == (40, 0)


@pytest.mark.oracle
def test_the_kernel_equals_nilearn_when_given_its_operator(scan):
    from nilearn.signal import clean

    data, confounds, _ = scan
    options = {"confounds": confounds, "t_r": TR, "low_pass": 0.1, "high_pass": 0.008, "standardize": None}
    operator = clean(np.eye(120), detrend=True, **options)
    _, basis = projection.operator_basis(operator)
    Y = projection.project(projection.panels(data.astype(np.float32)), basis).Y
    cleaned = clean(data, detrend=True, **options)
    assert np.abs(correlations(Y) - np.corrcoef(cleaned, rowvar=False)).max() < 1e-6


@pytest.mark.oracle
def test_with_a_thousandth_of_the_variance_left_correlations_are_those_of_float64():
    rng = np.random.default_rng(3)
    drift = np.cumsum(rng.normal(size=(200, 3)), axis=0)
    signal = 8 * (rng.normal(size=(200, 12)) + rng.normal(size=(200, 1)))
    data = np.rint(9000 + signal + 1000 * (drift / drift.std(axis=0)) @ rng.normal(size=(3, 12)))
    assert np.abs(data).max() < 32768
    basis = projection.retained_basis(drift, np.zeros(200, dtype=bool), TR, 0.008, 0.1)
    exact = basis.T @ data
    left = (exact**2).sum(axis=0) / ((data - data.mean(axis=0)) ** 2).sum(axis=0)
    assert np.median(left) < 1e-3
    Y = projection.project(projection.panels(data.astype(np.int16)), basis).Y
    assert np.abs(correlations(Y) - correlation.correlation_matrix(exact)).max() < 1e-5


def test_voxels_that_are_constant_or_not_finite_are_invalid_and_never_zero(scan):
    data, confounds, censored = scan
    data[:, 2] = 7.0
    data[40, 3] = np.nan
    data[:, 4] = 100 * confounds[:, 0]
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    made = projection.project(projection.panels(data.astype(np.float32)), basis)
    assert (~made.valid).nonzero()[0].tolist() == [2, 3, 4]
    assert np.isnan(made.Y[:, 2:5]).all()
    assert np.isnan(correlations(made.Y)[2]).all()


def test_mean_and_standard_deviation_are_those_of_the_frames_that_count(scan):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    made = projection.project(projection.panels(data.astype(np.int16)), basis, slope=0.5, intercept=3.0)
    kept = 0.5 * data[~censored] + 3.0
    assert np.allclose(made.mean, kept.mean(axis=0), rtol=1e-5)
    assert np.allclose(made.sd, kept.std(axis=0), rtol=1e-4)
    assert np.allclose(made.Y, basis.T @ (0.5 * data), atol=1e-2)


def test_what_stands_in_a_censored_frame_does_not_matter(scan):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    spoilt = data.astype(np.float32)
    spoilt[censored] = np.nan
    spoilt[0] = 0
    one, other = (projection.project(projection.panels(d), basis) for d in (data.astype(np.float32), spoilt))
    assert np.array_equal(one.Y, other.Y) and np.array_equal(one.sd, other.sd)
    assert other.valid.all() and other.flat == other.not_finite == ()


def test_frames_without_a_finite_number_or_with_but_one_are_told_apart(scan):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    data = data.astype(np.float32)
    data[[40, 90]] = [[0], [-32768]]
    data[64] = np.nan
    data[50, 3] = np.nan
    made = projection.project(projection.panels(data), basis)
    assert (made.flat, made.not_finite) == ((40, 90), (64,))
    assert not made.valid.any()


def test_frames_are_looked_at_in_the_brain_alone(scan):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    data = data.astype(np.float32)
    data[40, :10] = 0
    data[64, :10] = np.nan
    everywhere = projection.project(projection.panels(data), basis)
    brain = projection.project(projection.panels(data), basis, brain=np.arange(10))
    assert everywhere.flat == everywhere.not_finite == ()
    assert (brain.flat, brain.not_finite) == ((40,), (64,))


def test_a_negative_slope_turns_everything_but_the_correlations(scan):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    made = projection.project(projection.panels(data.astype(np.int16)), basis, slope=-0.5, intercept=9000.0)
    image = 9000 - 0.5 * data
    assert np.allclose(made.Y, basis.T @ image, atol=1e-2)
    assert np.allclose(made.mean, image[~censored].mean(axis=0), rtol=1e-5)
    assert np.allclose(made.sd, image[~censored].std(axis=0), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">i2", "int32", "int64", "float32", ">f4", "float64"])
def test_every_type_of_number_gives_the_same_coefficients(scan, dtype):
    data, confounds, censored = scan
    data = np.clip(np.rint((data - data.min()) / 30), 0, 255)
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    plain = projection.project(projection.panels(data.astype(np.int16)), basis)
    other = projection.project(projection.panels(data.astype(dtype)), basis)
    assert np.array_equal(plain.Y, other.Y)
    assert np.array_equal(plain.mean, other.mean)


def test_large_numbers_keep_their_small_changes(scan):
    _, confounds, censored = scan
    data = 1e6 + np.random.default_rng(4).normal(size=(120, 15))
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    Y = projection.project(projection.panels(data), basis).Y
    assert np.abs(correlations(Y) - correlation.correlation_matrix(basis.T @ data)).max() < 1e-5


def test_a_wrong_number_of_volumes_is_refused(scan):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    for wrong in (data[:-1], np.vstack([data, data[:1]]), data[:96], data[:0]):
        with pytest.raises(ValueError, match="120 volumes"):
            projection.project(projection.panels(wrong.astype(np.float32)), basis)


def test_panels_of_another_length_are_refused(scan):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    with pytest.raises(ValueError, match="20 came after 0, not 32"):
        projection.project((data[i : i + 20] for i in range(0, 120, 20)), basis)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 100), st.floats(-1e4, 1e4), st.integers(0, 1000))
def test_scale_and_shift_change_no_correlation(scale, shift, seed):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(60, 7)) * 50 + 1000
    basis = projection.retained_basis(rng.normal(size=(60, 4)), np.zeros(60, dtype=bool), TR, 0.008, 0.1)
    plain = correlations(projection.project(projection.panels(data.astype(np.float32)), basis).Y)
    other = correlations(
        projection.project(projection.panels((data * scale + shift).astype(np.float32)), basis).Y
    )
    tolerance = 1e-4 * max(1.0, abs(shift) / (50 * scale) / 100)
    assert np.abs(plain - other).max() < tolerance
    assert np.abs(plain).max() <= 1
    assert (plain == plain.T).all()


def test_censored_frames_do_not_leak_into_their_neighbours(scan):
    data, confounds, censored = scan
    basis = projection.retained_basis(confounds, censored, TR, 0.008, 0.1)
    other = data.copy()
    other[censored] += np.random.default_rng(9).normal(size=(censored.sum(), 15)) * 1e4
    both = [projection.project(projection.panels(d.astype(np.float32)), basis).Y for d in (data, other)]
    for a, b in pairwise(both):
        assert np.abs(correlations(a) - correlations(b)).max() < 1e-4
