"""Reliability: agreement of repeated sessions, and of the halves of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from conn.clinic.agreement import agreement
from conn.clinic.halves import half_z, shared_noise, split, split_half, stepped_up
from conn.errors import DesignError
from conn.projection import retained_basis

R = json.loads((Path(__file__).parent / "golden" / "association.json").read_text())


def sessions(rng, n, m, between=1.0, within=0.5, shift=0.3, k=2):
    people = between * rng.standard_normal((n, 1, m))
    return people + within * rng.standard_normal((n, k, m)) + shift * np.arange(k)[None, :, None]


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["shrout", "twice"])
def test_intraclass_correlations_are_those_of_psych(name):
    found = agreement(np.array(R[name], dtype=float)[:, :, None])
    absolute, consistent = R[f"{name}_icc"]
    ours = [found.absolute[0], found.absolute_low[0], found.absolute_high[0]]
    np.testing.assert_allclose(ours, absolute, atol=1e-9)
    ours = [found.consistent[0], found.consistent_low[0], found.consistent_high[0]]
    np.testing.assert_allclose(ours, consistent, atol=1e-9)


@pytest.mark.oracle
def test_the_published_table_of_shrout_and_fleiss():
    found = agreement(np.array(R["shrout"], dtype=float)[:, :, None])
    assert round(found.absolute[0], 2) == 0.29
    assert round(found.consistent[0], 2) == 0.71


@pytest.mark.oracle
def test_the_error_of_two_sessions_is_that_of_their_difference():
    measured = sessions(np.random.default_rng(1), 14, 3)
    found = agreement(measured)
    sd = (measured[:, 1] - measured[:, 0]).std(axis=0, ddof=1)
    np.testing.assert_allclose(found.sem, sd / np.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(found.detectable, stats.norm.ppf(0.975) * sd, rtol=1e-12)
    np.testing.assert_allclose(found.shift, (measured[:, 1] - measured[:, 0]).mean(axis=0), rtol=1e-12)


def test_a_shift_that_all_share_counts_in_one_of_them():
    rng = np.random.default_rng(2)
    measured = sessions(rng, 40, 1, shift=0)
    shifted = measured + np.array([0, 2.0])[None, :, None]
    np.testing.assert_allclose(agreement(shifted).consistent, agreement(measured).consistent, atol=1e-12)
    assert agreement(shifted).absolute[0] < agreement(measured).absolute[0] - 0.2


def test_a_feature_that_somebody_lacks_once_has_none():
    measured = sessions(np.random.default_rng(2), 8, 2)
    measured[3, 1, 0] = np.nan
    found = agreement(measured)
    assert np.isnan([found.absolute[0], found.sem[0], found.consistent_low[0]]).all()
    assert np.isfinite([found.absolute[1], found.sem[1]]).all()


def test_two_people_have_no_intraclass_correlation():
    with pytest.raises(DesignError, match=r"2 people were measured 2 times"):
        agreement(np.zeros((2, 2, 1)))


@pytest.mark.truth
@pytest.mark.parametrize("k", [2, 3])
def test_intervals_hold_the_true_reliability(k):
    rng = np.random.default_rng(k)
    found = agreement(sessions(rng, 20, 2000, 1.0, 0.5, 0.0, k))
    assert found.consistent.mean() == pytest.approx(0.8, abs=0.03)
    assert np.sqrt((found.sem**2).mean()) == pytest.approx(0.5, abs=0.01)
    low, high = stats.binom.interval(0.999, 2000, 0.95)
    assert low <= ((found.consistent_low <= 0.8) & (found.consistent_high >= 0.8)).sum() <= high
    assert low <= ((found.sem_low <= 0.5) & (found.sem_high >= 0.5)).sum() <= high
    # By Satterthwaite, which is an approximation.
    assert 0.93 <= ((found.absolute_low <= 0.8) & (found.absolute_high >= 0.8)).mean() <= 0.97


# ---------------------------------------------------------------------------------------------- halves


def basis_of(n_volumes=120, tr=2.0, n_confounds=0, censored=()):
    rng = np.random.default_rng(n_confounds)
    gone = np.zeros(n_volumes, dtype=bool)
    gone[list(censored)] = True
    confounds = np.cumsum(rng.standard_normal((n_volumes, n_confounds)), axis=0)
    return retained_basis(confounds, gone, tr, 0.008, 0.1)


def noise(rng, basis, n, sd_between):
    """Fisher z of one edge in both halves and in the whole, of n people with correlations of their own."""
    true = np.tanh(0.2 + sd_between * rng.standard_normal(n))
    first, second, whole = np.empty((3, n))
    for i, rho in enumerate(true):
        raw = rng.standard_normal((len(basis), 2))
        raw[:, 1] = rho * raw[:, 0] + np.sqrt(1 - rho**2) * raw[:, 1]
        series = basis @ (basis.T @ raw)
        halves = half_z(series)
        first[i], second[i] = halves[0][0, 1], halves[1][0, 1]
        whole[i] = np.arctanh(np.corrcoef(series.T)[0, 1])
    return first, second, whole


def test_halves_hold_as_many_of_the_volumes_that_count():
    first, second = split(10, [0, 1, 9])
    assert first.tolist() == [2, 3, 4]
    assert second.tolist() == [5, 6, 7, 8]


def test_halves_of_a_run_are_correlations_of_its_volumes():
    rng = np.random.default_rng(0)
    series = rng.standard_normal((50, 3))
    series[[3, 30, 31]] = np.nan
    series[:, 2] = np.nan
    first, second = half_z(series)
    kept = np.setdiff1d(np.arange(50), [3, 30, 31])
    for rows, z in ((kept[:23], first), (kept[23:], second)):
        assert np.tanh(z[0, 1]) == pytest.approx(np.corrcoef(series[rows, 0], series[rows, 1])[0, 1])
        assert np.isnan(z[0, 2])


@pytest.mark.oracle
def test_without_shared_noise_it_is_the_formula_of_spearman_and_brown():
    r = np.linspace(-0.5, 0.95, 9)
    np.testing.assert_allclose(stepped_up(r, 0.0), 2 * r / (1 + r), rtol=1e-12)


def test_halves_that_agree_like_noise_have_no_reliability():
    assert stepped_up(np.array([0.3]), 0.3)[0] == 0
    assert stepped_up(np.array([1.0]), 0.3)[0] == 1


@pytest.mark.truth
@pytest.mark.parametrize("n_confounds", [0, 24])
def test_noise_of_both_halves_agrees_as_much_as_the_basis_says(n_confounds):
    basis, rng = basis_of(n_confounds=n_confounds), np.random.default_rng(7)
    expected = shared_noise(basis)
    first, second, _ = noise(rng, basis, 2000, 0.0)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(expected, abs=3.3 / np.sqrt(2000))
    if n_confounds:
        assert expected > 0.15


@pytest.mark.truth
@pytest.mark.parametrize("n_confounds", [0, 24])
def test_reliability_of_runs_is_recovered_from_their_halves(n_confounds):
    basis, rng = basis_of(n_confounds=n_confounds), np.random.default_rng(8)
    first, second, whole = noise(rng, basis, 2000, 0.3)
    again = noise(rng, basis, 2000, 0.0)[2]
    true = 1 - again.var() / whole.var()
    found = split_half(first[:, None], second[:, None], shared_noise(basis))
    assert found.reliability[0] == pytest.approx(true, abs=0.06)
    assert found.low[0] < found.reliability[0] < found.high[0]
    if n_confounds:
        plain = split_half(first[:, None], second[:, None], 0.0)
        assert plain.reliability[0] > true + 0.1


@pytest.mark.calibration
def test_halves_of_noise_have_reliability_zero_as_often_as_they_should():
    basis, rng = basis_of(n_confounds=24), np.random.default_rng(9)
    shared, outside = shared_noise(basis), 0
    for _ in range(100):
        first, second, _ = noise(rng, basis, 25, 0.0)
        found = split_half(first[:, None], second[:, None], shared)
        outside += not found.low[0] <= 0 <= found.high[0]
    assert stats.binom.ppf(0.0005, 100, 0.05) <= outside <= stats.binom.ppf(0.9995, 100, 0.05)


def test_three_people_have_no_split_half_reliability():
    with pytest.raises(DesignError, match="3 people have both halves"):
        split_half(np.zeros((3, 1)), np.zeros((3, 1)), 0.0)


def test_shared_noise_is_a_correlation():
    with pytest.raises(DesignError, match=r"correlation of halves of noise is 1\.2"):
        split_half(np.zeros((5, 1)), np.zeros((5, 1)), 1.2)


def test_a_run_of_two_volumes_has_no_halves():
    assert np.isnan(shared_noise(np.eye(2)[:, :1]))
