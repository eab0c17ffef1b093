"""A design on disk: `model-M_design.tsv` and `model-M_design.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn.combination import Unused
from conn.design.spec import ROW_COLUMNS, Design, DesignContrast, Family, RunWeights
from conn.design.words import exchange_words, variance_words
from conn.errors import InputError
from conn.files import read_json, write_json
from conn.tables import MISSING, read_tsv, write_tsv


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
        "statistic": contrast.statistic,
        "contrast": contrast.contrast.tolist(),
        "exchange": contrast.exchange,
        "exchanged": contrast.exchanged,
        "exchange_words": exchange_words(contrast),
        "blocks": list(contrast.strata_names),
        "variance_words": variance_words(contrast),
        "variance_names": list(contrast.variance_names),
        "own_variances": contrast.own_variances,
        "per_unit": contrast.per_unit,
        "effect_type": contrast.effect_type,
        "sensitivity": contrast.sensitivity,
        "variates": contrast.n_variates,
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
            runs = (_runs_cell(contrast.run_weights[i]), _more_cell(contrast, i), _own_cell(contrast, i))
            codes = (str(contrast.strata[i]), str(contrast.variance_groups[i]))
            first = (contrast.name, dataset, subject, levels[i], str(contrast.cells[i]))
            row = dict(zip(ROW_COLUMNS, first + runs + codes, strict=True))
            values = zip(contrast.columns, contrast.matrix[i].tolist(), strict=True)
            rows.append(row | {name: repr(value) for name, value in values})
    table = pd.DataFrame(rows, columns=pd.Index([*ROW_COLUMNS, *names]))
    return table.fillna(MISSING)


def _runs_cell(weights: RunWeights) -> str:
    return ";".join(f"{run}:{weight!r}" for run, weight in weights.items())


def _more_cell(contrast: DesignContrast, row: int) -> str:
    """Runs of the second and each further value of a row, values apart by a bar."""
    return "|".join(_runs_cell(variate[row]) for variate in contrast.more_weights) or MISSING


def _own_cell(contrast: DesignContrast, row: int) -> str:
    """Runs of the covariate that every voxel or edge has of its own."""
    return _runs_cell(contrast.covariate_weights[row]) if contrast.covariate_weights else MISSING


def _run_weights(cell: str) -> RunWeights:
    pairs = [item.rsplit(":", 1) for item in cell.split(";")]
    return {run: float(weight) for run, weight in pairs}


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
    more = [cell.split("|") for cell in rows["more_runs"]]
    own = [cell for cell in rows["covariate_runs"] if cell != MISSING]
    matrix = [[float(cell) for cell in line] for line in rows[data["columns"]].to_numpy().tolist()]
    return DesignContrast(
        name=data["name"],
        words=data["words"],
        confirmatory=data["confirmatory"],
        subjects=tuple(zip(rows["dataset"], rows["subject"], strict=True)),
        run_weights=tuple(map(_run_weights, rows["runs"])),
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
        cells=rows["cell"].to_numpy().astype(np.int64),
        more_weights=tuple(
            tuple(_run_weights(cells[i]) for cells in more) for i in range(data["variates"] - 1)
        ),
        covariate_weights=tuple(map(_run_weights, own)),
        sensitivity=data["sensitivity"],
        exchanged=data["exchanged"],
        variance_names=tuple(data["variance_names"]),
        own_variances=data["own_variances"],
        per_unit=data["per_unit"],
    )
