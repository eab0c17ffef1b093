"""Columns of the matrix: groups, predictors, covariates, strata; and what makes them useless."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from conn.cohort import did_you_mean
from conn.config import formula
from conn.config.model import Variable
from conn.design.phrases import and_words, cell_words, subjects_words
from conn.design.plans import INTERCEPT, Plan, Weights, factorial_columns, group_columns, product_column
from conn.design.rows import Rows, factor_codes, row_cells
from conn.design.source import Source
from conn.design.spec import ROW_COLUMNS, nuisance_columns, tested_columns
from conn.errors import DesignError

Block = list[tuple[str, NDArray[np.float64]]]
"""Columns with their names."""


def matrix_columns(source: Source, plan: Plan, rows: Rows, strata: Sequence[str]) -> Block:
    """Intercept, the terms of the plan, covariates and strata, in this order.

    Parameters
    ----------
    source, plan, rows
        What is compiled.
    strata
        Name of the stratum of each row.

    Raises
    ------
    DesignError
        A constant column, or a covariate that says no more than the group.
    """
    blocks: Block = [(INTERCEPT, np.ones(len(rows.people)))]
    blocks += _terms(source, plan, rows)
    for reference in rows.covariates:
        _check_covariate(source, plan, rows, reference)
        blocks += _variable(source, rows, reference, "covariates")
    return [(header(name), values) for name, values in blocks + _dummies(strata, sorted(set(strata)))]


def _terms(source: Source, plan: Plan, rows: Rows) -> Block:
    if plan.terms == "predictor":
        reference = str(plan.predictor)
        return [(reference, _centred(source, rows, reference, "predictor"))]
    if plan.terms == "by_arm":
        return _by_arm(source, plan, rows)
    if plan.terms == "formula":
        return _formula_columns(source, plan, rows)
    if plan.terms == "sequence":
        return [(plan.order_column, np.where(row_cells(plan, rows) == 0, 1.0, -1.0))]
    if plan.terms == "factorial":
        one, other = (np.where(codes == 0, 0.5, -0.5) for codes in factor_codes(plan, rows))
        return list(zip(factorial_columns(plan.factors), (one, other, one * other), strict=True))
    if plan.terms == "groups":
        return _group_block(plan, rows)
    return []


def _by_arm(source: Source, plan: Plan, rows: Rows) -> Block:
    """Two arms, a number, and their product where that is tested."""
    reference = str(plan.predictor)
    values = _centred(source, rows, reference, "outcome" if plan.effect_type == "outcome" else "predictor")
    (arm,) = _group_block(plan, rows)
    product_name = product_column(plan.factors[0], reference)
    asked = any(product_name in weights for weights in plan.tested)
    return [arm, (reference, values), *([(product_name, arm[1] * values)] if asked else [])]


def _group_block(plan: Plan, rows: Rows) -> Block:
    """Each coefficient is a level minus the last one, the intercept the unweighted mean of all levels."""
    (factor,) = plan.factors
    codes, share = row_cells(plan, rows), 1 / len(factor.levels)
    columns = enumerate(group_columns(factor.levels))
    return [(name, np.where(codes == code, 1 - share, -share)) for code, name in columns]


def _formula_columns(source: Source, plan: Plan, rows: Rows) -> Block:
    """Centred columns of each name, and centred products of them."""
    return [(name, values) for name, values, _ in formula_terms(source, plan, rows)]


def formula_terms(
    source: Source, plan: Plan, rows: Rows
) -> Iterator[tuple[str, NDArray[np.float64], formula.Term]]:
    """Columns of a formula: their names and values, and the term that each belongs to."""
    own = {name: _variable(source, rows, name, "formula") for name in formula.names(plan.formula)}
    for term in formula.parse(plan.formula):
        for parts in product(*(own[name] for name in term)):
            values = np.prod([values for _, values in parts], axis=0)
            yield ":".join(name for name, _ in parts), values - values.mean(), term


def header(name: str) -> str:
    """A column name that cannot break a table or pass for a column of the rows."""
    text = " ".join(name.split())
    return f"{text} (covariate)" if text in ROW_COLUMNS else text


def contrast_weights(source: Source, plan: Plan, columns: Sequence[str]) -> NDArray[np.float64]:
    """Weights of the coefficients, of shape (p,) for a t and (r, p) for an F.

    Raises
    ------
    DesignError
        A column that is not there; combinations that depend on each other.
    """
    weights = np.array([_one_contrast(source, plan, columns, row) for row in plan.tested])
    if np.linalg.matrix_rank(weights) < len(weights):
        raise DesignError(f"{source.key}.tests.{plan.name}: the tested columns depend on each other")
    return np.asarray(weights if plan.joint else weights[0])


def _one_contrast(source: Source, plan: Plan, columns: Sequence[str], tested: Weights) -> NDArray[np.float64]:
    row = np.zeros(len(columns))
    for name, weight in tested.items():
        if header(name) not in columns:
            raise DesignError(
                f"{source.key}.tests.{plan.name}: the matrix has no column {name!r}; it has "
                f"{', '.join(columns)}.{did_you_mean(name, columns) or _first_level(name, columns)}"
            )
        row[columns.index(header(name))] = weight
    return row


def _first_level(name: str, columns: Sequence[str]) -> str:
    """A hint for a column that would be the first level of a category."""
    variable = name.split("=", maxsplit=1)[0]
    if "=" not in name or not any(column.startswith(f"{variable}=") for column in columns):
        return ""
    return f" The first level of {variable} has no column: the others are differences from it."


def _centred(source: Source, rows: Rows, reference: str, field: str) -> NDArray[np.float64]:
    values = np.array([float(value) for value in rows.cells(reference)])
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        what = " (as a difference)" if rows.columns[reference].time_varying else ""
        raise DesignError(
            f"{source.key}.{field}: {reference!r}{what} is {values[0]:g} in all {values.size} rows; a "
            "constant explains nothing. Remove it."
        )
    return np.asarray(values - math.fsum(values) / values.size)


def _variable(source: Source, rows: Rows, reference: str, field: str) -> Block:
    """A number becomes a centred column, a category centred dummies; both leave the intercept the mean."""
    if rows.columns[reference].kind == "number":
        return [(reference, _centred(source, rows, reference, field))]
    found = [str(value) for value in rows.cells(reference)]
    levels = _level_order(source.clinical.variables.get(reference), set(found))
    if len(levels) == 1:
        raise DesignError(
            f"{source.key}.{field}: {reference!r} is {levels[0]!r} in all {len(found)} rows; a constant "
            "explains nothing. Remove it."
        )
    return _dummies([f"{reference}={f}" for f in found], [f"{reference}={level}" for level in levels])


def _level_order(variable: Variable | None, found: set[str]) -> list[str]:
    """Configured order first, then the alphabet."""
    stated = list(dict.fromkeys(variable.levels.values())) if variable is not None else []
    return [level for level in stated if level in found] + sorted(found - set(stated))


def _dummies(cells: Sequence[str], levels: Sequence[str]) -> Block:
    """Centred indicators of all levels but the first."""
    flags = {level: np.array([cell == level for cell in cells], dtype=np.float64) for level in levels[1:]}
    return [(level, flag - flag.mean()) for level, flag in flags.items()]


def _check_covariate(source: Source, plan: Plan, rows: Rows, reference: str) -> None:
    """A covariate with one value in each group, and another in each, is the group under another name."""
    for factor in plan.factors:
        pairs = set(zip(rows.cells(factor.reference), rows.cells(reference), strict=True))
        if len(pairs) == len(factor.levels) and len({value for _, value in pairs}) == len(factor.levels):
            shown = ", ".join(f"{cell_words(value)} in {level}" for level, value in sorted(pairs, key=str))
            raise DesignError(
                f"{source.key}.covariates: {reference!r} says nothing but the {factor.field} "
                f"{factor.reference!r} ({shown}); their effects cannot be told apart. Remove it."
            )


def stratum_names(source: Source, rows: Rows) -> list[str]:
    """Name of the stratum of each row; ``all`` without strata."""
    names = source.model.strata
    values = [rows.cells(name) for name in names]
    return [
        ", ".join(f"{name}={value[i]}" for name, value in zip(names, values, strict=True)) or "all"
        for i in range(len(rows.people))
    ]


def check_strata(source: Source, plan: Plan, rows: Rows, strata: Sequence[str]) -> None:
    """Refuse strata within which nothing that is tested changes."""
    if not plan.factors or not source.model.strata:
        return
    levels = [plan.levels[code] for code in row_cells(plan, rows)]
    found = set(zip(strata, levels, strict=True))
    if len(found) == len(set(strata)):
        shown = "; ".join(f"{stratum}: {level}" for stratum, level in sorted(found, key=str))
        both = "both levels" if len(plan.levels) == 2 else "two levels"
        names = " and ".join(repr(factor.reference) for factor in plan.factors)
        raise DesignError(
            f"{source.key}.strata: no stratum holds {both} of {names} ({shown}), so nothing can be "
            "exchanged. Choose other strata."
        )


def check_exchange(
    source: Source,
    plan: Plan,
    matrix: NDArray[np.float64],
    contrast: NDArray[np.float64],
    strata: Sequence[str],
) -> None:
    """Refuse labels for what no exchange of them changes: a combination that is constant in every stratum.

    What the nuisance leaves of the tested columns decides on t. Where some combination of it is constant,
    every rearrangement gives the observed statistic, and every p is 1, whatever the data are.
    """
    if plan.exchange != "labels":
        return
    basis = np.linalg.qr(nuisance_columns(matrix, contrast))[0]
    left = _of_length_1(tested_columns(matrix, contrast))
    left = _of_length_1(left - basis @ (basis.T @ left))
    inside = left.copy()
    for stratum in sorted(set(strata)):
        rows = np.array([own == stratum for own in strata])
        inside[rows] -= inside[rows].mean(axis=0)
    if np.linalg.matrix_rank(inside, tol=1e-8) == left.shape[1]:
        return
    names = list(dict.fromkeys(name for weights in plan.tested for name in weights))
    part = "a part of " if len(left.T) > 1 else ""
    apart = f"{INTERCEPT!r} by itself with exchange: flips" + (", and other columns apart" if part else "")
    raise DesignError(
        f"{source.key}.tests.{plan.name}: an exchange of labels leaves {part}{and_words(names)} as it is in "
        f"all {len(matrix)} rows, so that every p would be 1. Test {apart}."
    )


def _of_length_1(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(columns / np.linalg.norm(columns, axis=0))


def check_rank(
    source: Source, plan: Plan, rows: Rows, matrix: NDArray[np.float64], columns: Sequence[str]
) -> None:
    """Refuse more columns than rows can carry, and columns that depend on each other."""
    n, p = matrix.shape
    own = [] if plan.baseline is None else [f"connectivity at {plan.baseline}"]
    if n <= p + len(own):
        raise DesignError(
            f"{source.key}: {n} subjects ({subjects_words(rows.people)}) for {p + len(own)} columns "
            f"({', '.join([*columns, *own])}); no degrees of freedom are left. Remove covariates or strata."
        )
    if n - p < len(plan.variates):
        raise DesignError(
            f"{source.key}: {n} subjects ({subjects_words(rows.people)}) for {p} columns and "
            f"{len(plan.variates)} contrasts of {len(plan.points)} time points; a joint test needs at least "
            f"{p + len(plan.variates)} subjects. Name fewer points, or remove covariates or strata."
        )
    dependent = _dependent(matrix, columns)
    if dependent:
        raise DesignError(
            f"{source.key}: the design matrix of {n} subjects is rank deficient: {'; '.join(dependent)}. "
            "Remove one of these covariates or strata."
        )


def _dependent(matrix: NDArray[np.float64], columns: Sequence[str]) -> list[str]:
    """Each column that those before it explain, with their names."""
    norms = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(norms > 0, norms, 1)
    kept: list[int] = [0]
    found = []
    for j in range(1, scaled.shape[1]):
        weights = np.linalg.lstsq(scaled[:, kept], scaled[:, j], rcond=None)[0]
        if np.linalg.norm(scaled[:, j] - scaled[:, kept] @ weights) > 1e-8:
            kept.append(j)
            continue
        names = [columns[k] for k, weight in zip(kept, weights, strict=True) if abs(weight) > 1e-6]
        because = f"follows from {', '.join(map(repr, names))}" if names else "is 0 in every row"
        found.append(f"{columns[j]!r} {because}")
    return found
