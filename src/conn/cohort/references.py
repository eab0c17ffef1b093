"""What a reference in a model means, person by person."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from conn.clinic.outcomes import carried_forward
from conn.cohort.names import Person, as_text, did_you_mean
from conn.config.model import Clinical
from conn.config.times import FROM_BASELINE, LOCF
from conn.errors import ConfigError, InputError
from conn.tables import MISSING


@dataclass(frozen=True)
class Column:
    """What a reference in a model means, person by person.

    Attributes
    ----------
    reference
        As written in the model.
    by_person
        Data set and subject to number or level; a person whose value is missing is absent.
    kind
        ``number`` or ``category``.
    time_varying
        The value depends on the time points that were asked for.
    """

    reference: str
    by_person: Mapping[Person, float | str]
    kind: Literal["number", "category"]
    time_varying: bool


def resolve(
    reference: str,
    clinical: Clinical,
    cohort: pd.DataFrame,
    *,
    at: str | None = None,
    before: str | None = None,
    after: str | None = None,
    mean: bool = False,
    key: str = "models",
) -> Column:
    """What a name in a model means, as one value per person.

    Parameters
    ----------
    reference
        A name of `clinical.variables`; ``response``, ``remission``, ``dataset``, ``mean_fd``;
        ``SCALE.TIMEPOINT``, ``SCALE.change[.TIMEPOINT]``, ``SCALE.percent_change[.TIMEPOINT]``,
        ``SCALE.rci[.TIMEPOINT]`` (reliable change index) and ``SCALE.locf[.TIMEPOINT]`` (the last score
        observed after baseline, up to the time point), at the endpoint when no time point is given.
    clinical
        Kinds of the variables, scales, baseline and endpoint.
    cohort
        The table of `Cohort`, or `cohort.tsv` read back.
    at
        The one time point whose value a varying variable takes.
    before, after
        A varying variable takes its difference, after minus before.
    mean
        With `before` and `after`: the mean of the two instead.
    key
        The key to name in an error.

    Returns
    -------
    Column

    Raises
    ------
    ConfigError
        The reference means nothing here; the nearest names are given.
    """
    weights = _weights(at, before, after, mean)
    if reference in clinical.variables:
        return _variable_reference(reference, clinical.variables[reference].kind, cohort, weights, key)
    if reference in ("response", "remission"):
        if getattr(clinical, reference) is None:
            raise ConfigError(f"{key}: {reference!r} needs the rule clinical.{reference}, which is not set")
        return Column(reference, _person_values(cohort, reference), "category", time_varying=False)
    if reference == "dataset":
        names = dict.fromkeys(zip(cohort["dataset"], cohort["subject"], strict=True))
        return Column(reference, {person: person[0] for person in names}, "category", time_varying=False)
    if reference == "mean_fd":
        return Column(reference, _weighted(cohort, reference, weights, key), "number", time_varying=True)
    column, point = _scale_reference(reference, clinical, cohort, key)
    if is_carried(reference, clinical):
        everybody = _observed(clinical, cohort, column, point)
        last = {person: carried_forward(scores, points)[0] for person, scores, points in everybody}
        known: dict[Person, float | str] = {p: v for p, v in last.items() if not math.isnan(v)}
        return Column(reference, known, "number", time_varying=False)
    found = {p: v[point] for p, v in _cells(cohort, column).items() if point in v}
    return Column(reference, {p: float(v) for p, v in found.items()}, "number", time_varying=False)


def orders_of(cohort: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Time points of each data set of `cohort.tsv`, in the order of the trial."""
    order: dict[str, dict[str, None]] = {}
    for dataset, time_point in zip(cohort["dataset"], cohort["time_point"].astype(str), strict=True):
        order.setdefault(dataset, {})[time_point] = None
    return {dataset: tuple(points) for dataset, points in order.items()}


def is_carried(reference: str, clinical: Clinical) -> bool:
    """Whether a reference is a last observation carried forward."""
    scale, _, rest = reference.partition(".")
    return scale in clinical.scales and rest.split(".")[0] == LOCF


def carried(reference: str, clinical: Clinical, cohort: pd.DataFrame, key: str) -> dict[Person, str]:
    """People whose score at the time point of a ``SCALE.locf`` is an earlier one, with its time point."""
    column, point = _scale_reference(reference, clinical, cohort, key)
    sources = {
        person: carried_forward(scores, points)[1]
        for person, scores, points in _observed(clinical, cohort, column, point)
    }
    return {person: source for person, source in sources.items() if source not in (None, point)}


def _observed(
    clinical: Clinical, cohort: pd.DataFrame, column: str, point: str
) -> Iterator[tuple[Person, dict[str, float], tuple[str, ...]]]:
    """Scores of each person, and the time points after baseline up to one, in the order of the data set.

    Without the baseline among the time points of a data set nothing is known to come after it.
    """
    after = {
        dataset: points[points.index(clinical.baseline) + 1 : points.index(point) + 1]
        if clinical.baseline in points and point in points
        else ()
        for dataset, points in orders_of(cohort).items()
    }
    for person, values in _cells(cohort, column).items():
        yield person, {p: float(cell) for p, cell in values.items()}, after[person[0]]


def _weights(at: str | None, before: str | None, after: str | None, mean: bool) -> dict[str, float]:
    if at is not None:
        return {at: 1.0}
    if before is None or after is None:
        return {}
    return {before: 0.5, after: 0.5} if mean else {before: -1.0, after: 1.0}


def _cells(cohort: pd.DataFrame, column: str) -> dict[Person, dict[str, str]]:
    """Cells of a column that are not missing, by person and time point; everybody is a key."""
    if column not in cohort.columns:
        raise InputError(f"cohort.tsv has no column {column!r}; make the cohort again")
    found: dict[Person, dict[str, str]] = {}
    table = as_text(cohort[["dataset", "subject", "time_point", column]])
    for dataset, subject, point, cell in table.itertuples(index=False, name=None):
        values = found.setdefault((dataset, subject), {})
        if cell != MISSING:
            values[point] = cell
    return found


def _person_values(cohort: pd.DataFrame, column: str) -> dict[Person, str]:
    return {person: next(iter(v.values())) for person, v in _cells(cohort, column).items() if v}


def _variable_reference(
    name: str,
    kind: Literal["number", "category"],
    cohort: pd.DataFrame,
    weights: Mapping[str, float],
    key: str,
) -> Column:
    values = _person_values(cohort, name)
    if kind == "category":
        return Column(name, values, kind, time_varying=False)
    if any(len(set(v.values())) > 1 for v in _cells(cohort, name).values()):
        return Column(name, _weighted(cohort, name, weights, key), kind, time_varying=True)
    return Column(name, {person: float(v) for person, v in values.items()}, kind, time_varying=False)


def _weighted(
    cohort: pd.DataFrame, column: str, weights: Mapping[str, float], key: str
) -> dict[Person, float | str]:
    if not weights:
        raise ConfigError(f"{key}: {column!r} varies over time and needs a time point")
    return {
        person: math.fsum(weight * float(values[point]) for point, weight in weights.items())
        for person, values in _cells(cohort, column).items()
        if all(point in values for point in weights)
    }


def _scale_reference(reference: str, clinical: Clinical, cohort: pd.DataFrame, key: str) -> tuple[str, str]:
    """Column and time point of `SCALE.…`."""
    points = list(dict.fromkeys(cohort["time_point"].astype(str)))
    scale, _, rest = reference.partition(".")
    what, _, point = rest.partition(".")
    if scale in clinical.scales and what in (*FROM_BASELINE, LOCF):
        if clinical.baseline is None:
            raise ConfigError(f"{key}: {reference!r} needs clinical.baseline, which is not set")
        if not point and clinical.endpoint is None:
            raise ConfigError(f"{key}: {reference!r} needs a time point, or clinical.endpoint")
        if what == "rci" and clinical.scales[scale].reliability is None:
            raise ConfigError(
                f"{key}: {reference!r} needs clinical.scales.{scale}.reliability, which is not set"
            )
        column = scale if what == LOCF else f"{scale}_{what}"
        point = point or str(clinical.endpoint)
        if what == LOCF and point in points and not _after_baseline(point, clinical, cohort):
            raise ConfigError(
                f"{key}: {reference!r} carries scores after baseline up to {point}, but {point} does not "
                f"come after clinical.baseline ({clinical.baseline}) in any data set. Name a later time "
                "point, or correct the order in time_points.labels."
            )
    else:
        column, point = scale, rest
    if scale in clinical.scales and point in points:
        return column, point
    known = [*clinical.variables, "mean_fd", "dataset"]
    known += [rule for rule in ("response", "remission") if getattr(clinical, rule) is not None]
    for name in clinical.scales:
        known += [f"{name}.{p}" for p in (*points, "change", "percent_change", LOCF)]
    raise ConfigError(
        f"{key}: {reference!r} is unknown.{did_you_mean(reference, known)} Known: {', '.join(known)}"
    )


def _after_baseline(point: str, clinical: Clinical, cohort: pd.DataFrame) -> bool:
    return any(
        clinical.baseline in order[: order.index(point)]
        for order in orders_of(cohort).values()
        if point in order
    )
