"""Which rows share an error variance: all, those of a group, or none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.config import formula
from conn.design.columns import formula_terms, header
from conn.design.phrases import and_words, subjects_words
from conn.design.plans import Plan, weighted_words
from conn.design.rows import Rows, cell_names, row_cells
from conn.design.source import Source
from conn.errors import DesignError

FEWEST_IN_COMBINATION = 5
"""People that a combination of a formula's categories needs to have a variance of its own."""


@dataclass(frozen=True, eq=False)
class Variances:
    """Which rows share an error variance.

    Attributes
    ----------
    groups
        ndarray of shape (n,), int; all equal with one variance.
    names
        Of each value of `groups`; empty with one variance.
    own
        Each row has a variance of its own.
    """

    groups: NDArray[np.int64]
    names: tuple[str, ...] = ()
    own: bool = False


def variances(source: Source, plan: Plan, rows: Rows, robust: bool) -> Variances:
    """The cells when their sizes differ: one variance for all would then be far from calibrated.

    A slope has no cells; people whose predictor is extreme may vary more, so that each row has a variance of
    its own.

    Parameters
    ----------
    source, plan, rows
        What is compiled.
    robust
        See `conn.config.model.Inference.robust_slopes`.
    """
    same = np.zeros(len(rows.people), dtype=np.int64)
    if robust and plan.exchange == "labels" and not plan.joint and _tests_a_number(source, plan, rows):
        return Variances(same, own=True)
    if plan.effect_type == "outcome":  # the error is that of the outcome, which is not the data
        return Variances(same)
    if plan.terms == "formula":
        groups, names = _combinations(source, plan, rows)
    else:
        groups, names = row_cells(plan, rows), plan.levels
    sizes = np.bincount(groups, minlength=max(1, len(names)))
    return Variances(groups, names) if np.ptp(sizes) > 0 else Variances(same)


def _tested_names(source: Source, plan: Plan, rows: Rows) -> list[str]:
    """Variables of a formula that the tested columns are made of."""
    tested = {header(name) for weights in plan.tested for name in weights}
    found = [term for name, _, term in formula_terms(source, plan, rows) if header(name) in tested]
    return list(dict.fromkeys(name for term in found for name in term))


def _tests_a_number(source: Source, plan: Plan, rows: Rows) -> bool:
    if plan.terms == "formula":
        return any(rows.columns[name].kind == "number" for name in _tested_names(source, plan, rows))
    return plan.terms in ("predictor", "by_arm")


def per_unit(source: Source, plan: Plan, rows: Rows) -> str:
    """The tested columns in words where a number is among them; else empty."""
    if not _tests_a_number(source, plan, rows):
        return ""
    return and_words([weighted_words(weights) for weights in plan.tested])


def _combinations(source: Source, plan: Plan, rows: Rows) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Combinations of a formula's categories, and their names.

    Categories that are not tested leave, the last one first, until every combination has enough people: a
    variance of two or three people is worse than a shared one.
    """
    tested = _tested_names(source, plan, rows)
    used = [name for name in formula.names(plan.formula) if rows.columns[name].kind == "category"]
    while True:
        cells = ["/".join(map(str, cell)) for cell in zip(*map(rows.cells, used), strict=True)]
        names = sorted(set(cells))
        groups = np.array([names.index(cell) for cell in cells] or [0] * len(rows.people), dtype=np.int64)
        others = [name for name in used if name not in tested]
        if not others or np.bincount(groups).min() >= FEWEST_IN_COMBINATION:
            return groups, tuple(names)
        used.remove(others[-1])


def check_variances(
    source: Source,
    plan: Plan,
    rows: Rows,
    matrix: NDArray[np.float64],
    contrast: NDArray[np.float64],
    own: Variances,
) -> None:
    """Refuse a variance, or covariance of several values, that has no degrees of freedom.

    Raises
    ------
    DesignError
        A group that is too small, or a person who alone decides on a slope.
    """
    q = np.linalg.qr(matrix)[0]
    left = 1 - np.einsum("ij,ij->i", q, q)
    if own.own:
        weights = contrast @ np.linalg.pinv(matrix)
        alone = np.flatnonzero((left < 1e-8) & (np.abs(weights) > 1e-8 * np.abs(weights).max()))
        if alone.size:
            raise DesignError(
                f"{source.key}: {subjects_words([rows.people[i] for i in alone])} alone decides on the slope "
                "of the tested column, so that its error has no variance. Leave the subject out by subset."
            )
    values = _values_in_a_row(source, plan)
    for code, name in enumerate(own.names and (cell_names(plan) or own.names)):
        members = own.groups == code
        if members.sum() < 2:
            raise DesignError(
                f"{source.key}: {name} has one subject, which has no variance. Merge levels, or leave the "
                "subject out by subset."
            )
        if left[members].sum() < 1e-6:
            raise DesignError(
                f"{source.key}: covariates and strata leave no degrees of freedom for the variance of "
                f"{name} ({int(members.sum())} subjects). Remove some of them."
            )
        if values > 1 and left[members].sum() < values - 1e-6:
            raise DesignError(
                f"{source.key}: the groups differ in size, so that each needs an error covariance of its "
                f"own; {name} has {int(members.sum())} subjects and {left[members].sum():.3g} degrees of "
                f"freedom for that of {values} values. At least {values} are needed: name fewer points or "
                "seeds, or remove covariates or strata."
            )


def _values_in_a_row(source: Source, plan: Plan) -> int:
    """Most values of a row that are tested together: contrasts of time points, or of seeds."""
    several = len(plan.variates)
    if several > 1 or plan.baseline is not None or plan.sensitivity:
        return several
    return max([1, *(len(labels) - 1 for labels in source.model.seed_factors.values())])
