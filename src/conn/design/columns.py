"""Columns of the matrix: groups, predictors, covariates, strata; and what makes them useless."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from conn.config.model import Variable
from conn.design.phrases import cell_words, subjects_words
from conn.design.rows import Rows
from conn.design.source import Source
from conn.design.spec import ROW_COLUMNS
from conn.errors import DesignError


def tested_column(source: Source, rows: Rows) -> tuple[str, NDArray[np.float64]]:
    """Group coded +0.5 and -0.5, or the centred predictor; no name when there is neither."""
    if source.group is not None:
        first = np.array([value == source.levels[0] for value in rows.cells(source.group)])
        return group_column(source.levels), np.where(first, 0.5, -0.5)
    if source.predictor is not None:
        return source.predictor, _centred(source, rows, source.predictor, "predictor")
    return "", np.empty(0)


def cell_codes(source: Source, rows: Rows) -> NDArray[np.int64]:
    """Index of the level of each row; zeros without groups."""
    if source.group is None:
        return np.zeros(len(rows.people), dtype=np.int64)
    return np.array([source.levels.index(str(value)) for value in rows.cells(source.group)], dtype=np.int64)


def group_column(levels: Sequence[str]) -> str:
    return f"{levels[0]} - {levels[1]}"


def header(name: str) -> str:
    """A column name that cannot break a table or pass for a column of the rows."""
    text = " ".join(name.split())
    return f"{text} (covariate)" if text in ROW_COLUMNS else text


def _centred(source: Source, rows: Rows, reference: str, field: str) -> NDArray[np.float64]:
    values = np.array([float(value) for value in rows.cells(reference)])
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        what = " (as a difference)" if rows.columns[reference].time_varying else ""
        raise DesignError(
            f"{source.key}.{field}: {reference!r}{what} is {values[0]:g} in all {values.size} rows; a "
            "constant explains nothing. Remove it."
        )
    return np.asarray(values - math.fsum(values) / values.size)


def covariate_columns(source: Source, rows: Rows, reference: str) -> list[tuple[str, NDArray[np.float64]]]:
    """A number becomes a centred column, a category centred dummies; both leave the intercept the mean."""
    _check_covariate(source, rows, reference)
    if rows.columns[reference].kind == "number":
        return [(reference, _centred(source, rows, reference, "covariates"))]
    found = [str(value) for value in rows.cells(reference)]
    levels = _level_order(source.clinical.variables.get(reference), set(found))
    if len(levels) == 1:
        raise DesignError(
            f"{source.key}.covariates: {reference!r} is {levels[0]!r} in all {len(found)} rows; a constant "
            "explains nothing. Remove it."
        )
    return dummies([f"{reference}={f}" for f in found], [f"{reference}={level}" for level in levels])


def _level_order(variable: Variable | None, found: set[str]) -> list[str]:
    """Configured order first, then the alphabet."""
    stated = list(dict.fromkeys(variable.levels.values())) if variable is not None else []
    return [level for level in stated if level in found] + sorted(found - set(stated))


def dummies(cells: Sequence[str], levels: Sequence[str]) -> list[tuple[str, NDArray[np.float64]]]:
    """Centred indicators of all levels but the first."""
    flags = {level: np.array([cell == level for cell in cells], dtype=np.float64) for level in levels[1:]}
    return [(level, flag - flag.mean()) for level, flag in flags.items()]


def _check_covariate(source: Source, rows: Rows, reference: str) -> None:
    if source.group is None:
        return
    groups = rows.cells(source.group)
    pairs = set(zip(groups, rows.cells(reference), strict=True))
    if len(pairs) == 2 and len({value for _, value in pairs}) == 2:
        shown = ", ".join(f"{cell_words(value)} in {level}" for level, value in sorted(pairs, key=str))
        raise DesignError(
            f"{source.key}.covariates: {reference!r} says nothing but the group {source.group!r} ({shown}); "
            "their effects cannot be told apart. Remove it."
        )


def stratum_names(source: Source, rows: Rows) -> list[str]:
    names = source.model.strata
    values = [rows.cells(name) for name in names]
    return [
        ", ".join(f"{name}={value[i]}" for name, value in zip(names, values, strict=True)) or "all"
        for i in range(len(rows.people))
    ]


def check_strata(source: Source, rows: Rows, cells: Sequence[str]) -> None:
    if source.group is None or not source.model.strata:
        return
    found = set(zip(cells, rows.cells(source.group), strict=True))
    if len(found) == len(set(cells)):
        shown = "; ".join(f"{cell}: {level}" for cell, level in sorted(found, key=str))
        raise DesignError(
            f"{source.key}.strata: no stratum holds both levels of {source.group!r} ({shown}), so nothing can "
            "be exchanged. Choose other strata."
        )


def check_rank(source: Source, rows: Rows, matrix: NDArray[np.float64], columns: Sequence[str]) -> None:
    n, p = matrix.shape
    if n <= p:
        raise DesignError(
            f"{source.key}: {n} subjects ({subjects_words(rows.people)}) for {p} columns ({', '.join(columns)}); "
            "no degrees of freedom are left. Remove covariates or strata."
        )
    dependent = _dependent(matrix, columns)
    if dependent:
        raise DesignError(
            f"{source.key}: the design matrix of {n} subjects is rank deficient: {'; '.join(dependent)}. "
            "Remove one of these covariates or strata."
        )


def _dependent(matrix: NDArray[np.float64], columns: Sequence[str]) -> list[str]:
    """Each column that those before it explain, with their names."""
    scaled = matrix / np.linalg.norm(matrix, axis=0)
    kept: list[int] = [0]
    found = []
    for j in range(1, scaled.shape[1]):
        weights = np.linalg.lstsq(scaled[:, kept], scaled[:, j], rcond=None)[0]
        if np.linalg.norm(scaled[:, j] - scaled[:, kept] @ weights) > 1e-8:
            kept.append(j)
            continue
        names = [columns[k] for k, weight in zip(kept, weights, strict=True) if abs(weight) > 1e-6]
        found.append(f"{columns[j]!r} follows from {', '.join(map(repr, names))}")
    return found


def variance_groups(source: Source, rows: Rows) -> NDArray[np.int64]:
    """The two groups when their sizes differ: pooled variances would then be far from calibrated."""
    groups = np.zeros(len(rows.people), dtype=np.int64)
    if source.group is not None:
        groups[[value == source.levels[1] for value in rows.cells(source.group)]] = 1
    return groups if 2 * int(groups.sum()) != groups.size else np.zeros_like(groups)


def check_variance_groups(source: Source, matrix: NDArray[np.float64], groups: NDArray[np.int64]) -> None:
    if not groups.any():
        return
    q = np.linalg.qr(matrix)[0]
    left = 1 - np.einsum("ij,ij->i", q, q)
    for code, level in enumerate(source.levels):
        if left[groups == code].sum() < 1e-6:
            raise DesignError(
                f"{source.key}: covariates and strata leave no degrees of freedom for the variance of "
                f"{source.group} = {level!r} ({int((groups == code).sum())} subjects). Remove some of them."
            )
