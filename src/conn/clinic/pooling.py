"""One effect estimated in several trials: common effect, heterogeneity, random effects, replicability.

Every function works on many features at once. A trial without an estimate of a feature takes no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from conn.errors import DesignError

Floats = NDArray[np.floating[Any]]

FEWEST_FOR_RANDOM = 3
"""Trials from which the variance between trials is estimated: with two it rests on one degree of freedom."""
STEPS = 60
"""Halvings of an interval that holds a variance between trials."""


@dataclass(frozen=True, eq=False)
class Estimates:
    """Estimates of trials.

    Attributes
    ----------
    effect, se, df
        ndarrays of shape (n_trials, n_features): estimate, its standard error and degrees of freedom; NaN
        where a trial has none.
    """

    effect: Floats
    se: Floats
    df: Floats

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which trials have an estimate of a feature, of shape (n_trials, n_features)."""
        found = np.isfinite(self.effect) & np.isfinite(self.se) & np.isfinite(self.df) & (self.se > 0)
        return np.asarray(found)

    @property
    def n(self) -> NDArray[np.int64]:
        """Trials with an estimate, of shape (n_features,)."""
        return np.asarray(self.there.sum(axis=0))

    @property
    def weights(self) -> Floats:
        """One over the squared standard error; 0 where there is no estimate."""
        with np.errstate(divide="ignore"):
            return np.where(self.there, 1 / np.square(self.se), 0.0)

    @property
    def t(self) -> Floats:
        """Estimate over standard error, NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.there, self.effect / self.se, np.nan)

    def limits(self, alpha: float) -> tuple[Floats, Floats]:
        """Limits of the interval of every trial, from its t distribution."""
        half = stats.t.ppf(1 - alpha / 2, np.where(self.there, self.df, np.nan)) * self.se
        return self.effect - half, self.effect + half


def estimates(effect: ArrayLike, se: ArrayLike, df: ArrayLike) -> Estimates:
    """Estimates of trials from arrays of shape (n_trials, n_features).

    Raises
    ------
    DesignError
        Arrays of different shapes, or fewer than two trials.
    """
    arrays = [np.asarray(one, dtype=np.float64) for one in (effect, se, df)]
    shapes = {one.shape for one in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 2:
        raise DesignError(
            f"effect, se and df have shapes {[one.shape for one in arrays]}; equal (n_trials, n_features) "
            "are needed"
        )
    if arrays[0].shape[0] < 2:
        raise DesignError("there is an estimate of one trial; a replication needs two")
    return Estimates(*arrays)


@dataclass(frozen=True, eq=False)
class Pooled:
    """A mean over trials with its interval; arrays of shape (n_features,), NaN with fewer than two trials.

    Attributes
    ----------
    effect, se, df
        Mean, its standard error, and the degrees of freedom of its t.
    low, high
        Limits of its interval.
    """

    effect: Floats
    se: Floats
    df: Floats
    low: Floats
    high: Floats


def common_effect(found: Estimates, alpha: float = 0.05) -> Pooled:
    """The mean of trials that share one effect, each weighted by one over its squared standard error.

    Weights come from estimated standard errors, and so vary by themselves. The squared standard error of the
    mean, 1 / Σw, is multiplied by 1 + 4 Σ h(1 - h) / df with the shares h = w / Σw, and t has
    1 / Σ(h² / df) degrees of freedom. With many people in every trial this is the usual interval.

    Parameters
    ----------
    found
        Estimates of trials.
    alpha
        The interval has coverage 1 - alpha.

    Returns
    -------
    Pooled

    References
    ----------
    Meier 1953, 10.2307/3001633.
    """
    weights = found.weights
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(axis=0)
        share = weights / total
        own_df = np.where(found.there, found.df, np.inf)
        effect = (share * _filled(found.effect, found)).sum(axis=0)
        widened = 1 + 4 * (share * (1 - share) / own_df).sum(axis=0)
        df = 1 / (np.square(share) / own_df).sum(axis=0)
        return _pooled(found, effect, np.sqrt(widened / total), df, alpha)


def _filled(values: Floats, found: Estimates) -> Floats:
    return np.where(found.there, values, 0.0)


def _pooled(found: Estimates, effect: Floats, se: Floats, df: Floats, alpha: float, least: int = 2) -> Pooled:
    enough = found.n >= least
    effect, se, df = (np.where(enough, one, np.nan) for one in (effect, se, df))
    half = stats.t.ppf(1 - alpha / 2, df) * se
    return Pooled(effect, se, df, effect - half, effect + half)


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """Whether trials differ by more than chance; arrays of shape (n_features,).

    Attributes
    ----------
    q, df
        Cochran's Q and one less than the number of trials.
    p
        Of Welch's F, which allows for estimated standard errors.
    p_chi2
        Of Q as chi-squared, which takes standard errors as known.
    tau2
        Variance of true effects between trials, by Paule and Mandel; 0 when Q does not exceed its degrees of
        freedom.
    i2, i2_low, i2_high
        Share of the variance of estimates that is variance between trials, with its interval by the
        Q profile.
    """

    q: Floats
    df: Floats
    p: Floats
    p_chi2: Floats
    tau2: Floats
    i2: Floats
    i2_low: Floats
    i2_high: Floats


def heterogeneity(found: Estimates, alpha: float = 0.05) -> Heterogeneity:
    """Whether trials differ by more than chance.

    Parameters
    ----------
    found
        Estimates of trials.
    alpha
        The interval of I² has coverage 1 - alpha.

    Returns
    -------
    Heterogeneity

    Notes
    -----
    With two trials Welch's F is the square of Welch's t of their difference, and I² rests on one degree of
    freedom: its interval is all but the whole range from 0 to 1, and is there to say so.

    References
    ----------
    Cochran 1954, 10.2307/3001666; Welch 1951, 10.1093/biomet/38.3-4.330; Higgins and Thompson 2002,
    10.1002/sim.1186; Paule and Mandel 1982, 10.6028/jres.087.022; Viechtbauer 2007, 10.1002/sim.2514.
    """
    enough = found.n >= 2
    q, df = _q(found, np.zeros(found.n.size)), found.n - 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        typical = _typical(found)
        tau2 = _tau2(found, df)
        low, high = (_tau2(found, np.asarray(stats.chi2.ppf(a, df))) for a in (1 - alpha / 2, alpha / 2))
        share = [tau / (tau + typical) for tau in (tau2, low, high)]
        p, p_chi2 = _welch(found, q, df), stats.chi2.sf(q, df)
    values = (q, df, p, p_chi2, tau2, *share)
    return Heterogeneity(*(np.where(enough, one, np.nan) for one in values))


def _q(found: Estimates, tau2: Floats) -> Floats:
    """Weighted sum of squares around the mean, with a variance between trials."""
    weights = _weights(found, tau2)
    effect = _filled(found.effect, found)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights * effect).sum(axis=0) / weights.sum(axis=0)
    return np.asarray((weights * np.square(effect - mean)).sum(axis=0))


def _weights(found: Estimates, tau2: Floats) -> Floats:
    variance = np.where(found.there, np.square(found.se), 1.0) + tau2
    return np.where(found.there, 1 / variance, 0.0)


def _typical(found: Estimates) -> Floats:
    """The variance within a typical trial, by which I² turns a variance between trials into a share."""
    weights = found.weights
    total = weights.sum(axis=0)
    return np.asarray((found.n - 1) * total / (total**2 - np.square(weights).sum(axis=0)))


def _tau2(found: Estimates, wanted: Floats) -> Floats:
    """The variance between trials at which Q is as large as wanted; 0 where it is smaller without any."""
    zero = np.zeros(found.n.size)
    reach = np.ptp(np.where(found.there, found.effect, np.nanmean(found.effect)), axis=0)
    # At this variance Q is at most n · range² / tau2, which is below what is wanted.
    low, high = zero, np.where(wanted > 0, found.n * reach**2 / wanted, 0.0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        above = _q(found, middle) > wanted
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(_q(found, zero) > wanted, (low + high) / 2, 0.0)


def _welch(found: Estimates, q: Floats, df: Floats) -> Floats:
    """P of Welch's F for means with estimated variances."""
    weights, n = found.weights, df + 1
    share = weights / weights.sum(axis=0)
    own_df = np.where(found.there, found.df, np.inf)
    spread = (np.square(1 - share) / own_df * found.there).sum(axis=0)
    f = (q / df) / (1 + 2 * (n - 2) / (n**2 - 1) * spread)
    return np.asarray(stats.f.sf(f, df, (n**2 - 1) / (3 * spread)))


@dataclass(frozen=True, eq=False)
class RandomEffects:
    """The mean over trials whose true effects differ; arrays of shape (n_features,), NaN below three trials.

    Attributes
    ----------
    mean
        With the modified interval of Hartung, Knapp, Sidik and Jonkman.
    predicted_low, predicted_high
        Where the true effect of a further trial is to be expected.
    """

    mean: Pooled
    predicted_low: Floats
    predicted_high: Floats


def random_effects(found: Estimates, tau2: Floats, alpha: float = 0.05) -> RandomEffects:
    """The mean over trials whose true effects differ, from three trials on.

    Parameters
    ----------
    found
        Estimates of trials.
    tau2
        ndarray of shape (n_features,), see `heterogeneity`.
    alpha
        Intervals have coverage 1 - alpha.

    Returns
    -------
    RandomEffects

    Notes
    -----
    The interval is never narrower than with the factor 1 (Röver et al. 2015): with similar trials the plain
    one can be shorter than that of the common effect.

    References
    ----------
    Hartung and Knapp 2001, 10.1002/sim.791; Sidik and Jonkman 2002, 10.1002/sim.1262; Röver, Knapp and Friede
    2015, 10.1186/s12874-015-0091-1; Higgins, Thompson and Spiegelhalter 2009,
    10.1111/j.1467-985X.2008.00552.x (prediction).
    """
    weights, n = _weights(found, tau2), found.n.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(axis=0)
        effect = (weights * _filled(found.effect, found)).sum(axis=0) / total
        factor = np.maximum(_q(found, np.nan_to_num(tau2)) / (n - 1), 1.0)
        mean = _pooled(found, effect, np.sqrt(factor / total), n - 1, alpha, FEWEST_FOR_RANDOM)
        half = stats.t.ppf(1 - alpha / 2, np.where(n > 2, n - 2, np.nan)) * np.sqrt(tau2 + mean.se**2)
    return RandomEffects(mean, mean.effect - half, mean.effect + half)


def same_sign(found: Estimates) -> NDArray[np.int64]:
    """How many of the trials with an estimate agree in their sign: the larger of the two groups."""
    sign = np.sign(_filled(found.effect, found))
    return np.asarray(np.maximum((sign > 0).sum(axis=0), (sign < 0).sum(axis=0)))


def replicability(found: Estimates) -> Floats:
    """P that fewer than two trials have an effect in one direction (partial conjunction).

    For each direction the second smallest one-sided p, times the number of trials that could be the second
    (one less than there are); the smaller of both directions, doubled. With two trials it is twice the larger
    of the two one-sided p of the same direction.

    Parameters
    ----------
    found
        Estimates of trials; one-sided p come from their t distributions.

    Returns
    -------
    ndarray of shape (n_features,)
        NaN with fewer than two trials.

    References
    ----------
    Benjamini and Heller 2008, 10.1111/j.1541-0420.2007.00984.x; Heller, Bogomolov and Benjamini 2014,
    10.1073/pnas.1314814111.
    """
    df = np.where(found.there, found.df, np.nan)
    sides = [_second(special.stdtr(df, sign * found.t), found.n) for sign in (-1.0, 1.0)]
    p = np.minimum(2 * np.minimum(*sides), 1.0)
    return np.where(found.n >= 2, p, np.nan)


def _second(p: NDArray[Any], n: NDArray[np.int64]) -> Floats:
    """The second smallest p of each feature, Bonferroni over all but one of the trials."""
    ordered = np.sort(np.where(np.isfinite(p), p, 1.0), axis=0)
    return np.asarray(np.minimum((n - 1) * ordered[1], 1.0))
