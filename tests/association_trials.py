"""Simulated people in whom nothing goes with the score, except that some vary more than others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from clinic_people import people, skewed
from conn import inference
from conn.clinic.arm_difference import differ
from conn.clinic.association import associate, rearrangements
from conn.clinic.people import People

FEATURES, PERMUTATIONS = 10, 199
SD_SKEWED = np.sqrt((np.e - 1) * np.e)
"""Of `clinic_people.skewed`."""


def simulate(number: int, sizes: Sequence[int], spread: str, *, skew: bool, seed: int) -> People:
    """People of one set.

    Parameters
    ----------
    number
        Of the set.
    sizes
        People of each arm.
    spread
        How many times as much connectivity varies in people whose score is two standard deviations from the
        mean as in those at the mean; ``arm``: three times as much in everybody of the last arm.
    skew
        Log-normal instead of normal errors.
    seed
        Of the cell; each set has a seed of its own.
    """
    rng = np.random.default_rng([seed, number])
    n = sum(sizes)
    arms = np.repeat([f"arm{i}" for i in range(len(sizes))], sizes)
    score = rng.standard_normal(n)
    error = skewed(rng, (n, FEATURES)) / SD_SKEWED if skew else rng.standard_normal((n, FEATURES))
    if spread == "arm":
        sd = np.where(arms == arms[-1], 3.0, 1.0)
    else:
        sd = 1 + (float(spread) - 1) * np.abs(score) / 2
    # A slope that all arms have in common says nothing of a difference, and nothing is tested but that.
    common = score[:, None] if len(sizes) > 1 else 0.0
    return people(common + error * sd[:, None], score, arms)


def one_variance(own: People, seed: int) -> np.ndarray:
    """Family-wise p of the plain t of one arm, with the rearrangements of the association."""
    matrix = np.column_stack([np.ones(own.n), own.scores])
    found = inference.test(own.connectivity, matrix, [0, 1], rearrangements(own, PERMUTATIONS, seed))
    return inference.correct([found]).results[0].p_fwe


def single(numbers: Iterable[int], n: int, spread: str, *, skew: bool, seed: int) -> Counter[str]:
    """Sets of one arm with any false positive in the family; features with a small plain p."""
    counts: Counter[str] = Counter(sets=0, robust=0, one=0, features=0, p=0, ranks=0, bend=0)
    for number in numbers:
        own = simulate(number, [n], spread, skew=skew, seed=seed)
        settings = {"permutations": PERMUTATIONS, "seed": number, "resamples": 0}
        found = associate(own, **settings)
        counts["sets"] += 1
        counts["robust"] += int(found.p_fwe.min() <= 0.05)
        counts["one"] += int(one_variance(own, number).min() <= 0.05)
        counts["features"] += FEATURES
        for name, p in (("p", found.p), ("ranks", found.p_spearman), ("bend", found.p_bend)):
            counts[name] += int((p <= 0.05).sum())
    return counts


def arms(numbers: Iterable[int], sizes: Sequence[int], spread: str, *, skew: bool, seed: int) -> Counter[str]:
    """Sets of several arms with any false difference of slopes in the family, by statistic."""
    counts: Counter[str] = Counter(sets=0, robust=0, one=0)
    for number in numbers:
        own = simulate(number, sizes, spread, skew=skew, seed=seed)
        settings = {"permutations": PERMUTATIONS, "seed": number, "resamples": 0}
        counts["sets"] += 1
        counts["robust"] += int(differ(own, **settings).p_fwe.min() <= 0.05)
        counts["one"] += int(differ(own, robust=False, **settings).p_fwe.min() <= 0.05)
    return counts
