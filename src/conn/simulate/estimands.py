"""What an analysis of baseline, change and outcome estimates: plain least squares on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Values = dict[str, float]


def mediation(treated: Mask, before: Array, after: Array, score_before: Array, score_after: Array) -> Values:
    """Effect of an arm on a score through a change of connectivity.

    Parameters
    ----------
    treated : ndarray of shape (n,)
        Who is in the first arm.
    before, after : ndarray of shape (n,)
        Fisher z.
    score_before, score_after : ndarray of shape (n,)
        Score.

    Returns
    -------
    dict
        `a` of after ~ arm + before (z); `b` and `c_prime` of score_after ~ after + arm + before +
        score_before (points per z; points); `c` of the same without after; `ab`; `proportion` ab / c.
    """
    arm = treated.astype(float)
    a = _slopes(after, arm, before)[0]
    b, c_prime = _slopes(score_after, after, arm, before, score_before)[:2]
    c = _slopes(score_after, arm, before, score_before)[0]
    return {"a": a, "b": b, "c_prime": c_prime, "c": c, "ab": a * b, "proportion": a * b / c}


def prediction(before: Array, after: Array, improvement: Array, response: Mask) -> Values:
    """What connectivity says about improvement, before treatment and after it.

    Parameters
    ----------
    before, after : ndarray of shape (n,)
        Fisher z.
    improvement : ndarray of shape (n,)
        Points of change for the better.
    response : ndarray of shape (n,)
        Who responded.

    Returns
    -------
    dict
        Correlation with improvement (`r`), and area under the curve of a higher z for response (`auc`); the
        same of z after treatment (`r_after`, `auc_after`); `difference` and `difference_after` of mean z,
        responders minus others; `response`, the share that responded.
    """
    found = {"response": float(response.mean())}
    for name, z in (("", before), ("_after", after)):
        found[f"r{name}"] = float(np.corrcoef(z, improvement)[0, 1])
        found[f"auc{name}"] = area(z, response)
        found[f"difference{name}"] = float(z[response].mean() - z[~response].mean())
    return found


def association(change: Array, score_change: Array, treated: Mask | None = None) -> Values:
    """How far a change of connectivity goes with a change of a score.

    Parameters
    ----------
    change, score_change : ndarray of shape (n,)
        Change of Fisher z; points of change.
    treated : ndarray of shape (n,)
        Who is in the first arm; None: everybody is in one arm.

    Returns
    -------
    dict
        Correlation `r`; with `treated` that within arms.
    """
    arms = [np.ones(change.size, dtype=bool)] if treated is None else [treated, ~treated]
    z, y = (np.concatenate([one[arm] - one[arm].mean() for arm in arms]) for one in (change, score_change))
    return {"r": float(np.corrcoef(z, y)[0, 1])}


def moderation(treated: Mask, before: Array, score_before: Array, score_after: Array) -> Values:
    """How far an arm's effect on a score depends on connectivity before treatment.

    Parameters are those of `mediation`.

    Returns
    -------
    dict
        `interaction` of score_after ~ arm * before + score_before, in points per z.
    """
    arm = treated.astype(float)
    return {"interaction": _slopes(score_after, arm * before, arm, before, score_before)[0]}


def artefact(treated: Mask, change: Array, change_fd: Array) -> Values:
    """Difference between arms in the change of connectivity, before and after adjusting for motion.

    Parameters
    ----------
    treated, change : ndarray of shape (n,)
        Who is in the first arm; change of Fisher z.
    change_fd : ndarray of shape (n,)
        Change of mean framewise displacement in mm.

    Returns
    -------
    dict
        `unadjusted` and `adjusted` in Fisher z; `difference_fd` in mm.
    """
    arm = treated.astype(float)
    return {
        "unadjusted": _slopes(change, arm)[0],
        "adjusted": _slopes(change, arm, change_fd)[0],
        "difference_fd": _slopes(change_fd, arm)[0],
    }


def area(value: Array, positive: Mask) -> float:
    """Area under the curve: how often a positive has the larger value than a negative."""
    n = int(positive.sum())
    ranks = stats.rankdata(value)[positive].sum()
    return float((ranks - n * (n + 1) / 2) / (n * (value.size - n)))


def _slopes(outcome: Array, *predictors: Array) -> list[float]:
    """Least-squares slopes, with a constant."""
    design = np.column_stack([*predictors, np.ones(outcome.size)])
    fitted = np.linalg.lstsq(design, outcome, rcond=None)[0]
    return [float(value) for value in fitted[:-1]]
