"""Rows of a contrast: from the runs' z to one number, or several, of each person, and their test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import skew

from conn import effects, gaps, inference
from conn.design import DesignContrast
from conn.effects import EffectSize
from conn.enhancement import Enhancer
from conn.permutation import PermutationSet, permutation_set
from conn.slopes import SlopeDifference, slope_difference
from conn.stages.tested import Tested

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Rows:
    """The data of a contrast.

    Attributes
    ----------
    values
        ndarray of shape (n, n_features), or (q, n, n_features) where a row holds several values; NaN where
        somebody has none.
    covariate
        ndarray of shape (n, n_features), the baseline of each feature, or (c, n, n_features) where it has
        several, or None.
    """

    values: Floats
    covariate: Floats | None = None

    @property
    def there(self) -> NDArray[np.bool_]:
        """Where a row has all that it needs, of shape (n, n_features)."""
        every = np.isfinite(self.values)
        found: NDArray[np.bool_] = np.asarray(every.all(axis=0) if every.ndim == 3 else every)
        if self.covariate is None:
            return found
        own = np.isfinite(self.covariate)
        return np.asarray(found & (own.all(axis=0) if own.ndim == 3 else own))

    def of(self, features: NDArray[np.int64]) -> Rows:
        """Some of the features."""
        covariate = None if self.covariate is None else self.covariate[..., features]
        return Rows(self.values[..., features], covariate)


def rows_of(
    contrast: DesignContrast,
    load: Callable[[str], Floats],
    n_features: int,
    dtype: type[np.floating[Any]] = np.float64,
) -> Rows:
    """One row per subject: the weighted sum of z over the subject's runs; n/a anywhere stays n/a.

    Parameters
    ----------
    contrast
        With the weights of the runs.
    load
        From the key of a run to its z, ndarray of shape (n_features,).
    n_features
        Voxels or edges.
    dtype
        Of the rows.
    """
    values = [
        _weighted(weights, load, n_features, dtype)
        for weights in (contrast.run_weights, *contrast.more_weights)
    ]
    covariate = None
    if contrast.covariate_weights:
        covariate = _weighted(contrast.covariate_weights, load, n_features, dtype)
    return Rows(values[0] if len(values) == 1 else np.stack(values), covariate)


def _weighted(
    weights: Sequence[dict[str, float]],
    load: Callable[[str], Floats],
    n_features: int,
    dtype: type[np.floating[Any]],
) -> Floats:
    data = np.zeros((len(weights), n_features), dtype=dtype)
    for row, runs in enumerate(weights):
        for run, weight in runs.items():
            data[row] += dtype(weight) * load(run)
    return data


def averaged(
    contrast: DesignContrast,
    load: Callable[[str], Floats],
    n_features: int,
    alpha: float,
    min_share: float = 1.0,
) -> EffectSize | None:
    """Mean change over the average SD of the two time points, where rows are differences of two.

    Parameters
    ----------
    contrast
        With the weights of the runs; negative ones are of the time point that is subtracted.
    load
        From the key of a run to its z, ndarray of shape (n_features,).
    n_features
        Edges.
    alpha
        Intervals have coverage 1 - alpha.
    min_share
        Share of rows with a value from which an edge has a size, from these rows.

    Returns
    -------
    EffectSize or None
        None where rows are no mean differences of two time points.
    """
    sides = [[{r: w for r, w in row.items() if w * s > 0} for row in contrast.run_weights] for s in (-1, 1)]
    plain = contrast.matrix.shape[1] == 1 and contrast.effect_type == "paired"
    if not plain or not all(row for side in sides for row in side):
        return None
    first, second = (_weighted(side, load, n_features, np.float64) for side in sides)
    whole = effects.g_av(-first, second, alpha=alpha)
    there = np.isfinite(first) & np.isfinite(second)
    return gaps.filled(
        whole,
        there,
        there.mean(axis=0) >= min_share,
        lambda rows, which: effects.g_av(
            -first[np.ix_(rows, which)], second[np.ix_(rows, which)], alpha=alpha
        ),
    )


def rearrangements(contrast: DesignContrast, permutations: int, seed: int) -> PermutationSet:
    """The permutation set of a contrast; the same for all its seeds and its edges."""
    return permutation_set(
        contrast.n,
        contrast.exchange,
        strata=contrast.strata,
        matrix_effect=contrast.tested,
        n_permutations=permutations,
        seed=seed,
        has_nuisance=contrast.has_nuisance,
        joint=contrast.statistic == "F",
    )


def tested(
    contrast: DesignContrast,
    rows: Rows,
    features: NDArray[Any],
    permutations: int,
    seed: int,
    *,
    alpha: float | None = None,
    min_share: float = 1.0,
    enhance: Enhancer | None = None,
    average: EffectSize | None = None,
    workers: int = 1,
) -> Tested:
    """Test one contrast.

    Parameters
    ----------
    contrast
        The design.
    rows
        Its data.
    features
        What they are, see `Tested`.
    permutations, seed
        Of the permutation set.
    alpha
        Effect sizes have intervals of coverage 1 - alpha, and slopes on a baseline are compared between
        groups, where groups are tested. None: neither.
    min_share
        Share of rows with a value from which a feature is tested; rows of several values need all.
    enhance
        See `conn.inference.test`.
    average
        See `averaged`; None where there is none.
    workers
        Threads.
    """
    sets = rearrangements(contrast, permutations, seed)
    several = rows.values.ndim == 3
    result = inference.test(
        rows.values,
        contrast.matrix,
        contrast.contrast,
        sets,
        None if several and rows.covariate is not None else contrast.variance_groups,
        own_variances=contrast.own_variances and not several,
        covariate=rows.covariate,
        cells=contrast.counted_cells,
        min_share=1.0 if several else min_share,
        enhance=enhance,
        workers=workers,
        progress=_Printed(contrast.name, sets.n_set),
    )
    size = _sizes(contrast, rows, result.valid, alpha)
    if contrast.effect_type == "outcome":
        return _of_outcome(contrast, rows, features, result, sets.complete, size)
    n = rows.there.sum(axis=0)
    gone = np.full(n.size, np.nan)
    if average is None:
        average = EffectSize(gone, "n/a", gone, gone)
    slopes = SlopeDifference(gone, gone)
    if rows.covariate is not None and alpha is not None and contrast.effect_type != "slope":
        slopes = slope_difference(
            rows.values,
            rows.covariate,
            contrast.matrix,
            contrast.contrast,
            sets,
            contrast.variance_groups,
            cells=contrast.cells,
            min_share=min_share,
        )
    skewness = _skewness(contrast, rows, result.valid)
    return Tested(result, size, average, slopes, features, n, sets.complete, skewness)


def _of_outcome(
    contrast: DesignContrast,
    rows: Rows,
    features: NDArray[Any],
    result: inference.TestResult,
    complete: bool,
    size: EffectSize,
) -> Tested:
    """A test whose slope is that of an outcome on connectivity, though connectivity was its data."""
    gone = np.full(result.valid.size, np.nan)
    if not result.rank:
        slope = effects.other_side(rows.values, rows.covariate, contrast.matrix, contrast.contrast)
        slope = np.where(result.valid, slope, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            result = replace(result, effect=slope, se=slope / result.stat)
    return Tested(
        result,
        size,
        EffectSize(gone, "n/a", gone, gone),
        SlopeDifference(gone, gone),
        features,
        rows.there.sum(axis=0),
        complete,
        _skewness(contrast, rows, result.valid),
    )


def _sizes(contrast: DesignContrast, rows: Rows, valid: NDArray[np.bool_], alpha: float | None) -> EffectSize:
    """Effect sizes of the features that are tested, from the rows that each of them has."""
    kind = contrast.effect_type
    if kind == "outcome":  # both slopes of a pair have one partial correlation behind them
        kind = "slope" if contrast.statistic == "t" else "none"
    if rows.values.ndim == 3:
        kind = "none"
    settings: dict[str, Any] = {"alpha": alpha or 0.05, "intervals": alpha is not None}
    whole = effects.effect_size(
        kind,
        rows.values,
        contrast.matrix,
        contrast.contrast,
        baseline=rows.covariate,
        cells=contrast.cells,
        **settings,
    )
    if kind == "none" or rows.there[:, valid].all():
        return whole

    def own(there: NDArray[np.bool_], which: NDArray[np.int64]) -> EffectSize:
        part = np.ix_(there, which)
        return effects.effect_size(
            kind,
            rows.values[part],
            *gaps.design_of(contrast.matrix, contrast.contrast, there),
            baseline=None if rows.covariate is None else rows.covariate[part],
            cells=contrast.cells[there],
            **settings,
        )

    return gaps.filled(whole, rows.there, valid, own)


class _Printed:
    """Prints every tenth of the work, which goes to the log of the job."""

    def __init__(self, contrast: str, n_set: int) -> None:
        self._contrast, self._n_set, self._tenth = contrast, n_set, 0

    def __call__(self, share: float) -> None:
        tenth = int(share * 10 + 1e-9)
        if tenth != self._tenth:
            self._tenth = tenth
            print(f"{self._contrast}: {10 * tenth} % of {self._n_set} rearrangements", flush=True)


def _skewness(contrast: DesignContrast, rows: Rows, valid: NDArray[np.bool_]) -> float:
    """Median over features of the absolute skewness of residuals, of features with all rows."""
    data = rows.values[..., valid & rows.there.all(axis=0)]
    if data.shape[-1] == 0:
        return float("nan")
    basis = np.linalg.qr(contrast.matrix)[0]
    residuals = data - basis @ (basis.T @ data)
    return float(np.median(np.abs(skew(residuals, axis=-2, bias=False))))
