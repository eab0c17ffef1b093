"""People who change places: as they are, or their scans around what clinical values say about scans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.clinic.prediction.people import Floats, Ints, People
from conn.clinic.prediction.steps import filled, means


@dataclass(frozen=True, eq=False)
class Scans:
    """Scans in two parts, what clinical values and strata say about them and the rest.

    Attributes
    ----------
    people
        As they are.
    expected, rest
        ndarrays of shape (n, n_features + n_covariates); their sum are imaging and covariates, NaN where a
        value is missing.
    """

    people: People
    expected: Floats
    rest: Floats

    def moved(self, order: Ints) -> People:
        """Row i keeps what is expected of its scan and takes the rest of row ``order[i]``.

        Parameters
        ----------
        order
            ndarray of shape (n,). Site moves too; clinical values stay with the outcome.
        """
        who = self.people
        if np.array_equal(order, np.arange(who.n)):
            return who
        values = self.expected + self.rest[order]
        n_features = who.imaging.shape[1]
        site = None if who.site is None else who.site[order]
        return replace(who, imaging=values[:, :n_features], covariates=values[:, n_features:], site=site)


def scans(people: People, strata: NDArray[Any] | None = None) -> Scans:
    """Take scans apart by least squares on clinical values, within strata.

    Parameters
    ----------
    people
        Raw values; a missing clinical value counts as the mean.
    strata
        array of shape (n,): each has a mean of its own. Orders have to stay within them.

    Notes
    -----
    Exchanging whole scans would also undo what scans share with clinical values. Scans that repeat a clinical
    value disturb a model less than scans that are noise, so that the observed score would be compared with
    scores that are too low. So residuals are exchanged, as by Freedman and Lane. Nothing here looks at the
    outcome, so that nothing leaks although it is done outside the folds. Covariates of a scan are taken apart
    with it, so that slopes of imaging on them stay what they are.

    References
    ----------
    Freedman and Lane 1983, 10.1080/07350015.1983.10509354; Winkler et al. 2014,
    10.1016/j.neuroimage.2014.01.060.
    """
    values = np.column_stack([people.imaging, people.covariates])
    complete = filled(values, means(values))
    clinical = filled(people.clinical, means(people.clinical))
    cells = np.zeros(people.n) if strata is None else strata
    known = np.column_stack([cells[:, None] == np.unique(cells), clinical])
    expected = known @ np.linalg.lstsq(known, complete)[0]
    return Scans(people, expected, values - expected)
