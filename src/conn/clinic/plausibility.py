"""Scores that are possible but improbable: sentences for people who can look into the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from conn.clinic.outcomes import Direction, improvement

Course = Mapping[str, Mapping[str, float]]
"""Time point to subject to score; missing scores are absent."""

FEW = 5
"""Below this many people nothing is said about a distribution."""

WORSE_P = 0.01
"""Of a sign test that more people get worse than better, and of a correlation against other scales."""

OPPOSED = -0.3
"""Correlation of the improvements of two scales from which they are told to go against each other."""


@dataclass(frozen=True)
class Doubt:
    """Something to look at, and in whom.

    Attributes
    ----------
    words
        Follows the name of the scale.
    people
        Labels; empty when it concerns all.
    """

    words: str
    people: tuple[str, ...] = ()


def levels(course: Course, minimum: float | None, zero: float = 0.0) -> Iterator[Doubt]:
    """Scores without variance, negative scores, and percentages of a scale that does not begin at 0.

    Parameters
    ----------
    course
        Scores.
    minimum
        Smallest possible score, if it is stated.
    zero
        Score that percentages are counted from.
    """
    for point, scores in course.items():
        if len(scores) >= FEW and len(set(scores.values())) == 1:
            yield Doubt(f"is {next(iter(scores.values())):g} in all {len(scores)} people at {point}")
        negative = tuple(sorted(s for s, score in scores.items() if score < 0))
        if negative and minimum is None:
            yield Doubt(f"is below 0 at {point} and states no minimum", negative)
    if minimum is not None and minimum > zero:
        yield Doubt(
            f"begins at {minimum:g}, so percent change and response are smaller than they look like; "
            f"zero: {minimum:g} counts them from there"
        )


def changes(course: Course, baseline: str, direction: Direction, limit: float) -> Iterator[Doubt]:
    """Jumps, unchanged copies, and a direction that looks reversed.

    Parameters
    ----------
    course
        Scores.
    baseline
        Time point that change is counted from.
    direction
        Which way is improvement.
    limit
        Robust standard deviations (1.4826 times the median absolute deviation) that a change lies from the
        median change to be improbable.
    """
    start = course.get(baseline, {})
    for point, scores in course.items():
        both = sorted(set(start) & set(scores))
        if point == baseline or len(both) < FEW:
            continue
        change = np.array([scores[s] - start[s] for s in both])
        if not change.any():
            yield Doubt(f"is the same at {baseline} and at {point} in all {len(both)} people")
            continue
        yield from _jumps(change, both, f"from {baseline} to {point}", limit)
        gain = np.array([improvement(start[s], scores[s], direction) for s in both])
        better, worse = int((gain > 0).sum()), int((gain < 0).sum())
        if worse > better and stats.binomtest(worse, worse + better, alternative="greater").pvalue < WORSE_P:
            yield Doubt(
                f"gets worse in {worse} and better in {better} of {len(both)} people from {baseline} to "
                f"{point}, if direction {direction} is right"
            )


def _jumps(change: np.ndarray, people: list[str], words: str, limit: float) -> Iterator[Doubt]:
    middle = float(np.median(change))
    spread = float(stats.median_abs_deviation(change, scale="normal"))
    far = np.abs(change - middle) > limit * spread
    if spread > 0 and far.any():
        shown = ", ".join(f"{value:+g}" for value in change[far][:5])
        yield Doubt(
            f"changes {words} by more than {limit:g} robust standard deviations ({spread:.3g}) from "
            f"the median {middle:+g} ({shown})",
            tuple(person for person, out in zip(people, far.tolist(), strict=True) if out),
        )


def opposed(
    courses: Mapping[str, Course], directions: Mapping[str, Direction], baseline: str, endpoint: str
) -> Iterator[tuple[str, str, float, int]]:
    """Pairs of scales whose improvements go against each other: names, correlation, number of people."""
    gains = {name: _gains(course, directions[name], baseline, endpoint) for name, course in courses.items()}
    for one, other in combinations(gains, 2):
        both = sorted(set(gains[one]) & set(gains[other]))
        x, y = ([gains[name][person] for person in both] for name in (one, other))
        if len(both) < FEW or len(set(x)) == 1 or len(set(y)) == 1:
            continue
        found = stats.pearsonr(x, y)
        if found.statistic < OPPOSED and found.pvalue < WORSE_P:
            yield one, other, float(found.statistic), len(both)


def _gains(course: Course, direction: Direction, baseline: str, endpoint: str) -> dict[str, float]:
    start, end = course.get(baseline, {}), course.get(endpoint, {})
    return {s: improvement(start[s], end[s], direction) for s in start if s in end}
