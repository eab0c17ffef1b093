"""Error rates when nothing is there, and what is found when something is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from conn import inference
from conn.multiplicity import holm_families
from conn.permutation import permutation_set

N_FEATURES = 20
ALPHA = 0.05
Design = tuple[np.ndarray, np.ndarray, np.ndarray, str, np.ndarray | None, np.ndarray | None, bool]


def correlated(rng, n, sd=1.0, skew=False):
    """Noise of n rows with correlated features; sd per row."""
    shared, own = rng.normal(size=(n, 1)), rng.normal(size=(n, N_FEATURES))
    noise = 0.6 * shared + 0.8 * own
    if skew:
        noise = np.exp(0.5 * noise) - np.exp(0.125)
    return noise * np.broadcast_to(sd, (n,))[:, None]


def groups(first, second):
    g = np.repeat([0.0, 1.0], [first, second])
    return g, np.column_stack([1 - g, g])


def paired(rng) -> Design:
    before, after = correlated(rng, 20), correlated(rng, 20)
    return after - before, np.ones((20, 1)), np.array([1.0]), "flips", None, None, False


def paired_covariate(rng) -> Design:
    motion = rng.normal(size=20)
    motion -= motion.mean()
    y = correlated(rng, 20) + 0.8 * motion[:, None]
    return y, np.column_stack([np.ones(20), motion]), np.array([1.0, 0]), "flips", None, None, True


def two_sample_equal(rng) -> Design:
    g, m = groups(12, 12)
    return correlated(rng, 24), m, np.array([-1.0, 1]), "labels", g, None, False


def two_sample_skewed(rng) -> Design:
    g, m = groups(12, 12)
    return correlated(rng, 24, skew=True), m, np.array([-1.0, 1]), "labels", g, None, False


def two_sample_unequal(rng) -> Design:
    g, m = groups(10, 20)
    return correlated(rng, 30, 1 + 0.5 * g), m, np.array([-1.0, 1]), "labels", g, g, False


def group_by_time(rng) -> Design:
    g, m = groups(13, 17)
    person, age = correlated(rng, 30), rng.normal(size=30)
    before = person + correlated(rng, 30, 0.6)
    # Time and age act on both groups alike; only the interaction is null.
    after = person + correlated(rng, 30, 0.6 + 0.3 * g) + 0.5 + 0.4 * age[:, None]
    return after - before, np.column_stack([m, age]), np.array([-1.0, 1, 0]), "labels", g, g, True


def regression(rng) -> Design:
    age = rng.normal(size=22)
    score = 0.6 * age + rng.normal(size=22)
    y = correlated(rng, 22) + 1.2 * age[:, None]
    return y, np.column_stack([np.ones(22), score, age]), np.array([0.0, 1, 0]), "labels", score, None, True


DESIGNS: list[Callable[..., Design]] = [
    paired,
    paired_covariate,
    two_sample_equal,
    two_sample_skewed,
    two_sample_unequal,
    group_by_time,
    regression,
]


def analyse(design: Design, seed: int, n_permutations: int = 219, alpha: float = ALPHA):
    data, matrix, contrast, exchange, effect, variance_groups, nuisance = design
    own = permutation_set(
        len(data),
        exchange,
        matrix_effect=effect,
        n_permutations=n_permutations,
        seed=seed,
        has_nuisance=nuisance,
    )
    found = inference.test(data, matrix, contrast, own, variance_groups)
    return found, inference.correct([found], alpha)


def rates(make: Callable[..., Design], n_sets: int, seed: int) -> tuple[int, np.ndarray, int]:
    """Sets with a false positive, p of the first feature, intervals of the family that miss the truth (0)."""
    rng = np.random.default_rng(seed)
    false, missed, p = 0, 0, []
    for i in range(n_sets):
        found, family = analyse(make(rng), i)
        result = family.results[0]
        false += bool((result.p_fwe <= ALPHA).any())
        missed += bool(((result.ci_low > 0) | (result.ci_high < 0))[0])
        p.append(found.p[0])
    return false, np.array(p), missed


def binomial_interval(n: int, rate: float = ALPHA) -> tuple[float, float]:
    """99.9 % of counts."""
    low, high = stats.binom.ppf([0.0005, 0.9995], n, rate)
    return float(low), float(high)


def check(make: Callable[..., Design], n_sets: int, seed: int, *, intervals: bool) -> None:
    false, p, missed = rates(make, n_sets, seed)
    low, high = binomial_interval(n_sets)
    assert low <= false <= high, f"{false} of {n_sets} null sets have a family-wise false positive"
    assert stats.kstest(p, "uniform").pvalue > 0.001
    if intervals and make is not two_sample_skewed:
        assert low <= missed <= high, f"{missed} of {n_sets} marginal intervals miss 0"


@pytest.mark.calibration
@pytest.mark.parametrize("make", DESIGNS)
def test_error_rates_are_nominal_in_200_null_sets(make):
    # 200 sets say little about intervals: of the paired ones, 22 miss 0 here, by scipy's t as well.
    check(make, 200, 20240601, intervals=False)


@pytest.mark.slow
@pytest.mark.calibration
@pytest.mark.parametrize("make", DESIGNS)
def test_error_rates_are_nominal_in_1000_null_sets(make):
    check(make, 1000, 20240602, intervals=True)


def tiny_paired(rng) -> Design:
    return correlated(rng, 7), np.ones((7, 1)), np.array([1.0]), "flips", None, None, False


def tiny_two_sample(rng) -> Design:
    g, m = groups(4, 5)
    return correlated(rng, 9), m, np.array([-1.0, 1]), "labels", g, None, False


def tiny_welch(rng) -> Design:
    g, m = groups(4, 6)
    return correlated(rng, 10), m, np.array([-1.0, 1]), "labels", g, g, False


@pytest.mark.calibration
@pytest.mark.parametrize("make", [tiny_paired, tiny_two_sample, tiny_welch])
def test_complete_enumeration_never_exceeds_alpha(make):
    false, p, _ = rates(make, 300, 20240603)
    assert false <= binomial_interval(300)[1]
    for level in (0.05, 0.1, 0.2, 0.5):
        assert (p <= level).sum() <= binomial_interval(300, level)[1]


def two_groups_of(first: int, second: int, ratio: float, skew: bool, welch: bool) -> Callable[..., Design]:
    """The second group has `ratio` times the SD of the first."""

    def make(rng) -> Design:
        g, m = groups(first, second)
        y = correlated(rng, first + second, 1 + (ratio - 1) * g, skew)
        return y, m, np.array([-1.0, 1]), "labels", g, g if welch else None, False

    return make


def skewed_differences(n: int) -> Callable[..., Design]:
    """Flips assume symmetry; these differences have a skewness of 1.75."""

    def make(rng) -> Design:
        return correlated(rng, n, skew=True), np.ones((n, 1)), np.array([1.0]), "flips", None, None, False

    return make


# Designs that are known to be approximate, and the share of 1000 null sets (20 correlated features, 219
# permutations, alpha 0.05) with a family-wise false positive: n, n, SD ratio, skewed, pooled t, v to z.
# Labels of groups with unequal variances are not exchangeable, so neither statistic is exact.
LIBERAL = [
    (15, 6, 1.0, False, 0.036, 0.041),
    (15, 6, 2.0, False, 0.334, 0.086),
    (15, 6, 3.0, False, 0.549, 0.109),
    (20, 10, 2.0, False, 0.245, 0.073),
    (20, 10, 3.0, False, 0.392, 0.082),
    (30, 15, 3.0, False, 0.356, 0.072),
    (12, 12, 3.0, False, 0.114, 0.095),
    (15, 6, 1.0, True, 0.051, 0.048),
    (20, 10, 2.0, True, 0.264, 0.185),
]
# Flips of skewed differences: n, share.
SKEWED = [(12, 0.178), (20, 0.166), (40, 0.146)]


@pytest.mark.calibration
def test_welch_is_liberal_within_its_bound_when_the_small_group_is_noisier():
    welch, pooled = (
        rates(two_groups_of(15, 6, 3.0, False, v), 200, 20240604)[0] / 200 for v in (True, False)
    )
    assert welch <= 0.20
    assert welch < pooled


@pytest.mark.slow
@pytest.mark.calibration
@pytest.mark.parametrize(("first", "second", "ratio", "skew", "pooled", "welch"), LIBERAL)
def test_listed_rates_of_approximate_designs_are_reproduced(first, second, ratio, skew, pooled, welch):
    for v, listed in ((False, pooled), (True, welch)):
        found = rates(two_groups_of(first, second, ratio, skew, v), 1000, 20240607)[0]
        low, high = binomial_interval(1000, listed)
        assert low <= found <= high


@pytest.mark.slow
@pytest.mark.calibration
@pytest.mark.parametrize(("n", "listed"), SKEWED)
def test_listed_rates_of_flips_of_skewed_differences_are_reproduced(n, listed):
    low, high = binomial_interval(1000, listed)
    assert low <= rates(skewed_differences(n), 1000, 20240607)[0] <= high


# Truth: simulated cohorts at the level of results.
N_SUBJECTS, N_COHORTS, N_EDGES = 24, 200, 91
CHANGE = {3: 0.25, 17: -0.28, 44: 0.3, 80: 0.26}
INTERACTION = {8: 0.45, 61: -0.5}


def cohort(rng) -> tuple[np.ndarray, np.ndarray]:
    """Edges (Fisher z) of 24 subjects before and after treatment; the second half responds.

    A subject's edges vary by 0.25 between subjects and 0.13 between sessions, correlated over edges.
    """
    loadings = np.random.default_rng(1).normal(size=(4, N_EDGES)) / 2

    def noise(sd):
        both = rng.normal(size=(N_SUBJECTS, 4)) @ loadings + rng.normal(size=(N_SUBJECTS, N_EDGES))
        return sd * both / np.sqrt(1 + (loadings**2).sum(axis=0))

    responds = np.repeat([-0.5, 0.5], N_SUBJECTS // 2)[:, None]
    change, interaction = np.zeros(N_EDGES), np.zeros(N_EDGES)
    change[list(CHANGE)], interaction[list(INTERACTION)] = list(CHANGE.values()), list(INTERACTION.values())
    person = 0.3 + noise(0.25)
    return person + noise(0.13), person + noise(0.13) + change + responds * interaction


@pytest.mark.truth
@pytest.mark.parametrize("contrast", ["change", "interaction"])
def test_planted_changes_are_found_unbiased_and_covered(contrast):
    rng = np.random.default_rng(20240605)
    planted = CHANGE if contrast == "change" else INTERACTION
    truth = np.zeros(N_EDGES)
    truth[list(planted)] = list(planted.values())
    g, m = groups(N_SUBJECTS // 2, N_SUBJECTS // 2)
    if contrast == "change":
        # Responders are a centred covariate of the change, as half of its spread is theirs.
        matrix, weights, exchange = (
            np.column_stack([np.ones(N_SUBJECTS), g - 0.5]),
            np.array([1.0, 0]),
            "flips",
        )
    else:
        matrix, weights, exchange = m, np.array([-1.0, 1]), "labels"
    estimates, found, covered, jointly = [], [], [], []
    for i in range(N_COHORTS):
        before, after = cohort(rng)
        design = (after - before, matrix, weights, exchange, g, None, contrast == "change")
        tested, family = analyse(design, i, 499)
        result = family.results[0]
        estimates.append(tested.effect)
        found.append(result.p_fwe <= ALPHA)
        covered.append((result.ci_low <= truth) & (truth <= result.ci_high))
        jointly.append(((result.ci_sim_low <= truth) & (truth <= result.ci_sim_high)).all())
    null = truth == 0
    assert np.mean(found, axis=0)[~null].min() >= 0.8
    assert abs(np.mean(estimates, axis=0)[~null] / truth[~null] - 1).max() < 0.05
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean(covered, axis=0)[~null].min() >= 0.90
    assert np.any(np.array(found)[:, null], axis=1).mean() <= 0.07
    assert np.mean(jointly) >= 0.90


@pytest.mark.calibration
def test_holm_over_the_families_of_a_model_keeps_the_error():
    rng = np.random.default_rng(20240606)
    false = 0
    for i in range(200):
        families = [
            analyse(make(rng), i)[1].results[0].p_fwe for make in (paired, two_sample_equal, regression)
        ]
        false += any((p <= ALPHA).any() for p in holm_families(families))
    assert false <= binomial_interval(200)[1]
