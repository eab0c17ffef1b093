"""Small trials as tables, for tests of designs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from conn.config.model import Clinical, Inference, Model, Response, Scale, Variable
from conn.design import Design, DesignContrast, compile_model

CATEGORIES = ("arm", "order", "site", "sex", "diagnosis")
CLINICAL = Clinical(
    baseline="pre",
    endpoint="post",
    scales={"MADRS": Scale(columns={"pre": "a", "post": "b"})},
    response=Response(scale="MADRS"),
    variables={
        **{name: Variable(column=name, kind="category") for name in CATEGORIES},
        "age": Variable(column="age"),
    },
)
INFERENCE = Inference(permutations=999)


def trial(
    people: Mapping[str, Mapping[str, Any]], points: tuple[str, ...] = ("pre", "post"), seed: int = 3
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cohort and run table with one run per person and time point; people are subject to variables.

    Variables that a person lacks are n/a; `without` names time points without a run.
    """
    rng = np.random.default_rng(seed)
    cohort, runs = [], []
    for number, (subject, person) in enumerate(people.items(), start=1):
        scores = rng.integers(15, 40, size=2)
        for point in points:
            key = f"r{subject}{point}"
            fd = round(float(rng.uniform(0.05, 0.4)), 3)
            absent = point in person.get("without", ())
            row = {"dataset": "trial", "subject": subject, "time_point": point}
            row |= {"runs": "n/a" if absent else key, "mean_fd": "n/a" if absent else fd}
            row |= {name: person.get(name, "n/a") for name in CATEGORIES}
            row |= {"age": person.get("age", 20 + (7 * number) % 37)}
            row |= {"MADRS": int(scores[int(point == "post")]), "MADRS_change": int(scores[1] - scores[0])}
            row |= {"MADRS_percent_change": -30, "response": person.get("response", "n/a")}
            row |= {"remission": "n/a"}
            cohort.append(row)
            if not absent:
                runs.append({"run": key, "df": person.get("df", {}).get(point, 30), "included": "true"})
    return pd.DataFrame(cohort, dtype=object), pd.DataFrame(runs)


def members(**levels: int) -> dict[str, dict[str, Any]]:
    """People in arms, as in ``members(drug=4, placebo=5)``."""
    arms = [level for level, count in levels.items() for _ in range(count)]
    return {f"{n:02d}": {"arm": arm} for n, arm in enumerate(arms, start=1)}


def compiled(
    model: Model,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    inference: Inference = INFERENCE,
    clinical: Clinical = CLINICAL,
) -> Design:
    """A model named m, compiled."""
    return compile_model("m", model, clinical, *tables, inference)


def contrast(design: Design, name: str) -> DesignContrast:
    """A contrast by its name."""
    return next(c for c in design.contrasts if c.name == name)


def values(tables: tuple[pd.DataFrame, pd.DataFrame], seed: int = 11) -> dict[str, float]:
    """A number per run."""
    rng = np.random.default_rng(seed)
    return {run: float(rng.normal()) for run in tables[1]["run"]}


def data(weights: tuple[dict[str, float], ...], z: Mapping[str, float]) -> np.ndarray:
    """Rows made by hand from run weights."""
    return np.array([sum(w * z[run] for run, w in row.items()) for row in weights])


def estimate(one: DesignContrast, z: Mapping[str, float]) -> np.ndarray:
    """Least squares of a contrast on one value per run; the baseline is a column when there is one."""
    matrix, weights = one.matrix, one.contrast
    if one.covariate_weights:
        own = data(one.covariate_weights, z)
        matrix = np.column_stack([matrix, own - own.mean()])
        weights = np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, 1)])
    return weights @ np.linalg.lstsq(matrix, data(one.run_weights, z), rcond=None)[0]
