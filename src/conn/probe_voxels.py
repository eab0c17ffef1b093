"""Voxels of seed maps as features of `conn check --null`: a random few of each map that a model tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from conn.design import Design, DesignContrast
from conn.errors import InputError
from conn.probes import Probe, row_design, side_by_side, varying
from conn.rois import registry
from conn.stages.rows import Floats, Rows, rows_of
from conn.stages.test import some_voxels
from conn.study import Study

CANDIDATES = 10
"""Voxels that are drawn for each that is wanted: some are missing in somebody."""

_DRAW = 11
"""Keeps the draw of voxels apart from other random numbers."""


def voxel_probes(study: Study, design: Design, most: int) -> Iterator[Probe]:
    """Contrasts of a compiled model with voxels of its seeds' maps; none when it has no maps.

    Parameters
    ----------
    study
        The study; the last run must have reached stage collect.
    design
        A compiled model.
    most
        Voxels of all maps together, as many of each.

    Raises
    ------
    DesignError
        Runs of the model are on different grids.
    """
    seeds = study.seeds(design.model)
    if not seeds:
        return
    each = max(1, most // len(seeds))
    try:
        values = [_drawn(study, design, seed, each, number) for number, seed in enumerate(seeds)]
    except InputError:  # maps were not made, as when the last run had other settings
        return
    for contrast, smallest in zip(design.contrasts, design.smallest_p, strict=True):
        if not contrast.sensitivity:
            yield _probe(study, design.model, contrast, smallest, values, each)


def _drawn(study: Study, design: Design, seed: str, each: int, number: int) -> dict[str, Floats]:
    rois = study.config.rois
    return some_voxels(
        study.out,
        design,
        seed,
        [registry.find(region, rois) for region in study.seed_regions(seed)],
        number=CANDIDATES * each,
        rng=np.random.default_rng([study.config.seed, _DRAW, number]),
        fwhm_mm=study.map_fwhm,
        folder=study.root,
        rois=rois,
    )


def _probe(
    study: Study,
    model: str,
    contrast: DesignContrast,
    smallest: float,
    values: list[dict[str, Floats]],
    each: int,
) -> Probe:
    parts = [_complete(contrast, one, each) for one in values]
    data, covariate = side_by_side(parts)
    return Probe(
        model,
        contrast,
        study.config.models[model],
        row_design(contrast),
        (),
        data,
        smallest,
        covariate,
        maps=len(parts),
    )


def _complete(contrast: DesignContrast, values: Mapping[str, Floats], each: int) -> Rows:
    """The first voxels that every row has."""
    rows = rows_of(contrast, values.__getitem__, next(iter(values.values())).size)
    return rows.of(np.flatnonzero(varying(rows))[:each])
