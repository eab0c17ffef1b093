"""Location and scale of each site, shrunken by empirical Bayes (ComBat), learnt from the training part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.clinic.prediction.people import Floats

_TOLERANCE = 1e-8
_MOST = 1000
FEWEST = 3
"""A site with fewer people in the training part is shifted, but not scaled."""


@dataclass(frozen=True, eq=False)
class Harmonisation:
    """What harmonisation learnt.

    Attributes
    ----------
    sites
        Names; other sites are left as they are.
    mean, sd
        ndarrays of shape (n_features,): mean over sites weighted by their size, pooled SD within sites.
    shift, spread
        ndarrays of shape (n_sites, n_features): of each site in units of `sd`.
    """

    sites: tuple[str, ...]
    mean: Floats
    sd: Floats
    shift: Floats
    spread: Floats

    def apply(self, features: Floats, site: NDArray[Any]) -> Floats:
        """Bring features to common location and scale.

        Parameters
        ----------
        features
            ndarray of shape (n, n_features) without missing values.
        site
            array of shape (n,). A site that was not in the training part is left as it is, because nothing is
            known about it.
        """
        result = np.array(features, dtype=np.float64)
        for number, name in enumerate(self.sites):
            rows = site.astype(str) == name
            scaled = (result[rows] - self.mean) / self.sd
            result[rows] = (scaled - self.shift[number]) / self.spread[number] * self.sd + self.mean
        return result


def learn(features: Floats, site: NDArray[Any]) -> Harmonisation:
    """Learn the location and scale of sites. The outcome is never preserved, for it must not be known.

    Parameters
    ----------
    features
        ndarray of shape (n, n_features) without missing values.
    site
        array of shape (n,). With one site there is nothing to bring together, and nothing is changed.

    References
    ----------
    Johnson 2007, 10.1093/biostatistics/kxj037; for connectivity Yu 2018, 10.1002/hbm.24241.
    """
    names, code = np.unique(site.astype(str), return_inverse=True)
    groups = [np.flatnonzero(code == number) for number in range(names.size)]
    means = np.stack([features[rows].mean(axis=0) for rows in groups])
    sizes = np.array([rows.size for rows in groups])
    mean = sizes @ means / sizes.sum()
    sd = np.sqrt(((features - means[code]) ** 2).mean(axis=0))
    sd = np.where(sd > 0, sd, 1.0)
    scaled = (features - mean) / sd
    if names.size < 2:
        names = names[:0]
    fitted = [_site(scaled[rows]) for rows in groups[: names.size]]
    return Harmonisation(
        tuple(str(name) for name in names),
        mean,
        sd,
        np.array([shift for shift, _ in fitted]).reshape(names.size, features.shape[1]),
        np.array([spread for _, spread in fitted]).reshape(names.size, features.shape[1]),
    )


def _site(scaled: Floats) -> tuple[Floats, Floats]:
    """Shift and spread of one site; over features they have a normal and an inverse gamma prior."""
    n, n_features = scaled.shape
    means = scaled.mean(axis=0)
    if n_features < 2:
        return means, np.ones(n_features)
    prior, between = means.mean(), means.var(ddof=1)
    if n < FEWEST:
        return (between * n * means + prior) / (between * n + 1), np.ones(n_features)
    variances = scaled.var(axis=0, ddof=1)
    centre, around = variances.mean(), variances.var(ddof=1)
    if around <= 0:
        return means, np.sqrt(variances)
    a, b = 2 + centre**2 / around, centre + centre**3 / around
    shift, variance = means, variances
    for _ in range(_MOST):
        before = shift, variance
        shift = (between * n * means + variance * prior) / (between * n + variance)
        squares = (n - 1) * variances + n * (means - shift) ** 2
        variance = (squares / 2 + b) / (n / 2 + a - 1)
        if max(np.abs(shift - before[0]).max(), np.abs(variance - before[1]).max()) < _TOLERANCE:
            break
    return shift, np.sqrt(variance)
