"""How large an effect a design finds: the minimal detectable effect, from the variance of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn import glm, inference
from conn.errors import DesignError
from conn.glm import Floats
from conn.nulls import RowDesign
from conn.permutation import permutation_set
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
        Standard error of the estimate and its degrees of freedom.
    single, family
        Smallest effect that is found with the power asked for: in a test by itself, and corrected for the
        family. In units of the estimate; `family` is infinite when nothing can be significant.
    critical
        |statistic| that is needed in the family.
    scale
        ``t``, or ``z`` when degrees of freedom differ: of `critical`.
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


def detectable(
    data: Floats,
    design: RowDesign,
    *,
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
        ndarray of shape (n, n_features): one row per person; features with missing values give NaN.
    design
        How it is tested.
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
        Welch-Satterthwaite degrees of freedom is an approximation.

    Raises
    ------
    DesignError
        See `conn.glm.make_model`.

    References
    ----------
    Westfall and Young 1993 (critical value of the family); Johnson, Kotz and Balakrishnan 1995, chapter 31.
    """
    groups = _variance_groups(design)
    model = glm.make_model(design.matrix, design.contrast, groups)
    fit = (
        fit_robust(np.asarray(data, dtype=np.float64), model)
        if design.own_variances
        else glm.fit(data, model)
    )
    own = permutation_set(
        design.n,
        design.exchange,
        strata=design.strata,
        matrix_effect=design.tested,
        n_permutations=permutations,
        seed=seed,
        has_nuisance=design.has_nuisance,
    )
    left = glm.residuals(np.asarray(data, dtype=np.float64), np.linalg.qr(design.matrix)[0])
    nothing = inference.test(
        left, design.matrix, design.contrast, own, groups, own_variances=design.own_variances
    )
    family = inference.correct([nothing], alpha)
    se, df = np.where(fit.valid, fit.se, np.nan), np.where(fit.valid, fit.df, np.nan)
    limit = _on_t(family.critical, family.scale, df)
    return _detectable(se, df, limit, model, alpha, power, (family.critical, family.scale))


def _variance_groups(design: RowDesign) -> NDArray[Any] | None:
    return design.variance_groups if np.ptp(design.variance_groups) else None


def _on_t(critical: float, scale: str, df: Floats) -> Floats:
    return glm.z_to_t(critical, df) if scale == "z" else np.full_like(df, critical)


def _detectable(
    se: Floats,
    df: Floats,
    limit: Floats,
    model: glm.Model,
    alpha: float,
    power: float,
    critical: tuple[float, str],
) -> Detectable:
    single = se * noncentrality(df, special.stdtrit(df, 1 - alpha / 2), power)
    family = se * noncentrality(df, limit, power)
    return Detectable(se / np.linalg.norm(model.weights), se, df, single, family, *critical)


def foreseen(
    row_sd: Floats, design: RowDesign, n_tests: int, *, alpha: float = 0.05, power: float = POWER
) -> Detectable:
    """Minimal detectable effect before there are data, from the standard deviation of each row.

    Parameters
    ----------
    row_sd
        ndarray of shape (n,): of the error of each person's row.
    design
        How it is tested.
    n_tests
        Size of the family. Its tests count as independent (Šidák), which is the worst case among positively
        related ones: the real critical value is lower.
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
    model = glm.make_model(design.matrix, design.contrast, _variance_groups(design))
    variance = np.square(row_sd)
    mean = np.array([variance[model.groups == g].mean() for g in range(model.n_groups)])
    df = glm.variance_and_df(model, (mean * model.group_df)[:, None])[1]
    se = np.sqrt([np.square(model.weights) @ variance])
    limit = special.stdtrit(df, 0.5 + 0.5 * (1 - alpha) ** (1 / n_tests))
    return _detectable(se, df, limit, model, alpha, power, (float(limit[0]), "t"))
