"""Correlations of people with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.clinic.correlations import Kind, correlate
from conn.clinic.people import People
from conn.clinic.resampling import Rows, bca, draws, leave_one_out, replicates

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Correlations, or differences of them, with BCa intervals; shapes (n_scales, n_features)."""

    r: Floats
    low: Floats
    high: Floats


def estimate(people: People, kind: Kind, resamples: int, seed: int, alpha: float = 0.05) -> Estimate:
    """Partial correlation of every scale with every feature, adjusted for arm.

    Parameters
    ----------
    people
        Their values.
    kind
        Of the correlation.
    resamples
        People are drawn within cells so many times; 0: intervals are NaN.
    seed
        Of the drawing.
    alpha
        Intervals have coverage 1 - alpha.
    """
    everybody = np.arange(people.n)[None]
    rows = draws(people.cells, resamples, seed)
    found = []
    for scale in range(people.scores.shape[1]):
        r = resampled(people, scale, kind, everybody)[0]
        again = resampled(people, scale, kind, rows)
        left_out = resampled(people, scale, kind, leave_one_out(people.n)) if resamples else again
        found.append((r, *_bounds(r, again, [left_out], alpha)))
    return Estimate(*(np.stack(part) for part in zip(*found, strict=True)))


def difference(first: People, second: People, resamples: int, seed: int, alpha: float = 0.05) -> Estimate:
    """Difference of Pearson's correlations between two arms, first minus second.

    Parameters
    ----------
    first, second
        People of each arm.
    resamples, seed, alpha
        See `estimate`; each arm is drawn by itself.
    """
    found = []
    for scale in range(first.scores.shape[1]):
        r, again, left_out = [], [], []
        for place, arm in enumerate((first, second)):
            rows = draws(arm.cells, resamples, seed + place)
            r.append(resampled(arm, scale, "pearson", np.arange(arm.n)[None])[0])
            again.append(resampled(arm, scale, "pearson", rows))
            # The pull of a person is that on the arm's own correlation; its sign is that of the difference.
            left_out.append((1 - 2 * place) * resampled(arm, scale, "pearson", leave_one_out(arm.n)))
        found.append((r[0] - r[1], *_bounds(r[0] - r[1], again[0] - again[1], left_out, alpha)))
    return Estimate(*(np.stack(part) for part in zip(*found, strict=True)))


def _bounds(r: Floats, again: Floats, left_out: list[Floats], alpha: float) -> tuple[Floats, Floats]:
    if not len(again):
        return np.full_like(r, np.nan), np.full_like(r, np.nan)
    return bca(r, again, left_out, alpha)


def resampled(people: People, scale: int, kind: Kind, rows: Rows) -> Floats:
    """Correlations of one scale in resampled people.

    Parameters
    ----------
    people
        Their values.
    scale
        Column of the scores.
    kind
        Of the correlation.
    rows
        int64 ndarray of shape (n_resamples, n_drawn).

    Returns
    -------
    ndarray of shape (n_resamples, n_features)
        NaN for features that somebody lacks.
    """
    there, nuisance = people.complete, people.nuisance(scale)
    x, y = people.connectivity[:, there], people.scores[:, scale]
    own = None if people.baseline is None else people.baseline[:, there]

    def statistic(batch: Rows) -> Floats:
        mine = None if own is None else own[batch]
        return correlate(x[batch], y[batch], nuisance[batch], mine, kind)

    found = np.full((len(rows), people.connectivity.shape[1]), np.nan)
    if len(rows):
        found[:, there] = replicates(statistic, rows, 8 * rows.shape[1] * max(1, there.size))
    return found
