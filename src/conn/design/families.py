"""Families of tests, and the smallest p that a contrast can reach."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from conn.config.model import Inference, Model
from conn.design.spec import DesignContrast, Family


def families_of(contrast: str, model: Model, inference: Inference) -> list[Family]:
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
