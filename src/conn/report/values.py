"""Connectivity of people, as the plots show it: Fisher z from the run matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from conn.cohort import resolve
from conn.config.model import Regression
from conn.report.contract import ContrastResult, Outputs
from conn.report.designs import time_points
from conn.report.plots import EdgePanel, Group
from conn.report.regions import ordered
from conn.report.words import humanised

_CLIP = 1 - 1e-7


@dataclass(frozen=True)
class Connectivity:
    """Fisher z of each run, and of each row of a design.

    Attributes
    ----------
    outputs
        The output folder.
    measure
        ``pearson`` or ``partial``: which matrices.
    """

    outputs: Outputs
    measure: str = "pearson"

    @cached_property
    def matrices(self) -> dict[str, pd.DataFrame]:
        """R of each run by its key."""
        return self.outputs.partial_matrices if self.measure == "partial" else self.outputs.matrices

    @cached_property
    def labels(self) -> list[str]:
        """ROI labels that occur in any run, in anatomical order."""
        return ordered(label for table in self.matrices.values() for label in table.index)

    @cached_property
    def runs(self) -> dict[str, np.ndarray]:
        """Fisher z by run key, each of shape (n_rois, n_rois), NaN on the diagonal."""
        found = {}
        for key, table in self.matrices.items():
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
    def time_points(self) -> dict[str, str]:
        """Time point by run key."""
        return dict(zip(self.outputs.runs["run"], self.outputs.runs["time_point"], strict=True))

    def z(self, weights: Mapping[str, float], a: str, b: str) -> float:
        """One edge in the weighted sum of some runs; NaN when one of them does not have it."""
        if a not in self.labels or b not in self.labels or not weights:
            return float("nan")
        cell = self.labels.index(a), self.labels.index(b)
        parts = [w * float(self.runs[k][cell]) if k in self.runs else np.nan for k, w in weights.items()]
        return float(np.sum(parts))

    def at(self, weights: Mapping[str, float], time_point: str) -> dict[str, float]:
        """The runs of one time point, with weights that sum to 1."""
        mine = {k: abs(w) for k, w in weights.items() if self.time_points.get(k) == time_point}
        total = sum(mine.values())
        return {k: w / total for k, w in mine.items()}


def edge_panel(
    data: Connectivity, contrast: ContrastResult, a: str, b: str, title: str, note: str
) -> EdgePanel:
    """Values of the people in a contrast for one edge: rows, runs and tested column are the design's own.

    Parameters
    ----------
    data
        Connectivity of the runs.
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
    model, rows = data.outputs.config.models[contrast.model], contrast.rows
    if is_slope(contrast):
        outcome = np.array([data.z(weights, a, b) for weights in rows.run_weights])
        return EdgePanel(title, note, (Group("", outcome[:, None]),), rows.tested)
    points = time_points(model)
    values = np.array([[data.z(data.at(w, t), a, b) for t in points] for w in contrast.run_weights])
    kept = np.isfinite(values).all(axis=1)
    level = np.array(rows.row_levels or ("",) * rows.n)
    groups = [Group(name, values[kept & (level == name)]) for name in rows.levels or ("",)]
    return EdgePanel(title, note, tuple(g for g in groups if len(g.z)))


def is_slope(contrast: ContrastResult) -> bool:
    """Whether people are drawn over the number that is tested, not over time points or groups."""
    return not contrast.is_f and contrast.rows.effect_type == "slope"


def predictor_words(outputs: Outputs, contrast: ContrastResult) -> str:
    """What the tested column of a slope holds: value or change, centred or not."""
    x = contrast.rows.tested
    centred = " (centred)" if abs(x.mean()) <= 1e-9 * np.abs(x).max() else ""
    return f"{_tested_words(outputs, contrast)}{centred}"


def _tested_words(outputs: Outputs, contrast: ContrastResult) -> str:
    """Name of the predictor, or of the one column of a formula that is tested."""
    model = outputs.config.models[contrast.model]
    if not isinstance(model, Regression):
        picked = np.flatnonzero(contrast.rows.contrast)
        return humanised(contrast.rows.columns[picked[0]]) if len(picked) == 1 else "tested combination"
    found = resolve(
        model.predictor,
        outputs.config.clinical,
        outputs.cohort,
        at=model.at,
        before=model.before,
        after=model.after,
    )
    changes = "change of " if found.time_varying and model.at is None else ""
    return f"{changes}{humanised(model.predictor)}"
