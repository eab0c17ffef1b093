"""Designs compile to rows: what is compared, who is a row, what is nuisance, what may change places.

A contrast is a set of weights over the time points of a person, times a contrast between people. The data
of a row are the weighted Fisher z of that person's runs, so that one person is one row, always.
A design that would be wrong raises `DesignError`; nothing is repaired and nothing is dropped in silence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn.cohort import Column, Person, as_text, did_you_mean, resolve
from conn.combination import Unused, choose
from conn.config.model import (
    CONTRASTS,
    Clinical,
    CombineRuns,
    GroupByTime,
    Inference,
    Model,
    Paired,
    Regression,
    TwoSample,
    Variable,
)
from conn.errors import DesignError, InputError
from conn.files import read_json, write_json
from conn.tables import MISSING, read_tsv, write_tsv

Exchange = Literal["flips", "labels"]
EffectType = Literal["paired", "two_sample", "slope"]
Tested = Literal["intercept", "group", "predictor"]

ROW_COLUMNS = ("contrast", "dataset", "subject", "level", "runs", "stratum", "variance_group")
"""First columns of `_design.tsv`; the columns of the matrix follow."""

FEWEST_ROWS = 3


@dataclass(frozen=True, eq=False)
class DesignContrast:
    """One contrast: its rows, its matrix, and what may be exchanged.

    Attributes
    ----------
    name
        ``change``, ``difference``, ``interaction``, ``time``, ``group`` or ``slope``.
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
        The design matrix.
    columns
        Names of its p columns.
    contrast : ndarray of shape (p,)
        Weights of the coefficients.
    exchange
        ``flips`` (of the sign of a row) or ``labels`` (rows change places).
    strata : ndarray of shape (n,), int
        Rows change places only within equal values.
    variance_groups : ndarray of shape (n,), int
        Rows that share a variance; all equal unless two groups differ in size.
    effect_type
        Which effect size applies.
    dropped
        Data set, subject and reason in words of everybody else in the cohort.
    not_asked_for
        Those of `dropped` whom the model does not ask for: outside its subset or its groups. They are no
        loss.
    levels
        The two groups, the first minus the second; empty without groups.
    strata_names
        Name of each value of `strata`.
    """

    name: str
    words: str
    confirmatory: bool
    subjects: tuple[Person, ...]
    run_weights: tuple[dict[str, float], ...]
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

    @property
    def lost(self) -> tuple[tuple[str, str, str], ...]:
        """Those of `dropped` whom the model asks for: without an included run, or with a missing value."""
        return tuple(entry for entry in self.dropped if entry[:2] not in self.not_asked_for)

    @property
    def n(self) -> int:
        """Number of rows, which are people."""
        return len(self.subjects)

    @property
    def tested(self) -> NDArray[np.float64]:
        """The tested column of the matrix, shape (n,)."""
        return np.asarray(self.matrix[:, int(np.argmax(np.abs(self.contrast)))])

    @property
    def row_levels(self) -> tuple[str, ...]:
        """The group of each row; empty without groups."""
        if not self.levels:
            return ()
        group = self.matrix[:, _group_index(self.columns, self.levels)]
        return tuple(self.levels[0] if value > 0 else self.levels[1] for value in group)

    @property
    def has_nuisance(self) -> bool:
        """Whether a column beside the tested one and the intercept changes when rows are exchanged."""
        tested = int(np.argmax(np.abs(self.contrast)))
        others = np.delete(self.matrix, tested, axis=1)
        if self.exchange == "flips":
            return bool(others.shape[1] > 0)
        cells = (others[self.strata == stratum] for stratum in np.unique(self.strata))
        return bool(any(np.ptp(cell, axis=0).max(initial=0) > 0 for cell in cells))


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
        ``paired``, ``two_sample``, ``group_by_time`` or ``regression``.
    contrasts
        In the order of `conn.config.model.CONTRASTS`.
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


@dataclass(frozen=True)
class _Plan:
    """What a contrast asks for, before anybody looks at the people."""

    name: str
    tested: Tested
    exchange: Exchange
    effect_type: EffectType
    at: str | None = None
    before: str | None = None
    after: str | None = None
    mean: bool = False

    @property
    def weights(self) -> dict[str, float]:
        """Time point to weight."""
        if self.at is not None:
            return {self.at: 1.0}
        before, after = str(self.before), str(self.after)
        return {before: 0.5, after: 0.5} if self.mean else {before: -1.0, after: 1.0}

    @property
    def data(self) -> str:
        """The data of a row, in words."""
        if self.at is not None:
            return f"connectivity at {self.at}"
        if self.mean:
            return f"connectivity averaged over {self.before} and {self.after}"
        return f"change of connectivity, {self.after} minus {self.before}"


@dataclass(frozen=True)
class _Study:
    """A model with the tables that it is compiled from."""

    name: str
    model: Model
    clinical: Clinical
    cohort: pd.DataFrame
    runs: Mapping[tuple[Person, str], tuple[str, ...]]
    df: Mapping[str, float]

    @property
    def key(self) -> str:
        return f"models.{self.name}"

    @property
    def people(self) -> list[Person]:
        return sorted(set(zip(self.cohort["dataset"], self.cohort["subject"], strict=True)))

    @property
    def group(self) -> str | None:
        return self.model.group if isinstance(self.model, TwoSample | GroupByTime) else None

    @property
    def levels(self) -> tuple[str, ...]:
        return self.model.levels if isinstance(self.model, TwoSample | GroupByTime) else ()

    @property
    def predictor(self) -> str | None:
        return self.model.predictor if isinstance(self.model, Regression) else None

    def column(self, reference: str, field: str, plan: _Plan) -> Column:
        return resolve(
            reference,
            self.clinical,
            self.cohort,
            at=plan.at,
            before=plan.before,
            after=plan.after,
            mean=plan.mean,
            key=f"{self.key}.{field}",
        )


@dataclass(frozen=True)
class _Rows:
    """The people of a contrast, and the values of every reference of the model."""

    people: tuple[Person, ...]
    dropped: tuple[tuple[str, str, str], ...]
    not_asked_for: frozenset[Person]
    columns: Mapping[str, Column]

    def cells(self, reference: str) -> list[float | str]:
        return [self.columns[reference].by_person[person] for person in self.people]


def compile_model(
    name: str,
    model: Model,
    clinical: Clinical,
    cohort: pd.DataFrame,
    runs: pd.DataFrame,
    inference: Inference,
    combine_runs: CombineRuns = "weighted",
) -> Design:
    """Compile a model to rows, matrices, contrasts and families.

    Parameters
    ----------
    name
        The model's name in the configuration.
    model
        Its settings.
    clinical
        What the references of the model mean.
    cohort
        `cohort.tsv`: one row per person and time point, with the keys of included runs.
    runs
        `runs.tsv`: the degrees of freedom of each run.
    inference
        Number of permutations and joint families.
    combine_runs
        What is taken of several runs of one time point.

    Returns
    -------
    Design

    Raises
    ------
    DesignError
        The design would be wrong: empty cell, too few rows, dependent columns, a covariate that is a
        function of the group, a constant covariate, a person as two rows, an unknown level, contrast or
        time point. The message names rows and columns.
    ConfigError
        A reference is unknown.
    InputError
        Cohort and run table contradict each other.

    References
    ----------
    Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060 (exchangeability, Freedman-Lane).
    """
    table = as_text(cohort)
    _runs_by_point(name, table)
    df = _run_df(table, runs)
    table, unused = choose(table, runs, combine_runs)
    study = _Study(name, model, clinical, table, _runs_by_point(name, table), df)
    _check_settings(study)
    contrasts = tuple(_compile(study, _plan(contrast, model)) for contrast in _contrast_names(study))
    families = tuple(f for c in contrasts for f in _families(c.name, model, inference))
    smallest = tuple(smallest_p(c, inference) for c in contrasts)
    unused = tuple(one for one in unused if _concerns(one, study, contrasts[0]))
    notes = [*_notes(study, contrasts, smallest, inference)]
    notes += _run_notes(study, contrasts[0], combine_runs, unused)
    return Design(name, model.design, contrasts, families, smallest, tuple(notes), combine_runs, unused)


# The tables -----------------------------------------------------------------------------------------


def _runs_by_point(name: str, cohort: pd.DataFrame) -> dict[tuple[Person, str], tuple[str, ...]]:
    """Keys of the included runs by person and time point; nobody and no run may occur twice."""
    found: dict[tuple[Person, str], tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    cells = cohort[["dataset", "subject", "time_point", "runs"]].itertuples(index=False, name=None)
    for n, (dataset, subject, point, runs) in enumerate(cells, start=2):
        place = ((dataset, subject), point)
        if place in found:
            raise DesignError(
                f"models.{name}: sub-{subject} of {dataset} has two rows at time point {point!r} in the "
                f"cohort (row {n} is the second). Rows of a test must be different people: two sessions of "
                "a person are not independent. Give the sessions different time points, or list both under "
                "one label so that they are combined."
            )
        found[place] = () if runs == MISSING else tuple(runs.split(";"))
        for run in found[place]:
            here = f"sub-{subject} of {dataset} at {point}"
            if run in owner:
                raise DesignError(
                    f"models.{name}: run {run} is listed twice, for {owner[run]} and for {here}"
                )
            owner[run] = here
    return found


def _run_df(cohort: pd.DataFrame, runs: pd.DataFrame) -> dict[str, float]:
    """Degrees of freedom of the runs that the cohort lists."""
    cells = as_text(runs[["run", "df", "included"]]).itertuples(index=False, name=None)
    known = {run: (df, included) for run, df, included in cells}
    found = {}
    for listed in cohort["runs"]:
        for run in () if listed == MISSING else listed.split(";"):
            df, included = known.get(run, (MISSING, "absent"))
            if included != "true":
                raise InputError(f"run {run} of the cohort is {included} in runs.tsv; make the cohort again")
            if df == MISSING or float(df) <= 2:
                raise InputError(f"run {run} has df {df}; a run needs more than 2 to be weighted")
            found[run] = float(df)
    return found


# The settings ---------------------------------------------------------------------------------------


def _contrast_names(study: _Study) -> list[str]:
    known = CONTRASTS[study.model.design]
    for name in study.model.contrasts:
        if name not in known:
            raise DesignError(
                f"{study.key}.contrasts: a {study.model.design} design has no contrast {name!r}; it has "
                f"{', '.join(known)}.{did_you_mean(name, known)}"
            )
    return [name for name in known if name in (study.model.contrasts or known[:1])]


def _plan(contrast: str, model: Model) -> _Plan:
    """The compile table: time points, tested column and exchange of each contrast."""
    if isinstance(model, Paired):
        return _Plan(contrast, "intercept", "flips", "paired", before=model.before, after=model.after)
    if isinstance(model, TwoSample):
        return _Plan(contrast, "group", "labels", "two_sample", at=model.at)
    if isinstance(model, Regression):
        before, after = model.before, model.after
        return _Plan(contrast, "predictor", "labels", "slope", at=model.at, before=before, after=after)
    if contrast == "time":
        return _Plan(contrast, "intercept", "flips", "paired", before=model.before, after=model.after)
    mean = contrast == "group"
    return _Plan(contrast, "group", "labels", "two_sample", before=model.before, after=model.after, mean=mean)


def _check_settings(study: _Study) -> None:
    before, after = (getattr(study.model, field, None) for field in ("before", "after"))
    if before is not None and before == after:
        raise DesignError(f"{study.key}: before and after are both {before!r}; there is no change to test")
    for field in ("at", "before", "after"):
        point = getattr(study.model, field, None)
        if point is not None:
            _check_point(study, field, point)
    for field, references in (("covariates", study.model.covariates), ("strata", study.model.strata)):
        twice = [r for r, count in Counter(references).items() if count > 1]
        if twice:
            raise DesignError(f"{study.key}.{field}: {twice[0]!r} is listed twice")
    both = sorted(set(study.model.covariates) & set(study.model.strata))
    if both:
        raise DesignError(
            f"{study.key}: {both[0]!r} is listed under covariates and under strata; strata are "
            "nuisance columns already. Remove it from covariates."
        )
    if study.group is not None:
        _check_levels(study, study.group)


def _check_point(study: _Study, field: str, point: str) -> None:
    known = list(dict.fromkeys(study.cohort["time_point"]))
    if point not in known:
        raise DesignError(
            f"{study.key}.{field}: nobody has a time point {point!r}; the cohort has {', '.join(known)}."
            f"{did_you_mean(point, known)}"
        )
    counts = {p: sum(bool(runs) for (_, q), runs in study.runs.items() if q == p) for p in known}
    if counts[point] == 0:
        others = ", ".join(f"{p} {count}" for p, count in counts.items())
        raise DesignError(
            f"{study.key}.{field}: no subject has an included run at {point!r} (subjects with runs: {others})"
        )


def _check_levels(study: _Study, group: str) -> None:
    plan = _plan(CONTRASTS[study.model.design][0], study.model)
    column = study.column(group, "group", plan)
    if column.kind == "number":
        raise DesignError(
            f"{study.key}.group: {group!r} is a number. Declare kind: category under "
            f"clinical.variables.{group}, or use a regression design."
        )
    if study.levels[0] == study.levels[1]:
        raise DesignError(f"{study.key}.levels: both levels are {study.levels[0]!r}")
    counts = Counter(str(value) for value in column.by_person.values())
    for level in study.levels:
        if level not in counts:
            listed = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items())) or "none"
            raise DesignError(
                f"{study.key}.levels: no subject has {group} = {level!r}; the levels are {listed}."
                f"{did_you_mean(level, counts)}"
            )


# People become rows ---------------------------------------------------------------------------------


def _select(study: _Study, plan: _Plan) -> _Rows:
    columns = _references(study, plan)
    people, dropped, outside = [], [], set()
    for person in study.people:
        values = {name: column.by_person.get(person) for name, column in columns.items()}
        unwanted = _not_asked_for(study, values)
        reason = unwanted or _why_lost(study, plan, values, person)
        if unwanted is not None:
            outside.add(person)
        if reason is None:
            people.append(person)
        else:
            dropped.append((*person, reason))
    return _Rows(tuple(people), tuple(dropped), frozenset(outside), columns)


def _references(study: _Study, plan: _Plan) -> dict[str, Column]:
    fields = dict.fromkeys(study.model.subset, "subset")
    fields |= dict.fromkeys(study.model.covariates, "covariates")
    fields |= dict.fromkeys(study.model.strata, "strata")
    if study.group is not None:
        fields[study.group] = "group"
    if study.predictor is not None:
        fields[study.predictor] = "predictor"
    columns = {name: study.column(name, field, plan) for name, field in fields.items()}
    for name in study.model.strata:
        if columns[name].kind == "number":
            raise DesignError(f"{study.key}.strata: {name!r} is a number; strata are categories")
    if study.predictor is not None and columns[study.predictor].kind == "category":
        raise DesignError(
            f"{study.key}.predictor: {study.predictor!r} is a category; a slope needs a number. "
            "Use a two_sample or group_by_time design."
        )
    return columns


_Values = Mapping[str, float | str | None]
"""What the references of a model say about one person."""


def _not_asked_for(study: _Study, values: _Values) -> str | None:
    """Why the model does not ask for a person, or None; a missing value leaves that open."""
    for name, wanted in study.model.subset.items():
        if values[name] is not None and _name(values[name]) not in wanted:
            return f"{name} is {_name(values[name])}, which is not in the subset"
    group = study.group
    if group is not None and values[group] is not None and values[group] not in study.levels:
        return f"{group} is {values[group]}, neither {study.levels[0]} nor {study.levels[1]}"
    return None


def _why_lost(study: _Study, plan: _Plan, values: _Values, person: Person) -> str | None:
    """Why a person whom the model asks for is no row, or None."""
    for name in study.model.subset:
        if values[name] is None:
            return f"{name} is missing"
    absent = [point for point in plan.weights if not study.runs.get((person, point))]
    if absent:
        return f"no included run at {' and '.join(absent)}"
    for name, value in values.items():
        if value is None:
            return f"{name} is missing"
    return None


def _name(value: float | str | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_rows(study: _Study, rows: _Rows) -> None:
    counted = _reasons(rows.dropped)
    why = f" Left out: {counted}." if counted else ""
    if study.group is not None:
        found = Counter(rows.cells(study.group))
        for level in study.levels:
            if found[level] < 2:
                cells = ", ".join(f"{name} {found[name]}" for name in study.levels)
                empty = "is empty" if found[level] == 0 else "has one subject, which has no variance"
                raise DesignError(
                    f"{study.key}: the cell {study.group} = {level!r} {empty} (subjects: {cells}).{why}"
                )
    if len(rows.people) < FEWEST_ROWS:
        raise DesignError(
            f"{study.key}: {len(rows.people)} subjects can be rows ({_subjects(rows.people) or 'nobody'}); "
            f"at least {FEWEST_ROWS} are needed.{why}"
        )


def _reasons(dropped: Iterable[tuple[str, str, str]]) -> str:
    counts = Counter(reason for *_, reason in dropped)
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(counts.items()))


def _subjects(people: Sequence[Person], most: int = 10) -> str:
    several = len({dataset for dataset, _ in people}) > 1
    names = [f"{d}/sub-{s}" if several else f"sub-{s}" for d, s in people[:most]]
    return ", ".join(names) + (f" and {len(people) - most} more" if len(people) > most else "")


def _run_weights(study: _Study, person: Person, plan: _Plan) -> dict[str, float]:
    """Runs of a time point share its weight in proportion to df - 2, the precision of Fisher z."""
    weights: dict[str, float] = {}
    for point, weight in plan.weights.items():
        precision = {run: study.df[run] - 2 for run in study.runs[(person, point)]}
        total = math.fsum(precision.values())
        weights |= {run: weight * value / total for run, value in precision.items()}
    return dict(sorted(weights.items()))


# Columns of the matrix ------------------------------------------------------------------------------


def _compile(study: _Study, plan: _Plan) -> DesignContrast:
    rows = _select(study, plan)
    _check_rows(study, rows)
    tested = _tested(study, rows)
    cells = _strata(study, rows)
    _check_strata(study, rows, cells)
    blocks = [("intercept", np.ones(len(rows.people)))]
    blocks += [(name, values) for name, values in (tested,) if name]
    for reference in study.model.covariates:
        blocks += _covariate(study, rows, reference)
    blocks += _dummies(cells, sorted(set(cells)))
    columns = tuple(_header(name) for name, _ in blocks)
    matrix = np.column_stack([values for _, values in blocks])
    _check_rank(study, rows, matrix, columns)
    groups = _variance_groups(study, rows)
    _check_variance_groups(study, matrix, groups)
    contrast = np.zeros(len(columns), dtype=np.float64)
    contrast[0 if plan.tested == "intercept" else 1] = 1.0
    names = sorted(set(cells))
    exchanged = plan.exchange == "labels"
    return DesignContrast(
        name=plan.name,
        words=_words(study, plan, rows),
        confirmatory=plan.name in study.model.contrasts and study.model.contrasts[plan.name].confirmatory,
        subjects=rows.people,
        run_weights=tuple(_run_weights(study, person, plan) for person in rows.people),
        matrix=matrix,
        columns=columns,
        contrast=contrast,
        exchange=plan.exchange,
        strata=np.array([names.index(cell) if exchanged else 0 for cell in cells], dtype=np.int64),
        variance_groups=groups,
        effect_type=plan.effect_type,
        dropped=rows.dropped,
        levels=tuple(study.levels),
        strata_names=tuple(names) if exchanged else ("all",),
        not_asked_for=rows.not_asked_for,
    )


def _tested(study: _Study, rows: _Rows) -> tuple[str, NDArray[np.float64]]:
    """Group coded +0.5 and -0.5, or the centred predictor; no name when there is neither."""
    if study.group is not None:
        first = np.array([value == study.levels[0] for value in rows.cells(study.group)])
        return _group_column(study.levels), np.where(first, 0.5, -0.5)
    if study.predictor is not None:
        return study.predictor, _centred(study, rows, study.predictor, "predictor")
    return "", np.empty(0)


def _group_column(levels: Sequence[str]) -> str:
    return f"{levels[0]} - {levels[1]}"


def _group_index(columns: Sequence[str], levels: Sequence[str]) -> int:
    return list(columns).index(_header(_group_column(levels)))


def _header(name: str) -> str:
    """A column name that cannot break a table or pass for a column of the rows."""
    text = " ".join(name.split())
    return f"{text} (covariate)" if text in ROW_COLUMNS else text


def _centred(study: _Study, rows: _Rows, reference: str, field: str) -> NDArray[np.float64]:
    values = np.array([float(value) for value in rows.cells(reference)])
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        what = " (as a difference)" if rows.columns[reference].time_varying else ""
        raise DesignError(
            f"{study.key}.{field}: {reference!r}{what} is {values[0]:g} in all {values.size} rows; a "
            "constant explains nothing. Remove it."
        )
    return np.asarray(values - math.fsum(values) / values.size)


def _covariate(study: _Study, rows: _Rows, reference: str) -> list[tuple[str, NDArray[np.float64]]]:
    """A number becomes a centred column, a category centred dummies; both leave the intercept the mean."""
    _check_covariate(study, rows, reference)
    if rows.columns[reference].kind == "number":
        return [(reference, _centred(study, rows, reference, "covariates"))]
    found = [str(value) for value in rows.cells(reference)]
    levels = _level_order(study.clinical.variables.get(reference), set(found))
    if len(levels) == 1:
        raise DesignError(
            f"{study.key}.covariates: {reference!r} is {levels[0]!r} in all {len(found)} rows; a constant "
            "explains nothing. Remove it."
        )
    return _dummies([f"{reference}={f}" for f in found], [f"{reference}={level}" for level in levels])


def _level_order(variable: Variable | None, found: set[str]) -> list[str]:
    """Configured order first, then the alphabet."""
    stated = list(dict.fromkeys(variable.levels.values())) if variable is not None else []
    return [level for level in stated if level in found] + sorted(found - set(stated))


def _dummies(cells: Sequence[str], levels: Sequence[str]) -> list[tuple[str, NDArray[np.float64]]]:
    """Centred indicators of all levels but the first."""
    flags = {level: np.array([cell == level for cell in cells], dtype=np.float64) for level in levels[1:]}
    return [(level, flag - flag.mean()) for level, flag in flags.items()]


def _check_covariate(study: _Study, rows: _Rows, reference: str) -> None:
    if study.group is None:
        return
    groups = rows.cells(study.group)
    pairs = set(zip(groups, rows.cells(reference), strict=True))
    if len(pairs) == 2 and len({value for _, value in pairs}) == 2:
        shown = ", ".join(f"{_name(value)} in {level}" for level, value in sorted(pairs, key=str))
        raise DesignError(
            f"{study.key}.covariates: {reference!r} says nothing but the group {study.group!r} ({shown}); "
            "their effects cannot be told apart. Remove it."
        )


def _strata(study: _Study, rows: _Rows) -> list[str]:
    names = study.model.strata
    values = [rows.cells(name) for name in names]
    return [
        ", ".join(f"{name}={value[i]}" for name, value in zip(names, values, strict=True)) or "all"
        for i in range(len(rows.people))
    ]


def _check_strata(study: _Study, rows: _Rows, cells: Sequence[str]) -> None:
    if study.group is None or not study.model.strata:
        return
    found = set(zip(cells, rows.cells(study.group), strict=True))
    if len(found) == len(set(cells)):
        shown = "; ".join(f"{cell}: {level}" for cell, level in sorted(found, key=str))
        raise DesignError(
            f"{study.key}.strata: no stratum holds both levels of {study.group!r} ({shown}), so nothing can "
            "be exchanged. Choose other strata."
        )


def _check_rank(study: _Study, rows: _Rows, matrix: NDArray[np.float64], columns: Sequence[str]) -> None:
    n, p = matrix.shape
    if n <= p:
        raise DesignError(
            f"{study.key}: {n} subjects ({_subjects(rows.people)}) for {p} columns ({', '.join(columns)}); "
            "no degrees of freedom are left. Remove covariates or strata."
        )
    dependent = _dependent(matrix, columns)
    if dependent:
        raise DesignError(
            f"{study.key}: the design matrix of {n} subjects is rank deficient: {'; '.join(dependent)}. "
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


def _variance_groups(study: _Study, rows: _Rows) -> NDArray[np.int64]:
    """The two groups when their sizes differ: pooled variances would then be far from calibrated."""
    groups = np.zeros(len(rows.people), dtype=np.int64)
    if study.group is not None:
        groups[[value == study.levels[1] for value in rows.cells(study.group)]] = 1
    return groups if 2 * int(groups.sum()) != groups.size else np.zeros_like(groups)


def _check_variance_groups(study: _Study, matrix: NDArray[np.float64], groups: NDArray[np.int64]) -> None:
    if not groups.any():
        return
    q = np.linalg.qr(matrix)[0]
    left = 1 - np.einsum("ij,ij->i", q, q)
    for code, level in enumerate(study.levels):
        if left[groups == code].sum() < 1e-6:
            raise DesignError(
                f"{study.key}: covariates and strata leave no degrees of freedom for the variance of "
                f"{study.group} = {level!r} ({int((groups == code).sum())} subjects). Remove some of them."
            )


# Words ----------------------------------------------------------------------------------------------


def _words(study: _Study, plan: _Plan, rows: _Rows) -> str:
    parts = [_estimand(study, plan)]
    if study.model.covariates:
        changes = "change of " if plan.at is None and not plan.mean else ""
        names = [(changes if rows.columns[c].time_varying else "") + c for c in study.model.covariates]
        parts.append(f"adjusted for {_and(names)}")
    if study.model.strata:
        within = "exchanged within strata of" if plan.exchange == "labels" else "adjusted for strata of"
        parts.append(f"{within} {_and(study.model.strata)}")
    if study.model.subset:
        kept = [f"{name} {' or '.join(values)}" for name, values in study.model.subset.items()]
        parts.append(f"only {_and(kept)}")
    return "; ".join(parts)


def _estimand(study: _Study, plan: _Plan) -> str:
    if plan.tested == "predictor":
        return f"slope per unit of {study.predictor}: {plan.data}"
    if plan.tested == "group":
        first, second = study.levels
        what = "difference of changes" if plan.name == "interaction" else "difference"
        return f"{what}, {first} minus {second}: {plan.data}"
    mean = f"mean {plan.data}"
    if study.group is None:
        return mean
    return f"{mean}: the unweighted mean of the changes of {study.levels[0]} and {study.levels[1]}"


def _and(names: Sequence[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1)) if len(names) > 1 else "".join(names)


def exchange_words(contrast: DesignContrast) -> str:
    """What may change places under the null hypothesis, in words."""
    method = " by way of residuals (Freedman-Lane, approximate)" if contrast.has_nuisance else ""
    if contrast.exchange == "flips":
        return f"sign flips{method}, one sign per subject; errors are assumed to be symmetric"
    what = "the predictor" if contrast.effect_type == "slope" else "group labels"
    if len(contrast.strata_names) == 1:
        return f"exchange of {what}{method} among {contrast.n} subjects"
    counts = Counter(contrast.strata.tolist())
    cells = ", ".join(f"{name}: {counts[code]}" for code, name in enumerate(contrast.strata_names))
    return f"exchange of {what}{method} within {len(contrast.strata_names)} strata ({cells})"


def variance_words(contrast: DesignContrast) -> str:
    """How the error variance is estimated, in words."""
    if np.ptp(contrast.variance_groups) == 0:
        return "one error variance"
    counts = Counter(contrast.row_levels)
    sizes = ", ".join(f"{level} {counts[level]}" for level in contrast.levels)
    return f"an error variance per group, because the sizes differ ({sizes})"


def dropped_words(contrast: DesignContrast) -> list[str]:
    """Each reason with the people it applies to."""
    reasons = sorted({reason for *_, reason in contrast.dropped})
    people = {r: [(d, s) for d, s, reason in contrast.dropped if reason == r] for r in reasons}
    return [f"{reason}: {len(found)} ({_subjects(found)})" for reason, found in people.items()]


def describe(design: Design) -> list[str]:
    """A compiled model in sentences, for `conn check`.

    Returns
    -------
    list of str
        Per contrast: what is estimated, from whom, how it is tested, who is left out; then notes.
    """
    lines = []
    for contrast, smallest in zip(design.contrasts, design.smallest_p, strict=True):
        kind = "confirmatory" if contrast.confirmatory else "exploratory"
        families = ", ".join(f.name for f in design.families if f.contrast == contrast.name) or "none"
        lines.append(f"{design.model}, {contrast.name} ({kind}): {contrast.words}.")
        lines.append(f"{_count_words(contrast)}; columns: {', '.join(contrast.columns)}.")
        lines.append(f"{exchange_words(contrast)}; {variance_words(contrast)}.")
        lines.append(f"Families: {families}. Smallest attainable p: {smallest:.2g}.")
        lines += [f"Left out, {words}." for words in dropped_words(contrast)]
    return lines + [f"Note: {note}." for note in design.notes]


def _count_words(contrast: DesignContrast) -> str:
    counts = Counter(contrast.row_levels)
    sizes = ", ".join(f"{level} {counts[level]}" for level in contrast.levels)
    out = f", {len(contrast.dropped)} left out" if contrast.dropped else ""
    return f"{contrast.n} subjects" + (f" ({sizes})" if sizes else "") + out


def _notes(
    study: _Study, contrasts: Sequence[DesignContrast], smallest: Sequence[float], inference: Inference
) -> Iterable[str]:
    for contrast, p in zip(contrasts, smallest, strict=True):
        if p > inference.alpha:
            yield (
                f"{contrast.name}: with {contrast.n} subjects the smallest attainable p is {p:.2g}, above "
                f"alpha {inference.alpha:g}; nothing can be significant"
            )
        yield from _liberal(contrast)
    datasets = Counter(dataset for dataset, _ in contrasts[0].subjects)
    listed = {"dataset", study.group} & {*study.model.strata, *study.model.covariates, study.group}
    if len(datasets) > 1 and "dataset" not in listed:
        shown = ", ".join(f"{name} {count}" for name, count in sorted(datasets.items()))
        yield f"the rows come from {len(datasets)} data sets ({shown}); add dataset to strata"


def _concerns(unused: Unused, study: _Study, contrast: DesignContrast) -> bool:
    """Whether a run would have been data of the model; all its contrasts have the same people and points."""
    points = _plan(contrast.name, study.model).weights
    return unused.time_point in points and (unused.dataset, unused.subject) in contrast.subjects


def _run_notes(
    study: _Study, contrast: DesignContrast, policy: CombineRuns, unused: Sequence[Unused]
) -> Iterator[str]:
    """Runs that no row holds, and rows whose time points hold unequal numbers of them."""
    if unused:
        people = sorted({(one.dataset, one.subject) for one in unused})
        yield (
            f"connectivity.combine_runs {policy} takes one run of each time point: "
            f"{_counted(len(unused), 'included run')} not used, of {_subjects(people)}; conn why names them"
        )
    points = list(_plan(contrast.name, study.model).weights)
    counts = Counter(tuple(len(study.runs[person, p]) for p in points) for person in contrast.subjects)
    uneven = {numbers: people for numbers, people in sorted(counts.items()) if len(set(numbers)) > 1}
    if uneven:
        shown = ", ".join(f"{' and '.join(map(str, n))} in {people}" for n, people in uneven.items())
        yield (
            f"{sum(uneven.values())} of {contrast.n} subjects have unequal numbers of runs at "
            f"{' and '.join(points)} ({shown}), so that one is measured more precisely than the other; "
            "connectivity.combine_runs first or most_df takes one run everywhere"
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


UNEQUAL = 1.5
"""Ratio of group sizes from which unequal variances make even Welch's statistic liberal (simulated)."""


def _liberal(contrast: DesignContrast) -> Iterator[str]:
    """A design whose measured error rate can pass 7 %; the rates stand in docs/explanation/designs.md."""
    sizes = sorted(np.unique(contrast.variance_groups, return_counts=True)[1].tolist())
    if len(sizes) == 2 and sizes[1] >= UNEQUAL * sizes[0]:
        yield (
            f"{contrast.name}: groups of {sizes[1]} and {sizes[0]}: should the smaller one vary at least "
            "twice as much, family-wise false positives reach 7 to 11 % instead of 5 %, 19 % with "
            "strong skew (simulated)"
        )


# Families and attainable p --------------------------------------------------------------------------


def _families(contrast: str, model: Model, inference: Inference) -> list[Family]:
    """Contrasts differ in rows, error term or exchange, so none of them share a family."""
    wanted = (("maps", model.seeds), ("edges", model.edges))
    kinds = [kind for kind, chosen in wanted if chosen not in ("none", ())]
    if inference.joint_families and len(kinds) == 2:
        return [Family(f"{contrast}.all", contrast, ("maps", "edges"))]
    return [Family(f"{contrast}.{kind}", contrast, (kind,)) for kind in kinds]


def smallest_p(contrast: DesignContrast, inference: Inference) -> float:
    """Smallest two-sided p that the contrast can reach.

    With N distinct rearrangements it is 2/N when one of them turns the statistic's sign (all flips; two
    groups of equal size in every stratum; a predictor symmetric in every stratum), else 1/N. N is 2^n for
    flips, the number of distinct arrangements of the tested column within strata for labels, and of the
    rows within strata when there is further nuisance. Never below 1/(permutations + 1).

    Parameters
    ----------
    contrast
        The contrast.
    inference
        Number of permutations.

    Returns
    -------
    float

    References
    ----------
    Phipson and Smyth 2010, 10.2202/1544-6115.1585.
    """
    if contrast.exchange == "flips":
        ties, total = 2, 2**contrast.n
    else:
        cells = [contrast.tested[contrast.strata == s] for s in np.unique(contrast.strata)]
        nuisance = contrast.has_nuisance
        ties = 1 if nuisance or not all(map(_symmetric, cells)) else 2
        total = math.prod(_arrangements(cell, nuisance) for cell in cells)
    return float(max(min(1.0, ties / total), 1 / (inference.permutations + 1)))


def _arrangements(values: NDArray[np.float64], rows: bool) -> int:
    """Number of orders of the rows, or of distinct orders of the values."""
    repeats = [] if rows else [math.factorial(int(r)) for r in np.unique(values, return_counts=True)[1]]
    return math.factorial(values.size) // math.prod(repeats)


def _symmetric(values: NDArray[np.float64]) -> bool:
    ordered = np.sort(values - values.mean())
    scale = float(np.ptp(ordered)) or 1.0
    return bool(np.allclose(ordered, -ordered[::-1], rtol=0, atol=1e-12 * scale))


# Files ----------------------------------------------------------------------------------------------


def save_design(folder: Path, design: Design, extra: Mapping[str, Any] | None = None) -> None:
    """Write `model-M_design.tsv` (rows and matrix) and `model-M_design.json` (everything else).

    The bytes depend on nothing but the design; numbers are written so that they read back unchanged.

    Parameters
    ----------
    folder
        `<out>/group/<model>`.
    design
        The compiled model.
    extra
        Further top-level entries of the JSON file.

    Raises
    ------
    ValueError
        `extra` has a name that the file uses.
    """
    data: dict[str, Any] = {
        "model": design.model,
        "design": design.design,
        "contrasts": [_contrast_json(design, i) for i in range(len(design.contrasts))],
        "notes": list(design.notes),
        "combine_runs": design.combine_runs,
        "runs_not_used": [asdict(one) for one in design.unused],
    }
    taken = sorted(set(data) & set(extra or {}))
    if taken:
        raise ValueError(f"{taken[0]!r} is already an entry of the design file")
    stem = f"model-{design.model}_design"
    write_tsv(folder / f"{stem}.tsv", _design_table(design))
    write_json(folder / f"{stem}.json", data | dict(extra or {}))


def _contrast_json(design: Design, index: int) -> dict[str, Any]:
    contrast = design.contrasts[index]
    families = [f for f in design.families if f.contrast == contrast.name]
    return {
        "name": contrast.name,
        "words": contrast.words,
        "confirmatory": contrast.confirmatory,
        "n": contrast.n,
        "levels": list(contrast.levels),
        "columns": list(contrast.columns),
        "contrast": [float(weight) for weight in contrast.contrast],
        "exchange": contrast.exchange,
        "exchange_words": exchange_words(contrast),
        "blocks": list(contrast.strata_names),
        "variance_words": variance_words(contrast),
        "effect_type": contrast.effect_type,
        "dropped": [
            {"dataset": d, "subject": s, "reason": reason, "asked_for": (d, s) not in contrast.not_asked_for}
            for d, s, reason in contrast.dropped
        ],
        "families": [{"name": f.name, "kinds": list(f.kinds)} for f in families],
        "smallest_p": design.smallest_p[index] if design.smallest_p else None,
    }


def _design_table(design: Design) -> pd.DataFrame:
    names = dict.fromkeys(name for contrast in design.contrasts for name in contrast.columns)
    rows = []
    for contrast in design.contrasts:
        levels = contrast.row_levels or (MISSING,) * contrast.n
        for i, (dataset, subject) in enumerate(contrast.subjects):
            runs = ";".join(f"{run}:{weight!r}" for run, weight in contrast.run_weights[i].items())
            first = (contrast.name, dataset, subject, levels[i], runs)
            codes = (str(contrast.strata[i]), str(contrast.variance_groups[i]))
            row = dict(zip(ROW_COLUMNS, first + codes, strict=True))
            values = zip(contrast.columns, contrast.matrix[i].tolist(), strict=True)
            rows.append(row | {name: repr(value) for name, value in values})
    table = pd.DataFrame(rows, columns=pd.Index([*ROW_COLUMNS, *names]))
    return table.fillna(MISSING)


def load_design(folder: Path, model: str) -> Design:
    """Read what `save_design` wrote.

    Parameters
    ----------
    folder
        `<out>/group/<model>`.
    model
        Name of the model.

    Returns
    -------
    Design

    Raises
    ------
    InputError
        A file is missing or is no design.
    """
    stem = folder / f"model-{model}_design"
    table = read_tsv(stem.with_name(f"{stem.name}.tsv"))
    path = stem.with_name(f"{stem.name}.json")
    if not path.is_file():
        raise InputError(f"{path}: the design is not there")
    try:
        data = read_json(path)
        return Design(
            model=data["model"],
            design=data["design"],
            contrasts=tuple(
                _load_contrast(c, table[table["contrast"] == c["name"]]) for c in data["contrasts"]
            ),
            families=tuple(
                Family(f["name"], c["name"], tuple(f["kinds"]))
                for c in data["contrasts"]
                for f in c["families"]
            ),
            smallest_p=tuple(c["smallest_p"] for c in data["contrasts"] if c["smallest_p"] is not None),
            notes=tuple(data["notes"]),
            combine_runs=data["combine_runs"],
            unused=tuple(Unused(**one) for one in data["runs_not_used"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a design ({error!r}); delete it and run again") from None


def _load_contrast(data: Mapping[str, Any], rows: pd.DataFrame) -> DesignContrast:
    pairs = [[item.rsplit(":", 1) for item in cell.split(";")] for cell in rows["runs"]]
    matrix = [[float(cell) for cell in line] for line in rows[data["columns"]].to_numpy().tolist()]
    return DesignContrast(
        name=data["name"],
        words=data["words"],
        confirmatory=data["confirmatory"],
        subjects=tuple(zip(rows["dataset"], rows["subject"], strict=True)),
        run_weights=tuple({run: float(weight) for run, weight in row} for row in pairs),
        matrix=np.array(matrix, dtype=np.float64).reshape(len(rows), len(data["columns"])),
        columns=tuple(data["columns"]),
        contrast=np.array(data["contrast"], dtype=np.float64),
        exchange=data["exchange"],
        strata=rows["stratum"].to_numpy().astype(np.int64),
        variance_groups=rows["variance_group"].to_numpy().astype(np.int64),
        effect_type=data["effect_type"],
        dropped=tuple((d["dataset"], d["subject"], d["reason"]) for d in data["dropped"]),
        levels=tuple(data["levels"]),
        strata_names=tuple(data["blocks"]),
        not_asked_for=frozenset((d["dataset"], d["subject"]) for d in data["dropped"] if not d["asked_for"]),
    )
