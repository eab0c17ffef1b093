"""Families of tests, and the smallest p that a contrast can reach."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.config.model import Inference, Model
from conn.design.spec import DesignContrast, Family, tested_columns


def families_of(contrast: DesignContrast, model: Model, inference: Inference) -> list[Family]:
    """Families of one contrast: contrasts differ in rows, error term or exchange, so none share a family.

    A repetition with motion as a covariate is about edges alone. Across families, Holm does not count it.
    """
    wanted = (
        ("maps", model.seeds),
        ("edges", model.edges),
        ("factors", tuple(model.seed_factors)),
        ("networks", model.declared_networks),
    )
    kinds = [kind for kind, chosen in wanted if chosen not in ("none", ())]
    name = contrast.name
    if contrast.sensitivity:
        kinds = [kind for kind in kinds if kind in ("edges", "networks")]
    if inference.joint_families and {"maps", "edges"} <= set(kinds):
        joint = Family(f"{name}.all", name, ("maps", "edges"))
        return [joint, *(Family(f"{name}.{kind}", name, (kind,)) for kind in kinds[2:])]
    return [Family(f"{name}.{kind}", name, (kind,)) for kind in kinds]


def smallest_p(contrast: DesignContrast, inference: Inference) -> float:
    """Smallest two-sided p that the contrast can reach.

    With N distinct rearrangements it is T/N, where T of them give the observed statistic or its negative: 2
    for flips; for labels 2 when an arrangement turns the statistic's sign (two groups of equal size in every
    stratum; a predictor symmetric in every stratum), and for an F over groups the number of ways in which
    groups of equal size in every stratum can change names; else 1. N is 2^n for flips, the number of distinct
    arrangements of what is tested within strata for labels, and of the rows within strata when there is
    further nuisance, with T = 1. Never below 1/(permutations + 1).

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
        ties = 1 if nuisance else _ties(contrast, cells)
        total = math.prod(_arrangements(cell, nuisance) for cell in cells)
    return float(max(min(1.0, ties / total), 1 / (inference.permutations + 1)))


def _ties(contrast: DesignContrast, cells: Sequence[NDArray[Any]]) -> int:
    """Arrangements that give the observed statistic, or its negative."""
    if contrast.rank == 1:
        effect = tested_columns(contrast.matrix, contrast.contrast)[:, 0]
        parts = [effect[contrast.strata == s] for s in np.unique(contrast.strata)]
        return 2 if all(map(_symmetric, parts)) else 1
    codes = range(int(contrast.tested.max()) + 1)
    if len(codes) != contrast.rank + 1:  # no groups: what is tested is not saturated
        return 1
    sizes = Counter(tuple(int((cell == code).sum()) for cell in cells) for code in codes)
    return math.prod(math.factorial(count) for count in sizes.values())


def _arrangements(values: NDArray[Any], rows: bool) -> int:
    """Number of orders of the rows, or of distinct orders of the values."""
    repeats = [] if rows else [math.factorial(int(r)) for r in np.unique(values, return_counts=True)[1]]
    return math.factorial(values.size) // math.prod(repeats)


def _symmetric(values: NDArray[Any]) -> bool:
    ordered = np.sort(values - values.mean())
    scale = float(np.ptp(ordered)) or 1.0
    return bool(np.allclose(ordered, -ordered[::-1], rtol=0, atol=1e-12 * scale))
