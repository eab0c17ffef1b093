"""Null data sets that do not come from the exchange of the test: people drawn again, or one arm split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from conn.glm import Floats, residuals
from conn.row_design import Codes, RowDesign, by_group

Rng = np.random.Generator

FEWEST_IN_CELL = 3
FEWEST_IN_PART = 2


@dataclass(frozen=True, eq=False)
class NullSet:
    """Rows without an effect, and how they are tested.

    Attributes
    ----------
    data
        ndarray of shape (n, n_features), or (q, n, n_features) for rows of several values.
    design
        How they are tested.
    covariate
        ndarray of shape (n, n_features), or None.
    """

    data: Floats
    design: RowDesign
    covariate: Floats | None = None

    def of(self, rows: Codes) -> NullSet:
        """Some of the rows, or some of them several times."""
        covariate = None if self.covariate is None else self.covariate[rows]
        return NullSet(self.data[..., rows, :], self.design.of(rows), covariate)


def cells(design: RowDesign) -> Codes:
    """Within which rows people are drawn again: group × stratum, or the group when some cell is too small.

    Returns
    -------
    ndarray of shape (n,), int
    """
    both = np.unique(np.column_stack([design.groups, design.strata]), axis=0, return_inverse=True)[1]
    fine = np.asarray(both).reshape(-1).astype(np.int64)
    return fine if np.bincount(fine).min() >= FEWEST_IN_CELL else design.groups


def centred(data: Floats, design: RowDesign, covariate: Floats | None = None) -> Floats:
    """Rows without any effect, means of cells included; each cell keeps its own variance.

    Residuals of a cell are too small, since its mean and the covariates were fitted to it. That is made good
    by one factor per cell.

    Parameters
    ----------
    data
        ndarray of shape (n, n_features), or (q, n, n_features).
    design
        How it is tested.
    covariate
        ndarray of shape (n, n_features): of each feature's own; its slope is taken out too.

    Returns
    -------
    ndarray of the shape of data
    """
    codes = cells(design)
    dummies = (codes[:, None] == np.unique(codes)).astype(np.float64)
    left, values, _ = np.linalg.svd(np.column_stack([design.matrix, dummies]), full_matrices=False)
    basis = left[:, values > 1e-8 * values[0]]
    own = None if covariate is None else own_direction(covariate, basis)
    free = 1 - np.square(basis).sum(axis=1)[:, None] - (0.0 if own is None else np.square(own))
    factor = np.ones_like(free)
    for code in np.unique(codes):
        rows = codes == code
        factor[rows] = np.sqrt(rows.sum() / np.maximum(free[rows].sum(axis=0), 0.5))
    # The factor may bring back a little of the effects.
    return unexplained(unexplained(data, basis, own) * factor, basis, own)


def own_direction(covariate: Floats, basis: Floats) -> Floats:
    """What a covariate of each feature adds to a basis, of length 1, or 0 where it adds nothing."""
    rest = residuals(covariate, basis)
    length = np.linalg.norm(rest, axis=0)
    adds = length > 1e-8 * np.linalg.norm(covariate, axis=0)
    return np.asarray(np.where(adds, rest / np.where(adds, length, 1.0), 0.0))


def unexplained(data: Floats, basis: Floats, own: Floats | None) -> Floats:
    """Data without their projection on an orthonormal basis, and on what each feature's covariate adds."""
    left = residuals(data, basis)
    return left if own is None else left - own * (own * left).sum(axis=-2, keepdims=True)


def faultless(rng: Rng, data: Floats, design: RowDesign, covariate: Floats | None = None) -> Floats:
    """The rows without effects, rearranged at random as the test does: what it assumes then holds.

    People keep what is no fault: how noisy each of them is, and how edges go together.

    Parameters
    ----------
    rng
        Source of random numbers.
    data
        ndarray of shape (n, n_features), or (q, n, n_features): values of a person stay together.
    design
        How it is tested.
    covariate
        See `centred`; it stays where it is.

    Returns
    -------
    ndarray of the shape of data
    """
    rows = centred(data, design, covariate)
    if design.exchange == "flips":
        return np.asarray(rows * rng.choice([-1.0, 1.0], (design.n, 1)))
    order = np.arange(design.n)
    for code in np.unique(design.strata):
        own = np.flatnonzero(design.strata == code)
        order[own] = rng.permutation(own)
    return np.asarray(rows[..., order, :])


def resampled(rng: Rng, rows: NullSet) -> Iterator[NullSet]:
    """People drawn again within cells, each with all that the design says of the person."""
    codes = cells(rows.design)
    clean = replace(rows, data=centred(rows.data, rows.design, rows.covariate))
    members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    while True:
        yield clean.of(np.sort(np.concatenate([rng.choice(own, own.size) for own in members])))


def independent(rng: Rng, rows: NullSet) -> Iterator[NullSet]:
    """Rows drawn again, and values of what is tested drawn again independently of them."""
    clean, n = replace(rows, data=centred(rows.data, rows.design, rows.covariate)), rows.design.n
    while True:
        made = clean.of(rng.choice(n, n))
        matrix = made.design.matrix.copy()
        matrix[:, made.design.columns] = rows.design.matrix[rng.choice(n, n)][:, made.design.columns]
        yield replace(made, design=replace(made.design, matrix=matrix))


def arm_to_split(design: RowDesign) -> tuple[Codes, float]:
    """Rows of the largest arm, and how many of them the smallest part in the ratio of the groups has."""
    sizes = np.bincount(design.groups)
    arm = np.flatnonzero(design.groups == sizes.argmax())
    return arm, float(arm.size * sizes.min() / design.n)


def split(rng: Rng, rows: NullSet) -> Iterator[NullSet]:
    """The largest arm with random labels, as many of each in every stratum as the groups have of all people.

    What the matrix says of the groups follows the labels; all else stays with the people.
    """
    design = rows.design
    first = np.unique(design.groups, return_index=True)[1]
    shares = np.bincount(design.groups)[1:] / design.n
    of_groups = [j for j, column in enumerate(design.matrix.T) if by_group(column, design.groups, first)]
    arm = rows.of(arm_to_split(design)[0])
    while True:
        labels = _labels(rng, arm.design.strata, shares)
        if np.bincount(labels, minlength=first.size).min() >= FEWEST_IN_PART:
            matrix = arm.design.matrix.copy()
            matrix[:, of_groups] = design.matrix[first][labels][:, of_groups]
            variances = np.zeros_like(labels) if design.variances is None else labels
            made = replace(arm.design, matrix=matrix, groups=labels, variance_groups=variances)
            yield replace(arm, design=_estimable(made))


def _labels(rng: Rng, strata: Codes, shares: Floats) -> Codes:
    """Random group codes in the ratio of `shares`, those of the groups from 1 on, within strata."""
    labels = np.zeros(strata.size, dtype=np.int64)
    for code in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == code))
        ends = (np.r_[0.0, np.cumsum(shares)] * rows.size + rng.random()).astype(np.int64)
        for number in range(1, ends.size):
            labels[rows[ends[number - 1] : ends[number]]] = number
    return labels


def _estimable(design: RowDesign) -> RowDesign:
    """Without the covariates that say nothing within one arm; intercept and tested columns stay."""
    first = list(dict.fromkeys([0, *design.columns]))
    kept = list(first)
    for j in sorted(set(range(design.matrix.shape[1])) - set(first)):
        if np.linalg.matrix_rank(_scaled(design.matrix[:, [*kept, j]]), tol=1e-8) > len(kept):
            kept.append(j)
    return replace(design, matrix=design.matrix[:, kept], contrast=design.contrast[..., kept])


def _scaled(matrix: Floats) -> Floats:
    norms = np.linalg.norm(matrix, axis=0)
    return np.asarray(matrix / np.where(norms, norms, 1.0))
