"""The rows of a contrast and how they are tested, as far as null data and smallest effects need to know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn import inference
from conn.glm import Floats
from conn.permutation import Exchange, PermutationSet, permutation_set

Codes = NDArray[np.int64]


def by_group(column: Floats, groups: Codes, first: Codes) -> bool:
    """Whether all rows of a group have the same value.

    Parameters
    ----------
    column
        ndarray of shape (n,).
    groups
        ndarray of shape (n,): codes from 0 on.
    first
        Of shape (n_groups,): a row of each group.
    """
    return bool(np.allclose(column, column[first][groups], rtol=0, atol=1e-12))


@dataclass(frozen=True, eq=False)
class RowDesign:
    """How the rows of a contrast are tested.

    Attributes
    ----------
    matrix : ndarray of shape (n, p)
        Full column rank; with groups the first column is the intercept.
    contrast : ndarray of shape (p,) or (r, p)
        Every row picks one column, each another. One dimension is a t, two are an F of r columns.
    exchange
        ``flips`` or ``labels``.
    strata : ndarray of shape (n,), int
        Rows change places within equal values.
    variance_groups : ndarray of shape (n,), int
        Rows of equal value share a variance.
    groups : ndarray of shape (n,), int
        The group of each row; all equal when the design has none.
    has_nuisance
        Whether the test has nuisance that changes when rows are exchanged.
    own_variances
        Each row has an error variance of its own.
    """

    matrix: Floats
    contrast: Floats
    exchange: Exchange
    strata: Codes
    variance_groups: Codes
    groups: Codes
    has_nuisance: bool
    own_variances: bool = False

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.matrix.shape[0])

    @property
    def columns(self) -> list[int]:
        """Places of the tested columns."""
        return [int(np.argmax(np.abs(row))) for row in np.atleast_2d(self.contrast)]

    @property
    def tested(self) -> NDArray[Any]:
        """What tells rows apart under exchange, of shape (n,): the tested column, or a code of the level."""
        effect = self.matrix[:, self.columns]
        if self.contrast.ndim == 1:
            return np.asarray(effect[:, 0])
        codes = np.unique(np.round(effect, 9), axis=0, return_inverse=True)[1]
        return np.asarray(codes, dtype=np.int64).reshape(self.n)

    @property
    def compares_groups(self) -> bool:
        """Whether what is tested says nothing but the group; a number beside groups says more."""
        codes, first = np.unique(self.groups, return_index=True)
        if self.exchange != "labels" or codes.size < 2:
            return False
        return all(by_group(self.matrix[:, j], self.groups, first) for j in self.columns)

    @property
    def variances(self) -> Codes | None:
        """Variance groups as tests want them: None when all rows share one variance."""
        return self.variance_groups if np.ptp(self.variance_groups) else None

    def of(self, rows: Codes) -> RowDesign:
        """Some of the rows, or some of them several times."""
        named = ("matrix", "strata", "variance_groups", "groups")
        return replace(self, **{name: getattr(self, name)[rows] for name in named})

    def rearrangements(self, permutations: int, seed: int) -> PermutationSet:
        """The permutation set of the test."""
        return permutation_set(
            self.n,
            self.exchange,
            strata=self.strata,
            matrix_effect=self.tested,
            n_permutations=permutations,
            seed=seed,
            has_nuisance=self.has_nuisance,
            joint=self.contrast.ndim == 2,
        )

    def test(
        self, data: Floats, permutations: int, seed: int, covariate: Floats | None = None
    ) -> inference.TestResult:
        """Test rows as the program does.

        Parameters
        ----------
        data
            ndarray of shape (n, n_features), or (q, n, n_features) for rows of several values.
        permutations, seed
            Of the permutation set.
        covariate
            ndarray of shape (n, n_features): a column that each feature has of its own.

        Raises
        ------
        DesignError
            See `conn.inference.test`.
        """
        own = self.rearrangements(permutations, seed)
        return inference.test(
            data,
            self.matrix,
            self.contrast,
            own,
            self.variances,
            covariate=covariate,
            own_variances=self.own_variances and data.ndim == 2,
        )
