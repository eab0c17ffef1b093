"""Interval of the AUC of a score that was fixed beforehand: in new people, by a model made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from conn.clinic.prediction.people import Floats
from conn.errors import DesignError


@dataclass(frozen=True)
class FixedAuc:
    """AUC of a fixed score.

    Attributes
    ----------
    auc, se
        Area and its standard error.
    low, high
        Interval, cut to [0, 1].
    """

    auc: float
    se: float
    low: float
    high: float


def delong(values: Floats, outcome: Floats, alpha: float = 0.05) -> FixedAuc:
    """AUC with DeLong's interval. It is wrong for cross-validated predictions, whose models share people.

    Parameters
    ----------
    values
        ndarray of shape (n,): larger where class 1 is likelier.
    outcome
        ndarray of shape (n,) of 0 and 1.
    alpha
        The interval covers 1 - alpha.

    Raises
    ------
    DesignError
        A class has fewer than two people.

    References
    ----------
    DeLong 1988, 10.2307/2531595; by ranks Sun 2014, 10.1109/LSP.2014.2337313.
    """
    cases, controls = values[outcome == 1], values[outcome == 0]
    if min(cases.size, controls.size) < 2:
        raise DesignError(
            f"an AUC interval needs two people of each class, not {cases.size} and {controls.size}"
        )
    placed, placed_controls = placements(cases, controls)
    area = float(placed.mean())
    se = float(np.sqrt(placed.var(ddof=1) / cases.size + placed_controls.var(ddof=1) / controls.size))
    half = float(norm.isf(alpha / 2)) * se
    return FixedAuc(area, se, max(0.0, area - half), min(1.0, area + half))


def placements(cases: Floats, controls: Floats) -> tuple[Floats, Floats]:
    """Share of controls below each case, and of cases above each control, ties by half."""
    ranks = rankdata(np.concatenate([cases, controls]))
    below = (ranks[: cases.size] - rankdata(cases)) / controls.size
    above = 1 - (ranks[cases.size :] - rankdata(controls)) / cases.size
    return below, above
