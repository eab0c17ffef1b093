"""How large an effect a design finds: the minimal detectable effect, from the variance of the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from conn import glm, inference
from conn.errors import DesignError
from conn.freedom import f_scale, johansen
from conn.glm import Floats
from conn.multivariate import degrees
from conn.null_sets import own_direction, unexplained
from conn.row_design import RowDesign
from conn.sandwich import fit_robust

POWER = 0.8
_STEPS = 60


@dataclass(frozen=True, eq=False)
class Detectable:
    """Minimal detectable effects, each an ndarray of shape (n_features,), NaN where nothing can be tested.

    Attributes
    ----------
    sd
        Residual standard deviation of a row, in units of the data. With a variance per group, the single one
        that gives the same standard error.
    se, df
        Standard error of the estimate and its degrees of freedom; of an F, those of the difference that is
        the hardest to find, and the second degrees of freedom of F.
    single, family
        Smallest effect that is found with the power asked for: in a test by itself, and corrected for the
        family. In units of the estimate; `family` is infinite when nothing can be significant. Of an F: the
        difference between any two groups, or any two time points, that is found wherever the others lie.
    critical
        |statistic| that is needed in the family.
    scale
        ``t`` or ``F``, or ``z`` when degrees of freedom differ: of `critical`.
    """

    sd: Floats
    se: Floats
    df: Floats
    single: Floats
    family: Floats
    critical: float
    scale: str


def power_of(noncentrality: ArrayLike, df: ArrayLike, critical: ArrayLike) -> Floats:
    """Probability that |t| is above a critical value, both tails.

    Parameters
    ----------
    noncentrality
        array: effect over standard error.
    df
        array: degrees of freedom.
    critical
        array: value that |t| must exceed.

    Returns
    -------
    ndarray of the common shape
    """
    free, shift, limit = (np.asarray(a, dtype=np.float64) for a in (df, noncentrality, critical))
    below = special.nctdtr(free, shift, -limit)
    # Far out, where the lower tail is nothing, the library has no number for it.
    return np.asarray(1 - special.nctdtr(free, shift, limit) + np.nan_to_num(below), dtype=np.float64)


def noncentrality(df: ArrayLike, critical: ArrayLike, power: float = POWER) -> Floats:
    """Effect over standard error that is found with a given power.

    Parameters
    ----------
    df, critical
        arrays that broadcast: degrees of freedom, and the value that |t| must exceed. An infinite one gives
        infinity.
    power
        Above the error rate and below 1.

    Returns
    -------
    ndarray of the common shape

    References
    ----------
    Johnson, Kotz and Balakrishnan 1995, Continuous univariate distributions 2, chapter 31 (noncentral t).
    """
    df, critical = np.broadcast_arrays(np.asarray(df, dtype=np.float64), np.asarray(critical, dtype=float))
    found = np.where(np.isnan(df) | np.isnan(critical), np.nan, np.inf)
    good = np.isfinite(df) & np.isfinite(critical)
    if good.any():
        found[good] = _bisect(df[good], critical[good], power)
    return found


def _bisect(df: Floats, critical: Floats, power: float) -> Floats:
    """Between 0 and the answer for the upper tail alone, which needs a little more."""
    low = np.zeros_like(critical)
    high = np.asarray(special.nctdtrinc(df, 1 - power, critical)) * (1 + 1e-6)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        enough = power_of(middle, df, critical) >= power
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return np.asarray((low + high) / 2)


def noncentrality_f(rank: ArrayLike, df: ArrayLike, critical: ArrayLike, power: float = POWER) -> Floats:
    """Noncentrality of F that is found with a given power.

    Parameters
    ----------
    rank, df, critical
        arrays that broadcast: degrees of freedom of F, and the value that it must exceed. An infinite one
        gives infinity.
    power
        Above the error rate and below 1.

    Returns
    -------
    ndarray of the common shape
        The sum of squares of the true effects over the error variance.

    References
    ----------
    Johnson, Kotz and Balakrishnan 1995, Continuous univariate distributions 2, chapter 30 (noncentral F).
    """
    first, second, limit = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (rank, df, critical)))
    found = np.where(np.isnan(second) | np.isnan(limit), np.nan, np.inf)
    good = np.isfinite(second) & np.isfinite(limit)
    low, high = np.zeros(good.sum()), np.ones(good.sum())
    shape = first[good], second[good]
    while (short := special.ncfdtr(*shape, high, limit[good]) > 1 - power).any():
        high = np.where(short, 2 * high, high)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        enough = special.ncfdtr(*shape, middle, limit[good]) <= 1 - power
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    found[good] = (low + high) / 2
    return found


def detectable(
    data: Floats,
    design: RowDesign,
    *,
    covariate: Floats | None = None,
    values: Floats | None = None,
    permutations: int = 1000,
    alpha: float = 0.05,
    seed: int = 0,
    power: float = POWER,
) -> Detectable:
    """Minimal detectable effects from the variance of a study's own rows.

    The critical value of the family is that of the largest statistic over rearrangements of the rows, after
    all effects were taken out, so that real effects do not raise it.

    Parameters
    ----------
    data
        ndarray of shape (n, n_features), or (q, n, n_features): one row per person; features with missing
        values give NaN.
    design
        How it is tested.
    covariate
        ndarray of the shape of `data`: a column that each feature has of its own. Effects are then adjusted
        ones, for people with these very baselines.
    values
        With rows of q values, ndarray of shape (k, q): the combinations of them that are read, such as the
        differences between every two time points.
    permutations, seed
        For the critical value of the family.
    alpha
        Two-sided error of a single test, and of the family.
    power
        Wanted probability that the effect is found.

    Returns
    -------
    Detectable
        Exact for normal rows and one variance; with a variance per group the noncentral t with the
        Welch-Satterthwaite degrees of freedom is an approximation, and so is the noncentral F with those
        of G.

    Raises
    ------
    DesignError
        See `conn.glm.make_model`; also an F of several columns in rows of several values, for which no single
        number says what is found.

    References
    ----------
    Westfall and Young 1993 (critical value of the family); Johnson, Kotz and Balakrishnan 1995, chapters 30
    and 31.
    """
    rows = np.asarray(data, dtype=np.float64)
    basis = np.linalg.qr(design.matrix)[0]
    own = None if covariate is None else own_direction(covariate, basis)
    nothing = design.test(unexplained(rows, basis, own), permutations, seed, covariate)
    family = inference.correct([nothing], alpha)
    sd, se = _hardest(rows, design, covariate, values)
    sd, se, df = (np.where(nothing.valid, one, np.nan) for one in (sd, se, nothing.df))
    at, scale = family.critical, family.scale
    needed = partial(_needed, df, nothing.rank, power=power)
    limits = _alone(df, nothing.rank, alpha), _on_statistic(at, scale, df, nothing.rank)
    single, corrected = (se * needed(limit) for limit in limits)
    return Detectable(sd, se, df, single, corrected, at, scale)


def _needed(df: Floats, rank: int, critical: Floats, power: float) -> Floats:
    """Effect over standard error: of t, or of one difference that an F is about."""
    if rank == 0:
        return noncentrality(df, critical, power)
    return np.asarray(np.sqrt(noncentrality_f(rank, df, critical, power)))


def _alone(df: Floats, rank: int, alpha: float) -> Floats:
    return np.asarray(stats.f.isf(alpha, rank, df) if rank else special.stdtrit(df, 1 - alpha / 2))


def _on_statistic(critical: float, scale: str, df: Floats, rank: int) -> Floats:
    """A critical value of the family as t or F of each feature."""
    if scale != "z":
        return np.full_like(df, critical)
    if rank == 0:
        return glm.z_to_t(critical, df)
    return np.asarray(stats.f.isf(2 * special.ndtr(-critical), rank, df))


def _hardest(
    rows: Floats, design: RowDesign, covariate: Floats | None, values: Floats | None
) -> tuple[Floats, Floats]:
    """Standard deviation of a row, and standard error, of the estimate that varies most in each feature."""
    read = rows[None] if rows.ndim == 2 else _combined(rows, values)
    found = [
        _standard(one, design, weights, covariate) for one in read for weights in differences(design, rows)
    ]
    sd, se = (np.stack(part) for part in zip(*found, strict=True))
    worst = np.argmax(np.nan_to_num(se), axis=0)[None]
    return np.take_along_axis(sd, worst, 0)[0], np.take_along_axis(se, worst, 0)[0]


def _combined(rows: Floats, values: Floats | None) -> Floats:
    if values is None or values.shape[-1] != rows.shape[0]:
        shape = None if values is None else values.shape
        raise DesignError(f"rows have {rows.shape[0]} values; combinations of them have shape {shape}")
    return np.tensordot(values, rows, axes=1)


def differences(design: RowDesign, rows: Floats) -> list[Floats]:
    """Weights of the coefficients, each of shape (p,): the estimate of a t; of an F, of every two groups.

    Raises
    ------
    DesignError
        An F that is not about groups, or about groups in rows of several values.
    """
    weights = np.atleast_2d(design.contrast)
    if len(weights) == 1:
        return [weights[0]]
    if not design.compares_groups or rows.ndim == 3:
        raise DesignError(
            "an F of several columns that are not groups, or of several groups in rows of several values, "
            "has no smallest effect of its own; test columns one by one"
        )
    first = np.unique(design.groups, return_index=True)[1]
    means = np.zeros((first.size, design.matrix.shape[1]))
    means[:, design.columns] = design.matrix[first][:, design.columns]
    return [means[i] - means[j] for i, j in combinations(range(first.size), 2)]


def _standard(
    data: Floats, design: RowDesign, weights: Floats, covariate: Floats | None
) -> tuple[Floats, Floats]:
    """Standard deviation of a row, and standard error of one estimate."""
    single = replace(design, contrast=weights)
    model = glm.make_model(design.matrix, weights, design.variances)
    if covariate is None:
        se = (fit_robust(data, model) if design.own_variances else glm.fit(data, model)).se
        return se / np.linalg.norm(model.weights), se
    fitted = single.test(data, 1, 0, covariate)
    shared = own_direction(covariate, model.nuisance).T @ model.effect[:, 0]
    return fitted.se * np.sqrt(1 - shared**2) / np.linalg.norm(model.weights), fitted.se


def of_outcome(found: Detectable, data: Floats, design: RowDesign, covariate: Floats | None) -> Detectable:
    """Smallest slopes of the tested column on the data, where the data were regressed on that column.

    Both slopes have one partial correlation and one t. They differ by the ratio of what the other columns
    leave of the sums of squares of both.

    Parameters
    ----------
    found
        Of the data on the tested column, see `detectable`.
    data, design, covariate
        As in `detectable`, of one value in each row and one tested column.

    Returns
    -------
    Detectable
        `sd` is that of the tested column.

    See Also
    --------
    conn.effects.other_side : The same of an estimate.
    """
    (column,) = design.columns
    basis = np.linalg.qr(np.delete(design.matrix, column, axis=1))[0]
    own = None if covariate is None else own_direction(covariate, basis)
    outcome = np.repeat(design.matrix[:, [column]], data.shape[1], axis=1)
    x, y = (np.square(unexplained(one, basis, own)).sum(axis=0) for one in (data, outcome))
    with np.errstate(invalid="ignore", divide="ignore"):
        turn = y / x
    units = {name: getattr(found, name) * turn for name in ("se", "single", "family")}
    return replace(found, sd=found.sd * np.sqrt(turn), **units)


def foreseen(
    row_sd: Floats,
    design: RowDesign,
    n_tests: int,
    *,
    n_values: int = 1,
    own: int = 0,
    alpha: float = 0.05,
    power: float = POWER,
) -> Detectable:
    """Minimal detectable effect before there are data, from the standard deviation of each row.

    Parameters
    ----------
    row_sd
        ndarray of shape (n,): of the error of each person's row; of rows of several values, of the
        combination of them that varies most.
    design
        How it is tested.
    n_tests
        Size of the family. Its tests count as independent (Šidák), which is the worst case among positively
        related ones: the real critical value is lower.
    n_values
        Of a row.
    own
        Columns that each feature has of its own beside the matrix, for which degrees of freedom are lost.
    alpha
        Two-sided error of a single test, and of the family.
    power
        Wanted probability that the effect is found.

    Returns
    -------
    Detectable
        Arrays of shape (1,).

    Raises
    ------
    DesignError
        See `conn.glm.make_model`; also standard deviations of another number of rows.

    References
    ----------
    Šidák 1967, 10.1080/01621459.1967.10482935.
    """
    if row_sd.shape != (design.n,):
        raise DesignError(f"row_sd has shape {row_sd.shape}; the design matrix has {design.n} rows")
    variance, shape = np.square(row_sd), np.zeros((n_values, design.n, 0))
    every = differences(design, shape if n_values > 1 else shape[0])
    models = [glm.make_model(design.matrix, weights, design.variances) for weights in every]
    se = np.max([np.sqrt([np.square(model.weights) @ variance]) for model in models], axis=0)
    worst = max(models, key=lambda model: float(np.square(model.weights) @ variance))
    rank, df = _freedom(design, variance, n_values)
    df = df - own
    alone = _alone(df, rank, alpha)
    limit = _alone(df, rank, 1 - (1 - alpha) ** (1 / n_tests))
    single, family = (se * _needed(df, rank, one, power) for one in (alone, limit))
    scale = "F" if rank else "t"
    return Detectable(se / np.linalg.norm(worst.weights), se, df, single, family, float(limit[0]), scale)


def _freedom(design: RowDesign, variance: Floats, n_values: int) -> tuple[int, Floats]:
    """First degrees of freedom of F, or 0 for t, and second ones of shape (1,)."""
    model = glm.make_model(design.matrix, design.contrast, design.variances)
    if n_values > 1:
        own = degrees(model.rank, n_values, model.df)
        return int(own.first), np.array([own.second])
    mean = np.array([variance[model.groups == g].mean() for g in range(model.n_groups)])[:, None]
    if model.rank == 1:
        single = glm.make_model(design.matrix, np.ravel(design.contrast), design.variances)
        return 0, glm.variance_and_df(single, mean * model.group_df[:, None])[1]
    if model.n_groups == 1:
        return model.rank, np.array([model.df])
    return model.rank, f_scale(model.rank, *johansen(model.loads, mean, model.group_df))[1]
