"""Standardised effect sizes with intervals, beside the estimate in units of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn.errors import DesignError
from conn.glm import Floats, Model, fit, make_model, residuals

_CHUNK = 8192  # features at a time, so that a map needs little memory
EffectType = Literal["paired", "two_sample", "slope", "ancova", "none"]
KNOWN = ("paired", "two_sample", "slope", "ancova", "none")
N_BOOT = 2000


@dataclass(frozen=True, eq=False)
class EffectSize:
    """An effect size per feature.

    Attributes
    ----------
    g
        ndarray of shape (n_features,): point estimate, NaN where it cannot be computed.
    g_type
        ``g_z`` (mean difference over the SD of differences), ``g_av`` (over the mean SD of both times),
        ``g_pooled`` (over the pooled SD), ``g_baseline`` (adjusted difference over the pooled SD of the
        baseline), each with Hedges' small-sample factor; ``_adj`` is added when the SD is the residual SD of
        a model with covariates; ``partial_r`` for slopes; ``n/a`` where there is none, as for an F.
    low, high
        ndarrays of shape (n_features,): interval; NaN when not asked for.
    """

    g: Floats
    g_type: str
    low: Floats
    high: Floats


def effect_size(
    effect_type: EffectType,
    data: ArrayLike,
    matrix: ArrayLike,
    contrast: ArrayLike,
    *,
    alpha: float = 0.05,
    intervals: bool = True,
    baseline: ArrayLike | None = None,
    cells: ArrayLike | None = None,
) -> EffectSize:
    """The effect size that belongs to a design.

    Parameters
    ----------
    effect_type
        ``paired``: rows are differences within subjects, the contrast is their mean, the size is g_z.
        ``two_sample``: the contrast is a difference of two groups, the size is Hedges' g. ``slope``: the
        contrast picks one column, the size is its partial correlation with the data, with one variance for
        all rows also where the test allows others. ``ancova``: a difference
        of two groups, adjusted for a baseline that every feature has of its own. ``none``: nothing.
    data
        array of shape (n, n_features).
    matrix, contrast
        arrays of shape (n, p) and (p,). With covariates the estimate is the adjusted one and the SD is the
        residual SD of the whole model, sqrt(RSS / (n - p)); without, this is the SD of differences or the
        pooled SD. A variance shared by all rows is assumed, also where the test allows unequal ones.
    alpha
        Intervals have coverage 1 - alpha.
    intervals
        False leaves them NaN (maps).
    baseline
        array of shape (n, n_features), a covariate that every feature has of its own: with ``ancova``, and
        where a ``slope`` is adjusted for one.
    cells
        With ``ancova``: array of shape (n,), the group of each row, within which the SD is pooled.

    Returns
    -------
    EffectSize
        Limits from the noncentral t hold for the population value itself and carry no small-sample factor;
        those of a partial correlation come from Fisher's z with standard error 1/sqrt(n - p - 1), those of
        ``g_baseline`` from 2,000 bootstrap samples of people within groups (percentiles, seed 0).

    Raises
    ------
    DesignError
        An unknown type, or a design that `make_model` refuses.

    References
    ----------
    Hedges 1981, 10.3102/10769986006002107; Cumming and Finch 2001, 10.1177/0013164401614002; Fisher 1924
    (partial correlation).
    """
    if effect_type not in KNOWN:
        raise DesignError(f"effect_type is {effect_type!r}; it must be one of {', '.join(KNOWN)}")
    if effect_type == "none":
        gone = np.full(np.asanyarray(data).shape[-1], np.nan)
        return EffectSize(gone, "n/a", gone, gone)
    if effect_type == "ancova":
        if baseline is None or cells is None:
            raise DesignError("an effect size of type ancova needs the baseline and the group of each row")
        return _over_baseline(
            data, baseline, np.asarray(matrix), np.asarray(contrast), cells, alpha, intervals
        )
    model = make_model(matrix, contrast)
    values = np.asanyarray(data)
    if effect_type == "slope" and baseline is not None:
        return _beside_baseline(values, np.asanyarray(baseline), model, alpha, intervals)
    chunks = range(0, max(values.shape[1], 1), _CHUNK)
    t = np.concatenate([fit(values[:, i : i + _CHUNK], model).stat for i in chunks])
    if effect_type == "slope":
        return _partial_r(t, model, alpha, intervals)
    plain = model.matrix.shape[1] == (1 if effect_type == "paired" else 2)
    name = ("g_z" if effect_type == "paired" else "g_pooled") + ("" if plain else "_adj")
    scale = float(np.linalg.norm(model.weights))
    low, high = noncentrality_interval(t, model.df, alpha) if intervals else _missing(t)
    return EffectSize(hedges_factor(model.df) * t * scale, name, low * scale, high * scale)


def _missing(like: Floats) -> tuple[Floats, Floats]:
    return np.full_like(like, np.nan), np.full_like(like, np.nan)


def hedges_factor(df: float) -> float:
    """Hedges' exact small-sample factor J(df), which makes a standardised difference unbiased."""
    return float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2))


def noncentrality_interval(t: Floats, df: float, alpha: float = 0.05) -> tuple[Floats, Floats]:
    """Interval of the noncentrality of observed t values.

    Parameters
    ----------
    t
        ndarray of shape (n_features,), NaN allowed.
    df
        Degrees of freedom.
    alpha
        The limits leave alpha / 2 on each side.

    Returns
    -------
    low, high : ndarrays of shape (n_features,)
    """
    size = np.abs(np.where(np.isfinite(t), t, 0.0))  # solved for t >= 0 and mirrored
    near = special.nctdtrinc(df, 1 - alpha / 2, size)
    far = special.nctdtrinc(df, alpha / 2, size)
    low, high = np.where(t < 0, -far, near), np.where(t < 0, -near, far)
    gone = ~np.isfinite(t)
    return np.where(gone, np.nan, low), np.where(gone, np.nan, high)


def _partial_r(t: Floats, model: Model, alpha: float, intervals: bool) -> EffectSize:
    # The sign is that of the slope along the contrast.
    return _with_fisher_interval(t / np.sqrt(np.square(t) + model.df), model.df, alpha, intervals)


def _beside_baseline(
    values: Floats, baseline: Floats, model: Model, alpha: float, intervals: bool
) -> EffectSize:
    """Partial correlation with a tested column, free of the nuisance and of a covariate of each feature."""
    column = (model.effect[:, 0] * np.sign(model.effect[:, 0] @ model.weights))[:, None]
    r = np.empty(values.shape[1])
    for i in range(0, values.shape[1], _CHUNK):
        part = slice(i, i + _CHUNK)
        y, own = (residuals(np.asarray(x[:, part], np.float64), model.nuisance) for x in (values, baseline))
        with np.errstate(invalid="ignore", divide="ignore"):
            size = np.square(own).sum(axis=0)
            y, x = (each - own * ((own * each).sum(axis=0) / size) for each in (y, column))
            r[part] = (x * y).sum(axis=0) / np.sqrt(np.square(x).sum(axis=0) * np.square(y).sum(axis=0))
    return _with_fisher_interval(r, model.df - 1, alpha, intervals)


def _with_fisher_interval(r: Floats, df: float, alpha: float, intervals: bool) -> EffectSize:
    if not intervals or df <= 1:
        return EffectSize(r, "partial_r", *_missing(r))
    half = special.ndtri(1 - alpha / 2) / np.sqrt(df - 1)
    return EffectSize(r, "partial_r", np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half))


def other_side(
    data: ArrayLike, covariate: ArrayLike | None, matrix: ArrayLike, contrast: ArrayLike
) -> Floats:
    """Slope of a column of the matrix on the data, where the data were regressed on the column.

    Both slopes have one partial correlation behind them, and so one t; only the slope is another number, in
    other units.

    Parameters
    ----------
    data
        array of shape (n, n_features).
    covariate
        array of the shape of `data`, a further column that each feature has of its own, or None.
    matrix, contrast
        arrays of shape (n, p) and (p,); the contrast picks one column.

    Returns
    -------
    ndarray of shape (n_features,)
        NaN where a value is missing or nothing is left of the data.
    """
    x, whole = np.asarray(data, dtype=np.float64), np.asarray(matrix, dtype=np.float64)
    picked = np.asarray(contrast) != 0
    basis = np.linalg.qr(whole[:, ~picked])[0]
    y = whole[:, picked] @ np.asarray(contrast)[picked]
    rounding = 1e-24 * np.square(x).sum(axis=0)
    x, y = x - basis @ (basis.T @ x), (y - basis @ (basis.T @ y))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        if covariate is not None:
            own = np.asarray(covariate, dtype=np.float64)
            own = own - basis @ (basis.T @ own)
            size = np.square(own).sum(axis=0)
            x, y = (part - own * ((own * part).sum(axis=0) / size) for part in (x, y))
        found = (x * y).sum(axis=0) / np.square(x).sum(axis=0)
    left = np.square(x).sum(axis=0) > rounding
    return np.asarray(np.where(np.isfinite(found) & left, found, np.nan))


def equivalence(effect: Floats, se: Floats, df: Floats, bound: float) -> Floats:
    """P of two one-sided t tests that an effect lies within plus and minus a bound.

    Parameters
    ----------
    effect, se, df
        ndarrays of shape (n_features,): estimate, standard error and degrees of freedom; NaN allowed.
    bound
        In units of the effect, above 0.

    Returns
    -------
    ndarray of shape (n_features,)
        The larger of the two one-sided p, not corrected for the number of features.

    References
    ----------
    Schuirmann 1987, 10.1007/BF01068419.
    """
    return np.asarray(special.stdtr(df, (np.abs(effect) - bound) / se))


def _over_baseline(
    data: ArrayLike,
    baseline: ArrayLike,
    matrix: Floats,
    contrast: Floats,
    cells: ArrayLike,
    alpha: float,
    intervals: bool,
) -> EffectSize:
    """Adjusted difference over the pooled SD of the baseline."""
    values, own = np.asanyarray(data), np.asanyarray(baseline)
    codes = np.unique(np.asarray(cells), return_inverse=True)[1].reshape(-1)
    rows = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    chunks = [slice(i, i + _CHUNK) for i in range(0, max(values.shape[1], 1), _CHUNK)]
    whole = np.arange(codes.size)
    size = np.concatenate(
        [_adjusted_size(values[:, c], own[:, c], matrix, contrast, codes, whole) for c in chunks]
    )
    if not intervals:
        return EffectSize(size, "g_baseline", *_missing(size))
    rng = np.random.default_rng(0)
    boot = np.empty((N_BOOT, size.size))
    for b in range(N_BOOT):
        drawn = np.concatenate([rng.choice(part, part.size) for part in rows])
        boot[b] = _adjusted_size(values, own, matrix, contrast, codes, drawn)
    # A sample in which the design cannot be fitted has no size, a feature with missing values has none ever.
    boot[:, ~np.isfinite(size)] = 0.0
    low, high = np.nanquantile(boot, [alpha / 2, 1 - alpha / 2], axis=0)
    gone = ~np.isfinite(size)
    return EffectSize(size, "g_baseline", np.where(gone, np.nan, low), np.where(gone, np.nan, high))


def _adjusted_size(
    data: Floats, baseline: Floats, matrix: Floats, contrast: Floats, codes: NDArray[Any], rows: NDArray[Any]
) -> Floats:
    """Hedges' factor times the adjusted difference over the pooled SD, for some of the rows."""
    m, y, b = matrix[rows], np.asarray(data[rows], dtype=np.float64), np.asarray(baseline[rows], np.float64)
    if np.linalg.matrix_rank(m) < m.shape[1]:
        return np.full(y.shape[1], np.nan)
    inverse = np.linalg.pinv(m)
    rest_y, rest_b = y - m @ (inverse @ y), b - m @ (inverse @ b)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (rest_y * rest_b).sum(axis=0) / np.square(rest_b).sum(axis=0)
        counts = np.bincount(codes[rows])
        inside = [
            np.square(b[codes[rows] == g] - b[codes[rows] == g].mean(axis=0)).sum(axis=0)
            for g in range(counts.size)
        ]
        df = rows.size - counts.size
        spread = np.sqrt(np.sum(inside, axis=0) / df)
        return np.asarray(hedges_factor(df) * (contrast @ inverse @ (y - b * slope)) / spread)


def g_av(
    first: ArrayLike, second: ArrayLike, *, alpha: float = 0.05, n_boot: int = 2000, seed: int = 0
) -> EffectSize:
    """Mean change over the root mean square of the two SDs, with a bootstrap interval over subjects.

    Parameters
    ----------
    first, second
        arrays of shape (n, n_features): the two time points of the same subjects; the size is that of
        second - first.
    alpha
        The interval has coverage 1 - alpha (BCa bootstrap).
    n_boot
        Bootstrap samples; 0 leaves the interval NaN.
    seed
        Of the bootstrap.

    Returns
    -------
    EffectSize

    Raises
    ------
    DesignError
        Arrays that do not match, or fewer than 3 subjects.

    References
    ----------
    Cumming 2012, ISBN 978-0415879682; Efron 1987, 10.1080/01621459.1987.10478410.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise DesignError(
            f"the two time points have shapes {a.shape} and {b.shape}; equal (n, n_features) are needed"
        )
    n = a.shape[0]
    if n < 3:
        raise DesignError(f"g_av needs at least 3 subjects, there are {n}")
    valid = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    a, b = np.where(valid, a, 0.0), np.where(valid, b, 0.0)
    a, b = a - a.mean(axis=0), b - a.mean(axis=0)  # the size does not change, the moments keep their digits
    size = np.where(valid, _average_size(np.ones((1, n)), a, b)[0], np.nan)
    if n_boot == 0:
        return EffectSize(size, "g_av", *_missing(size))
    low, high = _bca(a, b, size, alpha, n_boot, seed)
    return EffectSize(size, "g_av", low, high)


def _average_size(counts: Floats, a: Floats, b: Floats) -> Floats:
    """g_av of samples in which subject i occurs ``counts[:, i]`` times; shape (n_samples, n_features)."""
    n = counts.sum(axis=1, keepdims=True)
    mean_a, mean_b = counts @ a / n, counts @ b / n
    spread = counts @ (a**2 + b**2) / n - mean_a**2 - mean_b**2
    factors = np.array([hedges_factor(float(m) - 1) for m in n[:, 0]])[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        # A sample of one subject repeated has no spread.
        size = (
            np.sqrt(2) * (mean_b - mean_a) / np.sqrt(np.where(spread > 1e-12, spread, np.nan) * n / (n - 1))
        )
    return np.asarray(factors * size)


def _bca(a: Floats, b: Floats, size: Floats, alpha: float, n_boot: int, seed: int) -> tuple[Floats, Floats]:
    """Bias-corrected and accelerated bootstrap limits per feature."""
    n = a.shape[0]
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_boot).astype(np.float64)
    boot = np.sort(_average_size(counts, a, b), axis=0)
    left_out = _average_size(1 - np.eye(n), a, b)
    deviation = left_out.mean(axis=0) - left_out
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = (deviation**3).sum(axis=0) / (6 * (deviation**2).sum(axis=0) ** 1.5)
    bias = special.ndtri(np.clip((boot < size).mean(axis=0), 1 / n_boot, 1 - 1 / n_boot))
    limits = []
    for quantile in special.ndtri(np.array([alpha / 2, 1 - alpha / 2])):
        level = special.ndtr(bias + (bias + quantile) / (1 - acceleration * (bias + quantile)))
        place = np.clip(np.nan_to_num(level) * (n_boot - 1), 0, n_boot - 1)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, n_boot - 1)
        columns = np.arange(boot.shape[1])
        low, high = boot[below, columns], boot[above, columns]
        limits.append(np.where(np.isfinite(size), low + (place - below) * (high - low), np.nan))
    return limits[0], limits[1]
