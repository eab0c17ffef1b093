"""Stage exclusions: everything left out at any stage, in one table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from conn import paths
from conn.design import load_design
from conn.exclusions import Exclusion, to_table
from conn.files import read_json
from conn.index import Index
from conn.stages.collect import first_level
from conn.tables import write_tsv


def gather(out: Path, index: Index, models: Sequence[str]) -> None:
    """Write `exclusions.tsv` from index, receipts, cohort and designs; remove models no longer asked for.

    Parameters
    ----------
    out
        Output folder.
    index
        All runs found.
    models
        Names of the models.
    """
    rows = [*first_level(out, index), *_cohort(out), *(row for m in models for row in _design(out, m))]
    write_tsv(out / paths.EXCLUSIONS, to_table(rows))
    for folder in (out / paths.GROUP).glob("*"):
        if folder.name not in models and (out / paths.design_json(folder.name)).exists():
            shutil.rmtree(folder)


def _cohort(out: Path) -> Iterator[Exclusion]:
    for row in read_json(out / paths.COHORT_NOTES)["exclusions"]:
        yield Exclusion(**row)


def _design(out: Path, model: str) -> Iterator[Exclusion]:
    """People whom a model asks for and cannot have; whom it does not ask for stands in its design only."""
    design = load_design(out / paths.model_folder(model), model)
    told = {entry for one in design.contrasts if not one.sensitivity for entry in one.lost}
    for contrast in design.contrasts:
        for dataset, subject, reason in contrast.lost:
            # A repetition with motion as a covariate lacks these people too: once is enough.
            if contrast.sensitivity and (dataset, subject, reason) in told:
                continue
            yield Exclusion(
                dataset,
                subject,
                stage="design",
                reason="not_in_model",
                value=f"{model}, {contrast.name}: {reason}",
            )
