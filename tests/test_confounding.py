"""What else differed, what is left of an effect, and how change goes with baseline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from conn import inference
from conn.clinic.confounding import adjustments
from conn.clinic.coupling import coupling
from conn.effects import other_side
from conn.permutation import permutation_set

R = {
    k: np.array(v, dtype=float)
    for k, v in json.loads((Path(__file__).parent / "golden" / "outcomes.json").read_text()).items()
}


def design(arm):
    return np.column_stack([np.ones(arm.size), arm])


ARM = np.array([0.0, 1.0])


# Coupling -------------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_coupling_is_that_of_r():
    found = coupling(R["first"][:, None], R["second"][:, None])
    assert [found.baseline_change[0], found.baseline_low[0], found.baseline_high[0]] == pytest.approx(
        R["change"]
    )
    assert [found.oldham[0], found.oldham_low[0], found.oldham_high[0], found.p[0]] == pytest.approx(
        R["oldham"]
    )
    assert [found.variance_ratio[0], found.ratio_low[0], found.ratio_high[0]] == pytest.approx(
        R["ratio"], rel=1e-6
    )
    assert found.n.tolist() == [17]


@pytest.mark.truth
def test_noise_alone_couples_change_with_baseline_and_oldham_is_not_deceived():
    rng = np.random.default_rng(6)
    true = rng.normal(0, 1, (4000, 1))
    first, second = (true + rng.normal(0, 0.7, true.shape) for _ in range(2))
    found = coupling(first, second)
    assert found.expected[0] == pytest.approx(-np.sqrt((1 - 1 / 1.49) / 2), abs=0.02)
    assert found.baseline_change[0] == pytest.approx(found.expected[0], abs=0.06)
    assert abs(found.oldham[0]) < 0.06
    shrunk = coupling(first, 0.5 * true + rng.normal(0, 0.35, true.shape))
    assert shrunk.oldham[0] < -0.4
    assert shrunk.ratio_low[0] < 0.25 < shrunk.ratio_high[0]


@pytest.mark.calibration
def test_equal_variances_are_refused_in_5_of_100():
    rng = np.random.default_rng(7)
    sets = 2000
    true = rng.normal(0, 1, (20, sets))
    found = coupling(true + rng.normal(0, 1, true.shape), true + rng.normal(0, 1, true.shape))
    low, high = stats.binom.interval(0.999, sets, 0.05)
    assert low <= (found.p <= 0.05).sum() <= high
    assert low <= ((found.ratio_low > 1) | (found.ratio_high < 1)).sum() <= high
    np.testing.assert_array_equal(found.p <= 0.05, (found.ratio_low > 1) | (found.ratio_high < 1))


def test_people_who_lack_one_of_the_two_do_not_count_and_few_people_say_nothing():
    first, second = R["first"][:, None].copy(), R["second"][:, None].copy()
    first[0], second[3] = np.nan, np.nan
    keep = [i for i in range(17) if i not in (0, 3)]
    some, all_there = coupling(first, second), coupling(first[keep], second[keep])
    assert some.oldham == pytest.approx(all_there.oldham)
    assert some.n.tolist() == [15]
    assert np.isnan(coupling(first[1:4], second[1:4]).oldham[0])
    assert np.isnan(coupling(np.ones((9, 1)), second[3:12]).oldham[0])


# Effects before and after ---------------------------------------------------------------------------


@pytest.mark.oracle
def test_adjusted_effects_are_those_of_r():
    measures = np.column_stack([R["fd"], R["tsnr"]])
    made = adjustments(R["z"][:, None], design(R["arm"]), ARM, measures, ("fd", "tsnr"))
    assert [one.adjustment for one in made] == ["none", "fd", "tsnr", "all"]
    for one, name in ((made[0], "plain"), (made[1], "adjusted"), (made[3], "both")):
        assert [one.estimate[0], one.se[0], one.stat[0], one.p[0], one.df[0]] == pytest.approx(
            R[name], rel=1e-9
        )
    (_, with_baseline) = adjustments(
        R["z"][:, None], design(R["arm"]), ARM, R["fd"][:, None], ("fd",), covariate=R["baseline"][:, None]
    )
    found = [with_baseline.estimate[0], with_baseline.se[0], with_baseline.stat[0], with_baseline.p[0]]
    assert found == pytest.approx(R["ancova"][:4], rel=1e-9)


@pytest.mark.oracle
def test_a_moderation_by_the_other_side_is_that_of_r():
    arm, z = R["arm"] - 0.5, R["z"]
    y = R["second"] - R["second"].mean()
    matrix = np.column_stack([np.ones(17), arm, y, R["first"]])
    sets = permutation_set(17, "labels", n_permutations=1, seed=0, has_nuisance=True)
    weights = np.array([0.0, 0, 1, 0])
    found = inference.test((arm * z)[:, None], matrix, weights, sets, covariate=z[:, None])
    slope = other_side((arm * z)[:, None], z[:, None], matrix, weights)
    got = [slope[0], slope[0] / found.stat[0], found.stat[0], found.df[0]]
    assert got == pytest.approx(R["moderated"][[0, 1, 2, 4]], rel=1e-8)


def noisy(rng, n=40):
    """Connectivity that follows motion, and motion that follows the arm."""
    arm = np.repeat([0.5, -0.5], n // 2)
    fd = 0.2 + 0.1 * arm + rng.normal(0, 0.05, n)
    return arm, fd


@pytest.mark.truth
def test_an_effect_that_is_motion_vanishes_and_one_that_is_not_stays():
    rng = np.random.default_rng(14)
    arm, fd = noisy(rng)
    artefact = 2 * fd + rng.normal(0, 0.08, 40)
    real = 0.2 * arm + rng.normal(0, 0.08, 40)
    plain, adjusted = adjustments(
        np.column_stack([artefact, real]), design(arm), ARM, fd[:, None], ("mean_fd",)
    )
    assert (plain.p < 0.001).all()
    assert plain.estimate == pytest.approx([0.2, 0.2], abs=0.07)
    assert adjusted.p[0] > 0.05
    assert abs(adjusted.estimate[0]) < 0.1
    assert adjusted.estimate[1] == pytest.approx(0.2, abs=0.12)


@pytest.mark.calibration
def test_adjusting_for_the_artefact_brings_the_error_back_to_5_percent():
    rng = np.random.default_rng(15)
    sets = 600
    arm, fd = noisy(rng)
    data = 2 * fd[:, None] + rng.normal(0, 0.2, (40, sets))
    plain, adjusted = adjustments(data, design(arm), ARM, fd[:, None], ("mean_fd",))
    low, high = stats.binom.interval(0.999, sets, 0.05)
    assert (plain.p <= 0.05).sum() > high
    assert low <= (adjusted.p <= 0.05).sum() <= high


def test_measures_that_say_nothing_are_left_out_and_named():
    rng = np.random.default_rng(16)
    arm, fd = noisy(rng)
    measures = np.column_stack([fd, 3 * fd + 1, np.full(40, 7.0), arm * 2 + 3])
    made = {one.adjustment: one for one in adjustments(
        rng.normal(size=(40, 2)), design(arm), ARM, measures, ("fd", "copy", "constant", "arm")
    )}  # fmt: skip
    assert made["all"].measures == ("fd",)
    assert made["all"].left_out == ("copy", "constant", "arm")
    np.testing.assert_allclose(made["all"].estimate, made["fd"].estimate)
    np.testing.assert_allclose(made["arm"].estimate, made["none"].estimate)


def test_measures_without_values_are_named_and_change_nothing():
    rng = np.random.default_rng(19)
    arm, fd = noisy(rng)
    data = rng.normal(size=(40, 2))
    plain = adjustments(data, design(arm), ARM, fd[:, None], ("fd",))
    made = adjustments(data, design(arm), ARM, fd[:, None], ("fd",), unused=("tsnr",))
    assert [(one.adjustment, one.measures, one.left_out) for one in made] == [
        ("none", (), ()),
        ("fd", ("fd",), ()),
        ("tsnr", (), ("tsnr",)),
        ("all", ("fd",), ("tsnr",)),
    ]
    np.testing.assert_array_equal(made[-1].estimate, plain[-1].estimate)


def test_too_many_measures_leave_no_number_and_variances_of_groups_are_kept():
    rng = np.random.default_rng(17)
    arm = np.repeat([0.5, -0.5], (4, 3))
    measures = rng.normal(size=(7, 5))
    made = adjustments(rng.normal(size=(7, 2)), design(arm), ARM, measures, "abcde", (arm > 0).astype(int))
    assert np.isnan(made[-1].p).all()
    plain = stats.ttest_ind
    values = rng.normal(size=(7, 1))
    (first, *_) = adjustments(values, design(arm), ARM, measures[:, :1], ("a",), (arm > 0).astype(int))
    welch = plain(values[:4, 0], values[4:, 0], equal_var=False)
    assert first.stat[0] == pytest.approx(welch.statistic)
    assert first.p[0] == pytest.approx(welch.pvalue)


@pytest.mark.oracle
def test_several_groups_are_an_f():
    rng = np.random.default_rng(18)
    group = np.repeat([0, 1, 2], 7)
    matrix = np.column_stack([np.ones(21), group == 1, group == 2]).astype(float)
    values = rng.normal(size=(21, 1)) + group[:, None]
    (first, adjusted) = adjustments(values, matrix, np.eye(3)[1:], rng.normal(size=(21, 1)), ("fd",))
    expected = stats.f_oneway(*(values[group == g, 0] for g in range(3)))
    assert (first.stat[0], first.p[0]) == pytest.approx((expected.statistic, expected.pvalue))
    assert np.isnan(first.estimate[0])
    assert adjusted.df[0] == 17
