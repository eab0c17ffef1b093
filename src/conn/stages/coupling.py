"""Stage coupling: how change goes with baseline in the people of a model, for scores and for edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import paths
from conn.clinic.coupling import Coupling, coupling
from conn.cohort import resolve
from conn.config.model import Clinical
from conn.design import DesignContrast, load_design
from conn.stages.inputs import files_of, matrices_of
from conn.stages.rows import rows_of
from conn.stages.test import between
from conn.tables import MISSING, read_tsv, write_tsv

Floats = NDArray[np.floating[Any]]
Edge = tuple[str, str]


def couple(
    out: Path,
    model: str,
    clinical: Clinical,
    edges: Literal["all", "none"] | Sequence[Edge],
    *,
    alpha: float = 0.05,
    measure: Literal["pearson", "partial"] = "pearson",
) -> None:
    """Write how change goes with baseline: of every scale, and of the edges of a model of change.

    Parameters
    ----------
    out
        Output folder.
    model
        Name of the model; the people are those of its first contrast.
    clinical
        Scales, baseline and endpoint.
    edges
        Pairs of regions that the model tests.
    alpha
        Intervals have coverage 1 - alpha.
    measure
        Whether an edge is a Pearson or a partial correlation.
    """
    design = load_design(out / paths.model_folder(model), model)
    contrast = design.contrasts[0]
    tables = [_of_scales(out, clinical, contrast, alpha)]
    sides = two_sides(contrast)
    if sides is not None and edges != "none":
        labels, matrices = matrices_of(out, files_of(out, design, paths.relmat_ending(measure)))
        pairs = list(combinations(labels, 2)) if edges == "all" else list(edges)
        values = {run: between(z, labels, pairs) for run, z in matrices.items()}
        first, second = (rows_of(side, values.__getitem__, len(pairs)).values for side in sides)
        tables.append(
            _table("edge", [a for a, _ in pairs], [b for _, b in pairs], coupling(first, second, alpha))
        )
    write_tsv(out / paths.coupling(model), pd.concat(tables, ignore_index=True))


def two_sides(contrast: DesignContrast) -> tuple[DesignContrast, DesignContrast] | None:
    """The same rows at the first and at the second of two time points; None where there are not two.

    Both are contrasts whose rows are plain values: a difference is taken apart by the sign of its weights,
    and a value that is adjusted for baseline has the baseline beside it.
    """
    if contrast.more_weights:
        return None
    if contrast.covariate_weights:
        if contrast.effect_type == "outcome":
            return None
        first, second = contrast.covariate_weights, contrast.run_weights
    else:
        first, second = (
            tuple({run: abs(w) for run, w in row.items() if w * sign > 0} for row in contrast.run_weights)
            for sign in (-1, 1)
        )
    if not all(first) or not all(second):
        return None
    plain = replace(contrast, covariate_weights=())
    return replace(plain, run_weights=first), replace(plain, run_weights=second)


def _of_scales(out: Path, clinical: Clinical, contrast: DesignContrast, alpha: float) -> pd.DataFrame:
    cohort = read_tsv(out / paths.COHORT)
    if clinical.baseline is None or clinical.endpoint is None or not clinical.scales:
        return _table("scale", [], [], coupling(np.empty((0, 0)), np.empty((0, 0)), alpha))
    columns = []
    for point in (clinical.baseline, clinical.endpoint):
        found = [resolve(f"{name}.{point}", clinical, cohort).by_person for name in clinical.scales]
        columns.append(
            np.array([[float(one.get(person, np.nan)) for one in found] for person in contrast.subjects])
        )
    return _table(
        "scale",
        list(clinical.scales),
        [MISSING] * len(clinical.scales),
        coupling(columns[0], columns[1], alpha),
    )


def _table(kind: str, names: Sequence[str], others: Sequence[str], found: Coupling) -> pd.DataFrame:
    cells: dict[str, Any] = {"kind": [kind] * len(names), "name": list(names), "roi_b": list(others)}
    return pd.DataFrame(cells | {f.name: getattr(found, f.name) for f in fields(found)})
