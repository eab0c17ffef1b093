"""Outcomes of one person: change, percent change, response, remission, reliable change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

Direction = Literal["lower_is_better", "higher_is_better"]

RELIABLE = 1.96
"""A reliable change index beyond this would arise from error of measurement alone in 5 of 100 people."""


def percent_change(baseline: float, score: float, zero: float = 0.0) -> float:
    """Change in percent of baseline.

    Parameters
    ----------
    baseline, score
        Scores; NaN when missing.
    zero
        Score that percentages are counted from: the minimum of a scale that does not begin at 0.

    Returns
    -------
    float
        NaN when a score is missing or the baseline is not above `zero`.
    """
    return 100 * (score - baseline) / (baseline - zero) if baseline > zero else math.nan


def responded(
    baseline: float, endpoint: float, percent: float, direction: Direction, zero: float = 0.0
) -> bool | None:
    """Whether the improvement is at least `percent` percent of baseline.

    Parameters
    ----------
    baseline, endpoint
        Scores; NaN when missing.
    percent
        Improvement asked for, in percent of baseline.
    direction
        Which way is improvement.
    zero
        Score that percentages are counted from.

    Returns
    -------
    bool or None
        None when a score is missing or the baseline is not above `zero`.
    """
    if math.isnan(endpoint) or not baseline > zero:
        return None
    gain, base = improvement(baseline, endpoint, direction), baseline - zero
    # 29 of 100 points are 29 %, though 29 / 100 * 100 is a little less in binary
    return 100 * gain >= percent * base - 1e-9 * base


def remitted(endpoint: float, threshold: float, direction: Direction) -> bool | None:
    """Whether the endpoint score is the threshold or better; None when it is missing."""
    if math.isnan(endpoint):
        return None
    return endpoint <= threshold if direction == "lower_is_better" else endpoint >= threshold


def improvement(baseline: float, score: float, direction: Direction) -> float:
    """By how much a score is better than at baseline; negative when it is worse, NaN when one is missing."""
    return baseline - score if direction == "lower_is_better" else score - baseline


def error_of_difference(sd: float, reliability: float) -> float:
    """Standard error of the difference of two scores that differ by error of measurement alone.

    Parameters
    ----------
    sd
        Standard deviation of the score between people, before treatment.
    reliability
        Test-retest reliability, from 0 to below 1.

    Returns
    -------
    float
        ``sd * sqrt(2 * (1 - reliability))``.

    References
    ----------
    Jacobson and Truax 1991, 10.1037/0022-006X.59.1.12.
    """
    return sd * math.sqrt(2 * (1 - reliability))


def reliable_change_index(baseline: float, score: float, error: float, direction: Direction) -> float:
    """Improvement in units of the standard error of a difference; positive is better.

    Parameters
    ----------
    baseline, score
        Scores; NaN when missing.
    error
        See `error_of_difference`.
    direction
        Which way is improvement.
    """
    return improvement(baseline, score, direction) / error if error > 0 else math.nan


def reliable_change(index: float) -> str | None:
    """``improved``, ``unchanged`` or ``deteriorated``; None when the index is missing."""
    if math.isnan(index):
        return None
    return "improved" if index > RELIABLE else "deteriorated" if index < -RELIABLE else "unchanged"


def carried_forward(scores: Mapping[str, float], points: Sequence[str]) -> tuple[float, str | None]:
    """The last score that was observed.

    Parameters
    ----------
    scores
        Time point to score; NaN or absent when missing.
    points
        Time points to look at, in the order of the trial. The baseline is not one of them: carried forward it
        would say that nothing changed in somebody of whom nothing is known.

    Returns
    -------
    float
        NaN when nothing was observed at these points.
    str or None
        The time point that the score is from.
    """
    for point in reversed(points):
        score = scores.get(point, math.nan)
        if not math.isnan(score):
            return score, point
    return math.nan, None
