"""An effect before and after what else the treatment may have changed is held constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn.glm import fit, make_model
from conn.sandwich import fit_robust

Floats = NDArray[np.floating[Any]]
NOTHING, EVERYTHING = "none", "all"


@dataclass(frozen=True, eq=False)
class Adjusted:
    """A contrast with some measures as covariates; arrays of shape (n_features,).

    Attributes
    ----------
    adjustment
        ``none``, the name of a measure, or ``all``.
    measures
        Measures that are held constant.
    left_out
        Measures that are not, because they do not vary, follow from the others or from the model, or were
        named without values.
    estimate, se, df, stat, p
        Of the contrast; estimate and standard error are NaN for an F. All are NaN where too few degrees of
        freedom are left.
    """

    adjustment: str
    measures: tuple[str, ...]
    left_out: tuple[str, ...]
    estimate: Floats
    se: Floats
    df: Floats
    stat: Floats
    p: Floats


def adjustments(
    data: ArrayLike,
    matrix: ArrayLike,
    contrast: ArrayLike,
    measures: ArrayLike,
    names: Sequence[str],
    variance_groups: ArrayLike | None = None,
    covariate: ArrayLike | None = None,
    *,
    own_variances: bool = False,
    unused: Sequence[str] = (),
) -> tuple[Adjusted, ...]:
    """A contrast as it stands, then adjusted for each measure, then for all together.

    Parameters
    ----------
    data
        array of shape (n, n_features).
    matrix, contrast
        arrays of shape (n, p), and (p,) or (r, p).
    measures
        array of shape (n, n_columns): what may have differed too, as the rows have it (as differences where
        rows are differences). NaN takes the person out of all of them, so that all speak of the same people.
    names
        Measure of each column; one measure may have several.
    variance_groups, covariate, own_variances
        As in `conn.inference.test`.
    unused
        Measures without columns, to be named among what is left out.

    Returns
    -------
    tuple of Adjusted
        Without adjustment, one for each measure, and all together where there are several.

    Notes
    -----
    Tests are parametric and not corrected: the table asks how much of an effect is left, not whether there is
    one. A measure that the treatment changes on the way to connectivity is a mediator, and adjusting for it
    takes away a part of the effect itself; neither number is the truth by itself.
    """
    x, found = np.asarray(matrix, dtype=np.float64), np.asarray(measures, dtype=np.float64)
    there = np.isfinite(found).all(axis=1)
    known = list(dict.fromkeys([*names, *unused]))
    rounds = [(NOTHING, ()), *((name, (name,)) for name in known)]
    rounds += [(EVERYTHING, tuple(known))] if len(known) > 1 else []
    groups = np.zeros(len(x)) if variance_groups is None else np.asarray(variance_groups)
    values = np.asarray(data, dtype=np.float64)[there]
    own = None if covariate is None else np.asarray(covariate, dtype=np.float64)[there]
    made = []
    for adjustment, wanted in rounds:
        columns = [found[there, i] for i, name in enumerate(names) if name in wanted]
        labels = [name for name in names if name in wanted]
        wide, used = _widened(x[there], columns, labels)
        result = _fit(values, wide, np.asarray(contrast, dtype=np.float64), groups[there], own, own_variances)
        left = tuple(name for name in dict.fromkeys(wanted) if name not in used)
        made.append(Adjusted(adjustment, tuple(dict.fromkeys(used)), left, *result))
    return tuple(made)


def _widened(matrix: Floats, columns: Sequence[Floats], names: Sequence[str]) -> tuple[Floats, list[str]]:
    """The matrix with those columns that say something new, centred and scaled."""
    used = []
    for column, name in zip(columns, names, strict=True):
        spread = column.std()
        if not spread > 1e-12 * max(np.abs(column).max(initial=0), 1e-300):
            continue
        candidate = (column - column.mean()) / spread
        left = candidate - matrix @ np.linalg.lstsq(matrix, candidate, rcond=None)[0]
        if np.square(left).mean() > 1e-12:
            matrix = np.column_stack([matrix, candidate])
            used.append(name)
    return matrix, used


def _fit(
    values: Floats,
    matrix: Floats,
    contrast: Floats,
    groups: NDArray[Any],
    own: Floats | None,
    robust: bool,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    n_features, free = values.shape[1], len(matrix) - matrix.shape[1] - (own is not None)
    if free < 1:
        gone = np.full(n_features, np.nan)
        return gone, gone, gone, gone, gone
    weights = np.pad(contrast, [(0, 0)] * (contrast.ndim - 1) + [(0, matrix.shape[1] - contrast.shape[-1])])
    if own is None:
        parts = [_one(values, matrix, weights, groups, robust)]
    else:
        parts = [
            _with_own(values[:, [j]], matrix, weights, groups, own[:, j], robust) for j in range(n_features)
        ]
    stacked = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
    return stacked[0], stacked[1], stacked[2], stacked[3], stacked[4]


def _with_own(
    value: Floats, matrix: Floats, weights: Floats, groups: NDArray[Any], own: Floats, robust: bool
) -> tuple[Floats, ...]:
    """One feature with a covariate of its own."""
    if not np.isfinite(own).all() or np.ptp(own) == 0:
        return (np.full(1, np.nan),) * 5
    wide = np.column_stack([matrix, own - own.mean()])
    return _one(value, wide, np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, 1)]), groups, robust)


def _one(
    values: Floats, matrix: Floats, weights: Floats, groups: NDArray[Any], robust: bool
) -> tuple[Floats, ...]:
    model = make_model(matrix, weights, groups)
    found = fit_robust(values.astype(np.float64), model) if robust else fit(values, model)
    if weights.ndim == 2:
        df = np.asarray(found.df, dtype=np.float64)
        p = special.fdtrc(len(weights), df, found.stat)
        gone = np.full(values.shape[1], np.nan)
        return gone, gone, df, found.stat, p
    df = np.broadcast_to(np.asarray(found.df, dtype=np.float64), found.stat.shape)
    return found.effect, found.se, df, found.stat, 2 * special.stdtr(df, -np.abs(found.stat))
