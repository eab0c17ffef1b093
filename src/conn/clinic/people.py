"""People of an association: their connectivity, their scores, and what is held constant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conn.clinic.correlations import ranked
from conn.clinic.resampling import Rows

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class People:
    """Connectivity and scores of people; all rows are complete but for features that somebody lacks.

    Attributes
    ----------
    connectivity
        ndarray of shape (n, n_features): Fisher z, or its change; a feature with a NaN is not tested.
    scores
        ndarray of shape (n, n_scales): scores, or their change.
    arms
        ndarray of shape (n,): arm of each person.
    levels
        The arms, in the order in which they are compared. One: there are no arms.
    covariates
        ndarray of shape (n, q) of what is held constant beside arms; q may be 0.
    strata
        ndarray of shape (n,): people change places within these, and within arms. Differences between cells
        of arm and stratum are held constant.
    baseline
        ndarray of shape (n, n_features): baseline of each feature, held constant; None for none.
    score_baselines
        ndarray of shape (n, n_scales): baseline of each scale, held constant; None for none.
    """

    connectivity: Floats
    scores: Floats
    arms: NDArray[np.str_]
    levels: tuple[str, ...]
    covariates: Floats
    strata: NDArray[np.str_]
    baseline: Floats | None = None
    score_baselines: Floats | None = None

    @property
    def n(self) -> int:
        """Number of people."""
        return len(self.connectivity)

    def of(self, rows: NDArray[np.bool_] | Rows) -> People:
        """Some of the people."""
        return People(
            self.connectivity[rows],
            self.scores[rows],
            self.arms[rows],
            tuple(arm for arm in self.levels if (self.arms[rows] == arm).any()),
            self.covariates[rows],
            self.strata[rows],
            None if self.baseline is None else self.baseline[rows],
            None if self.score_baselines is None else self.score_baselines[rows],
        )

    def scale(self, place: int) -> People:
        """One of the scales alone."""
        own = None if self.score_baselines is None else self.score_baselines[:, [place]]
        return replace(self, scores=self.scores[:, [place]], score_baselines=own)

    @property
    def held(self) -> Floats:
        """A constant for each cell, and covariates; shape (n, p)."""
        cells = self.cells
        columns = [(cells == cell).astype(np.float64)[:, None] for cell in np.unique(cells)]
        return np.concatenate([*columns, self.covariates - self.covariates.mean(axis=0)], axis=1)

    def nuisance(self, scale: int) -> Floats:
        """What is held constant with the baseline of a scale; shape (n, p)."""
        if self.score_baselines is None:
            return self.held
        own = self.score_baselines[:, [scale]]
        return np.concatenate([self.held, own - own.mean(axis=0)], axis=1)

    def by_arm(self, values: Floats) -> Floats:
        """A column for each arm: the values of its people about their mean, 0 for the others; (n, n_arms)."""
        columns = []
        for arm in self.levels:
            own = self.arms == arm
            columns.append(np.where(own, values - values[own].mean(), 0.0))
        return np.column_stack(columns)

    @property
    def cells(self) -> NDArray[np.int64]:
        """Number of the cell of arm and stratum of each person, of shape (n,)."""
        pairs = list(zip(self.arms.tolist(), self.strata.tolist(), strict=True))
        order = {pair: place for place, pair in enumerate(sorted(set(pairs)))}
        return np.array([order[pair] for pair in pairs], dtype=np.int64)

    @property
    def n_held(self) -> int:
        """Columns that are held constant beside cells."""
        baselines = (self.baseline is not None) + (self.score_baselines is not None)
        return int(self.covariates.shape[1]) + baselines

    @property
    def df(self) -> int:
        """Degrees of freedom of a partial correlation."""
        return self.n - np.unique(self.cells).size - self.n_held - 1

    @property
    def complete(self) -> NDArray[np.int64]:
        """Features that everybody has."""
        there = np.isfinite(self.connectivity).all(axis=0)
        if self.baseline is not None:
            there &= np.isfinite(self.baseline).all(axis=0)
        return np.flatnonzero(there)

    @property
    def ranks(self) -> People:
        """Everything but arms as ranks over all people; a feature that somebody lacks is NaN."""
        there = self.complete

        def of_features(values: Floats) -> Floats:
            found = np.full_like(values, np.nan)
            found[:, there] = ranked(values[:, there])
            return found

        own = self.score_baselines
        return replace(
            self,
            connectivity=of_features(self.connectivity),
            scores=ranked(self.scores),
            covariates=ranked(self.covariates),
            baseline=None if self.baseline is None else of_features(self.baseline),
            score_baselines=None if own is None else ranked(own),
        )
