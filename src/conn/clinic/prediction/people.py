"""What is known about people before the outcome: imaging, clinical values, covariates and site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.errors import DesignError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class People:
    """Raw values of people, one row each. Nothing here has been fitted to anything.

    Attributes
    ----------
    names
        Who they are, each once: folds are made of people.
    imaging
        ndarray of shape (n, n_features): connectivity in Fisher z, NaN where it is missing.
    clinical
        ndarray of shape (n, n_clinical): clinical predictors, NaN where missing.
    covariates
        ndarray of shape (n, n_covariates): what is removed from imaging inside every fold.
    site
        array of shape (n,): site or scanner, for harmonisation; None without.
    """

    names: tuple[str, ...]
    imaging: Floats
    clinical: Floats
    covariates: Floats
    site: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        n = len(self.names)
        if len(set(self.names)) < n:
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise DesignError(
                f"{twice} has {self.names.count(twice)} rows; prediction takes one row of a person, "
                "so that nobody is in the training and in the test part of a fold"
            )
        for what in ("imaging", "clinical", "covariates"):
            shape = getattr(self, what).shape
            if len(shape) != 2 or shape[0] != n:
                raise DesignError(f"{what} has shape {shape}; there are {n} people")
        if self.site is not None and self.site.shape != (n,):
            raise DesignError(f"site has shape {self.site.shape}; there are {n} people")

    @property
    def n(self) -> int:
        """Number of people."""
        return len(self.names)

    def take(self, rows: Ints) -> People:
        """Some of the people."""
        return People(
            tuple(self.names[row] for row in rows),
            self.imaging[rows],
            self.clinical[rows],
            self.covariates[rows],
            None if self.site is None else self.site[rows],
        )

    def without_imaging(self) -> People:
        """The same people, of whom only clinical values are known."""
        return replace(self, imaging=self.imaging[:, :0], covariates=self.covariates[:, :0], site=None)

    def exchanged(self, order: Ints) -> People:
        """Row i takes all values of row ``order[i]``, which is the same as permuting the outcome.

        Parameters
        ----------
        order
            ndarray of shape (n,).
        """
        return replace(self.take(order), names=self.names)


def people(
    names: Sequence[str],
    imaging: Any,
    clinical: Any = None,
    covariates: Any = None,
    site: Any = None,
) -> People:
    """`People` from anything like arrays; what is not given has no columns."""
    n = len(names)

    def block(values: Any) -> Floats:
        return np.zeros((n, 0)) if values is None else np.asarray(values, dtype=np.float64)

    where = None if site is None else np.asarray(site)
    return People(tuple(names), block(imaging), block(clinical), block(covariates), where)
