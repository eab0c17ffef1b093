"""Limits of scores between 0 and 1, of which the sampling variance vanishes at both ends.

Where every fold is told apart without a mistake the variance that is estimated there is 0, and an interval
from it would say that the model is perfect. Limits are therefore the true scores of which the estimate is
just not too far away, each with the variance that it would have itself; this is Wilson's interval of a
proportion, carried over to the AUC by Newcombe.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from conn.clinic.prediction.people import Floats, Ints
from conn.clinic.prediction.scores import parts

_EDGE = 1e-9

Variance = Callable[[float], float]


def limits(estimate: float, variance: Variance, z: float) -> tuple[float, float]:
    """True scores of which the estimate is z standard errors away.

    Parameters
    ----------
    estimate
        Between 0 and 1.
    variance
        Of the estimate, by the true score; 0 at 0 and at 1.
    z
        Normal deviate.

    Returns
    -------
    low, high
        They enclose the estimate.

    References
    ----------
    Newcombe 2006, 10.1002/sim.2324.
    """

    def beyond(true: float) -> float:
        return (true - estimate) ** 2 - z**2 * variance(true)

    low = brentq(beyond, 0.0, min(estimate, 1 - _EDGE)) if estimate > _EDGE else 0.0
    high = brentq(beyond, max(estimate, _EDGE), 1.0) if estimate < 1 - _EDGE else 1.0
    return float(low), float(high)


def auc_variance(true: float, m: int, n: int) -> float:
    """Variance of an AUC of m cases and n controls.

    Parameters
    ----------
    true
        The AUC.
    m, n
        How many there are of each.

    References
    ----------
    Hanley 1982, 10.1148/radiology.143.1.7063747.
    """
    of_two_cases, of_two_controls = true / (2 - true), 2 * true**2 / (1 + true)
    shared = (m - 1) * (of_two_cases - true**2) + (n - 1) * (of_two_controls - true**2)
    return (true * (1 - true) + shared) / (m * n)


def fold_variance(fold: Ints, outcome: Floats) -> Variance:
    """Variance of the mean AUC of folds, by the true AUC, if people were independent.

    Parameters
    ----------
    fold
        ndarray of shape (n_repeats, n); repeats do not make it smaller.
    outcome
        ndarray of shape (n,): classes 0 and 1. Folds without both are passed over.
    """
    repeats = []
    for one in fold:
        counts = [(int(outcome[rows].sum()), int((1 - outcome[rows]).sum())) for rows in parts(one)]
        repeats.append([both for both in counts if min(both) > 0])

    def variance(true: float) -> float:
        of_repeats = [
            sum(auc_variance(true, m, n) for m, n in sizes) / len(sizes) ** 2 for sizes in repeats if sizes
        ]
        return float(np.mean(of_repeats))

    return variance


def accuracy_variance(outcome: Floats) -> Variance:
    """Variance of a balanced accuracy, by the true one, if both classes are recognised equally well.

    Parameters
    ----------
    outcome
        ndarray of shape (n,): classes 0 and 1.
    """
    cases = float(outcome.sum())
    share = (1 / cases + 1 / (outcome.size - cases)) / 4
    return lambda true: true * (1 - true) * share
