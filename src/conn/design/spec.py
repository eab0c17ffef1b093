"""What a compiled design is: contrasts with their rows and matrices, families, and the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from conn.cohort import Person
from conn.combination import Unused
from conn.config.model import CombineRuns

Exchange = Literal["flips", "labels"]
EffectType = Literal["paired", "two_sample", "slope", "ancova", "outcome", "none"]
RunWeights = dict[str, float]
"""Run key to weight: a value of a row is the weighted sum of the runs' z."""

ROW_COLUMNS = (
    "contrast",
    "dataset",
    "subject",
    "level",
    "cell",
    "runs",
    "more_runs",
    "covariate_runs",
    "stratum",
    "variance_group",
)
"""First columns of `_design.tsv`; the columns of the matrix follow."""


@dataclass(frozen=True, eq=False)
class DesignContrast:
    """One contrast: its rows, its matrix, and what may be exchanged.

    Attributes
    ----------
    name
        As in `conn.config.contrasts`.
    words
        What is estimated, in words.
    confirmatory
        Planned before the data were seen.
    subjects
        Data set and subject of each of the n rows; sorted, each person once.
    run_weights
        Per row: run key to weight. The data of a row are the weighted sum of the runs' z. The runs of one
        time point share its weight in proportion to df - 2.
    matrix : ndarray of shape (n, p)
        The design matrix, without the covariate of `covariate_weights`.
    columns
        Names of its p columns.
    contrast : ndarray of shape (p,) or (r, p)
        Weights of the coefficients. One row of weights is a t; r rows are tested together by an F.
    exchange
        ``flips`` (of the sign of a row, all its values at once) or ``labels`` (rows change places).
    strata : ndarray of shape (n,), int
        Rows change places only within equal values.
    variance_groups : ndarray of shape (n,), int
        Rows that share a variance; all equal unless the groups differ in size.
    effect_type
        Which effect size applies; ``none`` for an F.
    dropped
        Data set, subject and reason in words of everybody else in the cohort.
    not_asked_for
        Those of `dropped` whom the model does not ask for: outside its subset or its groups. They are no
        loss.
    levels
        Names of the cells: the groups, the first minus the second; empty without groups.
    strata_names
        Name of each value of `strata`.
    cells : ndarray of shape (n,), int
        Index into `levels` of each row; zeros without groups.
    more_weights
        Weights like `run_weights` for the second and each further value of the rows; empty when a row is one
        number.
    covariate_weights
        Weights like `run_weights` for a covariate that every voxel or edge has of its own (its baseline);
        empty when there is none.
    sensitivity
        A repetition of another contrast with motion as a covariate. Never confirmatory.
    exchanged
        What changes places or sign, in words; empty for group labels.
    variance_names
        Name of each value of `variance_groups`; empty with one variance.
    own_variances
        Each row has an error variance of its own, see `conn.sandwich`.
    per_unit
        The number that is tested, or what is put together of columns with one; the estimate is per unit of it
        (of an `effect_type` of ``outcome``, in units of it). Empty where means or groups are compared.
    """

    name: str
    words: str
    confirmatory: bool
    subjects: tuple[Person, ...]
    run_weights: tuple[RunWeights, ...]
    matrix: NDArray[np.float64]
    columns: tuple[str, ...]
    contrast: NDArray[np.float64]
    exchange: Exchange
    strata: NDArray[np.int64]
    variance_groups: NDArray[np.int64]
    effect_type: EffectType
    dropped: tuple[tuple[str, str, str], ...]
    levels: tuple[str, ...] = ()
    strata_names: tuple[str, ...] = ("all",)
    not_asked_for: frozenset[Person] = frozenset()
    cells: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    more_weights: tuple[tuple[RunWeights, ...], ...] = ()
    covariate_weights: tuple[RunWeights, ...] = ()
    sensitivity: bool = False
    exchanged: str = ""
    variance_names: tuple[str, ...] = ()
    own_variances: bool = False
    per_unit: str = ""

    def __post_init__(self) -> None:
        if self.cells.size == 0:
            object.__setattr__(self, "cells", np.zeros(len(self.subjects), dtype=np.int64))

    @property
    def lost(self) -> tuple[tuple[str, str, str], ...]:
        """Those of `dropped` whom the model asks for: without an included run, or with a missing value."""
        return tuple(entry for entry in self.dropped if entry[:2] not in self.not_asked_for)

    @property
    def n(self) -> int:
        """Number of rows, which are people."""
        return len(self.subjects)

    @property
    def runs(self) -> tuple[str, ...]:
        """Keys of all runs that the rows and their covariate are made of, sorted."""
        values = (self.run_weights, *self.more_weights, self.covariate_weights)
        return tuple(sorted({run for rows in values for weights in rows for run in weights}))

    @property
    def statistic(self) -> Literal["t", "F"]:
        """Whether one combination of coefficients is tested, or several together."""
        return "t" if self.contrast.ndim == 1 else "F"

    @property
    def rank(self) -> int:
        """Number of combinations of coefficients that are tested together."""
        return 1 if self.contrast.ndim == 1 else int(self.contrast.shape[0])

    @property
    def n_variates(self) -> int:
        """Number of values of a row in each voxel or edge."""
        return 1 + len(self.more_weights)

    @property
    def tested(self) -> NDArray[Any]:
        """What tells rows apart under exchange, shape (n,): the tested column, or a code of the level."""
        effect = tested_columns(self.matrix, self.contrast)
        if self.statistic == "t":
            return np.asarray(effect[:, 0])
        codes = np.unique(np.round(effect, 9), axis=0, return_inverse=True)[1]
        return np.asarray(codes, dtype=np.int64).reshape(self.n)

    @property
    def row_levels(self) -> tuple[str, ...]:
        """The group of each row; empty without groups."""
        return tuple(self.levels[code] for code in self.cells) if self.levels else ()

    @property
    def counted_cells(self) -> NDArray[np.int64]:
        """Cells that need enough values where some are missing, shape (n,): groups, or those of variances."""
        return self.cells if self.levels else self.variance_groups

    @property
    def has_nuisance(self) -> bool:
        """Whether something beside what is tested and the intercept changes when rows are exchanged."""
        others = nuisance_columns(self.matrix, self.contrast)
        if self.covariate_weights:
            return True
        if self.exchange == "flips":
            return bool(others.shape[1] > 0)
        cells = (others[self.strata == stratum] for stratum in np.unique(self.strata))
        return bool(any(np.ptp(cell, axis=0).max(initial=0) > 1e-12 for cell in cells))


def tested_columns(matrix: NDArray[np.float64], contrast: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a matrix that a contrast tests.

    Parameters
    ----------
    matrix
        ndarray of shape (n, p).
    contrast
        ndarray of shape (p,) or (r, p).

    Returns
    -------
    ndarray of shape (n, r)
        Columns whose coefficients are the tested combinations; together with `nuisance_columns` they span
        the matrix.
    """
    weights = np.atleast_2d(contrast)
    chosen = _selected(weights)
    if chosen is not None:
        return np.asarray(matrix[:, chosen])
    return np.asarray(matrix @ np.linalg.pinv(weights))


def nuisance_columns(matrix: NDArray[np.float64], contrast: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of a matrix when the combinations that a contrast tests are 0; shape (n, p - r)."""
    weights = np.atleast_2d(contrast)
    chosen = _selected(weights)
    if chosen is not None:
        return np.asarray(np.delete(matrix, chosen, axis=1))
    return np.asarray(matrix @ linalg.null_space(weights))


def _selected(weights: NDArray[np.float64]) -> list[int] | None:
    """The columns when every row of the weights picks one, each another; else None."""
    picked = [np.flatnonzero(row).tolist() for row in weights]
    columns = [row[0] for row in picked if len(row) == 1]
    return columns if len(set(columns)) == len(picked) else None


@dataclass(frozen=True)
class Family:
    """A set of tests whose error rate is controlled together.

    Attributes
    ----------
    name
        As in the `family` column of result tables.
    contrast
        The contrast that all tests of the family share, and with it rows, error term and exchange.
    kinds
        ``maps``, ``edges`` or both.
    """

    name: str
    contrast: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Design:
    """A compiled model.

    Attributes
    ----------
    model
        Its name in the configuration.
    design
        As in `conn.config.model.CONTRASTS`.
    contrasts
        The primary one first, repetitions with motion as a covariate last.
    families
        Families of all contrasts.
    smallest_p
        Smallest attainable two-sided p of each contrast.
    notes
        Sentences for `conn check`.
    combine_runs
        What was taken of several runs of one time point.
    unused
        Included runs at the time points of the model that were not taken.
    """

    model: str
    design: str
    contrasts: tuple[DesignContrast, ...]
    families: tuple[Family, ...] = ()
    smallest_p: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    combine_runs: CombineRuns = "weighted"
    unused: tuple[Unused, ...] = ()
