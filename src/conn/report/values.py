"""Connectivity of each person, as the plots show it: Fisher z from the run matrices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from conn.config.model import GroupByTime, Model, Paired, Regression, TwoSample
from conn.report.contract import ContrastResult, Outputs
from conn.report.people import Person
from conn.report.plots import EdgePanel, Group
from conn.report.regions import ordered
from conn.tables import MISSING

_CLIP = 1 - 1e-7


@dataclass(frozen=True)
class Connectivity:
    """Fisher z of each person at each time point.

    Attributes
    ----------
    outputs
        The output folder.
    """

    outputs: Outputs

    @cached_property
    def labels(self) -> list[str]:
        """ROI labels that occur in any run, in anatomical order."""
        return ordered(label for table in self.outputs.matrices.values() for label in table.index)

    @cached_property
    def runs(self) -> dict[str, np.ndarray]:
        """Fisher z by run key, each of shape (n_rois, n_rois), NaN on the diagonal."""
        found = {}
        for key, table in self.outputs.matrices.items():
            r = table.reindex(index=self.labels, columns=self.labels).to_numpy(float).copy()
            np.fill_diagonal(r, np.nan)
            found[key] = np.arctanh(np.clip(r, -_CLIP, _CLIP))
        return found

    @cached_property
    def mean(self) -> pd.DataFrame:
        """Mean over included runs, NaN where no run has a value."""
        if not self.runs:
            return pd.DataFrame()
        stack = np.stack(list(self.runs.values()))
        good = np.isfinite(stack)
        total = np.where(good, stack, 0.0).sum(axis=0)
        mean = np.full(total.shape, np.nan)
        np.divide(total, good.sum(axis=0), out=mean, where=good.any(axis=0))
        return pd.DataFrame(mean, index=pd.Index(self.labels), columns=pd.Index(self.labels))

    @cached_property
    def people(self) -> dict[tuple[str, str, str], np.ndarray]:
        """Fisher z by data set, subject and time point; runs weighted by their df - 2."""
        df = dict(zip(self.outputs.runs["run"], self.outputs.runs["df"], strict=True))
        found = {}
        for row in self.outputs.cohort.to_dict("records"):
            keys = [k for k in str(row["runs"]).split(";") if k in self.runs]
            if keys:
                weights = np.array([max(df[k] - 2, 1e-9) for k in keys])
                stack = np.stack([self.runs[k] for k in keys])
                found[row["dataset"], row["subject"], row["time_point"]] = np.tensordot(
                    weights / weights.sum(), stack, axes=1
                )
        return found

    def z(self, person: Person, time_point: str, a: str, b: str) -> float:
        """One edge of one person at one time point; NaN when it is not there."""
        matrix = self.people.get((*person, time_point))
        if matrix is None or a not in self.labels or b not in self.labels:
            return float("nan")
        return float(matrix[self.labels.index(a), self.labels.index(b)])

    def column(self, people: list[Person], time_point: str, a: str, b: str) -> np.ndarray:
        """One edge of some people at one time point, shape (n_people,)."""
        return np.array([self.z(p, time_point, a, b) for p in people], float)


def time_points(model: Model) -> tuple[str, ...]:
    """Time points that a model compares, in order."""
    if isinstance(model, Paired | GroupByTime):
        return (model.before, model.after)
    if isinstance(model, TwoSample):
        return (model.at,)
    return (model.at,) if model.at is not None else (str(model.before), str(model.after))


def edge_panel(
    data: Connectivity, contrast: ContrastResult, a: str, b: str, title: str, note: str
) -> EdgePanel:
    """Values of the people in a contrast for one edge.

    Parameters
    ----------
    data
        Connectivity of everybody.
    contrast
        The contrast; its rows are the people shown.
    a, b
        ROI labels.
    title, note
        Text above the panel.

    Returns
    -------
    EdgePanel
    """
    model = data.outputs.config.models[contrast.model]
    people = list(contrast.people)
    points = time_points(model)
    if isinstance(model, Regression):
        columns = [data.column(people, t, a, b) for t in points]
        outcome = columns[0] if len(columns) == 1 else columns[1] - columns[0]
        x = predictor(data.outputs, contrast, model)
        return EdgePanel(title, note, (Group("", outcome[:, None]),), x)
    groups = []
    for name, members in _split(data.outputs, model, people):
        values = np.stack([data.column(members, t, a, b) for t in points], axis=1)
        groups.append(Group(name, values[np.isfinite(values).all(axis=1)]))
    return EdgePanel(title, note, tuple(g for g in groups if len(g.z)))


def _split(outputs: Outputs, model: Model, people: list[Person]) -> list[tuple[str, list[Person]]]:
    """People by the group that the model compares; one unnamed group without one."""
    if not isinstance(model, TwoSample | GroupByTime) or model.group not in outputs.cohort.columns:
        return [("", people)]
    level = person_values(outputs, model.group)
    return [(name, [p for p in people if level.get(p) == name]) for name in model.levels]


def person_values(outputs: Outputs, column: str, time_point: str | None = None) -> dict[Person, str]:
    """A column of the cohort table by person: at one time point, or the first row that holds it."""
    table = outputs.cohort
    if column not in table.columns:
        return {}
    if time_point is not None:
        table = table[table["time_point"] == time_point]
    table = table[table[column] != MISSING].drop_duplicates(["dataset", "subject"])
    people = zip(table["dataset"], table["subject"], strict=True)
    return dict(zip(people, table[column], strict=True))


def predictor(outputs: Outputs, contrast: ContrastResult, model: Regression) -> np.ndarray:
    """The number that a regression uses, per row of the design; the design's own column when not found."""
    name, _, when = model.predictor.partition(".")
    endpoint = outputs.config.clinical.endpoint or model.after
    column, point = (
        (f"{name}_{when}", endpoint) if when in {"change", "percent_change"} else (name, when or None)
    )
    values = person_values(outputs, column, point)
    if all(p in values for p in contrast.people):
        return pd.to_numeric(pd.Series([values[p] for p in contrast.people]), errors="coerce").to_numpy(float)
    used = np.flatnonzero(contrast.weights)
    if used.size and contrast.matrix.size:
        return np.asarray(contrast.matrix[:, used[0]], float)
    return np.full(len(contrast.people), np.nan)
