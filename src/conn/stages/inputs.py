"""What the group stages read of the first level: files by run, and matrices between regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn import paths
from conn.correlation import fisher_z
from conn.design import Design
from conn.errors import InputError
from conn.files import read_json
from conn.tables import read_tsv, to_number

Floats = NDArray[np.floating[Any]]


def files_of(out: Path, design: Design, ending: str) -> dict[str, str]:
    """The one file of every run of a design that ends in `ending`, by run.

    Raises
    ------
    InputError
        A run has none, or several.
    """
    collected: Mapping[str, Mapping[str, str]] = read_json(out / paths.COLLECTED)
    runs = sorted({run for contrast in design.contrasts for run in contrast.runs})
    found = {}
    for run in runs:
        names = [name for name in collected.get(run, {}) if name.endswith(ending)]
        if len(names) != 1:
            raise InputError(f"model {design.model}: run {run} has no file ending in {ending}; run again")
        found[run] = names[0]
    return found


def matrices_of(out: Path, files: Mapping[str, str]) -> tuple[list[str], dict[str, Floats]]:
    """Labels of the regions, and Fisher z between them (n_regions, n_regions) by run.

    Raises
    ------
    InputError
        Runs have different regions.
    """
    labels: list[str] = []
    matrices: dict[str, Floats] = {}
    for run, name in files.items():
        table = read_tsv(out / name)
        own = [str(c) for c in table.columns[1:]]
        if labels and own != labels:
            raise InputError(f"{name}: has other regions than the other runs; delete it and run again")
        labels = own
        cells = table.iloc[:, 1:].to_numpy()
        matrices[run] = fisher_z(np.array([[to_number(c) for c in row] for row in cells]))
    return labels, matrices
